//! What a transaction did to its managers: the [`Action`]s, in order.
//!
//! Every call of a manager goes through [`Log::call`], which contains it, records it, and tells
//! `tracing`. The log outlives the transaction in the handles on it; errors quote it.
//!
//! # Invariants
//! - Successful flushes, savepoints and rollbacks are not recorded: they may be very many.

use super::contain::contain;
use crate::error::{Error, Result};
use crate::id::GlobalId;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// What a manager was asked to do.
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

impl Phase {
    /// Whether it is part of a transaction's end.
    fn ends(self) -> bool {
        !matches!(self, Phase::Flush | Phase::Savepoint | Phase::Rollback)
    }
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

/// One thing that a transaction asked of a manager, and how it went.
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

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Action { manager, phase, error } = self;
        match error {
            None => write!(f, "{manager}: {phase} succeeded"),
            Some(error) => write!(f, "{manager}: {phase} failed: {error}"),
        }
    }
}

/// The actions of one transaction so far.
#[derive(Debug)]
pub(super) struct Log {
    id: GlobalId,
    actions: Mutex<Vec<Action>>,
}

impl Log {
    pub(super) fn new(id: GlobalId) -> Log {
        Log { id, actions: Mutex::default() }
    }

    /// Runs one phase of one manager.
    pub(super) fn call<T>(
        &self,
        manager: &Arc<str>,
        phase: Phase,
        code: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let result = contain(format_args!("the data manager {manager}, asked to {phase},"), code);
        self.record(manager, phase, result.as_ref().err());
        result
    }

    fn record(&self, manager: &Arc<str>, phase: Phase, error: Option<&Error>) {
        let id = self.id;
        match error {
            None => tracing::debug!(transaction = %id, %manager, %phase, "done"),
            // Nobody is left to refuse the transaction: somebody must look.
            Some(error) if phase == Phase::Finish => {
                tracing::error!(transaction = %id, %manager, %phase, %error, "failed");
            }
            Some(error) => {
                tracing::warn!(transaction = %id, %manager, %phase, %error, "failed");
            }
        }
        if phase.ends() || error.is_some() {
            let error = error.map(|error| error.to_string().into());
            self.actions.lock().push(Action { manager: manager.clone(), phase, error });
        }
    }

    /// Everything so far.
    pub(super) fn actions(&self) -> Vec<Action> {
        self.actions.lock().clone()
    }

    /// What was added after the first `known` actions, as text.
    pub(super) fn since(&self, known: usize) -> String {
        let actions = self.actions.lock();
        let lines: Vec<_> = actions.iter().skip(known).map(Action::to_string).collect();
        lines.join("; ")
    }

    /// How many actions there are.
    pub(super) fn len(&self) -> usize {
        self.actions.lock().len()
    }
}
