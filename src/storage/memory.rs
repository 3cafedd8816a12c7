//! The shortest correct [`Storage`]: it keeps every batch it was given, and nothing on disk.
//!
//! A newcomer's first read, the double that tests put under the objects, and the oracle that other
//! storages are compared with. It says what a storage means, not how to be fast: one lock guards
//! all of it but the places, and loading copies. What it takes to commit together with other
//! storages is in `promises`.
//!
//! # Invariants
//! - A batch that was accepted is never touched again; history is only added to.
//! - The revisions of an object stand in the order of their tids.

mod promises;

use super::exhausted;
use super::places::Places;
use super::{
    Batch, Change, Contender, DurableMark, Load, Place, Receipt, Revision, Snapshot, Storage,
    StoredTransaction, Transactions, TypeTable, Verdict, Write,
};
use crate::error::{Error, Result};
use crate::format::{TypeDef, TypeId};
use crate::id::{DatabaseId, Oid, Tid};
use crate::sync::atomic::Ordering;
use crate::sync::{Condvar, Mutex, MutexGuard};
use promises::Books;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A `MemoryStorage` keeps a database for as long as somebody holds it.
///
/// ```
/// use perennial::Tid;
/// use perennial::storage::{MemoryStorage, Storage};
///
/// let storage = MemoryStorage::new()?;
/// assert_eq!(storage.last_tid(), Tid::ZERO);
/// # Ok::<(), perennial::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryStorage {
    id: DatabaseId,
    shared: Arc<Shared>,
}

/// What a storage shares with its snapshots.
#[derive(Debug)]
struct Shared {
    types: TypeTable,
    state: Mutex<State>,
    /// The newest revision of each object, by the number of its tid: read without the lock.
    places: Places,
    /// Signalled whenever something was published or settled.
    moved: Condvar,
    durable: DurableMark,
}

#[derive(Debug)]
struct State {
    transactions: BTreeMap<Tid, Arc<Batch>>,
    /// Where the revisions of each object are: which write of which transaction, oldest first.
    objects: BTreeMap<Oid, Vec<(Tid, usize)>>,
    /// What concerns transactions that span several storages.
    books: Books,
    next_oid: u64,
    closed: bool,
}

#[derive(Debug)]
struct MemorySnapshot {
    shared: Arc<Shared>,
    tid: Tid,
}

impl MemoryStorage {
    /// An empty storage, of a database that was never seen before.
    ///
    /// # Errors
    /// [`Error::Io`] where the system has no random numbers to give.
    pub fn new() -> Result<MemoryStorage> {
        let id =
            DatabaseId::random().map_err(|e| Error::io("draw a database id for", "memory", e))?;
        let state = State {
            transactions: BTreeMap::new(),
            objects: BTreeMap::new(),
            books: Books::default(),
            next_oid: Oid::ROOT.number() + 1,
            closed: false,
        };
        let (types, moved, durable) = Default::default();
        let (state, places) = (Mutex::new(state), Places::new());
        let shared = Arc::new(Shared { types, state, places, moved, durable });
        Ok(MemoryStorage { id, shared })
    }

    /// The state, while the storage is open.
    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state.lock();
        if state.closed { Err(Error::Closed) } else { Ok(state) }
    }

    /// Refuses a batch that names a type the storage does not know.
    fn check_types(&self, batch: &Batch) -> Result<()> {
        let mut known = None;
        for content in batch.writes().filter_map(|write| write.content) {
            let number = content.type_id;
            if known != Some(number) && self.shared.types.get(number).is_none() {
                let what = format!("there is no type of number {}", number.0);
                return Err(Error::InvalidArgument(what.into()));
            }
            known = Some(number);
        }
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn id(&self) -> DatabaseId {
        self.id
    }

    fn last_tid(&self) -> Tid {
        self.shared.state.lock().last_tid()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let tid = self.open()?.last_tid();
        Ok(Arc::new(MemorySnapshot { shared: self.shared.clone(), tid }))
    }

    fn snapshot_at(&self, tid: Tid) -> Result<Arc<dyn Snapshot>> {
        let last = self.open()?.last_tid();
        if tid > last {
            let (tid, last) = (tid.number(), last.number());
            let what = format!("tid {tid} is in the future: the last one is {last}");
            return Err(Error::InvalidArgument(what.into()));
        }
        Ok(Arc::new(MemorySnapshot { shared: self.shared.clone(), tid }))
    }

    fn new_oid(&self) -> Result<Oid> {
        let mut state = self.open()?;
        if state.next_oid > Oid::MAX.number() {
            return Err(exhausted::oids());
        }
        state.next_oid += 1;
        Ok(Oid::new(state.next_oid - 1))
    }

    fn intern(&self, definition: &TypeDef) -> Result<TypeId> {
        let _open = self.open()?;
        self.shared.types.intern(definition)
    }

    fn type_def(&self, id: TypeId) -> Option<Arc<TypeDef>> {
        self.shared.types.get(id)
    }

    fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict> {
        batch.check()?;
        self.check_types(batch)?;
        let mut state = self.open()?;
        let contenders = state.contenders(batch);
        if !contenders.is_empty() {
            return Ok(Verdict::Conflicts(contenders));
        }
        state.books.check(batch.decision.as_ref())?;
        let receipt = self.shared.publish(&mut state, batch)?;
        if let Some(decision) = &batch.decision {
            state.books.decide(decision, receipt.tid);
        }
        Ok(Verdict::Passed(receipt))
    }

    fn wait_published(&self, tid: Tid, bound: Duration) -> Result<bool> {
        self.shared.wait(bound, |state| state.last_tid() >= tid)
    }

    fn sync(&self) -> Result<()> {
        self.open().map(drop)
    }

    fn pinned(&self) -> Result<Vec<Oid>> {
        let state = self.open()?;
        let newest = state.objects.iter().filter_map(|(&oid, at)| Some((oid, *at.last()?)));
        let pinned = newest.filter(|&(_, at)| {
            let write = state.write(at);
            write.pinned && write.content.is_some()
        });
        Ok(pinned.map(|(oid, _)| oid).collect())
    }

    fn history(&self, oid: Oid) -> Result<Vec<Change>> {
        let state = self.open()?;
        let change = |&(tid, index): &(Tid, usize)| Change {
            tid,
            metadata: state.transactions[&tid].metadata.clone(),
            size: state.write((tid, index)).content.map(|content| content.data.len() as u64),
        };
        Ok(state.revisions(oid).iter().rev().map(change).collect())
    }

    fn transactions(&self, after: Tid, upto: Tid) -> Result<Box<dyn Transactions + '_>> {
        let state = self.open()?;
        if after >= upto {
            return Ok(Box::new(std::iter::empty()));
        }
        let range = state.transactions.range((Excluded(after), Included(upto)));
        let all: Vec<_> = range.map(|(&tid, batch)| Ok(stored(tid, batch))).collect();
        Ok(Box::new(all.into_iter()))
    }

    fn close(&self) -> Result<()> {
        self.shared.state.lock().closed = true;
        self.shared.moved.notify_all();
        Ok(())
    }
}

impl Shared {
    /// Waits until `done`, or `bound` has passed; whether it is.
    fn wait(&self, bound: Duration, done: impl Fn(&State) -> bool) -> Result<bool> {
        let until = Instant::now().checked_add(bound);
        let mut state = self.state.lock();
        while !state.closed && !done(&state) {
            match until {
                Some(until) if self.moved.wait_until(&mut state, until).timed_out() => break,
                Some(_) => (),
                None => self.moved.wait(&mut state),
            }
        }
        if state.closed { Err(Error::Closed) } else { Ok(done(&state)) }
    }

    fn publish(&self, state: &mut State, batch: &Arc<Batch>) -> Result<Receipt> {
        if batch.is_empty() && batch.decision.is_none() {
            return Ok(Receipt { tid: state.last_tid(), places: Vec::new() });
        }
        let tid = state.last_tid().next(SystemTime::now());
        let tid = tid.ok_or_else(exhausted::tids)?;
        let slot = |write: Write<'_>| self.places.slot(write.oid.number());
        if batch.writes().any(|write| slot(write).is_none()) {
            return Err(Error::Exhausted("no memory to find the objects by".into()));
        }
        state.publish(tid, batch);
        let slots = batch.writes().filter_map(slot);
        slots.for_each(|slot| slot.store(tid.number(), Ordering::Release));
        // It is as durable as it will ever be.
        self.durable.raise(tid);
        self.moved.notify_all();
        Ok(Receipt { tid, places: vec![place(tid); batch.len()] })
    }
}

impl State {
    fn last_tid(&self) -> Tid {
        self.transactions.last_key_value().map_or(Tid::ZERO, |(&tid, _)| tid)
    }

    fn revisions(&self, oid: Oid) -> &[(Tid, usize)] {
        self.objects.get(&oid).map_or(&[], Vec::as_slice)
    }

    fn write(&self, (tid, index): (Tid, usize)) -> Write<'_> {
        self.transactions[&tid].write(index)
    }

    /// The newest revision or removal of `oid` that is not beyond `tid`.
    fn newest(&self, oid: Oid, tid: Tid) -> Option<(Tid, usize)> {
        let revisions = self.revisions(oid);
        let seen = revisions.partition_point(|&(of, _)| of <= tid);
        revisions[..seen].last().copied()
    }

    /// Where `batch` is not based on what is published now.
    fn contenders(&self, batch: &Batch) -> Vec<Contender> {
        let writes = batch.writes().map(|write| (write.oid, write.base, false));
        let reads = batch.reads.iter().map(|&(oid, base)| (oid, base, true));
        writes.chain(reads).filter_map(|based| self.contender(based)).collect()
    }

    fn contender(&self, (oid, base, read): (Oid, Tid, bool)) -> Option<Contender> {
        let newest = self.newest(oid, Tid::MAX);
        let current = newest.map_or(Tid::ZERO, |(tid, _)| tid);
        if current == base {
            let promised = Some(self.books.promised_to(oid, read)?);
            let (revision, note) = Default::default();
            return Some(Contender { oid, read, base, current, revision, note, promised });
        }
        let revision = newest.and_then(|at| revision(at.0, &self.write(at)));
        let winner = self.transactions.get(&current);
        let note = winner.map(|batch| batch.metadata.note.clone()).unwrap_or_default();
        Some(Contender { oid, read, base, current, revision, note, promised: None })
    }

    fn publish(&mut self, tid: Tid, batch: &Arc<Batch>) {
        for (index, write) in batch.writes().enumerate() {
            self.objects.entry(write.oid).or_default().push((tid, index));
            // A copy brings the oids of its original along: they are taken, too.
            self.next_oid = self.next_oid.max(write.oid.number().saturating_add(1));
        }
        self.transactions.insert(tid, batch.clone());
    }
}

impl Snapshot for MemorySnapshot {
    fn tid(&self) -> Tid {
        self.tid
    }

    fn place(&self, oid: Oid) -> Place {
        Place(self.shared.places.get(oid.number()))
    }

    fn load(&self, oid: Oid) -> Result<Load<'_>> {
        let state = self.shared.state.lock();
        Ok(match state.newest(oid, self.tid) {
            None => Load::Absent,
            Some(at) => match revision(at.0, &state.write(at)) {
                Some(revision) => Load::Found(revision),
                None => Load::Removed(at.0),
            },
        })
    }
}

/// A transaction writes an object once, so its tid tells one revision from the others.
fn place(tid: Tid) -> Place {
    Place(tid.number())
}

fn revision(tid: Tid, write: &Write<'_>) -> Option<Revision<'static>> {
    write.content.clone().map(|content| Revision {
        tid,
        place: place(tid),
        pinned: write.pinned,
        type_id: content.type_id,
        references: content.references.into_owned(),
        data: content.data.to_vec().into(),
    })
}

fn stored(tid: Tid, batch: &Batch) -> StoredTransaction {
    let records = batch.writes().map(|write| (write.oid, revision(tid, &write))).collect();
    StoredTransaction { tid, metadata: batch.metadata.clone(), records }
}
