//! How transactions stand, and how they end: [`Status`], [`Outcome`], [`Report`].
//!
//! Words only: `state` derives the status, `phases` decides the outcome, `ending` writes the report.
//!
//! # Invariants
//! - An outcome, once told, does not change: what is unfinished or unknown is settled by recovery.

use super::hooks::HookFailure;
use crate::id::Tid;
use std::fmt;
use std::sync::Arc;

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// There is none. Said of managers only.
    Idle,
    /// It takes work.
    Active,
    /// It takes work, but can only be aborted.
    Doomed,
    /// A commit, abort, savepoint or rollback is running.
    InProgress,
    /// A step of it failed: only abort is accepted.
    Failed,
    /// It was committed.
    Committed,
    /// It was aborted.
    Aborted,
    /// Nobody can tell whether it was committed.
    Unknown,
    /// Some of its managers committed it, and others did not.
    Mixed,
}

/// How a transaction ended, or its commit; what hooks are told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It happened.
    Committed {
        /// Under this name; `None` where nobody gave it one.
        tid: Option<Tid>,
        /// What recovery has yet to finish.
        unfinished: Vec<Unfinished>,
    },
    /// It was given up before anybody tried to commit it.
    Aborted,
    /// The commit failed, for this cause; nothing happened.
    Failed(Box<str>),
    /// The commit may or may not have happened, as told here.
    Unknown(Box<str>),
    /// The commit happened in some managers and not in others, as told here.
    Mixed(Box<str>),
}

impl Outcome {
    /// Whether it was committed everywhere, now or after recovery.
    pub fn is_committed(&self) -> bool {
        matches!(self, Outcome::Committed { .. })
    }
}

/// A manager that could not finish what was decided; its recovery will.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Its sort key.
    pub manager: Arc<str>,
    /// Why it could not.
    pub error: Box<str>,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.manager, self.error)
    }
}

/// What a successful commit has to tell.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The name of the transaction, as the manager that decided gave it; `None` where nothing
    /// was written.
    pub tid: Option<Tid>,
    /// The hooks that failed after the commit, in the order they ran.
    pub hook_failures: Vec<HookFailure>,
    /// The managers whose recovery has yet to finish what was decided.
    pub unfinished: Vec<Unfinished>,
}
