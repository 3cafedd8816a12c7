//! A connection's part in a transaction: [`Participant`].
//!
//! The transaction calls it; it hands the connection's changes to `commit`, or forgets them. A
//! new one joins each transaction.
//!
//! # Invariants
//! - However the transaction ends, and however this handle goes, none of the changes is left.

use super::commit::{Promised, commit, prepare};
use super::core::Core;
use super::writes::{Shared, Writes};
use crate::error::{Error, Result};
use crate::format;
use crate::id::{DatabaseId, GlobalId, Tid};
use crate::transaction::{Coordinator, DataManager, Decision, Info, ManagerId, Prepared, Saved};
use std::sync::Arc;
use std::time::Duration;

/// How long a retry waits for what it lost to. Publication takes milliseconds; who waits longer
/// waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a transaction lost to.
#[derive(Clone, Copy)]
enum Winner {
    /// One that is committed, if perhaps not published.
    Committed(Tid),
    /// One to which the object is promised.
    Promised(GlobalId),
}

/// A connection, as its transaction sees it.
pub(super) struct Participant {
    core: Arc<Core>,
    writes: Arc<Shared>,
    id: ManagerId,
    transaction: u64,
    /// What this transaction lost to.
    lost_to: Option<Winner>,
}

impl Participant {
    pub fn new(
        core: Arc<Core>,
        writes: Arc<Shared>,
        id: ManagerId,
        transaction: u64,
    ) -> Participant {
        Participant { core, writes, id, transaction, lost_to: None }
    }

    /// Takes the changes out, unless a closure is still at work on one.
    fn take(&self) -> Result<Writes> {
        self.check_not_in_hand()?;
        Ok(self.writes.leave_to_commit(self.transaction))
    }

    /// Remembers whom it lost to.
    fn note_loss<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(Error::Conflict(conflict)) = &result {
            let committed = Winner::Committed(conflict.current);
            self.lost_to = Some(conflict.promised.map_or(committed, Winner::Promised));
        }
        result
    }

    /// Refuses while a closure has an object.
    fn check_not_in_hand(&self) -> Result<()> {
        let in_hand = self.writes.of(self.transaction).and_then(|writes| writes.in_hand());
        in_hand.map_or(Ok(()), |oid| Err(Error::Busy { oid }))
    }
}

impl DataManager for Participant {
    fn identity(&self) -> ManagerId {
        self.id
    }

    fn sort_key(&self) -> String {
        self.core.sort_key.clone()
    }

    fn decides(&self) -> Option<DatabaseId> {
        // One that forgets when the process ends would leave the others in doubt for ever.
        self.core.decides
    }

    fn database(&self) -> Option<DatabaseId> {
        Some(self.core.storage.id())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        let format::Coordinator { database, last_tid, path } = self.core.storage.coordinator()?;
        Some(Coordinator::new(database, last_tid, path))
    }

    fn prepare(&mut self, info: &Info) -> Result<Box<dyn Prepared>> {
        let writes = self.take()?;
        let promised = prepare(&self.core, writes, info);
        let promised = self.note_loss(promised)?;
        Ok(Box::new(PreparedWrites { core: self.core.clone(), info: info.clone(), promised }))
    }

    fn commit_alone(&mut self, info: &Info, decision: Option<&Decision>) -> Result<Option<Tid>> {
        let writes = self.take()?;
        let committed = commit(&self.core, writes, info, decision);
        self.note_loss(committed)
    }

    fn all_finished(&mut self, decision: &Decision) {
        self.core.end_when_durable(decision);
    }

    fn abort(&mut self) -> Result<()> {
        drop(self.writes.leave(self.transaction));
        Ok(())
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        self.check_not_in_hand()?;
        let layer = self.writes.to(self.transaction, "take a savepoint")?.save();
        let (writes, transaction) = (self.writes.clone(), self.transaction);
        Ok(Box::new(SavedWrites { writes, transaction, layer }))
    }

    fn before_retry(&self, _: &Error) -> Option<Box<dyn FnOnce() + Send>> {
        // Whoever begins before the winner is visible meets the same conflict again.
        let (core, winner) = (self.core.clone(), self.lost_to?);
        Some(Box::new(move || {
            let waited = match winner {
                Winner::Committed(tid) => core.storage.wait_published(tid, PATIENCE),
                Winner::Promised(gtid) => core.storage.wait_settled(gtid, PATIENCE),
            };
            if let Err(error) = waited {
                tracing::debug!(%error, "the transaction that was lost to never appears");
            }
        }))
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        drop(self.writes.leave(self.transaction));
    }
}

/// The changes, promised to a transaction that is decided elsewhere.
struct PreparedWrites {
    core: Arc<Core>,
    info: Info,
    /// Gone when it was kept, taken back or parked; or where there was nothing to promise.
    promised: Option<Promised>,
}

impl Prepared for PreparedWrites {
    fn finish(mut self: Box<Self>) -> Result<Option<Tid>> {
        let promised = self.promised.take();
        promised.map(|promised| promised.finish(&self.core)).transpose()
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.promised.take().map_or(Ok(()), Promised::abort)
    }

    fn park(mut self: Box<Self>) {
        if let Some(promised) = self.promised.take() {
            promised.park();
        }
    }

    fn recovers(&self) -> bool {
        self.info.coordinator.is_some() && self.core.storage.coordinator().is_some()
    }
}

impl Drop for PreparedWrites {
    fn drop(&mut self) {
        let Some(promised) = self.promised.take() else { return };
        if self.info.decision_begun() {
            promised.park();
        } else if let Err(error) = promised.abort() {
            tracing::warn!(transaction = %self.info.id, %error, "dropped, and left in doubt");
        }
    }
}

/// The changes at a savepoint.
struct SavedWrites {
    writes: Arc<Shared>,
    transaction: u64,
    layer: u64,
}

impl Saved for SavedWrites {
    fn rollback(&mut self) -> Result<()> {
        let mut writes = self.writes.to(self.transaction, "roll back to a savepoint")?;
        let spare = writes.roll_back(self.layer);
        drop(writes);
        spare.map(drop).ok_or(Error::InvalidSavepoint("the connection does not know it"))
    }
}

impl Drop for SavedWrites {
    fn drop(&mut self) {
        let writes = self.writes.of(self.transaction);
        let spare = writes.map(|mut writes| writes.release(self.layer));
        drop(spare);
    }
}
