//! Files that somebody put together with good sums so that they cost more than they should: more
//! memory than they have bytes, or a time that grows with the square of their length.

use super::kit::{INDEX, NAME, directory};
use crate::support::child::{self, Child};
use crate::support::files::Files;
use perennial::file::Directory;
use perennial::format::{
    Fields, FileHeader, FrameBuilder, FrameHeader, FrameKind, IndexHeader, IndexTables, PAGE_LEN,
    PAGES_START, Participant, RecordHead, Sums, TypeDef, TypeId, page_sum, put_varint,
};
use perennial::shape::{Shape, decode_by_shape};
use perennial::storage::file::{FileOptions, Mode, recover, verify};
use perennial::storage::{Fate, FileStorage, Storage, TwoPhase};
use perennial::{DatabaseId, Error, GlobalId, Oid, Result, Tid};
use std::sync::Arc;

const MEBIBYTE: usize = 1 << 20;

/// A log that somebody writes by hand.
struct Log {
    header: FileHeader,
    sums: Sums,
    bytes: Vec<u8>,
    chain: u64,
    tid: Tid,
    next_oid: Oid,
}

fn gtid(number: u64) -> GlobalId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    GlobalId::new(bytes)
}

/// Fields that define type 0 with this shape.
fn typed(shape: String) -> Fields {
    let definition = TypeDef { name: "hostile".into(), version: 0, shape: shape.into() };
    Fields { types: vec![(TypeId(0), definition)], ..Fields::default() }
}

/// Fields that name a global transaction.
fn of(number: u64) -> Fields {
    Fields { gtid: Some(gtid(number)), ..Fields::default() }
}

impl Log {
    fn new() -> Log {
        let header = FileHeader::new(DatabaseId::new([7; 16]));
        let sums = Sums::new(header.database, header.generation);
        let (bytes, chain) = (header.encode_file(), header.sum());
        let (tid, next_oid) = (Tid::new(1_700_000_000_000_000), Oid::new(1 << 20));
        Log { header, sums, bytes, chain, tid, next_oid }
    }

    fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Adds a frame that stores these objects, each for the first time; where it stands.
    fn add(&mut self, kind: FrameKind, fields: &Fields, oids: &[u64]) -> u64 {
        let head = |&oid: &u64| (oid, 0);
        let records: Vec<_> = oids.iter().map(head).collect();
        self.add_records(kind, fields, |_| records).0
    }

    /// Adds a frame with the records that `records` makes of where the first one will stand, each
    /// an oid and where its previous record stands; where the frame and the records are.
    fn add_records(
        &mut self,
        kind: FrameKind,
        fields: &Fields,
        records: impl FnOnce(u64) -> Vec<(u64, u64)>,
    ) -> (u64, Vec<u64>) {
        let (mut bytes, at) = (Vec::new(), self.end());
        fields.encode(&mut bytes);
        let mut builder = FrameBuilder::new(kind, &bytes).unwrap();
        for (oid, previous) in records(at + (FrameHeader::LEN + bytes.len()) as u64) {
            let head = RecordHead { oid: Oid::new(oid), pinned: false, previous, far: None };
            builder.push(&head, Some((0, &[], b"x")));
        }
        if kind == FrameKind::Commit {
            self.tid = Tid::new(self.tid.number() + 1);
        }
        builder.place(&self.sums, at, self.tid).unwrap();
        self.chain = builder.finish(&self.sums, self.chain, at, self.next_oid);
        let starts = builder.record_starts().iter().map(|start| at + start).collect();
        self.bytes.extend_from_slice(builder.bytes());
        (at, starts)
    }

    /// An index snapshot of the log to its end, with these newest records and tables.
    fn snapshot(&self, newest: &[(u64, u64)], tables: IndexTables) -> Vec<u8> {
        let mut page = vec![0; PAGE_LEN];
        for &(oid, at) in newest {
            page[oid as usize * 8..][..8].copy_from_slice(&at.to_le_bytes());
        }
        let page_sums = vec![page_sum(&self.sums, 0, &page)];
        let tables = IndexTables { page_sums, ..tables }.encode();
        let header = IndexHeader {
            database: self.header.database,
            generation: self.header.generation,
            scan_from: self.end(),
            valid_upto: self.end(),
            chain: self.chain,
            tid: self.tid,
            next_oid: self.next_oid,
            forgot_before: Tid::ZERO,
            pages: 1,
            tables_len: tables.len() as u64,
            tables_sum: self.sums.sum(self.end(), &tables),
        };
        let mut bytes = header.encode().to_vec();
        bytes.resize(PAGES_START as usize, 0);
        [bytes, page, tables].concat()
    }

    fn files(&self) -> Files {
        Files::from([(NAME.into(), self.bytes.clone())])
    }

    fn files_with(&self, snapshot: Vec<u8>) -> Files {
        Files::from([(NAME.into(), self.bytes.clone()), (INDEX.into(), snapshot)])
    }
}

fn open(directory: Arc<dyn Directory>, mode: Mode) -> Result<FileStorage> {
    let options = FileOptions { mode, housekeeping: false, ..FileOptions::default() };
    FileStorage::open(directory, NAME, FileOptions { hold_in_doubt: true, ..options })
}

/// Does with a file what reads all of it.
fn read_all(files: &Files) {
    let directory = directory(files);
    verify(&*directory, NAME, &mut |_, _| {}).unwrap();
    recover((&*directory, NAME), (&*directory, "new.db"), &mut |_, _| {}).unwrap();
    for mode in [Mode::ReadOnly, Mode::Existing] {
        let _ = open(directory.clone(), mode);
    }
}

fn assert_corrupt<T: std::fmt::Debug>(outcome: Result<T>, offset: u64) {
    match outcome {
        Err(Error::Corrupt(corruption)) => assert_eq!(corruption.offset, offset, "{corruption}"),
        other => panic!("{other:?}"),
    }
}

// The log knows better than the books of an index snapshot.
#[test]
fn a_decision_that_only_a_snapshot_knows_is_an_error_and_not_a_commit() {
    let mut log = Log::new();
    let participants = vec![Participant { name: "p".repeat(MEBIBYTE), database: None }];
    let decides = Fields { participants, ..of(1) };
    let at = log.add(FrameKind::Commit, &decides, &[]);
    let decisions = (0..2000).map(|number| (gtid(number), at)).collect();
    let snapshot = log.snapshot(&[], IndexTables { decisions, ..IndexTables::default() });
    let directory = directory(&log.files_with(snapshot));

    for mode in [Mode::ReadOnly, Mode::Existing] {
        let storage = open(directory.clone(), mode).unwrap();
        let fate = |number| storage.decision(gtid(number), Tid::ZERO);
        assert_eq!(fate(1).unwrap(), Fate::Committed(log.tid));
        assert_corrupt(fate(5), at);
        assert_corrupt(storage.open_decisions(), at);
    }
}

#[test]
fn a_promise_that_only_a_snapshot_knows_is_an_error() {
    let mut log = Log::new();
    let promise = log.add(FrameKind::Prepare, &of(1), &[]);
    let commit = log.add(FrameKind::Commit, &of(2), &[]);
    for (number, at) in [(2, promise), (2, commit)] {
        let prepared = vec![(gtid(number), at)];
        let snapshot = log.snapshot(&[], IndexTables { prepared, ..IndexTables::default() });
        let directory = directory(&log.files_with(snapshot));

        assert_corrupt(open(directory.clone(), Mode::Existing), at);
        assert_corrupt(open(directory, Mode::ReadOnly).unwrap().in_doubt(), at);
    }
}

// Each of thousands of them would tell the same long note.
#[test]
fn two_revisions_of_one_object_in_one_frame_are_an_error_in_its_history() {
    let mut log = Log::new();
    let fields = typed("u8".into());
    let twice = |first| vec![(1, 0), (1, first)];
    let (_, starts) = log.add_records(FrameKind::Commit, &fields, twice);
    let snapshot = log.snapshot(
        &[(1, starts[1])],
        IndexTables { types: fields.types.clone(), ..IndexTables::default() },
    );

    let storage = open(directory(&log.files_with(snapshot)), Mode::ReadOnly).unwrap();
    assert_corrupt(storage.history(Oid::new(1)), starts[1]);
}

/// Many promises to store an object each, of a type whose definition is long.
fn promises_of_a_long_type() -> Files {
    let mut log = Log::new();
    log.add(FrameKind::Commit, &typed("x".repeat(MEBIBYTE)), &[1]);
    for number in 0..2000 {
        log.add(FrameKind::Prepare, &of(number), &[10 + number]);
    }
    log.files()
}

/// Many frames that contradict one long definition.
fn contradictions_of_a_long_type() -> Files {
    let mut log = Log::new();
    log.add(FrameKind::Commit, &typed("x".repeat(MEBIBYTE)), &[1]);
    for oid in 10..2010 {
        log.add(FrameKind::Commit, &typed("y".into()), &[oid]);
    }
    log.files()
}

/// A shape with a long name, and bytes that are many values of it, none of which takes a byte.
fn values_with_a_long_name() -> (Shape, Vec<u8>) {
    let name = "n".repeat(MEBIBYTE);
    let shape = Shape::parse(&format!("{{one: A{{{name}: ()}}, all: [^1]}}")).unwrap();
    let many = [&[251][..], &2000u16.to_le_bytes()].concat();
    (shape, many)
}

#[test]
fn what_is_long_and_named_often_takes_no_more_memory_than_the_file_warrants() {
    let home = tempfile::tempdir().unwrap();
    let child = Child::new("corruption::hostile::child_without_much_memory", home.path());
    child.limited("ulimit -v 1500000").run();
}

#[test]
#[ignore = "run by what_is_long_and_named_often_takes_no_more_memory_than_the_file_warrants"]
fn child_without_much_memory() {
    if child::home().is_none() {
        return;
    }
    let promises = directory(&promises_of_a_long_type());
    assert_eq!(open(promises, Mode::Existing).unwrap().in_doubt().unwrap().len(), 2000);
    let contradictions = contradictions_of_a_long_type();
    read_all(&contradictions);
    let found = verify(&*directory(&contradictions), NAME, &mut |_, _| {}).unwrap().findings;
    assert_eq!(found.len(), 2000);
    let (shape, bytes) = values_with_a_long_name();
    assert!(matches!(decode_by_shape(&shape, &bytes), Err(Error::Codec(_))));
}

/// A frame whose header is good if that is wanted, and in whose body every place could be the start
/// of a record that reaches to its end.
fn records_that_overlap(good_header: bool) -> Files {
    let mut log = Log::new();
    let (at, tid) = (log.end(), Tid::new(log.tid.number() + 1));
    let mut body = Vec::with_capacity(2 * MEBIBYTE);
    while body.len() < MEBIBYTE {
        let back = (FrameHeader::LEN + body.len()) as u64;
        let room = (MEBIBYTE - body.len()).saturating_sub(64) as u64;
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&tid.number().to_le_bytes());
        body.push(0);
        // The oid, the way back, the record before, the type, the references, the data.
        [1, back, 0, 0, 0, room].iter().for_each(|&number| put_varint(&mut body, number));
    }
    body.resize(body.len().next_multiple_of(8), 0);
    let header = FrameHeader {
        kind: FrameKind::Commit,
        body_len: body.len() as u64,
        tid,
        durable_upto: at,
        chain: log.chain,
        next_oid: Oid::new(100),
        record_count: 1,
        fields_len: 0,
    };
    let mut header = header.encode(&log.sums, at);
    header[0] ^= u8::from(!good_header);
    let length = (FrameHeader::MIN_FRAME as usize + body.len()) as u64;
    let wrong_sum = [0; 8];
    log.bytes.extend([&header[..], &body, &wrong_sum, &length.to_le_bytes()].concat());
    // It proves that what precedes it was durable, so that this is damage.
    log.tid = tid;
    log.add(FrameKind::Seal, &Fields::default(), &[]);
    log.files()
}

/// As many open promises as later commits, which have nothing to do with them.
fn promises_and_commits() -> Files {
    let mut log = Log::new();
    log.add(FrameKind::Commit, &typed("u8".into()), &[1]);
    for number in 0..8000 {
        log.add(FrameKind::Prepare, &of(number), &[10 + number]);
    }
    for number in 0..8000 {
        log.add(FrameKind::Commit, &Fields::default(), &[10_000 + number]);
    }
    log.files()
}

// Each of these took minutes. What is limited is the processor's time, which others do not spend.
#[test]
fn a_file_is_read_in_a_time_that_grows_with_its_length_and_not_with_its_square() {
    let home = tempfile::tempdir().unwrap();
    let child = Child::new("corruption::hostile::child_without_much_time", home.path());
    child.limited("ulimit -t 100").run();
}

#[test]
#[ignore = "run by a_file_is_read_in_a_time_that_grows_with_its_length_and_not_with_its_square"]
fn child_without_much_time() {
    if child::home().is_none() {
        return;
    }
    read_all(&records_that_overlap(true));
    read_all(&records_that_overlap(false));
    read_all(&promises_and_commits());
}
