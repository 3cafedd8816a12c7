//! What tests share.

pub mod databases;
pub mod errors;
pub mod managers;
