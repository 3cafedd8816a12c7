//! A connection's part in a transaction: [`Participant`].
//!
//! The transaction calls it; it hands the connection's changes to `commit`, or forgets them. A
//! new one joins each transaction.
//!
//! # Invariants
//! - However the transaction ends, and however this handle goes, none of the changes is left.

use super::commit::commit;
use super::core::Core;
use super::writes::{Shared, Writes};
use crate::error::{Error, Result};
use crate::id::{DatabaseId, Tid};
use crate::transaction::{DataManager, Decision, Info, ManagerId, Prepared, Saved};
use std::sync::Arc;
use std::time::Duration;

/// How long a retry waits for what it lost to. Publication takes milliseconds; who waits longer
/// waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, as its transaction sees it.
pub(super) struct Participant {
    core: Arc<Core>,
    writes: Arc<Shared>,
    id: ManagerId,
    transaction: u64,
    /// The transaction that this one lost to.
    lost_to: Option<Tid>,
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
        self.settled()?;
        Ok(self.writes.leave(self.transaction))
    }

    fn settled(&self) -> Result<()> {
        let in_hand = self.writes.of(self.transaction).and_then(|writes| writes.in_hand());
        in_hand.map_or(Ok(()), |oid| Err(Error::Busy { oid }))
    }
}

impl DataManager for Participant {
    fn identity(&self) -> ManagerId {
        self.id
    }

    fn sort_key(&self) -> String {
        format!("perennial {}", self.core.storage.id())
    }

    fn decides(&self) -> Option<DatabaseId> {
        Some(self.core.storage.id())
    }

    fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
        let id = self.core.storage.id();
        let what = format!(
            "database {id} cannot be changed in one transaction with another database, which \
             would decide for both"
        );
        Err(Error::Unsupported(what.into()))
    }

    fn commit_alone(&mut self, info: &Info, decision: Option<&Decision>) -> Result<Option<Tid>> {
        let writes = self.take()?;
        let committed = commit(&self.core, writes, info, decision);
        if let Err(Error::Conflict(conflict)) = &committed {
            self.lost_to = Some(conflict.current);
        }
        committed
    }

    fn abort(&mut self) -> Result<()> {
        drop(self.writes.leave(self.transaction));
        Ok(())
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        self.settled()?;
        let layer = self.writes.to(self.transaction, "take a savepoint")?.save();
        let (writes, transaction) = (self.writes.clone(), self.transaction);
        Ok(Box::new(SavedWrites { writes, transaction, layer }))
    }

    fn before_retry(&self, _: &Error) -> Option<Box<dyn FnOnce() + Send>> {
        // Whoever begins before the winner is visible meets the same conflict again.
        let (core, winner) = (self.core.clone(), self.lost_to?);
        Some(Box::new(move || {
            if let Err(error) = core.storage.wait_published(winner, PATIENCE) {
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
