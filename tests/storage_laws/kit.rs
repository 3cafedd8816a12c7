//! What the laws say often: small batches, and looking at what became of them.

use perennial::format::{Metadata, TypeDef, TypeId};
use perennial::storage::{Batch, Contender, Load, Receipt, Revision, Snapshot, Storage, Verdict};
use perennial::{Oid, Tid};
use std::sync::Arc;

/// The type that most laws store.
pub fn definition() -> TypeDef {
    TypeDef { name: "laws.Text".into(), version: 1, shape: "text".into() }
}

/// A batch over a storage, made in one breath.
pub struct Work<'a> {
    storage: &'a dyn Storage,
    batch: Batch,
    type_id: TypeId,
}

pub fn work(storage: &dyn Storage) -> Work<'_> {
    let type_id = storage.intern(&definition()).expect("interned");
    Work { storage, batch: Batch::default(), type_id }
}

impl Work<'_> {
    pub fn put(mut self, oid: Oid, base: Tid, data: &str) -> Self {
        self.batch.put((oid, base, false), self.type_id, &[], data.as_bytes());
        self
    }

    pub fn put_pinned(mut self, oid: Oid, base: Tid, data: &str) -> Self {
        self.batch.put((oid, base, true), self.type_id, &[], data.as_bytes());
        self
    }

    pub fn remove(mut self, oid: Oid, base: Tid) -> Self {
        self.batch.remove(oid, base, false);
        self
    }

    pub fn check(mut self, oid: Oid, base: Tid) -> Self {
        self.batch.reads.push((oid, base));
        self
    }

    pub fn note(mut self, note: &str) -> Self {
        self.batch.metadata = Metadata { note: note.into(), ..Metadata::default() };
        self
    }

    pub fn into_batch(self) -> Batch {
        self.batch
    }

    pub fn verdict(self) -> Verdict {
        self.storage.commit(&Arc::new(self.batch)).expect("a verdict")
    }

    pub fn commit(self) -> Receipt {
        match self.verdict() {
            Verdict::Passed(receipt) => receipt,
            Verdict::Conflicts(contenders) => panic!("unexpected conflicts: {contenders:?}"),
        }
    }

    pub fn conflicts(self) -> Vec<Contender> {
        match self.verdict() {
            Verdict::Conflicts(contenders) => contenders,
            Verdict::Passed(receipt) => panic!("unexpectedly committed: {receipt:?}"),
        }
    }
}

pub fn new_oid(storage: &dyn Storage) -> Oid {
    storage.new_oid().expect("an oid")
}

/// A new object with these data, in a transaction of its own.
pub fn create(storage: &dyn Storage, data: &str) -> (Oid, Tid) {
    let oid = new_oid(storage);
    (oid, work(storage).put(oid, Tid::ZERO, data).commit().tid)
}

pub fn snapshot(storage: &dyn Storage) -> Arc<dyn Snapshot> {
    storage.snapshot().expect("a snapshot")
}

pub fn found(snapshot: &dyn Snapshot, oid: Oid) -> Revision<'_> {
    match snapshot.load(oid).expect("loaded") {
        Load::Found(revision) => revision,
        other => panic!("object {oid}: {other:?}"),
    }
}

/// The text of an object; `None` where it is removed or absent.
pub fn text(snapshot: &dyn Snapshot, oid: Oid) -> Option<String> {
    match snapshot.load(oid).expect("loaded") {
        Load::Found(revision) => Some(String::from_utf8(revision.data.to_vec()).expect("text")),
        Load::Removed(_) | Load::Absent => None,
    }
}

pub fn is_absent(snapshot: &dyn Snapshot, oid: Oid) -> bool {
    matches!(snapshot.load(oid).expect("loaded"), Load::Absent)
}

/// The tids of all transactions, oldest first.
pub fn tids(storage: &dyn Storage) -> Vec<Tid> {
    let all = storage.transactions(Tid::ZERO, Tid::MAX).expect("transactions");
    all.map(|transaction| transaction.expect("read").tid).collect()
}
