//! The contract between a transaction and those who take part in it.
//!
//! A [`DataManager`] holds data that change in transactions: a connection to a database, a
//! directory of files, a mail spool. It *joins* the current transaction at its first change,
//! before it records that change, and from then on the transaction calls it. It never calls the
//! transaction from within one of these methods, but for [`flush`](DataManager::flush), from which
//! it may change, and so make join, other managers.
//!
//! One commit is, for a single manager, one call of [`commit_alone`](DataManager::commit_alone).
//! For several it is two-phase: all but one *prepare*, which is a promise to be able to finish;
//! the one left over, the *decider*, commits alone, and that is the decision; then the prepared
//! ones finish. A failure before the decision aborts everybody.
//!
//! # Invariants
//! - Every phase visits the managers in the order of their sort keys, and is over for all of them
//!   before the next one begins.
//! - A manager that prepared sees exactly one of finish, abort and park.

use crate::error::{Error, Result};
use crate::id::{DatabaseId, GlobalId, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A participant in transactions.
///
/// What joins is a handle on the manager's state, not the state itself: it is dropped when the
/// transaction is over, and a new one joins the next.
pub trait DataManager: Send {
    /// Who this is: the same for every handle on the same state, so that joining twice is noticed.
    fn identity(&self) -> ManagerId;

    /// Its place in the order in which managers are called, and its name in messages.
    fn sort_key(&self) -> String;

    /// The database this manager commits into, where it can commit alone *as the decision* of a
    /// transaction that others take part in, and remember it. The smallest id decides; where no
    /// manager decides, the last in the order does.
    fn decides(&self) -> Option<DatabaseId> {
        None
    }

    /// The database it commits into, of which one transaction has one manager at most.
    fn database(&self) -> Option<DatabaseId> {
        self.decides()
    }

    /// Where the others will find the decision, should they have to ask for it after a crash.
    ///
    /// Asked of the decider, before the others prepare; they are told by [`Info::coordinator`].
    fn coordinator(&self) -> Option<Coordinator> {
        None
    }

    /// Turns what is pending into changes, also of other managers; whether anything changed.
    ///
    /// Called in rounds before the first phase, until all report that nothing did.
    ///
    /// # Errors
    /// Fail the transaction.
    fn flush(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Phase one: does everything that can fail, and promises that what is left cannot.
    ///
    /// # Errors
    /// Abort the transaction; nothing of this manager's may remain, [`abort`](DataManager::abort)
    /// is called all the same. Of a manager that did prepare, [`Prepared::abort`] is called instead.
    fn prepare(&mut self, info: &Info) -> Result<Box<dyn Prepared>>;

    /// Commits without a phase one: as the only manager, or, where `decision` is given, as the
    /// one whose success decides for all others, which are prepared.
    ///
    /// # Errors
    /// [`Error::Unknown`] where nobody can tell whether it happened: nothing more is called then.
    /// Every other error means that it did not. A panic says neither, and counts as unknown.
    fn commit_alone(&mut self, info: &Info, decision: Option<&Decision>) -> Result<Option<Tid>> {
        let _ = decision;
        self.prepare(info)?.finish()
    }

    /// Every participant of the decision that this manager made has finished: it need not be
    /// remembered any longer than until that is durable everywhere.
    ///
    /// Called once, after the last of them finished, and only if all did.
    fn all_finished(&mut self, decision: &Decision) {
        let _ = decision;
    }

    /// Forgets every change since joining. Called when the transaction aborts or fails, or is
    /// rolled back to a savepoint taken before this manager joined; the handle is dropped next.
    ///
    /// # Errors
    /// Are reported; the other managers are aborted all the same.
    fn abort(&mut self) -> Result<()>;

    /// Remembers the present state, to which [`Saved::rollback`] returns. Meant to cost O(1).
    ///
    /// # Errors
    /// [`Error::Unsupported`], the default: a strict savepoint then fails the transaction, an
    /// optimistic one cannot be rolled back.
    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        let what = format!("the data manager {} does not support savepoints", self.sort_key());
        Err(Error::Unsupported(what.into()))
    }

    /// Whether the work that failed with `error` may succeed in a new transaction.
    ///
    /// Asked of every manager before the abort, also about the errors of others.
    fn is_retryable(&self, error: &Error) -> bool {
        error.is_retryable()
    }

    /// What must have happened before a retry after `error` makes sense, as something that waits
    /// for it: that the winner of a conflict is visible, say. It must give up after some time.
    ///
    /// Asked of every manager before the abort, where the error is retryable; what it returns is
    /// run after the abort, and only if there is a next try.
    fn before_retry(&self, error: &Error) -> Option<Box<dyn FnOnce() + Send>> {
        let _ = error;
        None
    }
}

/// The state of one manager at a savepoint. Dropped when the savepoint can no longer be used:
/// those that a rollback makes invalid before it, newest first; others in any order.
pub trait Saved: Send {
    /// Returns the manager to the state it had; may be called again later.
    ///
    /// # Errors
    /// Fail the transaction.
    fn rollback(&mut self) -> Result<()>;
}

/// A promise to finish, and its three exits.
///
/// Dropped without any of them it must abort, or, where the decision may have been made, park.
pub trait Prepared: Send {
    /// Phase two: makes the change. Must not fail for reasons that `prepare` could have seen.
    ///
    /// # Errors
    /// The decision is made all the same: what is left undone must be finished by recovery.
    fn finish(self: Box<Self>) -> Result<Option<Tid>>;

    /// Gives up: nothing remains.
    ///
    /// # Errors
    /// Are reported; the other managers are aborted all the same.
    fn abort(self: Box<Self>) -> Result<()>;

    /// Leaves the change in doubt, neither made nor given up: the outcome of the decision is not
    /// known, and recovery will ask for it.
    fn park(self: Box<Self>);

    /// Whether recovery can finish this by itself when `finish` failed, by asking the decider.
    fn recovers(&self) -> bool {
        false
    }
}

/// What a transaction says of itself to its managers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Names this transaction everywhere.
    pub id: GlobalId,
    /// Who did it; empty where nobody said.
    pub user: String,
    /// What it did; several notes are joined by newlines.
    pub note: String,
    /// What else the application wants to keep with it.
    pub extension: BTreeMap<String, Vec<u8>>,
    /// Told to those who prepare: who decides, if that is a database that remembers.
    pub coordinator: Option<Coordinator>,
    begun: Begun,
}

/// Whether the decision of a transaction has begun.
#[derive(Debug, Clone, Default)]
struct Begun(Arc<AtomicBool>);

impl Info {
    /// The info of the transaction `id`, of which nothing is said yet.
    pub fn new(id: GlobalId) -> Info {
        let (user, note, extension, coordinator, begun) = Default::default();
        Info { id, user, note, extension, coordinator, begun }
    }

    /// Whether the decision may have been made already, also asked of a clone that was taken
    /// before: what was prepared then is parked, and no more aborted, where nothing else is known.
    pub fn decision_begun(&self) -> bool {
        self.begun.0.load(Ordering::Acquire)
    }

    pub(super) fn begin_decision(&self) {
        self.begun.0.store(true, Ordering::Release);
    }
}

impl PartialEq for Begun {
    fn eq(&self, other: &Begun) -> bool {
        self.0.load(Ordering::Acquire) == other.0.load(Ordering::Acquire)
    }
}

impl Eq for Begun {}

/// The database that decides a transaction, as its participants are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coordinator {
    /// Its id.
    pub database: DatabaseId,
    /// Its last durable transaction: a file of this id that is older cannot know the decision.
    pub last_tid: Tid,
    /// Where it is, as a hint; empty where that cannot be said.
    pub path: String,
}

impl Coordinator {
    /// The database of this id, which is durable up to `last_tid` and stands at `path`.
    pub fn new(database: DatabaseId, last_tid: Tid, path: impl Into<String>) -> Coordinator {
        Coordinator { database, last_tid, path: path.into() }
    }
}

/// Handed to the manager that decides: whom it decides for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// The transaction, under the name that the participants know.
    pub gtid: GlobalId,
    /// The managers that are prepared, in order.
    pub participants: Vec<Participant>,
}

/// One of those that a decision is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// Its sort key.
    pub name: String,
    /// Its database, where it is one of ours.
    pub database: Option<DatabaseId>,
}

impl Decision {
    /// The decision of `gtid` for `participants`.
    pub fn new(gtid: GlobalId, participants: Vec<Participant>) -> Decision {
        Decision { gtid, participants }
    }
}

impl Participant {
    /// The participant with this sort key and, where it is one of ours, database.
    pub fn new(name: impl Into<String>, database: Option<DatabaseId>) -> Participant {
        Participant { name: name.into(), database }
    }
}

/// A `ManagerId` tells one data manager's state from another's, within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId(u64);

impl ManagerId {
    /// One that nobody else has.
    #[expect(clippy::new_without_default, reason = "a default that differs each time misleads")]
    pub fn new() -> ManagerId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ManagerId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
