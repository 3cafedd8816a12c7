//! What somebody may hand us for a database and is none: refused, and left as it was.

use super::kit::{Files, INDEX, NAME, directory, files, open, put, without_index, written};
use crate::support::rng::Rng;
use perennial::file::DiskDirectory;
use perennial::format::{
    FIRST_FRAME, FileHeader, HEADER_COPY, IndexHeader, PAGES_START, plain_sum,
};
use perennial::storage::file::{Mode, verify};
use perennial::storage::{Batch, Intent, Storage, TwoPhase};
use perennial::{Error, GlobalId, Result, Tid};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::Arc;

const MODES: [Mode; 3] = [Mode::OpenOrCreate, Mode::Existing, Mode::ReadOnly];

fn refusal(folder: &Path, mode: Mode) -> Error {
    open(Arc::new(DiskDirectory::new(folder)), mode).expect_err("it is no database")
}

/// A good file whose header has this byte at this place.
fn with_header_byte(at: usize, byte: u8) -> Vec<u8> {
    let mut file = written().closed[NAME].clone();
    for start in [0, HEADER_COPY as usize] {
        let copy = &mut file[start..start + FileHeader::LEN];
        copy[at] = byte;
        let (covered, sum) = copy.split_at_mut(FileHeader::LEN - 8);
        sum.copy_from_slice(&plain_sum(covered).to_le_bytes());
    }
    file
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_was() {
    let text = b"Dear diary, ".repeat(1000);
    let zip = [b"PK\x03\x04".to_vec(), vec![7; 9000]].concat();
    let sqlite = [b"SQLite format 3\0".to_vec(), vec![1; 9000]].concat();
    let zodb = [b"FS30".to_vec(), vec![3; 9000]].concat();
    let mut rng = Rng::new(1);
    let noise = (0..9000).map(|_| rng.number() as u8).collect();
    let good = written().closed[NAME].clone();
    let contents = [
        (vec![], "it is empty"),
        (vec![0x89], "does not begin as"),
        (good[..128].to_vec(), "ends within its header"),
        (good[..4095].to_vec(), "ends within its header"),
        (text, "does not begin as"),
        (zip, "does not begin as"),
        (sqlite, "does not begin as"),
        (vec![0; 10_000], "does not begin as"),
        (vec![0xff; 10_000], "does not begin as"),
        (zodb, "does not begin as"),
        (noise, "does not begin as"),
        (with_header_byte(8, 99), "version 99, this program knows version 1"),
        (with_header_byte(12, 99), "in codec 99, this program knows codec 1"),
        (with_header_byte(16, 99), "uses features 0x63, which are unknown here"),
        (with_header_byte(80, 99), "its frames start at offset 4195, not at 4096"),
    ];
    for (content, reason) in contents {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, &content).unwrap();
        for mode in MODES {
            let error = refusal(folder.path(), mode);
            assert!(matches!(error, Error::NotADatabase(_)), "{error}");
            assert!(error.to_string().contains(reason), "{error} instead of {reason}");
        }
        assert!(fs::read(&path).unwrap() == content, "the file was changed: {reason}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was added");
    }
}

// A feature that may be ignored is; the header, which tells of it, is left alone.
#[test]
fn features_that_need_not_be_known_are_passed_over() {
    let mut forged = without_index(&written().open);
    for (at, what) in [(10, "a minor version"), (20, "a compatible feature"), (90, "an addition")] {
        let mut header = with_header_byte(at, 5);
        header.truncate(FIRST_FRAME as usize);
        forged.insert(NAME.into(), header.clone());
        let directory = directory(&forged);

        let storage =
            open(directory.clone(), Mode::Existing).unwrap_or_else(|it| panic!("{what}: {it}"));
        put(
            &storage,
            &BTreeMap::from([(storage.new_oid().unwrap(), vec![1])]),
            &mut BTreeMap::new(),
        );
        storage.close().unwrap();

        let storage = open(directory.clone(), Mode::ReadOnly).unwrap();
        assert_ne!(storage.last_tid(), Tid::ZERO, "{what}");
        assert_eq!(files(&*directory)[NAME][..FIRST_FRAME as usize], header, "{what}");
    }
}

// R12: strange files may have any name but those that the database gives to its own.
#[test]
fn files_of_strangers_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let of_another = format!("xbank.db.tmp-{id}");
    let names = [
        "bank",
        "bank.db.",
        "bank.db-tmp",
        "bank.db.tmp",
        "bank.db.tmp-",
        "bank.db.tmp-old",
        "bank.db.tmp-1",
        "bank.db.tmp-index.bak",
        "bank.db.tmp-0123456789abcdef0123456789abcdeF",
        "bank.db.index-old",
        "bank.db.bak",
        "core",
        &of_another,
    ];
    for name in names {
        fs::write(folder.path().join(name), name).unwrap();
    }
    fs::create_dir(folder.path().join("bank.db.d")).unwrap();
    let directory = || Arc::new(DiskDirectory::new(folder.path()));

    for mode in [Mode::CreateNew, Mode::Existing, Mode::Existing] {
        let storage = open(directory(), mode).unwrap();
        put(
            &storage,
            &BTreeMap::from([(storage.new_oid().unwrap(), vec![1])]),
            &mut BTreeMap::new(),
        );
        storage.close().unwrap();
    }

    for name in names {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), name);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len() + 1 + 2);
}

// The snapshot's name may be taken by something that is none.
#[test]
fn a_strange_thing_where_the_index_would_be_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let written = written();
    fs::write(folder.path().join(NAME), &written.closed[NAME]).unwrap();
    fs::create_dir(folder.path().join(INDEX)).unwrap();

    let storage = open(Arc::new(DiskDirectory::new(folder.path())), Mode::Existing).unwrap();
    written.check(&storage, 5);
    put(&storage, &BTreeMap::from([(storage.new_oid().unwrap(), vec![1])]), &mut BTreeMap::new());
    storage.close().expect("only the snapshot is missing");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// Opens the database beside a file that has the name of its index, commits, and closes.
fn close_beside(index: &[u8]) -> (Result<()>, Files) {
    let written = written();
    let mut given = written.closed.clone();
    given.insert(INDEX.into(), index.to_vec());
    let directory = directory(&given);
    let storage = open(directory.clone(), Mode::Existing).unwrap();
    written.check(&storage, 5);
    let fresh = BTreeMap::from([(storage.new_oid().unwrap(), vec![1])]);
    put(&storage, &fresh, &mut BTreeMap::new());
    let outcome = storage.write_index();
    storage.close().expect("only the snapshot is missing");
    (outcome, files(&*directory))
}

// R12
#[test]
fn a_database_that_has_the_name_of_the_index_is_left_as_it_was() {
    let database = &written().closed[NAME];
    for database in [database.clone(), flipped(database, 0)] {
        let (outcome, left) = close_beside(&database);

        assert!(outcome.unwrap_err().to_string().contains(INDEX));
        assert!(left[INDEX] == database);
        assert_eq!(left.len(), 2, "{:?}", left.keys());
    }
}

// R7, R12
#[test]
fn a_file_of_a_stranger_that_has_the_name_of_the_index_is_kept_under_another_name() {
    for stranger in [b"x".to_vec(), b"my own notes".repeat(1000)] {
        let (outcome, left) = close_beside(&stranger);

        outcome.unwrap();
        assert!(left[&format!("{INDEX}.kept-1")] == stranger);
        assert!(IndexHeader::decode(left[INDEX].first_chunk().unwrap()).is_ok());
        assert_eq!(left.len(), 3, "{:?}", left.keys());
    }
}

// R7: a file with holes can be longer than any memory.
#[test]
fn an_index_of_tables_that_no_memory_holds_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let written = written();
    fs::write(folder.path().join(NAME), &written.closed[NAME]).unwrap();
    let good = IndexHeader::decode(written.closed[INDEX].first_chunk().unwrap()).unwrap();
    let header = IndexHeader { pages: 0, tables_len: (1 << 43) - PAGES_START, ..good };
    let index = fs::File::create(folder.path().join(INDEX)).unwrap();
    if index.set_len(1 << 43).is_err() {
        return; // The file system knows no files of eight tebibytes.
    }
    index.write_all_at(&header.encode(), 0).unwrap();

    let directory = Arc::new(DiskDirectory::new(folder.path()));
    let found = verify(&*directory, NAME, &mut |_, _| {}).unwrap();
    assert!(matches!(found.findings[..], [ref it] if it.what.contains("memory")), "{found:?}");
    for mode in [Mode::ReadOnly, Mode::Existing] {
        written.check(&open(directory.clone(), mode).unwrap(), 5);
    }
    assert!(
        fs::metadata(folder.path().join(INDEX)).unwrap().len() < 1 << 20,
        "a good one is there"
    );
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 4;
    bytes
}

#[test]
fn a_file_with_a_promise_in_doubt_is_refused_and_left_as_it_was() {
    let directory = directory(&written().open);
    let storage = open(directory.clone(), Mode::Existing).unwrap();
    let (gtid, mut batch) = (GlobalId::new([5; 16]), Batch::default());
    batch.remove(storage.new_oid().unwrap(), Tid::ZERO, false);
    let intent = Intent { gtid, coordinator: None };
    drop(storage.prepare(&Arc::new(batch), &intent).unwrap());
    storage.close().unwrap();
    let before = files(&*directory);

    match open(directory.clone(), Mode::Existing) {
        Err(Error::InDoubt(doubt)) => assert_eq!(doubt.gtid, gtid),
        other => panic!("{other:?}"),
    }
    assert_eq!(files(&*directory), before);
}

#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(NAME)).unwrap();
    for mode in MODES {
        assert!(matches!(refusal(folder.path(), mode), Error::Io(_)));
    }

    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join(NAME)).status();
    assert!(made.unwrap().success());
    for mode in MODES {
        assert!(matches!(refusal(folder.path(), mode), Error::Io(_)));
    }
}

#[test]
fn a_symlink_leads_to_the_database_and_to_its_lock() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = written();
    fs::write(other.path().join(NAME), &written.closed[NAME]).unwrap();
    symlink(other.path().join(NAME), folder.path().join(NAME)).unwrap();

    let storage = open(Arc::new(DiskDirectory::new(folder.path())), Mode::Existing).unwrap();
    written.check(&storage, 5);
    assert!(matches!(refusal(other.path(), Mode::Existing), Error::Locked(_)));
}

#[test]
fn a_symlink_to_nowhere_or_to_itself_creates_nothing() {
    for target in ["nowhere", NAME] {
        let folder = tempfile::tempdir().unwrap();
        symlink(folder.path().join(target), folder.path().join(NAME)).unwrap();
        for mode in MODES {
            assert!(matches!(refusal(folder.path(), mode), Error::Io(_)));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{target}");
    }
}
