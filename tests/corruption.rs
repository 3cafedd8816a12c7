//! Files that somebody cut, flipped, zeroed or mixed up: an error that says where, or the right
//! answer; never a wrong one, never a panic, and the file as it was.

mod forged;
mod hostile;
mod inputs;
mod kit;
mod locks;
mod sectors;

use crate::support::sim::{Kind, SimDisk};
use kit::{Files, INDEX, NAME, directory, files, open, put, without_index, written};
use perennial::file::MemoryDirectory;
use perennial::format::{FIRST_FRAME, plain_sum};
use perennial::storage::file::{FileOptions, Mode, verify};
use perennial::storage::{FileStorage, Load, Storage};
use perennial::{Error, Oid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The same files with the database cut to `length`.
fn cut(files: &Files, length: u64) -> Files {
    let mut files = files.clone();
    files.get_mut(NAME).unwrap().truncate(length as usize);
    files
}

fn flip(files: &Files, name: &str, at: usize) -> Files {
    let mut files = files.clone();
    files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
    files
}

fn zero(files: &Files, at: usize, length: usize) -> Files {
    let mut files = files.clone();
    let bytes = files.get_mut(NAME).unwrap();
    let end = (at + length).min(bytes.len());
    bytes[at..end].fill(0);
    files
}

// R4
#[test]
fn a_last_transaction_cut_at_any_byte_is_forgotten_and_kept_aside() {
    let written = written();
    let last = written.stored.last().unwrap();

    for length in last.start..last.end {
        let directory = directory(&cut(&written.open, length));
        let storage = open(directory.clone(), Mode::Existing).unwrap();

        written.check(&storage, 4);
        let torn = &written.open[NAME][last.start as usize..length as usize];
        let kept = torn.len() - torn.iter().rev().take_while(|byte| **byte == 0).count();
        let aside = files(&*directory).remove(&format!("{NAME}.torn-{}", last.start));
        assert_eq!(aside.unwrap_or_default(), torn[..kept], "cut at {length}");
    }
}

// R4, R7
#[test]
fn a_file_shorter_than_its_snapshot_is_refused_with_both_lengths() {
    let written = written();
    let whole = written.closed[NAME].len() as u64;

    for length in FIRST_FRAME..whole {
        let cut = cut(&written.closed, length);
        let directory = directory(&cut);
        match open(directory.clone(), Mode::Existing) {
            Err(Error::Damaged(damage)) => {
                assert_eq!((damage.offset, damage.proven), (length, whole));
            }
            other => panic!("cut at {length}: {other:?}"),
        }
        assert_eq!(files(&*directory), cut);
        let complete = written.stored.iter().filter(|stored| stored.end <= length).count();
        written.check(&open(directory.clone(), Mode::ReadOnly).unwrap(), complete);
        assert_eq!(files(&*directory), cut, "reading only changes nothing");
    }
}

// R4, R7: what is shown may be all there is, and is not all there was.
#[test]
fn a_reader_of_a_file_that_was_cut_hears_how_long_it_was() {
    let written = written();
    let whole = written.closed[NAME].len() as u64;

    for length in (FIRST_FRAME..whole).step_by(8) {
        let storage = open(directory(&cut(&written.closed, length)), Mode::ReadOnly).unwrap();
        let facts = storage.facts();
        assert_eq!(facts.durable, whole, "cut at {length}");
        assert!(facts.log_end <= length);
    }
}

// R4, R7: its pages know what came after its mark, and was cut off.
#[test]
fn a_reader_of_a_file_cut_behind_the_mark_of_its_snapshot_sees_what_precedes_the_cut() {
    let disk = SimDisk::new();
    let storage = Arc::new(open(Arc::new(disk.clone()), Mode::CreateNew).unwrap());
    let oid = storage.new_oid().unwrap();
    let (mut bases, data) = (BTreeMap::new(), |text: &str| BTreeMap::from([(oid, text.into())]));
    put(&storage, &data("before"), &mut bases);
    let (end, late) = (storage.facts().log_end, storage.clone());
    let later = data("later");
    // The mark is taken, and the pages are not copied yet.
    disk.interrupt(Kind::Create, 0, move || {
        put(&late, &later, &mut bases);
    });
    storage.write_index().unwrap();
    assert!(storage.facts().replay_from == end && storage.facts().log_end > end);

    let cut = cut(&files(&disk), end);
    let reader = open(directory(&cut), Mode::ReadOnly).unwrap();

    let snapshot = reader.snapshot().unwrap();
    let Load::Found(found) = snapshot.load(oid).unwrap() else { panic!("it is there") };
    assert_eq!(&*found.data, b"before");
}

#[test]
fn a_file_accepted_as_shorter_goes_on_without_its_snapshot() {
    let written = written();
    let options = FileOptions { accept_shorter: true, ..FileOptions::default() };
    let options = FileOptions { housekeeping: false, ..options };

    let length = written.stored[2].end - 3;
    let directory = directory(&cut(&written.closed, length));
    let storage = FileStorage::open(directory.clone(), NAME, options).unwrap();
    written.check(&storage, 2);
    assert!(storage.new_oid().unwrap().number() > 3, "an oid of what is missing is given out");

    // Killed here: what is there now opens like any other file.
    let left = self::directory(&files(&*directory));
    written.check(&open(left, Mode::Existing).unwrap(), 2);
}

// R5, R6
#[test]
fn a_flipped_bit_or_a_zeroed_block_is_found_without_a_snapshot() {
    let written = written();
    let files = without_index(&written.closed);
    let seal = written.stored.last().unwrap().end;

    for at in FIRST_FRAME..seal {
        let zeroed = zero(&files, at as usize, 24.min((seal - at) as usize));
        for damaged in [flip(&files, NAME, at as usize), zeroed] {
            let (bytes, good) = (&damaged[NAME], &files[NAME]);
            let Some(first) = bytes.iter().zip(good).position(|(one, other)| one != other) else {
                continue;
            };
            let intact = written.stored.iter().filter(|it| it.end <= first as u64).count();
            let directory = directory(&damaged);
            match open(directory.clone(), Mode::Existing) {
                Err(Error::Damaged(damage)) => {
                    assert_eq!(
                        (damage.offset, damage.proven),
                        (written.stored[intact].start, seal)
                    );
                }
                other => panic!("damaged at {first}: {other:?}"),
            }
            written.check(&open(directory.clone(), Mode::ReadOnly).unwrap(), intact);
            assert_eq!(self::files(&*directory), damaged, "the file is as it was");
        }
    }
}

// R5
#[test]
fn a_flipped_bit_never_becomes_data_where_a_snapshot_spares_the_walk() {
    let written = written();
    let (mut errors, seal) = (0, written.stored.last().unwrap().end);

    for at in FIRST_FRAME as usize..written.closed[NAME].len() {
        let directory = directory(&flip(&written.closed, NAME, at));
        let storage = match open(directory, Mode::Existing) {
            Ok(storage) => storage,
            // The snapshot is held against the sum of the last frame before its mark.
            Err(Error::Damaged(damage)) => {
                assert_eq!(damage.offset, seal);
                errors += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        errors += usize::from(written.read(&storage, 5).is_err());
    }
    assert!(errors > 500, "{errors} flips were noticed");
}

// R5
#[test]
fn a_bad_copy_of_the_file_header_is_told_and_read_from_the_other() {
    let written = written();
    for at in (0..FIRST_FRAME as usize).filter(|at| at % 2048 < 130) {
        let directory = directory(&flip(&written.closed, NAME, at));
        match open(directory.clone(), Mode::Existing) {
            Ok(storage) => {
                assert!(at % 2048 >= 128, "the flip at {at} is not noticed");
                written.check(&storage, 5);
            }
            Err(Error::Damaged(damage)) => assert_eq!(damage.offset, at as u64 / 2048 * 2048),
            Err(error) => panic!("{error}"),
        }
        written.check(&open(directory, Mode::ReadOnly).unwrap(), 5);
    }
}

/// Opens with a snapshot that is wrong: the answers are right, and closing leaves a good one.
fn mend_snapshot(written: &kit::Written, files_: &Files, what: &str) {
    let directory = directory(files_);
    let storage =
        open(directory.clone(), Mode::Existing).unwrap_or_else(|it| panic!("{what}: {it}"));
    written.check(&storage, 5);
    storage.close().unwrap();
    let mended = files(&*directory);
    let good = &written.closed[INDEX];
    assert_eq!(mended[INDEX].len(), good.len(), "{what}");
    assert!(mended[INDEX] == *good, "{what}: no good snapshot is written again");
    assert_eq!(mended[NAME], written.closed[NAME], "{what}");
}

// R7
#[test]
fn a_snapshot_that_is_missing_cut_or_flipped_changes_no_answer() {
    let written = written();
    let length = written.closed[INDEX].len();

    mend_snapshot(&written, &without_index(&written.closed), "missing");
    for cut in (0..length).step_by(61) {
        let mut files = written.closed.clone();
        files.get_mut(INDEX).unwrap().truncate(cut);
        mend_snapshot(&written, &files, "cut");
    }
    let told = |at: &usize| *at < 120 || *at >= 4096;
    for at in (0..length).filter(told).filter(|at| !(4200..8100).contains(at) || at % 11 == 0) {
        mend_snapshot(&written, &flip(&written.closed, INDEX, at), &format!("flipped at {at}"));
    }
}

// R7
#[test]
fn a_snapshot_of_another_database_is_passed_over() {
    let (written, other) = (written(), kit::written());
    let mut files = written.closed.clone();
    files.insert(INDEX.into(), other.closed[INDEX].clone());

    mend_snapshot(&written, &files, "of another database");
}

// R7
#[test]
fn a_snapshot_of_another_version_is_passed_over() {
    let written = written();
    let mut files = written.closed.clone();
    let front = &mut files.get_mut(INDEX).unwrap()[..120];
    front[8] = 2;
    let (covered, sum) = front.split_at_mut(112);
    sum.copy_from_slice(&plain_sum(covered).to_le_bytes());

    mend_snapshot(&written, &files, "of another version");
}

// R7: pages are gathered, and written a mebibyte at a time.
#[test]
fn a_snapshot_of_more_objects_than_are_written_at_once_is_whole() {
    let directory = Arc::new(MemoryDirectory::new());
    let storage = open(directory.clone(), Mode::CreateNew).unwrap();
    let oids: Vec<Oid> = (0..140_000).map(|_| storage.new_oid().unwrap()).collect();
    let some = [0, 511, 70_000, 131_070, 131_071, 139_999].map(|number| oids[number]);
    let data: BTreeMap<Oid, Vec<u8>> =
        some.into_iter().map(|oid| (oid, oid.to_string().into_bytes())).collect();
    kit::put(&storage, &data, &mut BTreeMap::new());
    storage.close().unwrap();

    let found = verify(&*directory, NAME, &mut |_, _| {}).unwrap();
    assert!(found.findings.is_empty(), "{:?}", found.findings);
    let storage = open(directory, Mode::Existing).unwrap();
    let (facts, snapshot) = (storage.facts(), storage.snapshot().unwrap());
    assert_eq!(facts.replay_from, facts.log_end, "nothing is replayed");
    for (oid, bytes) in &data {
        match snapshot.load(*oid).unwrap() {
            Load::Found(found) => assert_eq!(*found.data, **bytes),
            other => panic!("{oid}: {other:?}"),
        }
    }
    assert!(matches!(snapshot.load(oids[80_000]).unwrap(), Load::Absent));
}

/// The files after one more transaction that changes an object, and what it stored. They were
/// closed, or an index snapshot was written behind the transaction.
fn gone_on(written: &kit::Written, changed: Oid, closed: bool) -> (Files, kit::Stored) {
    let directory = directory(&written.open);
    let storage = open(directory.clone(), Mode::Existing).unwrap();
    let mut bases = BTreeMap::new();
    for stored in &written.stored {
        bases.extend(stored.data.keys().map(|&oid| (oid, stored.tid)));
    }
    let data = BTreeMap::from([(changed, b"gone on".to_vec())]);
    let start = storage.facts().log_end;
    let tid = kit::put(&storage, &data, &mut bases);
    let stored = kit::Stored { tid, data, start, end: storage.facts().log_end };
    match closed {
        true => storage.close().unwrap(),
        false => storage.write_index().unwrap(),
    }
    (files(&*directory), stored)
}

// R7: two copies of one file went on, and then one was put in the place of the other.
#[test]
fn a_snapshot_of_a_copy_that_went_another_way_is_passed_over() {
    let mut written = written();
    let (mut ours, stored) = gone_on(&written, Oid::new(1), true);
    let (theirs, _) = gone_on(&written, Oid::new(2), true);
    assert_eq!(ours[NAME].len(), theirs[NAME].len(), "nothing but the content tells them apart");
    ours.insert(INDEX.into(), theirs[INDEX].clone());
    written.stored.push(stored);

    for mode in [Mode::ReadOnly, Mode::Existing] {
        let directory = directory(&ours);
        let found = verify(&*directory, NAME, &mut |_, _| {}).unwrap();
        assert!(found.is_sound(), "{:?}", found.findings);
        let storage = open(directory, mode).unwrap();
        written.check(&storage, 6);
    }
}

// R5, R7: it proves how long the log was also where it tells nothing else.
#[test]
fn a_snapshot_that_is_passed_over_lets_no_damaged_end_pass_for_a_torn_one() {
    let written = written();
    let (left, last) = gone_on(&written, Oid::new(1), false);

    for at in last.end - 16..last.end - 8 {
        let damaged = flip(&left, NAME, at as usize);
        let directory = directory(&damaged);
        match open(directory.clone(), Mode::Existing) {
            Err(Error::Damaged(damage)) => {
                assert_eq!((damage.offset, damage.proven), (last.start, last.end));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(files(&*directory), damaged, "the file is as it was");
        written.check(&open(directory, Mode::ReadOnly).unwrap(), 5);
    }
}
