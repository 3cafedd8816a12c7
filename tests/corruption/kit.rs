//! Files as maps of bytes: written once, then damaged in every way and opened.

pub use crate::support::files::{Files, directory, files};

use perennial::file::{Directory, MemoryDirectory};
use perennial::format::TypeDef;
use perennial::storage::file::{FileOptions, Mode};
use perennial::storage::{Batch, FileStorage, Load, Storage, Verdict};
use perennial::{Error, Oid, Result, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const NAME: &str = "bank.db";
pub const INDEX: &str = "bank.db.index";

pub fn without_index(files: &Files) -> Files {
    let mut files = files.clone();
    files.remove(INDEX);
    files
}

pub fn open(directory: Arc<dyn Directory>, mode: Mode) -> Result<FileStorage> {
    let options = FileOptions { mode, housekeeping: false, ..FileOptions::default() };
    FileStorage::open(directory, NAME, options)
}

/// What one transaction stored, and where its frame starts and ends.
pub struct Stored {
    pub tid: Tid,
    pub data: BTreeMap<Oid, Vec<u8>>,
    pub start: u64,
    pub end: u64,
}

/// A database that was written by a few transactions.
pub struct Written {
    /// Its files, before it was closed: nothing but the frames themselves.
    pub open: Files,
    /// Its files once it was closed: sealed, with an index snapshot.
    pub closed: Files,
    pub stored: Vec<Stored>,
}

/// Three objects, each changed by some of five transactions.
pub fn written() -> Written {
    written_of(5, 0)
}

/// Three objects, each changed by some of `count` transactions, with so many bytes more in each.
pub fn written_of(count: usize, more: usize) -> Written {
    let directory = Arc::new(MemoryDirectory::new());
    let storage = open(directory.clone(), Mode::CreateNew).unwrap();
    let oids: Vec<Oid> = (0..3).map(|_| storage.new_oid().unwrap()).collect();
    let mut bases = BTreeMap::new();
    let mut stored = Vec::new();
    for number in 0..count {
        let start = storage.facts().log_end;
        let data: BTreeMap<Oid, Vec<u8>> = (0..2)
            .map(|which| oids[(number + which) % 3])
            .map(|oid| {
                let more = "+".repeat(more);
                (oid, format!("object {oid} of transaction {number}{more}").into_bytes())
            })
            .collect();
        let tid = put(&storage, &data, &mut bases);
        stored.push(Stored { tid, data, start, end: storage.facts().log_end });
    }
    let open = files(&*directory);
    storage.close().unwrap();
    Written { open, closed: files(&*directory), stored }
}

/// Stores these data in one transaction.
pub fn put(
    storage: &FileStorage,
    data: &BTreeMap<Oid, Vec<u8>>,
    bases: &mut BTreeMap<Oid, Tid>,
) -> Tid {
    let definition = TypeDef { name: "kit.Text".into(), version: 1, shape: "text".into() };
    let type_id = storage.intern(&definition).unwrap();
    let mut batch = Batch::default();
    for (&oid, bytes) in data {
        let base = bases.get(&oid).copied().unwrap_or(Tid::ZERO);
        batch.put((oid, base, false), type_id, &[], bytes);
    }
    match storage.commit(&Arc::new(batch)).unwrap() {
        Verdict::Passed(receipt) => {
            bases.extend(data.keys().map(|&oid| (oid, receipt.tid)));
            receipt.tid
        }
        Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
    }
}

impl Written {
    /// Checks that the storage shows the first `count` transactions, and nothing else.
    pub fn check(&self, storage: &FileStorage, count: usize) {
        let wrong = self.read(storage, count).err();
        assert!(wrong.is_none(), "{wrong:?}");
    }

    /// Reads everything there is: what can be read is right, or the test fails.
    pub fn read(&self, storage: &FileStorage, count: usize) -> Result<()> {
        let stored = &self.stored[..count];
        let last = stored.last().map_or(Tid::ZERO, |last| last.tid);
        assert_eq!(storage.last_tid(), last);
        let mut outcome = Ok(());
        for (number, transaction) in stored.iter().enumerate() {
            let snapshot = storage.snapshot_at(transaction.tid)?;
            for oid in self.stored.iter().flat_map(|stored| stored.data.keys()) {
                let expected = stored[..=number].iter().rev().find_map(|it| it.data.get(oid));
                match snapshot.load(*oid) {
                    Ok(Load::Found(found)) => assert_eq!(Some(&found.data.to_vec()), expected),
                    Ok(_) => assert!(expected.is_none(), "object {oid} is lost in silence"),
                    Err(error) => outcome = Err(named(error)),
                }
            }
        }
        let mut expected = stored.iter();
        for transaction in storage.transactions(Tid::ZERO, Tid::MAX)? {
            let transaction = match transaction {
                Ok(transaction) => transaction,
                Err(error) => return Err(named(error)),
            };
            let expected = expected.next().expect("no more transactions than there were");
            let data = transaction.records.into_iter().map(|(oid, revision)| {
                (oid, revision.expect("nothing was removed").data.into_owned())
            });
            assert_eq!(
                (transaction.tid, data.collect::<BTreeMap<_, _>>()),
                (expected.tid, expected.data.clone())
            );
        }
        assert!(expected.next().is_none(), "transactions are lost in silence");
        outcome
    }
}

/// The error of damaged bytes, which says where they are.
pub fn named(error: Error) -> Error {
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("offset"), "{error}");
    error
}
