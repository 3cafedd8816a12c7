//! What a transaction asked of its data managers, and how it went: [`ActionLog`].
//!
//! The transactions write it; it stands here because the errors of failed commits carry it.
//!
//! # Invariants
//! - The actions of a log are in the order in which they ended.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What a data manager was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// To turn what is pending into changes.
    Flush,
    /// To remember its state.
    Savepoint,
    /// To return to a state it remembered.
    Rollback,
    /// To promise.
    Prepare,
    /// To commit alone, perhaps deciding for others.
    CommitAlone,
    /// To keep its promise.
    Finish,
    /// To give up.
    Abort,
    /// To leave its promise in doubt.
    Park,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Flush => "flush",
            Phase::Savepoint => "savepoint",
            Phase::Rollback => "rollback",
            Phase::Prepare => "prepare",
            Phase::CommitAlone => "commit alone",
            Phase::Finish => "finish",
            Phase::Abort => "abort",
            Phase::Park => "park",
        })
    }
}

/// One thing that a transaction asked of a data manager, and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// The manager's sort key.
    pub manager: Arc<str>,
    /// What it was asked to do.
    pub phase: Phase,
    /// What it said, where it failed.
    pub error: Option<Box<str>>,
}

impl Action {
    /// `manager` was asked for `phase`, and failed with `error` where there is one.
    pub fn new(manager: Arc<str>, phase: Phase, error: Option<Box<str>>) -> Action {
        Action { manager, phase, error }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Action { manager, phase, error } = self;
        match error {
            None => write!(f, "{manager}: {phase} succeeded"),
            Some(error) => write!(f, "{manager}: {phase} failed: {error}"),
        }
    }
}

/// An `ActionLog` lists the actions of one transaction, in order; printed, one to a line, with
/// numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionLog(Arc<[Action]>);

impl ActionLog {
    /// Whether it tells more than one error alone would: of several managers, or failures.
    pub(super) fn is_a_story(&self) -> bool {
        let others = self.iter().any(|action| action.manager != self[0].manager);
        others || self.iter().filter(|action| action.error.is_some()).count() > 1
    }
}

impl From<Vec<Action>> for ActionLog {
    fn from(actions: Vec<Action>) -> ActionLog {
        ActionLog(actions.into())
    }
}

impl Deref for ActionLog {
    type Target = [Action];

    fn deref(&self) -> &[Action] {
        &self.0
    }
}

impl fmt::Display for ActionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}. {action}", index + 1)?;
        }
        Ok(())
    }
}
