//! A fork has copies of everything its parent had open, and may touch none of it.

use crate::support::child::{self, Child, forked};
use crate::support::databases::{Tally, account, cents};
use perennial::file::DiskDirectory;
use perennial::storage::file::FileOptions;
use perennial::storage::{FileStorage, Storage};
use perennial::transaction::TransactionManager;
use perennial::{Connection, Database, Durability, Error, RunMode};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NAME: &str = "fork.db";

fn run(test: &str) {
    let home = tempfile::tempdir().unwrap();
    Child::new(&format!("processes::forks::{test}"), home.path()).run();
}

/// The bytes of all files in the directory of the database.
fn files(home: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read(path).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(home).unwrap().map(read).collect();
    files.sort();
    files
}

fn assert_forked<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(matches!(&outcome, Err(Error::Forked(_))), "{outcome:?}");
    let told = outcome.unwrap_err().to_string();
    assert!(told.contains("process") && told.contains("fork"), "{told}");
}

/// Runs `work` in a fork, with all there is of something; this process keeps it, too.
fn forked_with<T: Send + 'static>(everything: T, work: fn(&mut Option<T>)) -> T {
    let shared = Arc::new(Mutex::new(Some(everything)));
    let of_the_fork = shared.clone();
    let status = forked(move || work(&mut of_the_fork.lock().unwrap()));
    assert!(status.success(), "the fork failed: {status}");
    let mut shared = shared.lock().unwrap();
    shared.take().expect("the fork took its own copy")
}

// R14
#[test]
fn a_fork_is_told_that_the_database_is_its_parents() {
    run("child_that_forks_and_uses");
}

#[test]
#[ignore = "run by a_fork_is_told_that_the_database_is_its_parents"]
fn child_that_forks_and_uses() {
    let Some(home) = child::home() else { return };
    let db = Database::open(home.join(NAME)).unwrap();
    let before = account(&db, 100);

    forked_with((db.clone(), before), |both| {
        let (db, account) = both.as_ref().unwrap();
        assert_forked(db.transact(|conn| conn.modify(*account, |account| account.cents = 0)));
        assert_forked(db.view(|view| Ok(view.get(*account)?.cents)));
        assert_forked(db.history(*account));
        assert_forked(db.sync());
        assert_forked(db.close());
    });

    db.transact(|conn| conn.modify(before, |account| account.cents += 1)).unwrap();
    assert_eq!(cents(&db, before), 101);
    db.close().unwrap();
    let again = Database::open(home.join(NAME)).unwrap();
    assert_eq!(cents(&again, account(&again, 0)), 101);
}

// R14
#[test]
fn a_fork_that_comes_to_its_end_changes_nothing_and_frees_no_lock() {
    run("child_whose_fork_drops_everything");
}

#[test]
#[ignore = "run by a_fork_that_comes_to_its_end_changes_nothing_and_frees_no_lock"]
fn child_whose_fork_drops_everything() {
    let Some(home) = child::home() else { return };
    let options = Database::options().durability(Durability::Lazy);
    let db = options.open(home.join(NAME)).unwrap();
    let runner = db.runner().on::<Wait>(|_, _| Ok(())).mode(RunMode::Pool(2)).start().unwrap();
    let before = account(&db, 100);
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().unwrap();
    conn.modify(before, |account| account.cents = 7).unwrap();
    // What is lazy is durable, and the log sealed, before files are compared.
    std::thread::sleep(Duration::from_millis(300));
    let untouched = files(&home);

    let everything = (runner, conn, transaction, db);
    let everything = forked_with(everything, |everything| drop(everything.take()));

    let (_runner, _conn, mut transaction, db) = everything;
    assert!(files(&home) == untouched, "the fork wrote");
    assert!(matches!(Database::open(home.join(NAME)), Err(Error::Locked(_))));
    transaction.abort().unwrap();
    db.transact(|conn| conn.modify(before, |account| account.cents += 1)).unwrap();
    assert_eq!(cents(&db, before), 101);
}

// R14: here nothing of the storage is left when the fork drops it, not even its lock.
#[test]
fn a_fork_that_drops_a_storage_without_a_housekeeper_frees_no_lock() {
    run("child_whose_fork_drops_a_storage");
}

#[test]
#[ignore = "run by a_fork_that_drops_a_storage_without_a_housekeeper_frees_no_lock"]
fn child_whose_fork_drops_a_storage() {
    let Some(home) = child::home() else { return };
    let open = || {
        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        FileStorage::open(Arc::new(DiskDirectory::new(&home)), NAME, options)
    };
    let storage = open().unwrap();
    let untouched = files(&home);

    let storage = forked_with(storage, |storage| drop(storage.take()));

    assert!(files(&home) == untouched, "the fork wrote");
    assert!(matches!(open(), Err(Error::Locked(_))), "the fork let the lock go");
    storage.close().unwrap();
    open().unwrap();
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Wait;

impl perennial::Job for Wait {
    const KIND: &'static str = "forks.Wait";
}

// R14, C11: a fork that lives on has the parent's files open.
#[test]
fn a_fork_that_lives_on_does_not_keep_the_lock() {
    run("child_that_closes_while_its_fork_lives");
}

#[test]
#[ignore = "run by a_fork_that_lives_on_does_not_keep_the_lock"]
fn child_that_closes_while_its_fork_lives() {
    use std::io::{Read, Write};
    let Some(home) = child::home() else { return };
    let path = home.join(NAME);
    let db = Database::open(&path).unwrap();
    account(&db, 100);
    let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
    // The fork has both ends: it would never hear that nobody is there any more.
    there.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

    std::thread::scope(|scope| {
        let mut here = here;
        let mine = db.clone();
        let fork = scope.spawn(move || {
            forked(move || {
                let _kept = &mine;
                there.write_all(b"!").unwrap();
                let _ = there.read(&mut [0]);
            })
        });
        here.read_exact(&mut [0]).unwrap();
        db.close().unwrap();
        drop(db);
        let again = Database::open(&path).expect("the lock is free");
        assert_eq!(cents(&again, account(&again, 0)), 100);
        here.write_all(b"!").unwrap();
        assert!(fork.join().unwrap().success());
        assert!(matches!(Database::open(&path), Err(Error::Locked(_))), "freed by the fork");
    });
}

// R14: what a fork opens itself is its own.
#[test]
fn a_fork_opens_what_its_parent_closed() {
    run("child_whose_fork_opens");
}

#[test]
#[ignore = "run by a_fork_opens_what_its_parent_closed"]
fn child_whose_fork_opens() {
    let Some(home) = child::home() else { return };
    let db = Database::open(home.join(NAME)).unwrap();
    db.transact(|conn| conn.root_or_init("tally", |_| Ok(Tally(1)))).unwrap();
    db.close().unwrap();

    forked_with((db, home.join(NAME)), |both| {
        let (_closed, path) = both.as_ref().unwrap();
        let own = Database::open(path).unwrap();
        let count = |conn: &Connection| {
            let tally = conn.root_or_init("tally", |_| Ok(Tally(0)))?;
            conn.modify(tally, |tally| tally.0 += 1)
        };
        own.transact(count).unwrap();
        own.close().unwrap();
    });

    let db = Database::open(home.join(NAME)).unwrap();
    let tally = db.view(|view| view.get(view.root::<Tally>("tally")?.unwrap())).unwrap();
    assert_eq!(tally.0, 2);
}
