//! What a storage says and hears of transactions that it commits together with others:
//! [`TwoPhase`].
//!
//! A storage that takes part *promises* to commit a batch ([`Promise`]), and one that
//! decides remembers that it did ([`Fate`], [`OpenDecision`]). A promise that nobody kept or took
//! back is *in doubt* ([`Doubt`]): only the decider knows what becomes of it.
//!
//! # Invariants
//! - What a promise would write, and what it relies on, does not change before it is settled.
//! - An answer that a transaction was committed, or given up, is never contradicted later.

use super::{Batch, Receipt, Verdict};
use crate::error::Result;
use crate::format::{Coordinator, Participant};
use crate::id::{GlobalId, Tid};
use crate::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// What a [`Storage`](super::Storage) does in transactions that others take part in.
pub trait TwoPhase {
    /// Promises to commit `batch` in the transaction of `intent`, which is decided elsewhere; or
    /// tells what stands against it, as [`commit`](super::Storage::commit) does. What the batch
    /// writes and what it checks is reserved until the promise is settled.
    ///
    /// The promise outlives a power loss where the storage does, and is in doubt after it.
    ///
    /// # Errors
    /// As for [`commit`](super::Storage::commit): nothing was promised, and what may be left of
    /// the attempt is given up by whoever decides. [`Error::InvalidArgument`] also where something
    /// is promised to the transaction already.
    ///
    /// [`Error::InvalidArgument`]: crate::Error::InvalidArgument
    fn prepare(&self, batch: &Arc<Batch>, intent: &Intent) -> Result<Verdict<Box<dyn Promise>>>;

    /// The promises that are in doubt.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn in_doubt(&self) -> Result<Vec<Doubt>>;

    /// Settles the promise of `gtid` that is in doubt: durably keeps it where the transaction was
    /// committed, takes it back where not. Does nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Halted`](crate::Error::Halted), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::ReadOnly`](crate::Error::ReadOnly): it stays in doubt.
    fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()>;

    /// Waits until the promise of `gtid` is settled, or `bound` has passed; whether it is. Does not
    /// wait for one that is in doubt: nobody knows when somebody will find out.
    ///
    /// # Errors
    /// [`Error::Halted`](crate::Error::Halted), [`Error::Closed`](crate::Error::Closed): it never
    /// will be.
    fn wait_settled(&self, gtid: GlobalId, bound: Duration) -> Result<bool>;

    /// How promises that are decided by this storage find it, where it remembers its decisions
    /// for longer than the process lives.
    fn coordinator(&self) -> Option<Coordinator> {
        None
    }

    /// What became of the transaction `gtid`, if it is one that is decided here. Where it has not
    /// been decided, it is given up: a batch that would decide it is refused from now on.
    ///
    /// `since` is a transaction that was durable here before the decision could be made; a storage
    /// that does not hold it is not the one that was to decide, or an older copy, and cannot tell.
    /// Nor can one that has given up 65,536 undecided transactions since it was opened.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), and those of reading.
    fn decision(&self, gtid: GlobalId, since: Tid) -> Result<Fate>;

    /// The decisions that were not ended.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), and those of reading.
    fn open_decisions(&self) -> Result<Vec<OpenDecision>>;

    /// Notes that every participant of the decision `gtid` has finished, durably. Does nothing
    /// where there is no such decision.
    ///
    /// # Errors
    /// [`Error::Halted`](crate::Error::Halted), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::ReadOnly`](crate::Error::ReadOnly): the decision stays open.
    fn end_decision(&self, gtid: GlobalId) -> Result<()>;

    /// Tells how much is durable.
    fn durable_mark(&self) -> DurableMark;
}

/// What a promise is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The transaction, under the name that all participants know.
    pub gtid: GlobalId,
    /// Who decides, if that is a database that remembers.
    pub coordinator: Option<Coordinator>,
}

/// A `Promise` to commit a batch, and its exits. Dropped without any of them, it is in doubt.
pub trait Promise: Send + Debug {
    /// Keeps it: commits the batch, without waiting for the disk. The decision is durable, and
    /// would bring the batch back.
    ///
    /// # Errors
    /// Leave it in doubt: [`Error::Halted`](crate::Error::Halted),
    /// [`Error::Closed`](crate::Error::Closed).
    fn finish(self: Box<Self>) -> Result<Receipt>;

    /// Takes it back: nothing of the batch remains.
    ///
    /// # Errors
    /// As for [`finish`](Promise::finish).
    fn abort(self: Box<Self>) -> Result<()>;

    /// Leaves it in doubt.
    fn park(self: Box<Self>);
}

/// What became of a global transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was decided here, as this transaction.
    Committed(Tid),
    /// It never was decided here, and never will be.
    Aborted,
    /// That cannot be told.
    Unknown,
}

/// Transactions that a storage was asked for and will not decide any more.
///
/// Nothing can be taken out again: who was told is right for as long as somebody in this process
/// could decide. So there is a bound, and where it is reached nobody is told anything.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeSet<GlobalId>);

impl Refusals {
    /// How many are kept; they take about two megabytes.
    const MOST: usize = 1 << 16;

    /// Refuses the decision of `gtid`, where there is room for it; whether it is refused.
    pub(super) fn add(&mut self, gtid: GlobalId) -> bool {
        self.has(gtid) || self.0.len() < Refusals::MOST && self.0.insert(gtid)
    }

    /// Whether the decision of `gtid` is refused.
    pub(super) fn has(&self, gtid: GlobalId) -> bool {
        self.0.contains(&gtid)
    }
}

/// A promise that is in doubt: nobody has it in hand who could settle it without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doubt {
    /// The transaction.
    pub gtid: GlobalId,
    /// Who decides, if that is a database that remembers.
    pub coordinator: Option<Coordinator>,
    /// The transaction's note.
    pub note: String,
    /// Where the promise stands in the file, in bytes; 0 where there is no file.
    pub offset: u64,
}

/// A decision that somebody may still ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenDecision {
    /// The transaction, under the name that all participants know.
    pub gtid: GlobalId,
    /// The transaction, as it was committed here.
    pub tid: Tid,
    /// Those it was decided for.
    pub participants: Vec<Participant>,
}

/// A `DurableMark` tells how much of a storage survives a power loss, also after it was closed.
#[derive(Debug, Clone, Default)]
pub struct DurableMark(Arc<AtomicU64>);

impl DurableMark {
    /// The last transaction that does, and all before it.
    pub fn tid(&self) -> Tid {
        Tid::new(self.0.load(Ordering::Acquire))
    }

    pub(super) fn raise(&self, tid: Tid) {
        self.0.fetch_max(tid.number(), Ordering::AcqRel);
    }
}
