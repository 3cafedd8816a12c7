//! What a transaction wants to change, and the way back to its savepoints: [`Writes`].
//!
//! A connection fills it, its participant commits or forgets it; both hold the [`Shared`]. It
//! knows objects and their kinds, and neither storage nor codec.
//!
//! # Invariants
//! - Only the transaction that joined finds its changes here: they go when it ends.
//! - A layer holds, of everything touched since its savepoint, what it was before.
//! - No lock is held while a closure has an object, nor while one is dropped: what is of no use
//!   any more is returned.

use super::isolation::{Isolation, ReadSet};
use super::kind::{Kind, Object};
use super::persistent::Persistent;
use super::types::wrong_type;
use crate::error::{Error, NotFound, Result};
use crate::id::{Oid, Tid};
use crate::storage::{Durability, Snapshot};
use crate::tables::{OidMap, OidTable};
use parking_lot::{Mutex, MutexGuard};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The write set of a connection, shared with its participant.
pub(super) struct Shared {
    /// Whether anything may be in it: readers ask before they take the lock.
    joined: AtomicBool,
    writes: Mutex<Writes>,
    /// What was read, where that is to be known.
    pub reads: Option<ReadSet>,
}

/// The changes of one transaction.
#[derive(Default)]
pub(super) struct Writes {
    /// The transaction that joined, by its number at the manager.
    pub transaction: Option<u64>,
    /// What it sees.
    pub snapshot: Option<Arc<dyn Snapshot>>,
    /// What its commit waits for, where somebody said so: of the transaction of this number.
    pub durability: Option<(u64, Durability)>,
    /// What it read, where that is to be known: none of it may have been changed, nor is merged.
    pub read: OidMap<Tid>,
    entries: OidTable<Entry>,
    checks: OidMap<Tid>,
    /// By the numbers of their savepoints, which rise.
    layers: BTreeMap<u64, Layer>,
    next_layer: u64,
    next_ticket: u64,
    /// The type that was asked for last, and is stored with the program's shape.
    known: Option<TypeId>,
    /// How many objects are in the hands of closures.
    taken: usize,
}

/// A changed object.
#[derive(Clone)]
pub(super) struct Entry {
    pub kind: &'static dyn Kind,
    /// The revision it was changed from; [`Tid::ZERO`] for a new object.
    pub base: Tid,
    pub pinned: bool,
    /// What a new object was before others made it, too, if that is anything to merge with.
    pub blank: Option<Object>,
    pub state: State,
}

/// What became of an object.
#[derive(Clone)]
pub(super) enum State {
    Present(Object),
    Removed,
    /// A closure has it, under this number.
    Taken(u64),
    /// A closure had it, and panicked.
    Broken,
}

/// What was touched since a savepoint, as it was before.
#[derive(Default)]
struct Layer {
    entries: OidMap<Option<Entry>>,
    checks: OidMap<Option<Tid>>,
}

impl Shared {
    pub fn new(isolation: Isolation) -> Shared {
        let reads = (isolation == Isolation::Serializable).then(ReadSet::default);
        Shared { joined: AtomicBool::new(false), writes: Mutex::default(), reads }
    }

    /// The changes, where the transaction of this number has any.
    #[inline]
    pub fn of(&self, transaction: u64) -> Option<MutexGuard<'_, Writes>> {
        // Relaxed: the flow of control that joined is the one that asks.
        if !self.joined.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.writes.lock()).filter(|writes| writes.transaction == Some(transaction))
    }

    /// The changes, for the transaction of this number to add to.
    ///
    /// # Errors
    /// [`Error::TransactionOver`] where it ended meanwhile.
    pub fn to(&self, transaction: u64, action: &'static str) -> Result<MutexGuard<'_, Writes>> {
        self.of(transaction).ok_or(Error::TransactionOver(action))
    }

    /// Whatever is there.
    pub fn lock(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock()
    }

    /// From now on the transaction of this number, which sees `snapshot`, can add changes.
    pub fn join(&self, transaction: u64, snapshot: Arc<dyn Snapshot>) {
        let mut writes = self.writes.lock();
        let before = writes.leave();
        (writes.transaction, writes.snapshot) = (Some(transaction), Some(snapshot));
        self.joined.store(true, Ordering::Relaxed);
        drop((writes, before));
    }

    /// Takes all changes of the transaction of this number out; it can add no more.
    pub fn leave(&self, transaction: u64) -> Writes {
        let mut writes = self.writes.lock();
        if writes.transaction != Some(transaction) {
            return Writes::default();
        }
        self.joined.store(false, Ordering::Relaxed);
        writes.leave()
    }

    /// As [`leave`](Shared::leave), with what the transaction has read, for the commit. What it read
    /// before a rollback counts: the program may have gone on because of it.
    pub fn leave_to_commit(&self, transaction: u64) -> Writes {
        let read = self.reads.as_ref().map(|reads| reads.take(transaction)).unwrap_or_default();
        Writes { read, ..self.leave(transaction) }
    }
}

/// Changes.
impl Writes {
    /// Whether `T` is known to be stored with the program's shape.
    pub fn knows<T: Persistent>(&self) -> bool {
        self.known == Some(TypeId::of::<T>())
    }

    pub fn note<T: Persistent>(&mut self) {
        self.known = Some(TypeId::of::<T>());
    }

    /// Takes everything but what is said of the next commit.
    fn leave(&mut self) -> Writes {
        let rest = Writes {
            durability: self.durability,
            next_ticket: self.next_ticket,
            known: self.known,
            ..Writes::default()
        };
        std::mem::replace(self, rest)
    }

    pub fn entry(&self, oid: Oid) -> Option<&Entry> {
        self.entries.get(oid)
    }

    /// What this transaction made of an object, where it touched it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it removed it, [`Error::Busy`] while a closure has it.
    pub fn object<T: Persistent>(&self, oid: Oid) -> Option<Result<Arc<T>>> {
        let entry = self.entries.get(oid)?;
        Some(match &entry.state {
            State::Present(object) => Arc::downcast(object.clone())
                .map_err(|_| wrong_type(oid, &entry.kind.name(), &T::type_name())),
            State::Removed => {
                let at = self.snapshot.as_ref().map_or(Tid::ZERO, |snapshot| snapshot.tid());
                Err(NotFound::new(oid, at).into())
            }
            State::Taken(_) => Err(Error::Busy { oid }),
            State::Broken => {
                let what = format!("object {oid} was left half changed by a closure that panicked");
                Err(Error::Panicked(what.into()))
            }
        })
    }

    /// Puts the object into this state, and remembers the one before for the last savepoint; or
    /// returns it where that knows an older one.
    #[must_use]
    pub fn put(&mut self, oid: Oid, entry: Entry) -> Option<Entry> {
        let before = self.entries.insert(oid, entry);
        match self.layers.last_entry() {
            Some(mut layer) => keep_older(&mut layer.get_mut().entries, oid, before).flatten(),
            None => before,
        }
    }

    /// Gives a closure an object that is in here, and says under which ticket. Whoever takes it has
    /// it already: it is not dropped here.
    pub fn take(&mut self, oid: Oid) -> u64 {
        self.next_ticket += 1;
        self.taken += 1;
        if let Some(entry) = self.entries.get_mut(oid) {
            if let Some(mut layer) = self.layers.last_entry() {
                layer.get_mut().entries.entry(oid).or_insert_with(|| Some(entry.clone()));
            }
            entry.state = State::Taken(self.next_ticket);
        }
        self.next_ticket
    }

    /// Gives a closure an object that is not, and will be as `entry` says.
    pub fn take_new(&mut self, oid: Oid, entry: Entry) -> u64 {
        self.next_ticket += 1;
        self.taken += 1;
        let before = self.put(oid, Entry { state: State::Taken(self.next_ticket), ..entry });
        debug_assert!(before.is_none(), "the object was changed already");
        self.next_ticket
    }

    /// Ends what [`take`](Writes::take) or [`take_new`](Writes::take_new) began: `state` is what became of the object, `None` that
    /// it is as it was read, as though it had never been touched.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the closure itself rolled the object back.
    pub fn give_back(&mut self, oid: Oid, ticket: u64, state: Option<State>) -> Result<()> {
        let entry = self.entries.get_mut(oid);
        let entry = entry.filter(|entry| matches!(entry.state, State::Taken(by) if by == ticket));
        let Some(entry) = entry else {
            let what = format!("object {oid} was rolled back by the closure that modified it");
            return Err(Error::InvalidArgument(what.into()));
        };
        self.taken -= 1;
        match state {
            Some(state) => entry.state = state,
            None => drop(self.entries.remove(oid)),
        }
        Ok(())
    }

    /// Checks, at the commit, that the newest revision of `oid` is still that of `tid`.
    pub fn check(&mut self, oid: Oid, tid: Tid) {
        let before = self.checks.insert(oid, tid);
        if let Some(mut layer) = self.layers.last_entry() {
            layer.get_mut().checks.entry(oid).or_insert(before);
        }
    }

    /// An object that a closure still has.
    pub fn in_hand(&self) -> Option<Oid> {
        if self.taken == 0 {
            return None;
        }
        let taken = |entry: &Entry| matches!(entry.state, State::Taken(_));
        self.entries.rows().iter().find(|(_, entry)| taken(entry)).map(|&(oid, _)| oid)
    }

    /// The checks, by oid.
    pub fn checks(&self) -> Vec<(Oid, Tid)> {
        let read = self.read.iter().filter(|(oid, _)| !self.checks.contains_key(oid));
        let all = self.checks.iter().chain(read);
        let mut checks: Vec<_> = all.map(|(&oid, &tid)| (oid, tid)).collect();
        checks.sort_unstable();
        checks
    }

    /// The changed objects, by oid.
    pub fn into_entries(self) -> Vec<(Oid, Entry)> {
        let mut entries = self.entries.into_rows();
        entries.sort_unstable_by_key(|&(oid, _)| oid);
        entries
    }
}

/// Savepoints.
impl Writes {
    /// Remembers this state, under the number returned.
    pub fn save(&mut self) -> u64 {
        self.next_layer += 1;
        self.layers.insert(self.next_layer, Layer::default());
        self.next_layer
    }

    /// Returns to the state of this number, which stays remembered; `None` where it was not. Else
    /// what was given up.
    pub fn roll_back(&mut self, number: u64) -> Option<Vec<Entry>> {
        if !self.layers.contains_key(&number) {
            return None;
        }
        let mut spare = Vec::new();
        // No savepoint is taken while a closure has an object, so none is returned to one.
        self.taken = 0;
        for layer in self.layers.split_off(&number).into_values().rev() {
            for (oid, before) in layer.entries {
                spare.extend(match before {
                    Some(entry) => self.entries.insert(oid, entry),
                    None => self.entries.remove(oid),
                });
            }
            for (oid, before) in layer.checks {
                match before {
                    Some(tid) => self.checks.insert(oid, tid),
                    None => self.checks.remove(&oid),
                };
            }
        }
        self.layers.insert(number, Layer::default());
        Some(spare)
    }

    /// Forgets the state of this number: nobody will return to it. What was touched since counts
    /// as touched since the savepoint before.
    #[must_use]
    pub fn release(&mut self, number: u64) -> Vec<Entry> {
        let Layer { entries, checks } = self.layers.remove(&number).unwrap_or_default();
        let Some((_, below)) = self.layers.range_mut(..number).next_back() else {
            return entries.into_values().flatten().collect();
        };
        merge(&mut below.checks, checks);
        merge(&mut below.entries, entries).into_iter().flatten().collect()
    }
}

/// Adds to `older` what only `later` has, at the cost of the smaller one. Returns the rest.
fn merge<T>(older: &mut OidMap<T>, mut later: OidMap<T>) -> Vec<T> {
    if older.len() < later.len() {
        std::mem::swap(older, &mut later);
        return later.into_iter().filter_map(|(oid, before)| older.insert(oid, before)).collect();
    }
    later.into_iter().filter_map(|(oid, before)| keep_older(older, oid, before)).collect()
}

/// Remembers `before`, or returns it where something older is remembered.
fn keep_older<T>(older: &mut OidMap<T>, oid: Oid, before: T) -> Option<T> {
    match older.entry(oid) {
        MapEntry::Occupied(_) => Some(before),
        MapEntry::Vacant(place) => {
            place.insert(before);
            None
        }
    }
}
