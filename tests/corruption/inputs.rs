//! What somebody may hand us for a database and is none: refused, and left as it was.

use super::kit::{NAME, directory, files, open, written};
use perennial::file::DiskDirectory;
use perennial::format::{FileHeader, HEADER_COPY, plain_sum};
use perennial::storage::file::Mode;
use perennial::storage::{Batch, Intent, Storage, TwoPhase};
use perennial::{Error, GlobalId, Tid};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

const MODES: [Mode; 3] = [Mode::OpenOrCreate, Mode::Existing, Mode::ReadOnly];

fn refusal(folder: &Path, mode: Mode) -> Error {
    open(Arc::new(DiskDirectory::new(folder)), mode).expect_err("it is no database")
}

/// A good header that says something else at one place.
fn another_header(at: usize) -> Vec<u8> {
    let mut file = written().closed[NAME].clone();
    for start in [0, HEADER_COPY as usize] {
        let copy = &mut file[start..start + FileHeader::LEN];
        copy[at] = 99;
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
        (another_header(8), "version 99, this program knows version 1"),
        (another_header(12), "in codec 99, this program knows codec 1"),
        (another_header(16), "uses features 0x63, which are unknown here"),
        (another_header(80), "its frames start at offset 4195, not at 4096"),
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
