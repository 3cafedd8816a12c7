//! Perennial: objects that outlive the process.
#![deny(missing_docs)]
#![deny(unsafe_code)]
#![warn(missing_debug_implementations)]
#![warn(clippy::unwrap_used)]
// A lock in the head of a `match` is held to its end, where nobody looks for it.
#![warn(clippy::significant_drop_in_scrutinee)]

// Lowest first: a module names only modules earlier in this list (tests/tidy.rs).
mod sync;
mod id;
mod tables;
pub mod error;
pub mod format;
pub mod file;
pub mod storage;
pub mod transaction;
mod object;
pub mod collections;
mod jobs;

pub use error::{Error, Result};
pub use id::{DatabaseId, GlobalId, Oid, Tid};
pub use jobs::{
    Context, Enqueued, Failure, Job, JobBucket, JobCounts, JobInfo, JobLimits, JobState, JobStats,
    Policy, RunMode, Runner, RunnerBuilder,
};
pub use object::{
    Connection, Database, Isolation, OnDoubt, Options, Persistent, Ref, Settings, View, codec,
    decode_as, shape,
};
pub use storage::file::Reads;
pub use storage::{Doubt, Durability, Fate, OpenDecision};
pub use transaction::{
    Current, Outcome, Report, RetryPolicy, Savepoint, Status, Transaction, TransactionManager,
};

/// The documents' code is compiled and run with the tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../docs/guide.md")]
    struct Guide;
}
