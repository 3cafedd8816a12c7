//! Changing objects in a transaction: [`Connection`].
//!
//! A connection reads as the [`View`] that it is, and keeps its changes in a write set, which its
//! participant commits together with whatever else takes part in the manager's transaction. It
//! encodes nothing and never calls the storage but for new oids.
//!
//! # Invariants
//! - The participant joins the transaction before the first change is recorded. Reading never
//!   joins.
//! - An object changes by `modify` alone; who holds an older `Arc` of it keeps the older value.

use super::core::Core;
use super::kind::kind;
use super::participant::Participant;
use super::view::View;
use super::watch::Watch;
use super::writes::{Entry, Shared, State, Writes};
use super::{Persistent, Ref};
use crate::error::{Error, Result};
use crate::id::{Oid, Tid};
use crate::storage::Durability;
use crate::transaction::{Current, Epoch, ManagerId, TransactionManager};
use parking_lot::MutexGuard;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A `Connection` reads and changes the objects of one database, in the transactions of one
/// manager.
///
/// It sees one snapshot for each transaction, and its own changes. It is for one flow of control:
/// it may move to another thread, but not be shared. Two connections of one database cannot both
/// change objects in one transaction.
///
/// ```
/// # let db = perennial::Database::in_memory()?;
/// let conn = db.connect(&perennial::TransactionManager::new());
/// std::thread::scope(|scope| {
///     scope.spawn(move || conn.tid().is_ok());
/// });
/// # Ok::<(), perennial::Error>(())
/// ```
///
/// Without `move`, the threads would share it, and that does not compile:
///
/// ```compile_fail
/// # let db = perennial::Database::in_memory()?;
/// let conn = db.connect(&perennial::TransactionManager::new());
/// std::thread::scope(|scope| {
///     scope.spawn(|| conn.tid().is_ok());
/// });
/// # Ok::<(), perennial::Error>(())
/// ```
pub struct Connection {
    view: View,
    manager: TransactionManager,
    epoch: Epoch,
    writes: Arc<Shared>,
    id: ManagerId,
}

impl Connection {
    pub(super) fn new(core: Arc<Core>, manager: &TransactionManager) -> Connection {
        let watch = Watch::new(&core, manager);
        let (epoch, writes) = (manager.epoch(), watch.writes.clone());
        let (manager, id) = (manager.clone(), ManagerId::new());
        Connection { view: View::watching(core, watch), manager, epoch, writes, id }
    }

    /// The transaction that is running: for savepoints, notes and hooks.
    ///
    /// # Errors
    /// [`Error::NoTransaction`].
    pub fn transaction(&self) -> Result<Current> {
        self.manager.current()
    }

    /// Makes a new object. It is stored at the commit, and kept for as long as it can be reached
    /// from a named root or a pinned object.
    ///
    /// # Errors
    /// [`Error::NoTransaction`]; [`Error::TransactionFailed`], naming the first cause;
    /// [`Error::Schema`] where the type is stored with another shape; [`Error::Unsupported`] where
    /// another connection of this database changed objects in this transaction.
    pub fn add<T: Persistent>(&self, value: T) -> Result<Ref<T>> {
        self.add_new(value, false)
    }

    pub(super) fn add_new<T: Persistent>(&self, value: T, pinned: bool) -> Result<Ref<T>> {
        const ACTION: &str = "add an object";
        let entry = Entry { pinned, ..Entry::new(Tid::ZERO, value) };
        let mut writes = self.to_write(ACTION)?;
        if !writes.knows::<T>() {
            // What makes out its shape is foreign code.
            drop(writes);
            self.core.types.own::<T>(&*self.core.storage)?;
            writes = self.to_write(ACTION)?;
            writes.note::<T>();
        }
        let oid = self.core.storage.new_oid()?;
        let spare = writes.put(oid, entry);
        drop(writes);
        drop(spare);
        Ok(Ref::new(oid, self.core.tag))
    }

    /// Makes the object of this very oid. `blank` is what it was before, for the resolver that
    /// meets another transaction's.
    pub(super) fn create<T: Persistent>(&self, oid: Oid, value: T, blank: Option<T>) -> Result<()> {
        self.core.types.own::<T>(&*self.core.storage)?;
        let mut entry = Entry::new(Tid::ZERO, value);
        entry.blank = blank.map(|blank| Arc::new(blank) as _);
        let spare = self.to_write("add an object")?.put(oid, entry);
        drop(spare);
        Ok(())
    }

    /// Changes an object: gives it to `change`, and returns what that returns.
    ///
    /// The closure may use the connection, but not for this object. There is no way back from
    /// within: whatever it did to the object is done, also where it returns an error of its own
    /// (see [`try_modify`](Connection::try_modify)). Where it panics, the transaction fails. A
    /// change that leaves the encoded bytes as they were is none, and is not stored.
    ///
    /// # Errors
    /// Those of [`get`](View::get) and of [`add`](Connection::add). [`Error::Busy`] inside another
    /// closure that modifies the object; [`Error::TransactionOver`] where the closure ended the
    /// transaction.
    pub fn modify<T: Persistent, R>(
        &self,
        r: Ref<T>,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R> {
        let mut taken = self.take(r)?;
        // Copies only where somebody else holds the object: a reader, the cache, a savepoint.
        let result = change(Arc::make_mut(&mut taken.object));
        taken.keep()?;
        Ok(result)
    }

    /// Changes an object if `change` succeeds; where it returns an error, the object stays as it
    /// was. It works on a copy.
    ///
    /// # Errors
    /// The closure's, and those of [`modify`](Connection::modify).
    pub fn try_modify<T: Persistent, R, E: From<Error>>(
        &self,
        r: Ref<T>,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut taken = self.take(r)?;
        let mut copy = T::clone(&taken.object);
        match change(&mut copy) {
            Ok(result) => {
                taken.object = Arc::new(copy);
                taken.keep()?;
                Ok(result)
            }
            Err(error) => {
                taken.leave()?;
                Err(error)
            }
        }
    }

    /// Makes the commit depend on the object being, then, as this transaction sees it now: where
    /// somebody else changed it, the commit is a conflict. Nothing is stored for this.
    ///
    /// # Errors
    /// Those of [`get`](View::get) and of [`add`](Connection::add).
    pub fn check_current<T: Persistent>(&self, r: Ref<T>) -> Result<()> {
        let oid = self.core.own(r)?;
        let changed = self.to_write("check an object")?.entry(oid).map(|entry| entry.base);
        let tid = match changed {
            Some(Tid::ZERO) => return Ok(()),
            Some(base) => base,
            None => self.revision(oid)?.0,
        };
        self.to_write("check an object")?.check(oid, tid);
        Ok(())
    }

    /// Says what the commit of this transaction waits for, in the place of what the database says
    /// for all.
    ///
    /// # Errors
    /// [`Error::NoTransaction`].
    pub fn set_durability(&self, durability: Durability) -> Result<()> {
        let transaction = self.active("set the durability")?;
        self.writes.lock().durability = Some((transaction, durability));
        Ok(())
    }
}

/// Recording.
impl Connection {
    fn active(&self, action: &'static str) -> Result<u64> {
        self.epoch.active().ok_or_else(|| Error::NoTransaction(action))
    }

    /// The write set of the current transaction, joined, which takes changes now.
    ///
    /// Joining comes first: a change recorded in a transaction that does not know of it would be
    /// committed by the next one.
    pub(super) fn to_write(&self, action: &'static str) -> Result<MutexGuard<'_, Writes>> {
        let transaction = self.active(action)?;
        if !self.epoch.takes_work(transaction) {
            self.manager.check_usable(action)?;
        }
        if let Some(writes) = self.writes.of(transaction) {
            return Ok(writes);
        }
        let watch = self.watch().ok_or(Error::NoTransaction(action))?;
        let snapshot = watch.now()?.snapshot.clone();
        let (core, writes) = (self.core.clone(), self.writes.clone());
        self.manager.join(Participant::new(core, writes, self.id, transaction))?;
        self.writes.join(transaction, snapshot);
        self.writes.to(transaction, action)
    }

    /// Takes the object out of the write set, or out of the view, for a closure.
    fn take<T: Persistent>(&self, r: Ref<T>) -> Result<Taken<'_, T>> {
        const ACTION: &str = "modify an object";
        let oid = self.core.own(r)?;
        let transaction = self.active(ACTION)?;
        let mut writes = self.to_write(ACTION)?;
        if let Some(object) = writes.object::<T>(oid) {
            let object = object?;
            let ticket = writes.take(oid);
            return Ok(Taken { connection: self, transaction, oid, ticket, fresh: false, object });
        }
        drop(writes);
        // Whoever decoded or encoded the first of its type compared the shapes.
        let found = self.read::<T>(oid)?;
        let entry = Entry { pinned: found.pinned, ..Entry::taken::<T>(found.tid) };
        let ticket = self.to_write(ACTION)?.take_new(oid, entry);
        let object = found.object;
        Ok(Taken { connection: self, transaction, oid, ticket, fresh: true, object })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Deref for Connection {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Entry {
    fn new<T: Persistent>(base: Tid, value: T) -> Entry {
        Entry { state: State::Present(Arc::new(value)), ..Entry::taken::<T>(base) }
    }

    fn taken<T: Persistent>(base: Tid) -> Entry {
        Entry { kind: kind::<T>(), base, pinned: false, blank: None, state: State::Taken(0) }
    }
}

/// An object in the hands of a closure. Dropped on the way of a panic, it makes the transaction
/// fail: nobody shall see, or store, a value that is half changed.
struct Taken<'a, T> {
    connection: &'a Connection,
    transaction: u64,
    oid: Oid,
    ticket: u64,
    /// Whether the transaction had not changed the object before.
    fresh: bool,
    object: Arc<T>,
}

impl<T: Persistent> Taken<'_, T> {
    /// The object is as it is now.
    fn keep(self) -> Result<()> {
        let object = self.object.clone();
        self.give_back(Some(State::Present(object)))
    }

    /// The object is as it was.
    fn leave(self) -> Result<()> {
        let object = self.object.clone();
        let state = (!self.fresh).then_some(State::Present(object));
        self.give_back(state)
    }

    fn give_back(mut self, state: Option<State>) -> Result<()> {
        let (oid, ticket) = (self.oid, std::mem::take(&mut self.ticket));
        let writes = self.connection.writes.to(self.transaction, "keep a change of an object");
        writes?.give_back(oid, ticket, state)
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        if self.ticket == 0 {
            return;
        }
        let Ok(mut writes) = self.connection.writes.to(self.transaction, "break") else { return };
        let broken = writes.give_back(self.oid, self.ticket, Some(State::Broken));
        drop(writes);
        if let (Ok(()), Ok(current)) = (broken, self.connection.transaction()) {
            let what = format!("a closure panicked while it modified object {}", self.oid);
            current.fail(&Error::Panicked(what.into()));
        }
    }
}
