//! Every test of the library, in one binary: it links once. tests/tidy.rs checks that no file is
//! forgotten here.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod support;

mod flushes;
mod hooks;
mod retries;
mod savepoints;
mod transaction_model;
mod transactions;
