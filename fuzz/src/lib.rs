//! What the fuzz targets share: a database that is the same in every run, edits of its files,
//! a second opinion on what a file says, and a count of the memory in use.
//!
//! Nothing here is part of the library, and `cargo test` in the folder above never compiles it.

pub mod disk;
pub mod edit;
pub mod files;
pub mod forge;
pub mod heap;
pub mod life;
pub mod opinion;
pub mod story;
