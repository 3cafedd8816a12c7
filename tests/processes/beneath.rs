//! Another program moves, removes, replaces or cuts the file while it is open and mapped: an error
//! before the next acknowledgement, and no signal.

use crate::support::child::{self, Child};
use crate::support::databases::{Account, account, cents};
use perennial::file::DiskDirectory;
use perennial::storage::file::FileOptions;
use perennial::storage::{FileStorage, Storage};
use perennial::{Database, Durability, Error, Reads, Ref, Result};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "open.db";

/// What the other program does to the file of this path.
type Deed = fn(&Path);

fn shorten(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// A name, the deed, and whether the file's content is gone with it.
const DEEDS: [(&str, Deed, bool); 7] = [
    ("removed", |path| fs::remove_file(path).unwrap(), false),
    ("moved", |path| fs::rename(path, path.with_extension("elsewhere")).unwrap(), false),
    ("replaced by a stranger", |path| replace(path, b"something else"), false),
    ("replaced by an older copy", |path| replace(path, &older(path)), false),
    ("cut to nothing", |path| shorten(path, 0), true),
    ("cut within the header", |path| shorten(path, 1000), true),
    ("cut in the middle", |path| shorten(path, 4096 + 200), true),
];

fn replace(path: &Path, bytes: &[u8]) {
    let other = path.with_extension("other");
    fs::write(&other, bytes).unwrap();
    fs::rename(&other, path).unwrap();
}

/// A copy that was made before the last commits.
fn older(path: &Path) -> Vec<u8> {
    fs::read(path.with_extension("older")).unwrap()
}

/// A database with some objects, all of them in the file and mapped, and a copy of an earlier time.
fn opened(home: &Path, reads: Reads, durability: Durability) -> (Database, Ref<Account>) {
    let path = home.join(NAME);
    let db = Database::options().reads(reads).durability(durability).cache_bytes(1).open(&path);
    let db = db.unwrap();
    let first = account(&db, 1);
    fs::copy(&path, path.with_extension("older")).unwrap();
    for _ in 0..20 {
        store(&db).unwrap();
    }
    assert_eq!(cents(&db, first), 1);
    (db, first)
}

/// Commits something without reading anything.
fn store(db: &Database) -> Result<()> {
    db.transact(|conn| conn.add(Account { owner: "x".repeat(100), cents: 0 }).map(drop))
}

/// Does every deed to a database of its own, which then goes on with `check`.
fn everywhere(reads: Reads, durability: Durability, check: fn(&Database, Ref<Account>, bool)) {
    let Some(home) = child::home() else { return };
    for (what, deed, gone) in DEEDS {
        println!("{what}");
        let home = home.join(what);
        fs::create_dir(&home).unwrap();
        let (db, first) = opened(&home, reads, durability);
        deed(&home.join(NAME));
        let left = contents(&home);
        check(&db, first, gone);
        let closed = db.close();
        assert!(closed.is_err(), "{what}: closing says nothing");
        assert!(what.starts_with("cut") || contents(&home) == left, "{what}: it went on writing");
    }
}

/// What is in the directory, the file that was moved away left out.
fn contents(home: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|it| it != "elsewhere"));
    let mut all: Vec<_> =
        paths.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

fn assert_stopped(outcome: Result<()>) {
    match outcome {
        Err(Error::Halted(why) | Error::Unknown(why)) => {
            assert!(why.contains("while it was open here"), "{}", &*why);
        }
        other => panic!("{other:?}"),
    }
}

fn run(test: &str) {
    let home = tempfile::tempdir().unwrap();
    Child::new(&format!("processes::beneath::{test}"), home.path()).run();
}

// R10, R12: in a process of its own, which a signal would end.
#[test]
fn nothing_is_acknowledged_in_a_file_that_was_taken_away() {
    run("child_whose_file_is_taken_away_mapped");
    run("child_whose_file_is_taken_away_read_by_position");
}

#[test]
#[ignore = "run by nothing_is_acknowledged_in_a_file_that_was_taken_away"]
fn child_whose_file_is_taken_away_mapped() {
    everywhere(Reads::Map, Durability::Sync, check_commits);
}

#[test]
#[ignore = "run by nothing_is_acknowledged_in_a_file_that_was_taken_away"]
fn child_whose_file_is_taken_away_read_by_position() {
    everywhere(Reads::Pread, Durability::Sync, check_commits);
}

fn check_commits(db: &Database, first: Ref<Account>, gone: bool) {
    assert_stopped(store(db));
    assert_stopped(store(db));
    // Behind a cut there is nothing any more; to ask for it is no signal, though it was mapped.
    let read = db.view(|view| Ok(view.get(first)?.cents));
    match gone {
        true => assert!(matches!(read, Err(Error::Io(_) | Error::Corrupt(_))), "{read:?}"),
        false => assert_eq!(read.unwrap(), 1),
    }
}

// R10, R12: what was lazy is found out by the sync that follows.
#[test]
fn what_is_lazy_is_not_called_durable_in_a_file_that_was_taken_away() {
    run("child_whose_file_is_taken_away_while_it_is_lazy");
}

#[test]
#[ignore = "run by what_is_lazy_is_not_called_durable_in_a_file_that_was_taken_away"]
fn child_whose_file_is_taken_away_while_it_is_lazy() {
    everywhere(Reads::Map, Durability::Lazy, |db, _, _| {
        // Refused already, where the file was cut or the housekeeper was faster.
        let _ = store(db);
        assert_stopped(db.sync());
        assert_stopped(store(db));
    });
}

// R12: there is nothing to write, and the name is another file's.
#[test]
fn closing_a_file_that_was_taken_away_leaves_the_one_that_took_its_name_alone() {
    run("child_that_closes_a_file_that_was_taken_away");
}

#[test]
#[ignore = "run by closing_a_file_that_was_taken_away_leaves_the_one_that_took_its_name_alone"]
fn child_that_closes_a_file_that_was_taken_away() {
    everywhere(Reads::Map, Durability::Sync, |_, _, _| {
        // Sealed meanwhile: nothing is left to do but the index snapshot.
        std::thread::sleep(Duration::from_millis(200));
    });
}

// R12: without a commit there is no sync that would find it out.
#[test]
fn no_index_is_written_beside_a_file_that_took_the_name() {
    run("child_that_writes_an_index");
}

#[test]
#[ignore = "run by no_index_is_written_beside_a_file_that_took_the_name"]
fn child_that_writes_an_index() {
    let Some(home) = child::home() else { return };
    for (what, deed, _) in DEEDS.into_iter().filter(|(what, ..)| !what.starts_with("cut")) {
        let home = home.join(what);
        fs::create_dir(&home).unwrap();
        opened(&home, Reads::Map, Durability::Sync).0.close().unwrap();
        let directory = Arc::new(DiskDirectory::new(&home));
        let storage = FileStorage::open(directory, NAME, FileOptions::default()).unwrap();
        deed(&home.join(NAME));
        let left = contents(&home);

        let refused = storage.write_index();

        assert!(matches!(refused, Err(Error::Io(_))), "{what}: {refused:?}");
        assert!(storage.close().is_err(), "{what}: closing says nothing");
        assert!(contents(&home) == left, "{what}: it wrote beside a stranger");
    }
}

// R9, R12
#[test]
fn a_reader_is_told_that_the_file_was_taken_away() {
    run("child_that_follows_a_file_that_is_taken_away");
}

#[test]
#[ignore = "run by a_reader_is_told_that_the_file_was_taken_away"]
fn child_that_follows_a_file_that_is_taken_away() {
    let Some(home) = child::home() else { return };
    for (what, deed, _) in DEEDS {
        let home = home.join(what);
        fs::create_dir(&home).unwrap();
        let (writer, _) = opened(&home, Reads::Map, Durability::Sync);
        writer.close().unwrap();
        let path = home.join(NAME);
        let reader = Database::options().read_only().open(&path).unwrap();
        reader.refresh().unwrap();
        deed(&path);

        let refused = reader.refresh();

        assert!(matches!(refused, Err(Error::Io(_))), "{what}: {refused:?}");
    }
}
