//! How a transaction ends: commit and abort, from the first hook to the last.
//!
//! The guard calls it. A commit gathers the last work (before-commit hooks, synchronizers, rounds
//! of flushes), hands the members to `phases`, and settles what came of it: the outcome is
//! recorded, the transaction leaves its manager, and then the hooks hear of it. An abort is the
//! same without the first half.
//!
//! # Invariants
//! - The hooks that hear the outcome run with no transaction current. One that failed to commit is
//!   set aside for them, and current again after them, until it is aborted.
//! - These hooks run once: at the first attempt to commit, or at the abort.

use super::contain::{contain, discard};
use super::current::Current;
use super::data_manager::Info;
use super::hooks::HookFailure;
use super::log::Phase;
use super::member::Member;
use super::outcome::{Outcome, Report, Unfinished};
use super::phases::{self, Verdict};
use super::savepoint::Point;
use super::state::{Cause, Stage, Work};
use crate::error::{Error, Result};
use crate::id::Tid;
use std::collections::BTreeMap;

/// How often the managers may be asked to flush before one commit.
const FLUSH_ROUNDS: usize = 100;

impl Current {
    /// See [`Transaction::commit`](super::Transaction::commit).
    pub(super) fn commit(&self) -> Result<Report> {
        let span = tracing::debug_span!("commit", transaction = %self.id());
        let _entered = span.enter();
        {
            let mut work = self.state.lock();
            work.check_commit(Stage::Open)?;
            work.stage = Stage::Hooks;
        }
        let gathered = self.gather();
        let Parts { members, points, info } = Parts::take(&mut self.state.lock());
        points.into_values().rev().for_each(discard);
        let log = &self.state.log;
        let verdict = match gathered {
            Ok(()) => phases::commit(members, info, log),
            Err(error) => phases::give_up(members, error, info, log),
        };
        match verdict {
            Verdict::Committed { tid, unfinished } => Ok(self.committed(tid, unfinished)),
            Verdict::Failed(error, cause, outcome) => {
                let actions = log.actions();
                self.failed(cause, &outcome);
                Err(error.with_actions(actions))
            }
        }
    }

    /// See [`Transaction::abort`](super::Transaction::abort).
    pub(super) fn abort(&self) -> Result<()> {
        let (parts, completing) = {
            let mut work = self.state.lock();
            match work.stage {
                Stage::Over => return Ok(()),
                Stage::Open => {}
                _ => return Err(Error::InProgress("abort")),
            }
            let completing = std::mem::replace(&mut work.completing, true);
            (Parts::take(&mut work), completing)
        };
        let span = tracing::debug_span!("abort", transaction = %self.id());
        let _entered = span.enter();
        if !completing {
            self.manager.tell("the end", |listener| listener.before_completion(self));
        }
        parts.points.into_values().rev().for_each(discard);
        let result = self.abort_members(parts.members);
        // After an attempt to commit, its outcome stays, and its hooks have run already.
        let outcome = self.state.lock().outcome.clone().unwrap_or(Outcome::Aborted);
        self.leave(Stage::Over, &outcome);
        self.run_hooks(&outcome);
        result
    }

    fn abort_members(&self, mut members: Vec<Member>) -> Result<()> {
        let log = &self.state.log;
        let known = log.len();
        let mut failed = false;
        for member in &mut members {
            failed |= member.call(Phase::Abort, log, |manager| manager.abort()).is_err();
        }
        discard(members);
        if !failed {
            return Ok(());
        }
        Err(Error::AbortFailed(log.since(known).into()).with_actions(log.actions()))
    }
}

/// Before the phases.
impl Current {
    /// Runs what may still add work, until nobody does.
    fn gather(&self) -> Result<()> {
        for _ in 0..FLUSH_ROUNDS {
            self.run_before_hooks()?;
            let completing = std::mem::replace(&mut self.state.lock().completing, true);
            if !completing {
                self.manager.tell("the end", |listener| listener.before_completion(self));
                self.run_before_hooks()?;
            }
            if !self.flush()? {
                return Ok(());
            }
        }
        let what = format!("the data managers still changed each other in flush {FLUSH_ROUNDS}");
        Err(Error::other(what))
    }

    fn run_before_hooks(&self) -> Result<()> {
        loop {
            let hook = {
                let mut work = self.state.lock();
                work.check_commit(Stage::Hooks)?;
                work.hooks.next_before()
            };
            let Some(hook) = hook else { return Ok(()) };
            let who = format_args!("the before-commit hook registered at {}", hook.registered);
            contain(who, hook.run)?;
        }
    }

    /// One round; whether there must be another.
    fn flush(&self) -> Result<bool> {
        let mut members = {
            let mut work = self.state.lock();
            work.stage = Stage::Flush;
            std::mem::take(&mut work.members)
        };
        let log = &self.state.log;
        let mut changed = false;
        let flushed: Result<()> = members.iter_mut().try_for_each(|member| {
            changed |= member.call(Phase::Flush, log, |manager| manager.flush())?;
            Ok(())
        });
        let mut work = self.state.lock();
        changed |= work.return_members(members, Stage::Hooks);
        changed |= work.hooks.has_before();
        flushed?;
        work.check_commit(Stage::Hooks)?;
        Ok(changed)
    }
}

/// After the phases.
impl Current {
    fn committed(&self, tid: Option<Tid>, unfinished: Vec<Unfinished>) -> Report {
        let outcome = Outcome::Committed { tid, unfinished: unfinished.clone() };
        self.leave(Stage::Over, &outcome);
        let hook_failures = self.run_hooks(&outcome);
        Report { tid, hook_failures, unfinished }
    }

    fn failed(&self, cause: Cause, outcome: &Outcome) {
        let spare = self.state.lock().fail(cause);
        discard(spare);
        self.leave(Stage::Open, outcome);
        self.run_hooks(outcome);
        self.manager.return_to(&self.state);
    }

    /// Records the outcome and makes this transaction current no longer.
    fn leave(&self, stage: Stage, outcome: &Outcome) {
        let late = {
            let mut work = self.state.lock();
            work.outcome = Some(outcome.clone());
            work.stage = stage;
            work.hooks.take_before()
        };
        discard(late);
        self.manager.leave();
        tracing::debug!(transaction = %self.id(), ?outcome, "ended");
        if stage == Stage::Over {
            self.manager.tell("the outcome", |listener| listener.after_completion(outcome));
        }
    }

    /// Runs the hooks that hear the outcome, those that they add included.
    fn run_hooks(&self, outcome: &Outcome) -> Vec<HookFailure> {
        let mut failures = Vec::new();
        self.state.lock().telling = true;
        loop {
            let hook = {
                let mut work = self.state.lock();
                let hook = work.hooks.next_end();
                work.telling = hook.is_some();
                hook
            };
            let Some(hook) = hook else { return failures };
            let registered = hook.registered;
            let who = format_args!("the hook registered at {registered}");
            let ran =
                contain(
                    who,
                    || {
                        if hook.when.wants(outcome) { (hook.run)(outcome) } else { Ok(()) }
                    },
                );
            if let Err(error) = ran.and(self.end_left_open()) {
                tracing::error!(transaction = %self.id(), hook = %registered, %error, "hook failed");
                failures.push(HookFailure { registered, error });
            }
        }
    }

    /// Ends a transaction that a hook began and left open: nobody else would.
    fn end_left_open(&self) -> Result<()> {
        match self.manager.abort_current() {
            Err(Error::NoTransaction(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::other("the hook left a transaction open, which was aborted")),
        }
    }
}

/// What an ending takes out of the state.
struct Parts {
    members: Vec<Member>,
    points: BTreeMap<u64, Point>,
    info: Info,
}

impl Parts {
    /// Takes them, and lets nobody in until the end.
    fn take(work: &mut Work) -> Parts {
        work.stage = Stage::Phase;
        Parts {
            members: std::mem::take(&mut work.members),
            points: std::mem::take(&mut work.points),
            info: work.info.clone(),
        }
    }
}
