//! A database with everything in its log that a log can have, damaged and recovered.

pub use crate::support::files::{Files, directory, files};

use perennial::file::{Directory, MemoryDirectory};
use perennial::format::{
    Decision, FIRST_FRAME, FileHeader, FrameHeader, FrameKind, Metadata, Participant, Sums, TypeDef,
};
use perennial::storage::file::{FileOptions, Loss, LossKind, Mode, Recovery, recover};
use perennial::storage::{Batch, FileStorage, Intent, Load, Promise, Storage, TwoPhase, Verdict};
use perennial::{GlobalId, Oid, Result, Tid};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub const OLD: &str = "old.db";
pub const INDEX: &str = "old.db.index";
pub const NEW: &str = "new.db";

pub fn open(directory: Arc<dyn Directory>, name: &str, mode: Mode) -> Result<FileStorage> {
    let options =
        FileOptions { mode, housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    FileStorage::open(directory, name, options)
}

/// Recovers the old file into the new one, in the same directory.
pub fn recovered(directory: &MemoryDirectory) -> Result<Recovery> {
    recover((directory, OLD), (directory, NEW), &mut |_, _| {})
}

/// What one transaction stored: of each object, whether it is pinned, its type, what it refers to,
/// and its data; or that it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub tid: Tid,
    pub metadata: Metadata,
    pub records: Vec<(Oid, Option<State>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub pinned: bool,
    pub type_name: String,
    pub references: Vec<u8>,
    pub data: Vec<u8>,
}

/// All transactions of a file, and the newest tid of every object.
pub fn content(directory: &Arc<MemoryDirectory>, name: &str) -> (Vec<Told>, BTreeMap<Oid, Tid>) {
    let storage = open(directory.clone(), name, Mode::ReadOnly).unwrap();
    let mut newest = BTreeMap::new();
    let mut all = Vec::new();
    for transaction in storage.transactions(Tid::ZERO, Tid::MAX).unwrap() {
        let transaction = transaction.unwrap();
        let tid = transaction.tid;
        let records = transaction.records.into_iter().map(|(oid, revision)| {
            newest.insert(oid, tid);
            let state = revision.map(|revision| State {
                pinned: revision.pinned,
                type_name: storage.type_def(revision.type_id).unwrap().to_string(),
                references: revision.references.bytes().to_vec(),
                data: revision.data.to_vec(),
            });
            (oid, state)
        });
        all.push(Told { tid, metadata: transaction.metadata, records: records.collect() });
    }
    // What the index says is what the log says.
    let snapshot = storage.snapshot().unwrap();
    for (&oid, &tid) in &newest {
        match snapshot.load(oid).unwrap() {
            Load::Found(revision) => assert_eq!(revision.tid, tid),
            Load::Removed(removed) => assert_eq!(removed, tid),
            Load::Absent => panic!("object {oid} is nowhere"),
        }
        assert_eq!(storage.history(oid).unwrap()[0].tid, tid);
    }
    (all, newest)
}

/// The places of the frames of a file, and their headers.
pub fn frames(file: &[u8]) -> Vec<(Range<u64>, FrameHeader)> {
    let header = FileHeader::decode(file.first_chunk().unwrap()).unwrap();
    let sums = Sums::new(header.database, header.generation);
    let (mut frames, mut at) = (Vec::new(), FIRST_FRAME);
    while let Some(bytes) = file.get(at as usize..).and_then(<[u8]>::first_chunk) {
        let Ok(header) = FrameHeader::decode(&sums, at, bytes) else { break };
        let end = at + header.frame_len().unwrap();
        frames.push((at..end, header));
        at = end;
    }
    frames
}

pub fn gtid(number: u8) -> GlobalId {
    GlobalId::new([number; 16])
}

/// Who writes the story: a storage, and the newest tid of every object.
pub struct Author {
    pub storage: FileStorage,
    pub newest: BTreeMap<Oid, Tid>,
}

/// A piece of the story: what is stored, removed and relied on.
#[derive(Default)]
pub struct Piece<'a> {
    pub writes: &'a [(Oid, &'a [Oid], &'a str)],
    pub removes: &'a [Oid],
    pub reads: &'a [Oid],
    pub type_name: &'a str,
    pub decides: Option<u8>,
}

impl Author {
    pub fn new(directory: &Arc<MemoryDirectory>) -> Author {
        let storage = open(directory.clone(), OLD, Mode::CreateNew).unwrap();
        Author { storage, newest: BTreeMap::new() }
    }

    pub fn oids<const N: usize>(&self) -> [Oid; N] {
        [(); N].map(|()| self.storage.new_oid().unwrap())
    }

    fn batch(&self, piece: &Piece<'_>) -> Arc<Batch> {
        let base = |oid| self.newest.get(&oid).copied().unwrap_or(Tid::ZERO);
        let name = if piece.type_name.is_empty() { "recover.Text" } else { piece.type_name };
        let definition = TypeDef { name: name.into(), version: 1, shape: "str".into() };
        let type_id = self.storage.intern(&definition).unwrap();
        let mut batch = Batch::default();
        for &(oid, references, text) in piece.writes {
            let pinned = text.starts_with("pinned");
            batch.put((oid, base(oid), pinned), type_id, references, text.as_bytes());
        }
        piece.removes.iter().for_each(|&oid| batch.remove(oid, base(oid), false));
        batch.reads = piece.reads.iter().map(|&oid| (oid, base(oid))).collect();
        batch.metadata.user = "author".into();
        batch.metadata.note = format!("{} objects", batch.len());
        batch.decision = piece.decides.map(|number| Decision {
            gtid: gtid(number),
            participants: vec![Participant { name: "somebody".into(), database: None }],
        });
        Arc::new(batch)
    }

    fn written(&mut self, piece: &Piece<'_>, tid: Tid) -> Tid {
        let written = piece.writes.iter().map(|&(oid, ..)| oid).chain(piece.removes.to_vec());
        self.newest.extend(written.map(|oid| (oid, tid)));
        tid
    }

    pub fn commit(&mut self, piece: Piece<'_>) -> Tid {
        match self.storage.commit(&self.batch(&piece)).unwrap() {
            Verdict::Passed(receipt) => self.written(&piece, receipt.tid),
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }

    pub fn put(&mut self, writes: &[(Oid, &[Oid], &str)]) -> Tid {
        self.commit(Piece { writes, ..Piece::default() })
    }

    pub fn promise(&self, number: u8, piece: &Piece<'_>) -> Box<dyn Promise> {
        let intent = Intent { gtid: gtid(number), coordinator: None };
        match self.storage.prepare(&self.batch(piece), &intent).unwrap() {
            Verdict::Passed(promise) => promise,
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }

    /// Promises and keeps the promise.
    pub fn keep(&mut self, number: u8, piece: Piece<'_>) -> Tid {
        let tid = self.promise(number, &piece).finish().unwrap().tid;
        self.written(&piece, tid)
    }
}

/// The story: commits, promises kept, taken back and in doubt, decisions ended and open, removals,
/// references, two types. Objects 1 to 6.
pub fn story() -> Files {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [a, b, c, d, e, f] = author.oids();
    author.put(&[(a, &[b], "alpha"), (b, &[], "beta")]);
    author.put(&[(c, &[], "pinned gamma"), (d, &[a], "delta")]);
    author.keep(1, Piece { writes: &[(a, &[b, c], "alpha kept")], ..Piece::default() });
    let taken_back = Piece { writes: &[(b, &[], "beta never")], ..Piece::default() };
    author.promise(2, &taken_back).abort().unwrap();
    let decided = Piece { writes: &[(d, &[a], "delta decided")], ..Piece::default() };
    author.commit(Piece { decides: Some(3), ..decided });
    author.storage.end_decision(gtid(3)).unwrap();
    author.commit(Piece { writes: &[(e, &[f], "epsilon")], decides: Some(4), ..Piece::default() });
    author.commit(Piece {
        writes: &[(f, &[], "zeta")],
        type_name: "recover.Other",
        ..Piece::default()
    });
    author.commit(Piece { removes: &[d], ..Piece::default() });
    let doubtful =
        Piece { writes: &[(c, &[], "pinned gamma in doubt")], reads: &[b], ..Piece::default() };
    drop(author.promise(5, &doubtful));
    author.put(&[(e, &[f], "epsilon again"), (f, &[e], "zeta again")]);
    author.put(&[(a, &[b], "alpha last")]);
    author.storage.close().unwrap();
    files(&*directory)
}

/// The losses of this kind.
pub fn of_kind(recovery: &Recovery, kind: LossKind) -> Vec<&Loss> {
    recovery.losses.iter().filter(|loss| loss.kind == kind).collect()
}

/// The frame of kind `kind` that comes as number `number` of its kind.
pub fn frame(files: &Files, kind: FrameKind, number: usize) -> Range<u64> {
    let all = frames(&files[OLD]).into_iter().filter(|(_, header)| header.kind == kind);
    all.map(|(place, _)| place).nth(number).unwrap()
}

/// The files with one byte of the old one changed.
pub fn flip(files: &Files, at: u64) -> Files {
    let mut files = files.clone();
    files.get_mut(OLD).unwrap()[at as usize] ^= 1 << (at % 8);
    files
}

/// The files with bytes of the old one zeroed.
pub fn zero(files: &Files, place: Range<u64>) -> Files {
    let mut files = files.clone();
    let bytes = files.get_mut(OLD).unwrap();
    let end = (place.end as usize).min(bytes.len());
    bytes[place.start as usize..end].fill(0);
    files
}

pub fn without_index(files: &Files) -> Files {
    let mut files = files.clone();
    files.remove(INDEX);
    files
}
