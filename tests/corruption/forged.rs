//! Frames whose sums are right and whose numbers are not: whoever forges them gets an error.

use super::kit::{Files, INDEX, NAME, Written, directory, files, open, put, written};
use crate::support::errors::{logged, panicking_at};
use perennial::format::{
    FIRST_FRAME, FileHeader, FrameBuilder, FrameHeader, FrameKind, HEADER_COPY, IndexHeader,
    RecordHead, Sums, plain_sum, put_bytes, put_varint,
};
use perennial::storage::file::{FileOptions, Mode, recover, verify};
use perennial::storage::{Batch, FileStorage, Storage};
use perennial::{Error, Oid, Tid};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::Level;

/// A file to which a forged frame can be added.
struct Forger {
    written: Written,
    sums: Sums,
    chain: u64,
    end: u64,
}

impl Forger {
    fn new() -> Forger {
        let written = written();
        let file = &written.open[NAME];
        let header = FileHeader::decode(file.first_chunk().unwrap()).unwrap();
        let sums = Sums::new(header.database, header.generation);
        let end = file.len() as u64;
        let chain = u64::from_le_bytes(file[file.len() - 16..][..8].try_into().unwrap());
        Forger { sums, chain, end, written }
    }

    fn header(&self) -> FrameHeader {
        let last = self.written.stored.last().unwrap().tid;
        FrameHeader {
            kind: FrameKind::Commit,
            body_len: 0,
            tid: Tid::new(last.number() + 1),
            durable_upto: self.end,
            chain: self.chain,
            next_oid: Oid::new(100),
            record_count: 0,
            fields_len: 0,
        }
    }

    /// The files with a frame of this header and body added.
    fn with(&self, header: &FrameHeader, body: &[u8]) -> Files {
        let mut frame = header.encode(&self.sums, self.end).to_vec();
        frame.extend_from_slice(body);
        frame.resize(frame.len().next_multiple_of(8), 0);
        let sum = self.sums.sum(self.end, &frame);
        let length = frame.len() as u64 + 16;
        frame.extend_from_slice(&sum.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        self.add(&frame)
    }

    fn with_record(&self, head: &RecordHead, next_oid: u64) -> Files {
        let mut builder = FrameBuilder::new(FrameKind::Commit, &[]).unwrap();
        builder.push(head, Some((77, &[], b"data")));
        builder.place(&self.sums, self.end, self.header().tid).unwrap();
        builder.finish(&self.sums, self.chain, self.end, Oid::new(next_oid));
        self.add(builder.bytes())
    }

    fn add(&self, frame: &[u8]) -> Files {
        let mut files = self.written.open.clone();
        files.get_mut(NAME).unwrap().extend_from_slice(frame);
        files
    }
}

#[test]
fn a_frame_that_claims_to_be_longer_than_the_file_is_torn() {
    let forger = Forger::new();
    for body_len in [1 << 20, 1 << 40, u64::MAX / 2, u64::MAX - 80, u64::MAX] {
        let header = FrameHeader { body_len, ..forger.header() };
        let storage = open(directory(&forger.with(&header, &[])), Mode::Existing).unwrap();
        forger.written.check(&storage, 5);
    }
}

#[test]
fn records_that_do_not_fit_their_frame_are_corrupt() {
    let forger = Forger::new();
    let mut fields = Vec::new();
    put_varint(&mut fields, 3);
    put_bytes(&mut fields, b"user");
    let bodies: [(&[u8], u32, u32); 6] = [
        (&[], u32::MAX, 0),
        (&[0xff; 64], 1, 0),
        (&[0x00; 64], 1, 0),
        (&[0xff; 64], 0, 64),
        (&[7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 0, 11),
        (&[63, 0], 0, 2),
    ];
    for (number, (body, record_count, fields_len)) in bodies.into_iter().enumerate() {
        let body_len = body.len() as u64;
        let header = FrameHeader { body_len, record_count, fields_len, ..forger.header() };
        let files = forger.with(&header, body);
        for mode in [Mode::Existing, Mode::ReadOnly] {
            match open(directory(&files), mode) {
                Err(Error::Corrupt(corruption)) => assert_eq!(corruption.offset, forger.end),
                other => panic!("body {number}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_record_of_an_impossible_object_is_refused() {
    let forger = Forger::new();
    let head =
        |oid, previous| RecordHead { oid: Oid::new(oid), pinned: false, previous, far: None };
    let forged = [
        forger.with_record(&head(200, 0), 100),
        forger.with_record(&head(u64::MAX, 0), u64::MAX),
        forger.with_record(&head(1, u64::MAX), 100),
        forger.with_record(&head(1, forger.end + 64), 100),
    ];
    for (number, files) in forged.iter().enumerate() {
        let outcome = open(directory(files), Mode::Existing);
        assert!(matches!(outcome, Err(Error::Corrupt(_) | Error::Exhausted(_))), "{number}");
    }
}

// R6: what cannot be taken up is no reason to touch what stands behind it.
#[test]
fn a_file_with_a_promise_that_breaks_a_rule_is_refused_before_its_end_is_mended() {
    let forger = Forger::new();
    let mut body = Vec::new();
    put_varint(&mut body, 5);
    put_bytes(&mut body, &[1; 16]);
    let fields_len = body.len() as u32;
    body.extend_from_slice(&[0xff; 64]);
    let tid = forger.written.stored.last().unwrap().tid;
    let (kind, body_len) = (FrameKind::Prepare, body.len() as u64);
    let header =
        FrameHeader { kind, tid, body_len, record_count: 1, fields_len, ..forger.header() };
    let mut damaged = forger.with(&header, &body);
    damaged.get_mut(NAME).unwrap().extend_from_slice(b"a torn end");

    let directory = directory(&damaged);
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    let options = FileOptions { hold_in_doubt: true, ..options };
    let outcome = FileStorage::open(directory.clone(), NAME, options);

    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{outcome:?}");
    assert_eq!(files(&*directory), damaged, "the files are as they were");
}

// R3: the last transaction is of tomorrow, or of the last year that has four digits.
#[test]
fn tids_count_on_where_the_clock_is_behind() {
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let year_9999 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    for last in [tomorrow, year_9999] {
        count_on_from(Tid::ZERO.next(last).unwrap());
    }
}

fn count_on_from(last: Tid) {
    let forger = Forger::new();
    let header = FrameHeader { tid: last, ..forger.header() };
    let storage = open(directory(&forger.with(&header, &[])), Mode::Existing).unwrap();
    assert_eq!(storage.last_tid(), last);
    let (oid, mut bases) = (storage.new_oid().unwrap(), BTreeMap::new());

    let warnings = logged(Level::WARN, || {
        for further in 1..4 {
            let data = BTreeMap::from([(oid, vec![further])]);
            let tid = put(&storage, &data, &mut bases);
            assert_eq!(tid.number(), last.number() + u64::from(further));
        }
    });

    assert_eq!(warnings.len(), 1, "it is said once: {warnings:?}");
    assert!(warnings[0].contains("the clock is behind"), "{warnings:?}");
}

// R3: the one who is told of it is foreign code, and by then the transaction has its place.
#[test]
fn who_panics_at_being_told_of_the_clock_leaves_nobody_waiting() {
    let forger = Forger::new();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let last = Tid::ZERO.next(tomorrow).unwrap();
    let header = FrameHeader { tid: last, ..forger.header() };
    let storage = open(directory(&forger.with(&header, &[])), Mode::Existing).unwrap();
    let data = BTreeMap::from([(storage.new_oid().unwrap(), vec![1])]);

    let put = || put(&storage, &data, &mut BTreeMap::new());
    let tid = panicking_at(Level::WARN, || catch_unwind(AssertUnwindSafe(put)));

    assert!(storage.wait_published(Tid::new(last.number() + 1), Duration::from_secs(1)).unwrap());
    assert_eq!(tid.ok(), Some(storage.last_tid()), "the commit is told as what it is");
}

// R3, R8: at the end of the numbers nothing wraps, and what is there is read.
#[test]
fn when_tids_or_oids_are_used_up_that_is_an_error() {
    let forger = Forger::new();
    let last = FrameHeader { tid: Tid::MAX, ..forger.header() };
    let storage = open(directory(&forger.with(&last, &[])), Mode::Existing).unwrap();
    assert_eq!(storage.last_tid(), Tid::MAX);
    let mut batch = Batch::default();
    batch.remove(storage.new_oid().unwrap(), Tid::ZERO, false);
    let refused = storage.commit(&Arc::new(batch));
    let Err(Error::Exhausted(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains(&Tid::MAX.number().to_string()) && why.contains("new database"), "{why}");
    storage.close().unwrap();

    let all = FrameHeader { next_oid: Oid::new(Oid::MAX.number()), ..forger.header() };
    let storage = open(directory(&forger.with(&all, &[])), Mode::Existing).unwrap();
    assert_eq!(storage.new_oid().unwrap(), Oid::MAX);
    for _ in 0..3 {
        let refused = storage.new_oid();
        let Err(Error::Exhausted(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains(&Oid::MAX.to_string()) && why.contains("another database"), "{why}");
    }
    let mut batch = Batch::default();
    batch.remove(Oid::new(u64::MAX), Tid::ZERO, false);
    let refused = storage.commit(&Arc::new(batch));
    assert!(matches!(refused, Err(Error::Exhausted(_))), "{refused:?}");
    storage.close().unwrap();
}

// R8: a file that says so is no longer for it.
#[test]
fn oids_that_nobody_used_cost_neither_time_nor_room() {
    let forger = Forger::new();
    let far = FrameHeader { next_oid: Oid::new(1 << 40), ..forger.header() };
    let directory = directory(&forger.with(&far, &[]));
    let storage = open(directory.clone(), Mode::Existing).unwrap();
    let facts = storage.facts();
    assert_eq!(facts.next_oid, Oid::new(1 << 40));
    assert!(facts.stored_below <= Oid::new(1 << 16), "{facts:?}");

    storage.close().unwrap();

    assert!(files(&*directory)[INDEX].len() < 1 << 20);
    let storage = open(directory, Mode::Existing).unwrap();
    assert_eq!(storage.new_oid().unwrap(), Oid::new(1 << 40), "none is given out again");
}

/// `bytes` with this number at this place, and with the sum that stands at their end made right.
fn forged(bytes: &[u8], at: usize, number: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    let end = bytes.len() - 8;
    let sum = plain_sum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

const NUMBERS: [u64; 7] = [0, 1, 4097, 1 << 62, u64::MAX / 2, u64::MAX - 1, u64::MAX];

/// Does with a file what can be done with it; whether it could be opened for writing.
fn use_it(files: &Files, what: &str) -> bool {
    let directory = directory(files);
    let _ = verify(&*directory, NAME, &mut |_, _| {});
    let _ = recover((&*directory, NAME), (&*directory, "new.db"), &mut |_, _| {});
    if let Ok(storage) = open(directory.clone(), Mode::ReadOnly) {
        let _ = storage.transactions(Tid::ZERO, Tid::MAX).unwrap().count();
    }
    let Ok(storage) = open(directory, Mode::Existing) else { return false };
    let mut batch = Batch::default();
    if let Ok(oid) = storage.new_oid() {
        batch.remove(oid, Tid::ZERO, false);
        let outcome = storage.commit(&Arc::new(batch));
        assert!(matches!(outcome, Ok(_) | Err(Error::Exhausted(_))), "{what}: {outcome:?}");
    }
    storage.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    true
}

// R8: whoever forges them with good sums gets no panic.
#[test]
fn impossible_numbers_in_a_header_end_in_an_error_or_nothing() {
    let written = written();
    let mut opened = 0;
    for number in NUMBERS {
        for at in (32..IndexHeader::LEN - 8).step_by(8) {
            let mut files = written.closed.clone();
            let index = files.get_mut(INDEX).unwrap();
            let front = forged(&index[..IndexHeader::LEN], at, number);
            index[..IndexHeader::LEN].copy_from_slice(&front);
            opened += usize::from(use_it(&files, &format!("index, {number:#x} at {at}")));
        }
        for at in (24..FileHeader::LEN - 8).step_by(8) {
            for length in [FIRST_FRAME as usize, written.open[NAME].len()] {
                let mut file = written.open[NAME][..length].to_vec();
                let header = forged(&file[..FileHeader::LEN], at, number);
                for start in [0, HEADER_COPY as usize] {
                    file[start..start + FileHeader::LEN].copy_from_slice(&header);
                }
                let files = Files::from([(NAME.into(), file)]);
                opened += usize::from(use_it(&files, &format!("header, {number:#x} at {at}")));
            }
        }
    }
    assert!(opened > 50, "{opened}");
}
