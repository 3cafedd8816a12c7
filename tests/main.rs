//! Every test of the library, in one binary: it links once. tests/tidy.rs checks that no file is
//! forgotten here.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod support;

mod codec;
mod conflicts;
mod files;
mod flights;
mod flushes;
mod hooks;
mod jobs;
mod object_cache;
mod object_savepoints;
mod objects;
mod opening;
mod retries;
mod savepoints;
mod schemas;
mod shapes;
mod simulated_disk;
mod storage_laws;
mod tidy;
mod transaction_model;
mod transactions;
