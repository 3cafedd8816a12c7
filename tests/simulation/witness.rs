//! A storage that tells a story of everything that is asked of it.

use super::story::{Entry, Shared, Story};
use super::tally::Seen;
use crate::support::sim::SimDisk;
use perennial::file::{Access, Directory};
use perennial::format::{Coordinator, TypeDef, TypeId};
use perennial::storage::{
    Batch, Change, Doubt, Durability, DurableMark, Fate, FileStorage, Intent, OpenDecision,
    Promise, Receipt, Snapshot, Storage, Transactions, TwoPhase, Verdict,
};
use perennial::{DatabaseId, Error, GlobalId, Oid, Result, Tid};
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// A file, and who notes what was asked of it and what it answered.
#[derive(Debug)]
pub struct Witness {
    pub file: Arc<FileStorage>,
    note: Note,
}

/// Where it is noted.
#[derive(Debug, Clone)]
struct Note {
    disk: SimDisk,
    story: Shared,
}

impl Note {
    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notices when the storage halts.
    fn of<T>(&self, outcome: &Result<T>) {
        if matches!(outcome, Err(Error::Unknown(_) | Error::Halted(_))) {
            let moment = self.disk.moment();
            self.story().halted.get_or_insert(moment);
        }
    }
}

impl Witness {
    /// Of a file that was just opened on `disk`, which must hold what the story says.
    pub fn of(file: FileStorage, disk: &SimDisk, story: &Shared) -> Witness {
        let note = Note { disk: disk.clone(), story: story.clone() };
        disk.calmly(|| note.story().opened(disk.moment(), &file));
        Witness { file: Arc::new(file), note }
    }

    /// Fills `bytes` with what stands in the file from `start` on, if the disk lets it.
    pub fn log(&self, start: u64, bytes: &mut [u8]) {
        let name = self.file.path().file_name().and_then(|name| name.to_str());
        let file = self.note.disk.open(name.expect("a name"), Access::Read);
        let _ = file.and_then(|file| file.read_at(start, bytes));
    }

    pub fn story(&self) -> MutexGuard<'_, Story> {
        self.note.story()
    }

    /// Does something after which all that was visible before it is durable.
    pub fn settling<T>(&self, act: impl FnOnce(&FileStorage) -> Result<T>) -> Result<T> {
        let before = self.story().visible();
        let outcome = act(&self.file);
        if outcome.is_ok() {
            let moment = self.note.disk.moment();
            self.story().promise(moment, before);
        }
        self.note.of(&outcome);
        outcome
    }

    /// Does something that must not change what is visible.
    pub fn noting<T>(&self, act: impl FnOnce(&FileStorage) -> Result<T>) -> Result<T> {
        let outcome = act(&self.file);
        self.note.of(&outcome);
        outcome
    }

    fn entry(&self, batch: &Arc<Batch>, gtid: Option<GlobalId>) -> Arc<Entry> {
        Arc::new(Entry::new(batch.clone(), gtid, &self.file))
    }

    /// Checks a verdict against what the story says is newest.
    fn judge<T>(&self, verdict: &Result<Verdict<T>>, outdated: &BTreeSet<Oid>) {
        if self.story().racing {
            return;
        }
        match verdict {
            Ok(Verdict::Passed(_)) => assert!(outdated.is_empty(), "{outdated:?} did not conflict"),
            Ok(Verdict::Conflicts(contenders)) => {
                let promised = contenders.iter().any(|it| it.promised.is_some());
                let found: BTreeSet<Oid> = contenders.iter().map(|it| it.oid).collect();
                assert!(promised || found == *outdated, "{found:?} instead of {outdated:?}");
            }
            Err(_) => {}
        }
    }
}

impl Storage for Witness {
    fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict> {
        let outdated = self.story().outdated(batch);
        let gtid = batch.decision.as_ref().map(|decision| decision.gtid);
        if batch.is_empty() && gtid.is_none() {
            let verdict = self.file.commit(batch);
            self.judge(&verdict, &outdated);
            return verdict;
        }
        let entry = self.entry(batch, gtid);
        self.story().begin(self.note.disk.moment(), &entry);
        let verdict = self.file.commit(batch);
        let moment = self.note.disk.moment();
        self.judge(&verdict, &outdated);
        self.note.of(&verdict);
        match &verdict {
            Ok(Verdict::Passed(receipt)) => {
                Seen::Commit.note();
                let durable = batch.durability == Durability::Sync || gtid.is_some();
                self.story().acknowledge(moment, &entry, receipt.tid, durable);
            }
            Err(Error::Unknown(_)) => Seen::Unknown.note(),
            other => {
                if other.is_ok() {
                    Seen::Conflict.note();
                }
                self.story().refuse(&entry);
            }
        }
        verdict
    }

    fn sync(&self) -> Result<()> {
        self.settling(|file| file.sync())
    }

    fn close(&self) -> Result<()> {
        self.settling(|file| file.close())
    }

    fn id(&self) -> DatabaseId {
        self.file.id()
    }

    fn last_tid(&self) -> Tid {
        self.file.last_tid()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        self.file.snapshot()
    }

    fn snapshot_at(&self, tid: Tid) -> Result<Arc<dyn Snapshot>> {
        self.file.snapshot_at(tid)
    }

    fn check_writable(&self, action: &'static str) -> Result<()> {
        self.file.check_writable(action)
    }

    fn new_oid(&self) -> Result<Oid> {
        self.file.new_oid()
    }

    fn intern(&self, definition: &TypeDef) -> Result<TypeId> {
        self.file.intern(definition)
    }

    fn type_def(&self, id: TypeId) -> Option<Arc<TypeDef>> {
        self.file.type_def(id)
    }

    fn wait_published(&self, tid: Tid, bound: Duration) -> Result<bool> {
        self.file.wait_published(tid, bound)
    }

    fn pinned(&self) -> Result<Vec<Oid>> {
        self.file.pinned()
    }

    fn history(&self, oid: Oid) -> Result<Vec<Change>> {
        self.file.history(oid)
    }

    fn transactions(&self, after: Tid, upto: Tid) -> Result<Box<dyn Transactions + '_>> {
        self.file.transactions(after, upto)
    }
}

impl TwoPhase for Witness {
    fn prepare(&self, batch: &Arc<Batch>, intent: &Intent) -> Result<Verdict<Box<dyn Promise>>> {
        let outdated = self.story().outdated(batch);
        let (entry, before) = (self.entry(batch, Some(intent.gtid)), self.story().visible());
        if !batch.is_empty() {
            self.story().promised(self.note.disk.moment(), &entry);
        }
        let verdict = self.file.prepare(batch, intent);
        self.judge(&verdict, &outdated);
        self.note.of(&verdict);
        if batch.is_empty() {
            return verdict;
        }
        match verdict? {
            Verdict::Passed(inner) => {
                Seen::Shared.note();
                let moment = self.note.disk.moment();
                self.story().promise(moment, before);
                let note = self.note.clone();
                Ok(Verdict::Passed(Box::new(Pledge { inner, note, entry })))
            }
            Verdict::Conflicts(contenders) => Ok(Verdict::Conflicts(contenders)),
        }
    }

    fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()> {
        let promise = self.story().promise_to(gtid).filter(|_| committed);
        // After a crash it gets another tid than it had, or would have had.
        let entry = promise.map(|promise| promise.anew());
        if let Some(entry) = &entry {
            self.story().begin(self.note.disk.moment(), entry);
        }
        let settled = self.file.settle(gtid, committed);
        self.note.of(&settled);
        if let (Some(entry), Ok(())) = (&entry, &settled) {
            Seen::Settled.note();
            let moment = self.note.disk.moment();
            self.story().acknowledge(moment, entry, self.file.last_tid(), true);
        }
        settled
    }

    fn in_doubt(&self) -> Result<Vec<Doubt>> {
        self.file.in_doubt()
    }

    fn wait_settled(&self, gtid: GlobalId, bound: Duration) -> Result<bool> {
        self.file.wait_settled(gtid, bound)
    }

    fn coordinator(&self) -> Option<Coordinator> {
        self.file.coordinator()
    }

    fn decision(&self, gtid: GlobalId, since: Tid) -> Result<Fate> {
        self.file.decision(gtid, since)
    }

    fn open_decisions(&self) -> Result<Vec<OpenDecision>> {
        self.file.open_decisions()
    }

    fn end_decision(&self, gtid: GlobalId) -> Result<()> {
        self.noting(|file| file.end_decision(gtid))
    }

    fn durable_mark(&self) -> DurableMark {
        self.file.durable_mark()
    }
}

/// A promise, and who notes what becomes of it.
#[derive(Debug)]
struct Pledge {
    inner: Box<dyn Promise>,
    note: Note,
    entry: Arc<Entry>,
}

impl Promise for Pledge {
    fn finish(self: Box<Self>) -> Result<Receipt> {
        let Pledge { inner, note, entry } = *self;
        note.story().begin(note.disk.moment(), &entry);
        let outcome = inner.finish();
        note.of(&outcome);
        match &outcome {
            Ok(receipt) => {
                let moment = note.disk.moment();
                note.story().acknowledge(moment, &entry, receipt.tid, false);
            }
            // It stays in doubt, and may be in the log.
            Err(Error::Unknown(_)) => {}
            Err(_) => note.story().refuse(&entry),
        }
        outcome
    }

    fn abort(self: Box<Self>) -> Result<()> {
        let outcome = self.inner.abort();
        self.note.of(&outcome);
        outcome
    }

    fn park(self: Box<Self>) {
        self.inner.park();
    }
}
