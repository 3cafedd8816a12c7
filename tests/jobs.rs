//! The laws of the job bucket.

mod breaker;
mod bucket;
mod crashes;
mod duties;
mod handing_over;
mod kit;
mod pool;
mod retries;
