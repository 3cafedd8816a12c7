//! Which snapshot a connection sees: [`Watch`].
//!
//! A [`Listener`] is told by the transaction manager where transactions begin and end, and takes
//! the snapshots; the connection's view finds here the one of the current transaction. That takes
//! one atomic load where the transaction is the one of the call before.
//!
//! # Invariants
//! - A transaction sees one snapshot, from its begin, or from the connection's, to its end.

use super::core::Core;
use super::writes::Shared;
use crate::error::{Error, Result};
use crate::storage::Snapshot;
use crate::transaction::{Current, Epoch, Outcome, Synchronizer, TransactionManager};
use parking_lot::Mutex;
use std::cell::{Ref, RefCell};
use std::sync::{Arc, Weak};

/// What a view knows of the transactions it is used in.
pub(super) struct Watch {
    epoch: Epoch,
    listener: Arc<Listener>,
    /// The transaction of the last call, and what it sees.
    now: RefCell<Option<Now>>,
    pub writes: Arc<Shared>,
}

/// A transaction and its snapshot.
#[derive(Clone)]
pub(super) struct Now {
    pub transaction: u64,
    pub snapshot: Arc<dyn Snapshot>,
}

/// Takes a snapshot whenever a transaction begins.
struct Listener {
    core: Arc<Core>,
    epoch: Epoch,
    /// Those of the transactions that are not over: hooks begin some while the one that they are
    /// told of waits for its abort. Nothing, where the storage had no snapshot to give.
    open: Mutex<Vec<Seen>>,
}

/// A transaction's number, and its snapshot.
type Seen = (u64, Option<Arc<dyn Snapshot>>);

impl Watch {
    /// A watch that hears of `manager`'s transactions, the current one included.
    pub fn new(core: &Arc<Core>, manager: &TransactionManager) -> Watch {
        let writes = Arc::new(Shared::new(core.isolation));
        let (core, epoch, open) = (core.clone(), manager.epoch(), Mutex::default());
        let listener = Arc::new(Listener { core, epoch: epoch.clone(), open });
        let weak: Weak<Listener> = Arc::downgrade(&listener);
        manager.add_synchronizer(weak);
        Watch { epoch, listener, now: RefCell::new(None), writes }
    }

    /// The current transaction and its snapshot.
    ///
    /// # Errors
    /// [`Error::NoTransaction`]; [`Error::Closed`] where the database was closed before it began,
    /// and [`Error::Forked`] where it began in a fork.
    #[inline]
    pub fn now(&self) -> Result<Ref<'_, Now>> {
        let Some(transaction) = self.epoch.active() else {
            return Err(Error::NoTransaction("read an object"));
        };
        let known = Ref::filter_map(self.now.borrow(), |now| {
            now.as_ref().filter(|now| now.transaction == transaction)
        });
        known.or_else(|borrowed| {
            drop(borrowed);
            self.turn_to(transaction)
        })
    }

    fn turn_to(&self, transaction: u64) -> Result<Ref<'_, Now>> {
        let open = self.listener.open.lock();
        let found = open.iter().rev().find(|(of, _)| *of == transaction);
        let (_, snapshot) = found.ok_or(Error::NoTransaction("read an object"))?;
        let snapshot = snapshot.clone();
        drop(open);
        // Where there was none at the begin, the storage still knows why.
        let refusal = || self.listener.core.storage.snapshot().err().unwrap_or(Error::Closed);
        let snapshot = snapshot.ok_or_else(refusal)?;
        self.now.replace(Some(Now { transaction, snapshot }));
        let now = self.now.borrow();
        Ref::filter_map(now, Option::as_ref).map_err(|_| Error::NoTransaction("read an object"))
    }
}

impl Synchronizer for Listener {
    fn new_transaction(&self, _: &Current) {
        let Some(transaction) = self.epoch.active() else { return };
        let snapshot = self.core.storage.snapshot();
        let snapshot = snapshot.inspect_err(|error| tracing::warn!(%error, "no snapshot"));
        self.open.lock().push((transaction, snapshot.ok()));
    }

    fn after_completion(&self, _: &Outcome) {
        // The innermost one: what a hook began, it ended.
        let over = self.open.lock().pop();
        drop(over);
    }
}
