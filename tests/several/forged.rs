//! Promises whose sums are right and which nobody can have given: an error that says where, and
//! nothing promised on the word of them.

use super::kit::options;
use crate::support::sim::SimDisk;
use perennial::file::{Access, Directory};
use perennial::format::{
    FIRST_FRAME, Fields, FileHeader, FrameBuilder, FrameKind, RecordHead, Sums, TypeDef, TypeId,
};
use perennial::storage::file::{FileOptions, Mode, Recovery, recover};
use perennial::storage::{FileStorage, Storage, TwoPhase};
use perennial::{Error, GlobalId, Oid, OnDoubt, Tid};
use std::sync::Arc;

const NAME: &str = "forged.db";

/// What a record says beside its data: the object, the record before, and the type.
type Said = (u64, u64, u32);

/// A log that somebody writes by hand, with the sums that belong there.
struct Forger {
    disk: SimDisk,
    sums: Sums,
    chain: u64,
    end: u64,
    tid: Tid,
}

fn open(disk: &SimDisk, name: &str) -> perennial::Result<FileStorage> {
    let options =
        FileOptions { mode: Mode::Existing, housekeeping: false, ..FileOptions::default() };
    let options = FileOptions { hold_in_doubt: true, ..options };
    FileStorage::open(Arc::new(disk.clone()), name, options)
}

/// Fields that name the global transaction `number`.
fn of(number: u8) -> Fields {
    Fields { gtid: Some(GlobalId::new([number; 16])), ..Fields::default() }
}

impl Forger {
    /// A file in which object 1 has two records, object 2 has one, and type 0 is defined. Returns
    /// where the records stand.
    fn new() -> (Forger, [u64; 3]) {
        let disk = SimDisk::new();
        drop(FileStorage::open(Arc::new(disk.clone()), NAME, FileOptions::default()).unwrap());
        disk.remove(&format!("{NAME}.index")).unwrap();
        let mut bytes = [0; FileHeader::LEN];
        disk.open(NAME, Access::Read).unwrap().read_at(0, &mut bytes).unwrap();
        let header = FileHeader::decode(&bytes).unwrap();
        let sums = Sums::new(header.database, header.generation);
        let (chain, end) = (header.sum(), FIRST_FRAME);
        let mut forger = Forger { disk, sums, chain, end, tid: Tid::new(1_700_000_000_000_000) };
        let definition = TypeDef { name: "forged".into(), version: 0, shape: "u8".into() };
        let types = Fields { types: vec![(TypeId(0), definition)], ..Fields::default() };
        let first = forger.add(FrameKind::Commit, &types, &[(1, 0, 0), (2, 0, 0)]);
        let second = forger.add(FrameKind::Commit, &Fields::default(), &[(1, first[0], 0)]);
        (forger, [first[0], second[0], first[1]])
    }

    /// Adds a frame; where its records stand.
    fn add(&mut self, kind: FrameKind, fields: &Fields, records: &[Said]) -> Vec<u64> {
        self.add_referring(kind, fields, records, &[])
    }

    /// The same, with these bytes as the references of each record.
    fn add_referring(
        &mut self,
        kind: FrameKind,
        fields: &Fields,
        records: &[Said],
        references: &[u8],
    ) -> Vec<u64> {
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        let mut builder = FrameBuilder::new(kind, &bytes).unwrap();
        for &(oid, previous, type_id) in records {
            let head = RecordHead { oid: Oid::new(oid), pinned: false, previous, far: None };
            builder.push(&head, Some((type_id, references, b"x")));
        }
        if kind == FrameKind::Commit {
            self.tid = Tid::new(self.tid.number() + 1);
        }
        builder.place(&self.sums, self.end, self.tid).unwrap();
        self.chain = builder.finish(&self.sums, self.chain, self.end, Oid::new(100));
        let file = self.disk.open(NAME, Access::Write).unwrap();
        file.append(self.end, builder.bytes()).unwrap();
        let starts = builder.record_starts().iter().map(|start| self.end + start).collect();
        self.end += builder.bytes().len() as u64;
        starts
    }

    fn opened(&self) -> perennial::Result<FileStorage> {
        open(&self.disk, NAME)
    }

    /// What recovering tells; the new file is beside this one.
    fn recovered(&self) -> Recovery {
        recover((&self.disk, NAME), (&self.disk, "new.db"), &mut |_, _| {}).unwrap()
    }

    /// Checks that the frame at `offset` keeps the file from being opened.
    fn check_refused(&self, offset: u64, story: &str) {
        match self.opened().map(drop) {
            Err(Error::Corrupt(corruption)) => assert_eq!(corruption.offset, offset, "{story}"),
            other => panic!("{story}: {other:?}"),
        }
        let held = options(&self.disk).in_doubt(OnDoubt::Hold).open(NAME);
        assert!(matches!(held, Err(Error::Corrupt(_))), "{story}: {held:?}");
    }
}

#[test]
fn a_frame_about_no_global_transaction_is_corrupt_where_it_must_name_one() {
    for kind in [FrameKind::Prepare, FrameKind::Abort, FrameKind::End] {
        let (mut forger, _) = Forger::new();
        let at = forger.end;
        forger.add(kind, &Fields::default(), &[]);
        forger.check_refused(at, &format!("{kind:?}"));
    }
}

#[test]
fn a_promise_that_nobody_can_have_given_is_corrupt() {
    let (_, [older, newest, other]) = Forger::new();
    let wrong: [(&str, &[Said]); 7] = [
        ("on an older revision", &[(1, older, 0)]),
        ("on no revision where there is one", &[(1, 0, 0)]),
        ("on another object's record", &[(1, other, 0)]),
        ("on what is no record", &[(1, newest + 1, 0)]),
        ("of one object twice", &[(1, newest, 0), (1, newest, 0)]),
        ("of an object never given out", &[(100, 0, 0)]),
        ("of a type that is defined nowhere", &[(1, newest, 7)]),
    ];
    for (story, records) in wrong {
        let (mut forger, _) = Forger::new();
        let at = forger.end;
        forger.add(FrameKind::Prepare, &of(1), records);
        match forger.opened().map(drop) {
            // Where what it is based on is no record, that is the place.
            Err(Error::Corrupt(found)) => {
                assert!(records.iter().any(|&(_, base, _)| [at, base].contains(&found.offset)));
            }
            other => panic!("{story}: {other:?}"),
        }
    }
}

// It was said to stand where the record before it does.
#[test]
fn a_promise_with_references_to_nothing_is_corrupt_where_its_record_stands() {
    let (mut forger, [_, newest, _]) = Forger::new();
    let starts = forger.add_referring(FrameKind::Prepare, &of(1), &[(1, newest, 0)], &[0x80]);
    forger.check_refused(starts[0], "a number without an end");
}

#[test]
fn promises_that_exclude_each_other_are_corrupt() {
    let (mut twice, [_, newest, _]) = Forger::new();
    twice.add(FrameKind::Prepare, &of(1), &[(1, newest, 0)]);
    let at = twice.end;
    twice.add(FrameKind::Prepare, &of(1), &[(50, 0, 0)]);
    twice.check_refused(at, "twice to one transaction");

    let (mut rivals, _) = Forger::new();
    rivals.add(FrameKind::Prepare, &of(1), &[(1, newest, 0)]);
    let at = rivals.end;
    rivals.add(FrameKind::Prepare, &of(2), &[(1, newest, 0)]);
    rivals.check_refused(at, "one object to two transactions");

    let (mut overtaken, _) = Forger::new();
    let at = overtaken.end;
    overtaken.add(FrameKind::Prepare, &of(1), &[(1, newest, 0)]);
    overtaken.add(FrameKind::Commit, &Fields::default(), &[(1, newest, 0)]);
    overtaken.check_refused(at, "changed since");

    let (mut unfounded, _) = Forger::new();
    let at = unfounded.end;
    let reads = vec![(Oid::new(1), Tid::new(1))];
    unfounded.add(FrameKind::Prepare, &Fields { reads, ..of(1) }, &[(50, 0, 0)]);
    unfounded.check_refused(at, "relies on what never was");
}

#[test]
fn a_promise_that_is_given_again_after_it_was_taken_back_is_in_doubt_again() {
    let (mut forger, [_, newest, _]) = Forger::new();
    forger.add(FrameKind::Prepare, &of(1), &[(1, newest, 0)]);
    forger.add(FrameKind::Abort, &of(1), &[]);
    // Of transactions that nobody has promised anything to.
    forger.add(FrameKind::Abort, &of(9), &[]);
    forger.add(FrameKind::End, &of(9), &[]);
    forger.add(FrameKind::Prepare, &of(1), &[(1, newest, 0)]);
    let storage = forger.opened().unwrap();
    assert_eq!(storage.in_doubt().unwrap().len(), 1);
    storage.settle(GlobalId::new([1; 16]), true).unwrap();
    assert_eq!(storage.history(Oid::new(1)).unwrap().len(), 3);
}

// The new file could not be opened.
#[test]
fn a_promise_with_references_to_nothing_is_not_recovered() {
    let (mut forger, _) = Forger::new();
    let at = forger.end;
    forger.add_referring(FrameKind::Prepare, &of(1), &[(50, 0, 0)], &[0x80]);
    let recovery = forger.recovered();

    assert!(recovery.losses.iter().any(|loss| loss.offset == at), "{:?}", recovery.losses);
    assert!(open(&forger.disk, "new.db").unwrap().in_doubt().unwrap().is_empty());
}

// The format has this number; nobody could give its type a name.
#[test]
fn a_promise_of_the_last_type_number_is_recovered_and_opened() {
    let (mut forger, _) = Forger::new();
    forger.add(FrameKind::Prepare, &of(1), &[(50, 0, u32::MAX)]);
    forger.recovered();
    let storage = open(&forger.disk, "new.db").unwrap();

    assert_eq!(storage.in_doubt().unwrap().len(), 1);
    let further = TypeDef { name: "further".into(), version: 0, shape: "u8".into() };
    assert!(matches!(storage.intern(&further), Err(Error::Exhausted(_))));
}
