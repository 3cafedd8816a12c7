//! Every test of the library, in one binary: it links once. tests/tidy.rs checks that no file is
//! forgotten here.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod support;

mod bit_rot;
mod btree;
mod closing;
mod codec;
#[cfg(feature = "cli")]
mod command_line;
mod conflicts;
mod corruption;
mod counter;
mod crash;
mod diagnosis;
mod files;
mod flights;
mod flushes;
mod format;
mod group_commit;
mod halting;
mod histories;
mod hooks;
mod isolation;
mod jobs;
mod laws;
mod object_cache;
mod object_faults;
mod object_savepoints;
mod objects;
mod opening;
mod outbox;
mod panics;
mod plants;
mod processes;
mod quotes;
mod recover;
mod retries;
mod samples;
mod savepoints;
mod several;
mod shapes;
mod simulated_disk;
mod simulation;
mod staged_files;
mod storage_laws;
mod tidy;
mod transaction_model;
mod transactions;
mod tree_set;
mod types;
mod unwinding;
mod verify;
