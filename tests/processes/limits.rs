//! What the system grants no more of: descriptors, address space, threads, the length of a file.

use crate::support::child::{self, Child};
use crate::support::databases::Account;
use perennial::file::{Access, AppendFile, Directory, DiskDirectory, Map};
use perennial::{Database, Error, Result};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "limits.db";

fn limited(test: &str, limit: &str, home: &Path) -> String {
    Child::new(&format!("processes::limits::{test}"), home).limited(limit).run()
}

fn store(db: &Database, number: i64) -> Result<()> {
    let new = |_: &perennial::Connection| Ok(Account { owner: "x".repeat(3000), cents: 0 });
    db.transact(|conn| {
        let account = conn.root_or_init(&format!("{}", number % 50), new)?;
        conn.modify(account, |account| account.cents = number)
    })
}

/// The greatest number that was stored.
fn greatest(db: &Database) -> i64 {
    let all = db.view(|view| {
        let mut numbers = Vec::new();
        for (name, _) in view.roots()? {
            numbers.push(view.get(view.root::<Account>(&name)?.unwrap())?.cents);
        }
        Ok(numbers)
    });
    all.unwrap().into_iter().max().unwrap_or(0)
}

fn assert_io<T: std::fmt::Debug>(outcome: Result<T>) {
    match outcome {
        Err(Error::Io(failure)) => assert!(failure.path.ends_with(NAME), "{failure}"),
        other => panic!("{other:?}"),
    }
}

// R10
#[test]
fn where_no_file_can_be_opened_what_is_open_goes_on() {
    let home = tempfile::tempdir().unwrap();
    limited("child_without_descriptors", "ulimit -n 64", home.path());
    let db = Database::open(home.path().join(NAME)).unwrap();
    assert_eq!(greatest(&db), 101);
}

#[test]
#[ignore = "run by where_no_file_can_be_opened_what_is_open_goes_on"]
fn child_without_descriptors() {
    let Some(home) = child::home() else { return };
    let path = home.join(NAME);
    let db = Database::options().cache_bytes(1).open(&path).unwrap();
    store(&db, 1).unwrap();
    let all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(all.len() > 10);

    (2..=100).for_each(|number| store(&db, number).unwrap());
    assert_eq!(greatest(&db), 100);
    assert_io(Database::open(&path));
    assert_io(Database::options().read_only().open(&path));
    store(&db, 101).unwrap();
    db.close().expect("only the index snapshot is missing");
    assert_io(Database::open(&path));

    drop(all);
    assert_eq!(greatest(&Database::open(&path).unwrap()), 101);
}

/// Takes address space until no piece of this length is left.
fn take_all(file: &Arc<dyn AppendFile>, length: usize) -> Vec<Map> {
    std::iter::from_fn(|| file.map(0, length)).collect()
}

/// Leaves less than the stack of a thread takes, and enough for all else, to within 64 KiB.
fn take_all_but_a_mebibyte(file: &Arc<dyn AppendFile>) -> Vec<Map> {
    let mut all = take_all(file, 2 << 20);
    all.pop();
    let mut small = take_all(file, 64 << 10);
    assert!(small.len() > 16);
    small.truncate(small.len() - 16);
    all.extend(small);
    all
}

/// More than the program needs, and soon taken.
const SPACE: &str = "ulimit -v 3000000";

// R10
#[test]
fn where_nothing_can_be_mapped_files_are_read_by_position() {
    let home = tempfile::tempdir().unwrap();
    limited("child_without_maps", SPACE, home.path());
}

#[test]
#[ignore = "run by where_nothing_can_be_mapped_files_are_read_by_position"]
fn child_without_maps() {
    let Some(home) = child::home() else { return };
    let filler = DiskDirectory::new(&home).open("filler", Access::CreateNew).unwrap();
    let all = take_all(&filler, 64 << 20);
    assert!(!all.is_empty() && filler.map(0, 64 << 20).is_none());

    for round in 0..3 {
        let db = Database::options().cache_bytes(1).open(home.join(NAME)).unwrap();
        assert_eq!(greatest(&db), 100 * round);
        (1..=100).for_each(|number| store(&db, 100 * round + number).unwrap());
        assert_eq!(greatest(&db), 100 * (round + 1));
    }
}

// R10
#[test]
fn where_no_thread_can_be_started_opening_is_an_error_and_frees_the_lock() {
    let home = tempfile::tempdir().unwrap();
    limited("child_without_threads", SPACE, home.path());
}

#[test]
#[ignore = "run by where_no_thread_can_be_started_opening_is_an_error_and_frees_the_lock"]
fn child_without_threads() {
    let Some(home) = child::home() else { return };
    let path = home.join(NAME);
    let filler = DiskDirectory::new(&home).open("filler", Access::CreateNew).unwrap();
    store(&Database::open(&path).unwrap(), 7).unwrap();
    // The system keeps the stacks of threads that ended.
    let (kept, all) = (keep_threads(), take_all_but_a_mebibyte(&filler));
    assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "there is room for a thread");

    let refused = Database::open(&path);
    drop(all);
    kept.into_iter().for_each(|thread| {
        thread.thread().unpark();
        thread.join().unwrap();
    });

    assert_io(refused);
    assert_eq!(greatest(&Database::open(&path).unwrap()), 7);
}

/// Threads that stay until they are told, and need the stacks that are at hand. They have begun: a
/// thread that begins takes space for what it will allocate, and gives half of it back.
fn keep_threads() -> Vec<std::thread::JoinHandle<()>> {
    let (begun, all) = std::sync::mpsc::channel();
    let keep = |number| {
        let begun = begun.clone();
        std::thread::spawn(move || {
            begun.send(vec![number]).unwrap();
            std::thread::park();
        })
    };
    let threads = (0..8).map(keep).collect();
    assert_eq!(all.iter().take(8).count(), 8);
    threads
}

// R10: the limit is one of the process; without it, the file goes on.
#[test]
fn where_files_may_not_grow_the_commit_fails_and_everything_acknowledged_is_there() {
    let home = tempfile::tempdir().unwrap();
    let limit = "trap '' XFSZ; ulimit -f 1000";
    let told = limited("child_whose_files_may_not_grow", limit, home.path());
    let acknowledged: i64 =
        told.split("ACK ").last().unwrap().lines().next().unwrap().parse().unwrap();
    assert!(acknowledged > 30, "{told}");

    let db = Database::open(home.path().join(NAME)).unwrap();
    assert!([acknowledged, acknowledged + 1].contains(&greatest(&db)));
    store(&db, 10_000).unwrap();
}

#[test]
#[ignore = "run by where_files_may_not_grow_the_commit_fails_and_everything_acknowledged_is_there"]
fn child_whose_files_may_not_grow() {
    let Some(home) = child::home() else { return };
    let db = Database::options().cache_bytes(1).open(home.join(NAME)).unwrap();
    let refused = (1..).find_map(|number| Some((number, store(&db, number).err()?))).unwrap();

    println!("ACK {}", refused.0 - 1);
    assert!(matches!(refused.1, Error::Unknown(_)), "{}", refused.1);
    assert!(greatest(&db) == refused.0 - 1, "what was readable is");
    assert!(matches!(store(&db, 0), Err(Error::Halted(_))));
    assert!(db.close().is_err());
}
