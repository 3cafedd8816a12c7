//! What a file should hold: the commits that were asked for, and which of them may be found when.

use perennial::storage::{
    Batch, FileStorage, Load, Snapshot, Storage, StoredTransaction, TwoPhase,
};
use perennial::{Error, GlobalId, Oid, Tid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One commit that was asked for.
#[derive(Debug)]
pub struct Entry {
    pub batch: Arc<Batch>,
    /// The names of the types of its writes.
    pub types: Vec<Option<Box<str>>>,
    /// The transaction of several databases that it is a part of.
    pub gtid: Option<GlobalId>,
    /// 0 until it is known.
    tid: AtomicU64,
}

impl Entry {
    pub fn new(batch: Arc<Batch>, gtid: Option<GlobalId>, storage: &FileStorage) -> Entry {
        let name = |id| storage.type_def(id).map(|definition| definition.name.clone());
        let types = batch.writes().map(|write| name(write.content?.type_id)).collect();
        Entry { batch, types, gtid, tid: AtomicU64::new(0) }
    }

    /// The same, to be committed once more, as another transaction.
    pub fn anew(&self) -> Arc<Entry> {
        let (batch, types, gtid) = (self.batch.clone(), self.types.clone(), self.gtid);
        Arc::new(Entry { batch, types, gtid, tid: AtomicU64::new(0) })
    }

    pub fn tid(&self) -> Option<Tid> {
        Some(Tid::new(self.tid.load(Ordering::Relaxed))).filter(|&tid| tid != Tid::ZERO)
    }

    pub fn set_tid(&self, tid: Tid) {
        self.tid.store(tid.number(), Ordering::Relaxed);
    }

    /// Checks that `found` is this commit, whole.
    fn check(&self, found: &StoredTransaction, storage: &FileStorage) {
        let tid = found.tid;
        assert!(self.is(found), "transaction {tid} is not the one that was committed here");
        assert!(self.tid().is_none_or(|known| known == tid), "{tid} is {:?}", self.tid());
        assert_eq!(found.records.len(), self.batch.len(), "transaction {tid} is not whole");
        let writes = self.batch.writes().zip(&self.types);
        for ((oid, revision), (write, name)) in found.records.iter().zip(writes) {
            assert_eq!(*oid, write.oid, "transaction {tid}");
            let same = match (revision, &write.content) {
                (None, None) => true,
                (Some(revision), Some(content)) => {
                    let stored = storage.type_def(revision.type_id).expect("the type is defined");
                    revision.pinned == write.pinned
                        && *revision.data == *content.data
                        && revision.references == content.references
                        && Some(&stored.name) == name.as_ref()
                }
                _ => false,
            };
            assert!(same, "object {oid} of {tid} is not what was stored");
        }
    }

    fn is(&self, found: &StoredTransaction) -> bool {
        self.batch.metadata == found.metadata && self.batch.len() == found.records.len()
    }
}

/// The revisions of each object, the oldest first: its transaction, and which write of it.
pub type Objects = BTreeMap<Oid, Vec<(Tid, Arc<Entry>, usize)>>;

/// What is told between two openings of a file.
#[derive(Debug, Clone, Default)]
struct Chapter {
    /// The moment of the disk from which on it counts.
    since: usize,
    /// In the order of the log, and from which moment on each may be found.
    entries: Vec<(usize, Arc<Entry>)>,
    /// From which moment on so many must be found.
    floors: Vec<(usize, usize)>,
    /// What was promised to others, and from which moment on it may be in doubt.
    promised: Vec<(usize, Arc<Entry>)>,
}

/// The story of one file.
#[derive(Debug)]
pub struct Story {
    chapters: Vec<Chapter>,
    /// How many commits readers see now.
    taken: usize,
    /// What readers see now.
    pub objects: Objects,
    pub last_tid: Tid,
    /// How many actions of the disk there were when the storage was first known to be halted.
    pub halted: Option<usize>,
    /// Whether several threads commit at once, so that what is newest is not known.
    pub racing: bool,
    /// Transactions of several databases in which this one stores something and does not decide.
    pub shares: BTreeSet<GlobalId>,
}

pub type Shared = Arc<Mutex<Story>>;

impl Story {
    /// Of a file that does not exist yet.
    pub fn new() -> Story {
        Story::beginning(Chapter::default(), BTreeSet::new())
    }

    fn beginning(chapter: Chapter, shares: BTreeSet<GlobalId>) -> Story {
        let (chapters, last_tid) = (vec![chapter], Tid::ZERO);
        let (objects, halted, racing) = (Objects::new(), None, false);
        Story { chapters, taken: 0, objects, last_tid, halted, racing, shares }
    }

    /// What may be found if the power goes at `moment`: the beginning of another story.
    pub fn cut_at(&self, moment: usize) -> Story {
        let chapter = self.chapters.iter().rfind(|chapter| chapter.since <= moment);
        let chapter = chapter.expect("there is a chapter for every moment");
        let visible = |told: &[(usize, Arc<Entry>)]| {
            let told = told.iter().filter(|(from, _)| *from <= moment);
            told.map(|(_, entry)| (0, entry.clone())).collect()
        };
        let floor = chapter.floors.iter().rev().find(|(from, _)| *from <= moment);
        let chapter = Chapter {
            since: 0,
            entries: visible(&chapter.entries),
            floors: vec![(0, floor.map_or(0, |(_, floor)| *floor))],
            promised: visible(&chapter.promised),
        };
        Story::beginning(chapter, self.shares.clone())
    }

    fn now(&mut self) -> &mut Chapter {
        self.chapters.last_mut().expect("there always is a chapter")
    }

    /// The commits that readers see, or may soon.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let chapter = self.chapters.last().expect("there always is a chapter");
        chapter.entries.iter().map(|(_, entry)| entry)
    }

    /// A commit begins.
    pub fn begin(&mut self, moment: usize, entry: &Arc<Entry>) {
        self.now().entries.push((moment + 1, entry.clone()));
    }

    /// It is committed; `durable`: it, and what precedes it, survives a power loss from now on.
    pub fn acknowledge(&mut self, moment: usize, entry: &Arc<Entry>, tid: Tid, durable: bool) {
        entry.set_tid(tid);
        self.take_in();
        let entries = &self.now().entries;
        let place = entries.iter().position(|(_, other)| Arc::ptr_eq(other, entry));
        let place = place.expect("it was begun");
        if durable {
            self.promise(moment, place + 1);
        }
    }

    /// It did not happen, and never will have.
    pub fn refuse(&mut self, entry: &Arc<Entry>) {
        self.now().entries.retain(|(_, other)| !Arc::ptr_eq(other, entry));
    }

    /// How many commits are visible.
    pub fn visible(&self) -> usize {
        self.taken
    }

    /// So many commits survive a power loss from now on.
    pub fn promise(&mut self, moment: usize, count: usize) {
        let floors = &mut self.now().floors;
        if floors.last().is_none_or(|(_, floor)| *floor < count) {
            floors.push((moment, count));
        }
    }

    /// It was promised to another database.
    pub fn promised(&mut self, moment: usize, entry: &Arc<Entry>) {
        self.now().promised.push((moment + 1, entry.clone()));
        self.shares.extend(entry.gtid);
    }

    /// What was promised to `gtid`.
    pub fn promise_to(&mut self, gtid: GlobalId) -> Option<Arc<Entry>> {
        let found = self.now().promised.iter().rfind(|(_, entry)| entry.gtid == Some(gtid));
        found.map(|(_, entry)| entry.clone())
    }

    /// Shows what is committed; of several at once those first that stand first in the log.
    fn take_in(&mut self) {
        let entries = self.now().entries.clone();
        for (_, entry) in &entries[self.taken..] {
            let Some(tid) = entry.tid() else { return };
            self.show(entry, tid);
            self.taken += 1;
        }
    }

    fn show(&mut self, entry: &Arc<Entry>, tid: Tid) {
        assert!(tid > self.last_tid, "{tid} follows {}", self.last_tid);
        for (number, write) in entry.batch.writes().enumerate() {
            let revisions = self.objects.entry(write.oid).or_default();
            let before = revisions.last().map_or(Tid::ZERO, |(tid, ..)| *tid);
            assert_eq!(write.base, before, "object {} of {tid}: a change is lost", write.oid);
            revisions.push((tid, entry.clone(), number));
        }
        self.last_tid = tid;
    }

    /// The transaction that stored what is newest of an object.
    pub fn newest(&self, oid: Oid) -> Tid {
        let revisions = self.objects.get(&oid);
        revisions.and_then(|it| it.last()).map_or(Tid::ZERO, |(tid, ..)| *tid)
    }

    /// The objects on whose older revisions the batch is based.
    pub fn outdated(&self, batch: &Batch) -> BTreeSet<Oid> {
        let named = batch.writes().map(|write| (write.oid, write.base));
        let named = named.chain(batch.reads.iter().copied());
        named.filter(|(oid, base)| self.newest(*oid) != *base).map(|(oid, _)| oid).collect()
    }

    /// What an object was as of `tid`; `None` where it was nothing.
    pub fn content(&self, oid: Oid, tid: Tid) -> Option<(&Entry, usize)> {
        let revision = self.objects.get(&oid)?.iter().rfind(|(at, ..)| *at <= tid)?;
        revision.1.batch.write(revision.2).content.is_some().then_some((&*revision.1, revision.2))
    }
}

/// What is found.
impl Story {
    /// Checks that a file that was just opened holds what it may, and begins a new chapter.
    pub fn opened(&mut self, moment: usize, storage: &FileStorage) {
        let transactions = transactions(storage);
        let found = transactions.len();
        let (floor, chapter) = (self.floor(moment), self.now().clone());
        assert!(found >= floor, "{found} commits are left of {floor} that were promised");
        assert!(found <= chapter.entries.len(), "{found} of {} commits", chapter.entries.len());
        for (transaction, (_, entry)) in transactions.iter().zip(&chapter.entries) {
            entry.check(transaction, storage);
            entry.set_tid(transaction.tid);
        }
        let known: BTreeSet<Oid> = chapter
            .entries
            .iter()
            .flat_map(|(_, entry)| entry.batch.writes().map(|write| write.oid))
            .collect();
        let doubts = storage.in_doubt().expect("what is in doubt");
        let doubts = doubts.iter().map(|doubt| {
            let promise = self.promise_to(doubt.gtid);
            (0, promise.expect("what is in doubt was promised"))
        });
        let promised = doubts.collect();
        let entries: Vec<_> =
            chapter.entries[..found].iter().map(|(_, entry)| (0, entry.clone())).collect();
        (self.objects, self.last_tid, self.halted) = (Objects::new(), Tid::ZERO, None);
        // An opening shows nothing that it has not made durable.
        let floors = vec![(moment, found)];
        self.chapters.push(Chapter { since: moment, entries, floors, promised });
        self.taken = 0;
        self.take_in();
        self.compare(storage, &transactions, &known);
    }

    /// How many commits must be found.
    fn floor(&self, moment: usize) -> usize {
        let chapter = self.chapters.last().expect("there always is a chapter");
        let floor = chapter.floors.iter().rev().find(|(from, _)| *from <= moment);
        floor.map_or(0, |(_, floor)| *floor)
    }

    /// Compares what reading shows with what was found.
    fn compare(&self, storage: &FileStorage, found: &[StoredTransaction], known: &BTreeSet<Oid>) {
        let last = found.last().map(|transaction| transaction.tid);
        if let Some(last) = last {
            assert_eq!(storage.last_tid(), last);
        }
        self.compare_snapshot(&*storage.snapshot().expect("a snapshot"), storage, known);
        if let Some(middle) = found.get(found.len() / 2) {
            let earlier = storage.snapshot_at(middle.tid).expect("a snapshot");
            self.compare_snapshot(&*earlier, storage, known);
        }
        let pinned = self.objects.iter().filter(|(_, revisions)| {
            let (_, entry, number) = revisions.last().expect("it has one");
            let write = entry.batch.write(*number);
            write.pinned && write.content.is_some()
        });
        assert!(storage.pinned().expect("pinned").iter().eq(pinned.map(|(oid, _)| oid)));
        let watched = found.last().and_then(|it| it.records.first()).map(|(oid, _)| *oid);
        if let Some(oid) = watched {
            let history = storage.history(oid).expect("a history");
            let told = self.objects[&oid].iter().rev().map(|(tid, ..)| *tid);
            assert!(history.iter().map(|change| change.tid).eq(told), "the history of {oid}");
        }
        let fresh = storage.new_oid().expect("an oid");
        assert!(!self.objects.contains_key(&fresh), "{fresh} is given out again");
    }

    /// Compares every object that was ever thought of.
    pub fn compare_snapshot(
        &self,
        snapshot: &dyn Snapshot,
        storage: &FileStorage,
        known: &BTreeSet<Oid>,
    ) {
        let tid = snapshot.tid();
        for &oid in known {
            let told = self.objects.get(&oid).and_then(|it| it.iter().rfind(|it| it.0 <= tid));
            let expected = told.map(|(at, entry, number)| (at, entry, entry.batch.write(*number)));
            match (snapshot.load(oid).expect("it can be read"), expected) {
                (Load::Absent, None) => {}
                (Load::Removed(at), Some((told, _, write))) => {
                    assert!(write.content.is_none() && at == *told, "object {oid} is removed");
                }
                (Load::Found(revision), Some((told, entry, write))) => {
                    let content = write.content.expect("it was removed");
                    assert_eq!(revision.tid, *told, "object {oid} as of {tid}");
                    assert!(*revision.data == *content.data, "object {oid} as of {tid}");
                    assert_eq!(revision.pinned, write.pinned);
                    let name = storage.type_def(revision.type_id).map(|it| it.name.clone());
                    let number = entry.batch.writes().position(|it| it.oid == oid);
                    assert_eq!(name, entry.types[number.expect("it is there")]);
                }
                (loaded, expected) => {
                    panic!("object {oid} as of {tid}: {loaded:?} instead of {expected:?}")
                }
            }
        }
    }

    /// Checks what somebody sees who only reads, beside a writer or not. Beside a writer that is
    /// a promise.
    pub fn shown(&mut self, moment: usize, follower: &FileStorage, beside_writer: bool) {
        let transactions = transactions(follower);
        let chapter = self.now().clone();
        let (found, all) = (transactions.len(), chapter.entries.len());
        assert!(found <= all, "a reader sees {found} of {all} commits");
        for (transaction, (_, entry)) in transactions.iter().zip(&chapter.entries) {
            entry.check(transaction, follower);
        }
        if beside_writer {
            self.promise(moment, found);
        }
    }

    /// Checks what a file with a damage shows, all commits of which were durable: each object as
    /// it was, or an error.
    pub fn shown_despite_damage(&self, storage: &FileStorage) {
        let transactions = storage.transactions(Tid::ZERO, Tid::MAX).expect("transactions");
        let (mut found, mut whole) = (0, true);
        for (transaction, entry) in transactions.zip(self.entries()) {
            match transaction {
                Ok(transaction) => entry.check(&transaction, storage),
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
                    whole = false;
                    break;
                }
            }
            found += 1;
        }
        assert!(!whole || found == self.taken, "damage left {found} of {} commits", self.taken);
        let snapshot = storage.snapshot().expect("a snapshot");
        for (&oid, revisions) in &self.objects {
            let (tid, entry, number) = revisions.last().expect("it has one");
            let content = entry.batch.write(*number).content;
            match (snapshot.load(oid), content) {
                (Err(Error::Corrupt(_)), _) | (Ok(Load::Removed(_)), None) => {}
                (Ok(Load::Found(it)), Some(content)) => {
                    assert!(it.tid == *tid && *it.data == *content.data, "object {oid}");
                }
                (loaded, _) => panic!("object {oid} of a damaged file: {loaded:?}"),
            }
        }
    }
}

fn transactions(storage: &FileStorage) -> Vec<StoredTransaction> {
    let transactions = storage.transactions(Tid::ZERO, Tid::MAX).expect("transactions");
    transactions.map(|transaction| transaction.expect("a transaction")).collect()
}
