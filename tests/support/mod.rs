//! What tests share.

pub mod platter;
pub mod rng;
pub mod sim;
pub mod source;
pub mod sparse;
