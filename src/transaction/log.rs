//! What a transaction did to its managers: the [`Action`]s, in order.
//!
//! Every call of a manager goes through [`Log::call`], which contains it, records it, and tells
//! `tracing`. The log outlives the transaction in the handles on it; errors quote it.
//!
//! # Invariants
//! - Successful flushes, savepoints and rollbacks are not recorded: they may be very many.

use super::contain::contain;
pub(super) use crate::error::Phase;
use crate::error::{Action, ActionLog, Error, Result};
use crate::id::GlobalId;
use parking_lot::Mutex;
use std::sync::Arc;

/// Whether `phase` is part of a transaction's end.
fn ends(phase: Phase) -> bool {
    !matches!(phase, Phase::Flush | Phase::Savepoint | Phase::Rollback)
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
        let who = format_args!("the data manager {manager}, asked to {phase},");
        // What the manager itself logs is told to be of this call.
        let span = tracing::debug_span!("call", transaction = %self.id, %manager, %phase);
        let result = span.in_scope(|| contain(who, code));
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
        if ends(phase) || error.is_some() {
            let error = error.map(|error| error.to_string().into());
            self.actions.lock().push(Action::new(manager.clone(), phase, error));
        }
    }

    /// Everything so far.
    pub(super) fn actions(&self) -> ActionLog {
        self.actions.lock().clone().into()
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
