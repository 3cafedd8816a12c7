//! Files and directories that do not let us in.

use crate::support::child::{self, Child};
use crate::support::databases::{Tally, account};
use perennial::{Database, Error, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const NAME: &str = "users.db";

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs a test as somebody whom permissions stop.
fn run(test: &str) {
    let home = tempfile::tempdir().unwrap();
    Child::new(&format!("processes::users::{test}"), home.path()).by_nobody().run();
}

/// The directory of a closed database, and the database's path.
fn closed() -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let home = child::home()?.join("inner");
    fs::create_dir(&home).unwrap();
    let path = home.join(NAME);
    account(&Database::open(&path).unwrap(), 7);
    Some((home, path))
}

fn count(db: &Database) -> Result<i64> {
    db.transact(|conn| {
        let tally = conn.root_or_init("tally", |_| Ok(Tally(0)))?;
        conn.modify(tally, |tally| tally.0 += 1)?;
        Ok(conn.get(tally)?.0)
    })
}

fn assert_denied(outcome: Result<Database>) {
    match outcome {
        Err(Error::Io(failure)) => {
            assert_eq!(failure.source.kind(), std::io::ErrorKind::PermissionDenied);
            assert!(failure.path.to_str().unwrap().contains("inner"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
}

// R12
#[test]
fn a_file_that_may_not_be_written_is_read_and_refused_for_writing() {
    run("child_with_a_file_that_may_not_be_written");
}

#[test]
#[ignore = "run by a_file_that_may_not_be_written_is_read_and_refused_for_writing"]
fn child_with_a_file_that_may_not_be_written() {
    let Some((_, path)) = closed() else { return };
    permit(&path, 0o444);

    assert_denied(Database::open(&path));
    let reader = Database::options().read_only().open(&path).unwrap();
    assert_eq!(reader.view(|view| view.roots()).unwrap().len(), 1);
    drop(reader);

    permit(&path, 0);
    assert_denied(Database::open(&path));
    assert_denied(Database::options().read_only().open(&path));
}

// R12
#[test]
fn a_directory_that_may_not_be_written_gives_no_new_database_and_keeps_the_old_one_usable() {
    run("child_with_a_directory_that_may_not_be_written");
}

#[test]
#[ignore = "run by a_directory_that_may_not_be_written_gives_no_new_database_and_keeps_the_old_one_usable"]
fn child_with_a_directory_that_may_not_be_written() {
    let Some((home, path)) = closed() else { return };
    permit(&home, 0o555);

    assert_denied(Database::open(home.join("new.db")));
    let reader = Database::options().read_only().open(&path).unwrap();
    assert_eq!(reader.view(|view| view.roots()).unwrap().len(), 1);
    drop(reader);
    let writer = Database::open(&path).unwrap();
    assert_eq!(count(&writer).unwrap(), 1);
    writer.close().expect("only the index snapshot is missing");
    assert_eq!(count(&Database::open(&path).unwrap()).unwrap(), 2);

    permit(&home, 0o755);
    assert_eq!(count(&Database::open(&path).unwrap()).unwrap(), 3);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 2, "the file and its index");
}

// R7, R12
#[test]
fn an_index_that_may_not_be_read_is_passed_over_and_written_again() {
    run("child_with_an_index_that_may_not_be_read");
}

#[test]
#[ignore = "run by an_index_that_may_not_be_read_is_passed_over_and_written_again"]
fn child_with_an_index_that_may_not_be_read() {
    let Some((home, path)) = closed() else { return };
    let index = home.join(format!("{NAME}.index"));
    permit(&index, 0);

    let reader = Database::options().read_only().open(&path).unwrap();
    assert_eq!(reader.view(|view| view.roots()).unwrap().len(), 1);
    let writer = Database::open(&path).unwrap();
    assert_eq!(count(&writer).unwrap(), 1);
    writer.close().unwrap();

    assert!(fs::read(&index).unwrap().len() > 100, "a good one took its place");
}

// R12: who cannot look whether the file is still there goes on.
#[test]
fn a_directory_that_is_closed_to_us_stops_no_commit() {
    run("child_whose_directory_is_closed");
}

#[test]
#[ignore = "run by a_directory_that_is_closed_to_us_stops_no_commit"]
fn child_whose_directory_is_closed() {
    let Some((home, path)) = closed() else { return };
    let db = Database::open(&path).unwrap();
    permit(&home, 0);

    assert_eq!(count(&db).unwrap(), 1);
    assert_denied(Database::open(&path));
    permit(&home, 0o755);
    assert_eq!(count(&db).unwrap(), 2);
    db.close().unwrap();
}
