//! The closures that a transaction runs at its end, and the order they run in: [`Hooks`].
//!
//! Before-commit hooks form one queue, in the order of registration; those that run once the
//! outcome is known form another, in the order of priority, then registration. `ending` pops them
//! one by one, so that hooks may add hooks to the queue they run from.
//!
//! # Invariants
//! - A hook leaves its queue before it runs: it runs once.

use super::outcome::Outcome;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;

/// What a hook may return: nothing, or a [`Result`] of nothing.
pub trait HookResult: sealed::Sealed {
    /// As a result.
    ///
    /// # Errors
    /// That of the hook.
    fn into_result(self) -> Result<()>;
}

impl HookResult for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl HookResult for Result<()> {
    fn into_result(self) -> Result<()> {
        self
    }
}

mod sealed {
    /// Keeps others from implementing [`HookResult`](super::HookResult).
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for crate::error::Result<()> {}
}

/// A hook that failed after the outcome was known, and so could change nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct HookFailure {
    /// Where it was registered.
    pub registered: &'static Location<'static>,
    /// Its error; [`Error::Panicked`] where it panicked.
    pub error: Error,
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook registered at {} failed: {}", self.registered, self.error)
    }
}

/// Which outcomes a hook wants to hear.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// Those of commits, whatever they are.
    AfterCommit,
    /// Success.
    OnCommit,
    /// An abort that no commit was tried before.
    OnAbort,
    /// All.
    OnEnd,
}

impl When {
    pub(super) fn wants(self, outcome: &Outcome) -> bool {
        match self {
            When::AfterCommit => !matches!(outcome, Outcome::Aborted),
            When::OnCommit => outcome.is_committed(),
            When::OnAbort => matches!(outcome, Outcome::Aborted),
            When::OnEnd => true,
        }
    }
}

/// A closure to run before the commit.
pub(super) struct BeforeHook {
    pub(super) registered: &'static Location<'static>,
    pub(super) run: Box<dyn FnOnce() -> Result<()> + Send>,
}

type HearOutcome = dyn FnOnce(&Outcome) -> Result<()> + Send;

/// A closure to run once the outcome is known.
pub(super) struct EndHook {
    /// Lower ones run first.
    pub(super) priority: i32,
    pub(super) registered: &'static Location<'static>,
    pub(super) when: When,
    pub(super) run: Box<HearOutcome>,
}

/// The hooks of one transaction that have not run.
#[derive(Default)]
pub(super) struct Hooks {
    registered: u64,
    before: BTreeMap<u64, BeforeHook>,
    end: BTreeMap<u64, EndHook>,
    /// The order of `end`: by priority, then by registration.
    order: BTreeSet<(i32, u64)>,
}

impl Hooks {
    pub(super) fn add_before(&mut self, hook: BeforeHook) {
        self.registered += 1;
        self.before.insert(self.registered, hook);
    }

    pub(super) fn add_end(&mut self, hook: EndHook) {
        self.registered += 1;
        self.order.insert((hook.priority, self.registered));
        self.end.insert(self.registered, hook);
    }

    pub(super) fn has_before(&self) -> bool {
        !self.before.is_empty()
    }

    pub(super) fn next_before(&mut self) -> Option<BeforeHook> {
        self.before.pop_first().map(|(_, hook)| hook)
    }

    pub(super) fn next_end(&mut self) -> Option<EndHook> {
        let (_, number) = self.order.pop_first()?;
        self.end.remove(&number)
    }

    /// The present time, in registrations.
    pub(super) fn mark(&self) -> u64 {
        self.registered
    }

    /// Takes out those registered since `mark`, for the caller to drop.
    pub(super) fn split_off(&mut self, mark: u64) -> Hooks {
        let before = self.before.split_off(&(mark + 1));
        let end = self.end.split_off(&(mark + 1));
        for (&number, hook) in &end {
            self.order.remove(&(hook.priority, number));
        }
        Hooks { before, end, ..Hooks::default() }
    }

    /// Takes out the before-commit hooks, whose time is over, for the caller to drop.
    pub(super) fn take_before(&mut self) -> BTreeMap<u64, BeforeHook> {
        std::mem::take(&mut self.before)
    }
}
