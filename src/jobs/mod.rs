//! The job bucket: work that commits together with its cause, and runs right after.
//!
//! Order is best effort, and a job may run more than once. What is promised is that a job exists
//! if, and only if, the transaction that asked for it committed; that it finds what that wrote; and
//! that it is there until somebody did it, gave it up, or discarded it.
//!
//! A job is one pinned object (`record`). A transaction writes it (`enqueue`); a hook hands it
//! over once the commit is durable, outside all locks, to the [`Runner`] (`runner`, `board`),
//! which runs the application's closure (`handler`, `context`) and applies what comes of it
//! (`work`). A start gives back what dead processes had claimed (`recovery`). People look after
//! the bucket through [`JobBucket`] (`bucket`). What all of them share in an open database is the
//! `engine`.
//!
//! # Invariants
//! - Done is absence: a removed job leaves nothing behind, and no cleaner.
//! - A job that a runner can start at once is born claimed, so that the application's commit is
//!   the only one that anybody waits for.
//! - Nothing is written, and no thread wakes, where nothing is due.

mod board;
mod bucket;
mod context;
mod engine;
mod enqueue;
mod handler;
mod job;
mod ledger;
mod policy;
mod record;
mod recovery;
mod runner;
mod work;

pub use bucket::{JobBucket, JobInfo, JobState, JobStats};
pub use context::Context;
pub use job::{Enqueued, Failure, Job};
pub use ledger::{JobCounts, JobLimits};
pub use policy::Policy;
pub use runner::{RunMode, Runner, RunnerBuilder};
