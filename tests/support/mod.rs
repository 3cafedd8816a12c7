//! What tests share.

pub mod managers;
