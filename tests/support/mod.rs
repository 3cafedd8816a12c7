//! What tests share.

pub mod child;
pub mod databases;
pub mod errors;
pub mod faults;
pub mod files;
#[cfg(feature = "cli")]
pub mod json;
pub mod layers;
pub mod managers;
pub mod platter;
pub mod rng;
pub mod scratched;
pub mod sim;
pub mod source;
pub mod sparse;
pub mod third;
