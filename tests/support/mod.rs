//! What tests share.

pub mod errors;
pub mod managers;
