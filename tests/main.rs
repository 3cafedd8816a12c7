//! Every test of the library, in one binary: it links once. tests/tidy.rs checks that no file is
//! forgotten here.

mod files;
mod format;
mod simulated_disk;
mod storage_laws;
mod support;
mod tidy;
