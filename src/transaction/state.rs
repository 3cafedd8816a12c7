//! What one transaction is while it lives: [`State`], shared by its guard and all handles on it.
//!
//! `current` adds work to it, `savepoint` and `ending` move it along. Whoever calls foreign code
//! first takes what that needs out of the [`Work`] with its lock held, leaves a [`Stage`] that
//! refuses everybody else, and then lets go of the lock.
//!
//! # Invariants
//! - While `members` are taken out, the stage is one that lets nobody else take them, and `seats`
//!   still lists them.
//! - The first cause of failure stays.

use super::contain::discard;
use super::data_manager::{Info, ManagerId};
use super::hooks::Hooks;
use super::log::Log;
use super::manager::Epoch;
use super::member::{self, Member, Seat};
use super::outcome::{Outcome, Status};
use super::savepoint::Point;
use crate::error::{Error, FailedTransaction, Result};
use crate::id::GlobalId;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// A transaction's number among those of its manager, its name, its history and its work.
pub(super) struct State {
    pub(super) number: u64,
    pub(super) id: GlobalId,
    pub(super) log: Log,
    epoch: Epoch,
    work: Mutex<Work>,
}

/// The work of a transaction, locked. When it is let go, the epoch learns whether it takes more.
pub(super) struct Locked<'a> {
    state: &'a State,
    work: MutexGuard<'a, Work>,
}

/// What the transaction holds.
pub(super) struct Work {
    pub(super) stage: Stage,
    pub(super) doomed: bool,
    pub(super) cause: Option<Cause>,
    pub(super) outcome: Option<Outcome>,
    pub(super) info: Info,
    pub(super) hooks: Hooks,
    /// Whether the hooks that hear the outcome are running, and may add more of their kind.
    pub(super) telling: bool,
    /// Whether synchronizers were told that the end is near.
    pub(super) completing: bool,
    pub(super) seats: Vec<Seat>,
    /// In the order of their sort keys.
    pub(super) members: Vec<Member>,
    /// The savepoints that can be rolled back to, by number: the oldest first.
    pub(super) points: BTreeMap<u64, Point>,
    pub(super) next_point: u64,
}

/// Who may do what at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Everything is allowed, unless it failed.
    Open,
    /// Before-commit hooks run: work may be added, and savepoints taken.
    Hooks,
    /// Managers flush: work may be added.
    Flush,
    /// A phase runs: nothing is allowed.
    Phase,
    /// It has ended.
    Over,
}

/// Where work may be added.
const WORKING: [Stage; 3] = [Stage::Open, Stage::Hooks, Stage::Flush];

/// Why a transaction failed.
pub(super) struct Cause {
    pub(super) text: Box<str>,
    pub(super) retryable: bool,
    /// What to wait for before a retry.
    pub(super) waits: Vec<Box<dyn FnOnce() + Send>>,
}

impl State {
    #[inline]
    pub(super) fn new(number: u64, id: GlobalId, epoch: Epoch) -> State {
        let work = Work {
            stage: Stage::Open,
            doomed: false,
            cause: None,
            outcome: None,
            info: Info::new(id),
            hooks: Hooks::default(),
            telling: false,
            completing: false,
            seats: Vec::new(),
            members: Vec::new(),
            points: BTreeMap::new(),
            next_point: 0,
        };
        State { number, id, log: Log::new(id), epoch, work: Mutex::new(work) }
    }

    /// Ends a phase that failed with `cause`, and for which `members` were taken out.
    pub(super) fn fail(&self, members: Vec<Member>, stage: Stage, cause: Cause) {
        let spare = {
            let mut work = self.lock();
            work.return_members(members, stage);
            work.fail(cause)
        };
        discard(spare);
    }

    /// The work, for a moment: no foreign code may run, nor be dropped, before it is let go.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { state: self, work: self.work.lock() }
    }
}

impl Deref for Locked<'_> {
    type Target = Work;

    fn deref(&self) -> &Work {
        &self.work
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Work {
        &mut self.work
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.state.epoch.note_work(self.state.number, self.work.takes_work());
    }
}

impl Work {
    pub(super) fn status(&self) -> Status {
        match (self.stage, &self.outcome) {
            (Stage::Hooks | Stage::Flush | Stage::Phase, _) => Status::InProgress,
            (_, Some(Outcome::Unknown(_))) => Status::Unknown,
            (_, Some(Outcome::Mixed(_))) => Status::Mixed,
            (Stage::Over, Some(Outcome::Committed { .. })) => Status::Committed,
            (Stage::Over, _) => Status::Aborted,
            (Stage::Open, _) if self.cause.is_some() => Status::Failed,
            (Stage::Open, _) if self.doomed => Status::Doomed,
            (Stage::Open, _) => Status::Active,
        }
    }

    fn takes_work(&self) -> bool {
        self.cause.is_none() && WORKING.contains(&self.stage)
    }

    /// Whether `action`, which adds work, is allowed.
    pub(super) fn check_work(&self, action: &'static str) -> Result<()> {
        self.check(action, &WORKING)
    }

    /// Whether `action`, which takes or rolls back a savepoint, is allowed.
    pub(super) fn check_points(&self, action: &'static str) -> Result<()> {
        self.check(action, &[Stage::Open, Stage::Hooks])
    }

    /// Whether `action` is allowed, which needs the transaction in one of `stages`.
    pub(super) fn check(&self, action: &'static str, stages: &[Stage]) -> Result<()> {
        match &self.cause {
            _ if self.stage == Stage::Over => Err(Error::TransactionOver(action)),
            _ if !stages.contains(&self.stage) => Err(Error::InProgress(action)),
            Some(cause) => Err(FailedTransaction::new(action, cause.text.clone()).into()),
            None => Ok(()),
        }
    }

    /// Whether commit is allowed, or may go on.
    pub(super) fn check_commit(&self, stage: Stage) -> Result<()> {
        self.check("commit", &[stage])?;
        if self.doomed { Err(Error::Doomed("commit")) } else { Ok(()) }
    }

    /// Takes the members out for a phase named `action`, and returns them with the stage to
    /// return to.
    pub(super) fn take_members(&mut self, action: &'static str) -> Result<(Vec<Member>, Stage)> {
        self.check_points(action)?;
        let stage = std::mem::replace(&mut self.stage, Stage::Phase);
        Ok((std::mem::take(&mut self.members), stage))
    }

    /// Takes the members back; whether others had joined in the meantime.
    pub(super) fn return_members(&mut self, members: Vec<Member>, stage: Stage) -> bool {
        let joined = std::mem::replace(&mut self.members, members);
        let any = !joined.is_empty();
        joined.into_iter().for_each(|new| member::insert(&mut self.members, new));
        self.stage = stage;
        any
    }

    /// Remembers that the transaction failed; of several causes, the first. Returns what is of no
    /// use, for the caller to drop.
    #[must_use]
    pub(super) fn fail(&mut self, cause: Cause) -> Option<Cause> {
        if self.cause.is_some() {
            return Some(cause);
        }
        self.cause = Some(cause);
        None
    }

    /// As [`fail`](Work::fail), while managers flush, and so are not here; else it does nothing.
    #[must_use]
    pub(super) fn fail_in_flush(&mut self, cause: Cause) -> Option<Cause> {
        if self.stage == Stage::Flush { self.fail(cause) } else { Some(cause) }
    }

    /// Forgets that the manager `id` joined.
    pub(super) fn vacate(&mut self, id: ManagerId) {
        self.seats.retain(|seat| seat.id != id);
    }
}

impl Cause {
    /// The cause of a failure with `error`. Asks the members, who must still have their work,
    /// whether and when to try again.
    pub(super) fn new<'a>(error: &Error, members: impl Iterator<Item = &'a Member>) -> Cause {
        let text = error.to_string().into();
        if matches!(error, Error::Unknown(_) | Error::Mixed(_)) {
            return Cause { text, retryable: false, waits: Vec::new() };
        }
        let mut retryable = error.is_retryable();
        let members: Vec<_> = members.collect();
        for member in &members {
            retryable |= member.ask(|manager| manager.is_retryable(error)).unwrap_or(false);
        }
        let ask = |member: &&Member| member.ask(|manager| manager.before_retry(error)).flatten();
        let waits = if retryable { members.iter().filter_map(ask).collect() } else { Vec::new() };
        Cause { text, retryable, waits }
    }
}
