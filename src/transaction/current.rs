//! What work can do with the transaction it runs in: [`Current`].
//!
//! The guard derefs to it, `TransactionManager::current` gives it out, and connections pass it on.
//! It adds to the transaction; ending it is left to the guard and the manager.
//!
//! # Invariants
//! - What is refused changes nothing, and is dropped after the lock is let go.

use super::contain::discard;
use super::data_manager::{DataManager, Info};
use super::hooks::{BeforeHook, EndHook, HookResult, When};
use super::manager::TransactionManager;
use super::member::{self, Member};
use super::outcome::{Outcome, Status};
use super::savepoint::Savepoint;
use super::state::{Cause, State};
use crate::error::{ActionLog, Error, Result};
use crate::id::GlobalId;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The greatest length of a transaction's user, and of its note, in bytes.
const TEXT_LIMIT: usize = 64 << 10;

/// The greatest length of a transaction's extension, keys and values together, in bytes.
const EXTENSION_LIMIT: usize = 1 << 20;

/// A `Current` is a handle on a transaction, for those who work in it.
///
/// All that it does is an error once the transaction is over, and names the first cause once it
/// has failed; only what tells about the transaction works always.
#[derive(Clone)]
pub struct Current {
    pub(super) manager: TransactionManager,
    pub(super) state: Arc<State>,
}

/// What it says of itself.
impl Current {
    /// The transaction's name, in every database and data manager.
    pub fn id(&self) -> GlobalId {
        self.state.id
    }

    /// The manager that gave it out.
    pub fn manager(&self) -> &TransactionManager {
        &self.manager
    }

    /// How the transaction stands.
    pub fn status(&self) -> Status {
        self.state.lock().status()
    }

    /// User, note and extension so far.
    pub fn info(&self) -> Info {
        self.state.lock().info.clone()
    }

    /// How the transaction's commit, or the transaction, ended, once it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.lock().outcome.clone()
    }

    /// What the data managers were asked to do, and how it went; of flushes, savepoints and
    /// rollbacks only those that failed. The error of a failed commit carries the same.
    pub fn action_log(&self) -> ActionLog {
        self.state.log.actions()
    }
}

/// What others say of it, and to it.
impl Current {
    /// Says what the transaction does; several notes are joined by newlines.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where all notes together exceed 64 KiB; nothing is changed.
    pub fn note(&self, note: &str) -> Result<()> {
        let mut work = self.state.lock();
        work.check_work("note")?;
        let newline = usize::from(!work.info.note.is_empty());
        check_limit("note", work.info.note.len() + newline + note.len(), TEXT_LIMIT)?;
        if newline > 0 {
            work.info.note.push('\n');
        }
        work.info.note.push_str(note);
        Ok(())
    }

    /// Says who does it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] beyond 64 KiB; nothing is changed.
    pub fn user(&self, user: &str) -> Result<()> {
        let mut work = self.state.lock();
        work.check_work("name the user")?;
        check_limit("user", user.len(), TEXT_LIMIT)?;
        work.info.user = user.into();
        Ok(())
    }

    /// Keeps `value` with the transaction, in the place of what `key` had before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where all keys and values together exceed 1 MiB; nothing is
    /// changed.
    pub fn extension(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<()> {
        let value = value.into();
        let mut work = self.state.lock();
        work.check_work("extend the metadata")?;
        let others = work.info.extension.iter().filter(|(other, _)| *other != key);
        let others: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        check_limit("extension", others + key.len() + value.len(), EXTENSION_LIMIT)?;
        work.info.extension.insert(key.into(), value);
        Ok(())
    }

    /// Makes sure that the transaction will not be committed; it takes work until it is aborted.
    ///
    /// # Errors
    /// Where the transaction is over, or has failed.
    pub fn doom(&self) -> Result<()> {
        let mut work = self.state.lock();
        work.check_work("doom")?;
        work.doomed = true;
        Ok(())
    }

    /// Makes the transaction fail with `error` as its cause, unless it has one: from now on only
    /// abort is accepted. For work whose failure nobody must overlook.
    ///
    /// Managers are asked whether the error is retryable; while they flush, the error alone. Does
    /// nothing while a phase is running, nor when the transaction is over.
    pub fn fail(&self, error: &Error) {
        let taken = self.state.lock().take_members("fail");
        if let Ok((members, stage)) = taken {
            let cause = Cause::new(error, members.iter());
            return self.state.fail(members, stage, cause);
        }
        let cause = Cause::new(error, std::iter::empty());
        let spare = self.state.lock().fail_in_flush(cause);
        discard(spare);
    }
}

/// What takes part in it.
impl Current {
    /// Lets `manager` take part from now on.
    ///
    /// # Errors
    /// [`Error::AlreadyJoined`] where it does already; [`Error::Unsupported`] where another
    /// manager of the same database does; [`Error::InProgress`] while a phase is running.
    pub fn join(&self, manager: impl DataManager + 'static) -> Result<()> {
        let member = Member::new(Box::new(manager))?;
        let mut work = self.state.lock();
        work.check_work("join")?;
        member.seat.check_beside(&work.seats)?;
        work.seats.push(member.seat.clone());
        member::insert(&mut work.members, member);
        Ok(())
    }

    /// Remembers this place, to return to it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a manager supports no savepoints, and the errors of managers;
    /// each fails the transaction.
    pub fn savepoint(&self) -> Result<Savepoint> {
        Savepoint::take(&self.state, false)
    }

    /// Remembers this place also where managers support no savepoints; then only a rollback fails.
    ///
    /// # Errors
    /// Those of managers that do support savepoints; each fails the transaction.
    pub fn optimistic_savepoint(&self) -> Result<Savepoint> {
        Savepoint::take(&self.state, true)
    }
}

/// What runs at its end. Hooks are for one transaction, run at most once, and vanish when a
/// savepoint taken before them is rolled back.
impl Current {
    /// Runs `hook` when the transaction is committed, before any data manager is called; hooks run
    /// in the order of registration, may add work and hooks, and may take savepoints. An error or
    /// panic fails the commit.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn before_commit<R: HookResult>(
        &self,
        hook: impl FnOnce() -> R + Send + 'static,
    ) -> Result<()> {
        let registered = Location::caller();
        let hook = BeforeHook { registered, run: Box::new(|| hook().into_result()) };
        let mut work = self.state.lock();
        work.check_work("add a hook")?;
        work.hooks.add_before(hook);
        Ok(())
    }

    /// Runs `hook` once a commit was tried, and tells it the outcome.
    ///
    /// The closure returns `()` or a `Result<()>`; one that never returns needs a `()` at its end.
    ///
    /// This and the following ones run when nothing is locked and no transaction is current: they
    /// may begin their own, on the same manager, and must end them. They run by priority, then in
    /// the order of registration, and may add others of their kind, through a clone of this
    /// handle. What fails or panics is logged and reported, and changes nothing.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn after_commit<R: HookResult>(
        &self,
        hook: impl FnOnce(&Outcome) -> R + Send + 'static,
    ) -> Result<()> {
        self.at_end(When::AfterCommit, 0, hook)
    }

    /// As [`after_commit`](Current::after_commit), with a priority other than 0: lower ones run
    /// first.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn after_commit_at<R: HookResult>(
        &self,
        priority: i32,
        hook: impl FnOnce(&Outcome) -> R + Send + 'static,
    ) -> Result<()> {
        self.at_end(When::AfterCommit, priority, hook)
    }

    /// Runs `hook` after the commit, only if it happened.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn on_commit<R: HookResult>(
        &self,
        hook: impl FnOnce(&Outcome) -> R + Send + 'static,
    ) -> Result<()> {
        self.at_end(When::OnCommit, 0, hook)
    }

    /// Runs `hook` after the transaction was aborted, unless a commit of it had been tried.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn on_abort<R: HookResult>(&self, hook: impl FnOnce() -> R + Send + 'static) -> Result<()> {
        self.at_end(When::OnAbort, 0, |_| hook())
    }

    /// Runs `hook` however the transaction ends: committed, aborted, or with a failed commit.
    ///
    /// # Errors
    /// Where the transaction takes no more work.
    #[track_caller]
    pub fn on_end<R: HookResult>(
        &self,
        hook: impl FnOnce(&Outcome) -> R + Send + 'static,
    ) -> Result<()> {
        self.at_end(When::OnEnd, 0, hook)
    }

    #[track_caller]
    fn at_end<R: HookResult>(
        &self,
        when: When,
        priority: i32,
        hook: impl FnOnce(&Outcome) -> R + Send + 'static,
    ) -> Result<()> {
        let registered = Location::caller();
        let run = Box::new(|outcome: &Outcome| hook(outcome).into_result());
        let hook = EndHook { priority, registered, when, run };
        let mut work = self.state.lock();
        if !work.telling {
            work.check_work("add a hook")?;
        }
        work.hooks.add_end(hook);
        Ok(())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("id", &self.id()).field("status", &self.status()).finish()
    }
}

fn check_limit(what: &str, length: usize, limit: usize) -> Result<()> {
    if length <= limit {
        return Ok(());
    }
    let text = format!("the transaction's {what} would have {length} bytes; the limit is {limit}");
    Err(Error::InvalidArgument(text.into()))
}
