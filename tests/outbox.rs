//! The example `outbox`: where a data manager loses what a job does not.

#[path = "../examples/outbox.rs"]
mod example;

use crate::support::databases::{account, cents};
use crate::support::third::Third;
use example::{Outbox, Post, postman, send};
use perennial::{Connection, Database, Error, Outcome, Result, TransactionManager};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Tells a child of this process where it works.
const CHILD: &str = "PERENNIAL_OUTBOX_CHILD";

const PATIENCE: Duration = Duration::from_secs(60);

/// A post office that keeps what it is given in a file, and so outlives processes.
fn post(home: &Path) -> Post {
    let path = home.join("sent");
    Arc::new(move |message: &str| {
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        writeln!(file, "{message}").map_err(Error::other)
    })
}

fn sent(home: &Path) -> String {
    fs::read_to_string(home.join("sent")).unwrap_or_default()
}

fn open(home: &Path) -> Database {
    Database::open(home.join("shop.db")).unwrap()
}

#[test]
fn the_example_does_what_it_says() {
    example::main().unwrap();
}

#[test]
fn messages_are_sent_at_the_commit_and_not_before_nor_without_it() {
    let home = tempfile::tempdir().unwrap();
    let (db, manager) = (open(home.path()), TransactionManager::new());
    let (conn, outbox) = (db.connect(&manager), Outbox::new(&manager, post(home.path())));
    let account = account(&db, 0);

    let aborted = manager.begin().unwrap();
    outbox.send("aborted").unwrap();
    drop(aborted);
    let mut transaction = manager.begin().unwrap();
    conn.modify(account, |account| account.cents += 1).unwrap();
    outbox.send("kept").unwrap();
    let here = transaction.savepoint().unwrap();
    outbox.send("rolled back").unwrap();
    here.rollback().unwrap();
    assert_eq!(sent(home.path()), "");
    transaction.commit().unwrap();
    let mut transaction = manager.begin().unwrap();
    outbox.send("alone").unwrap();
    transaction.commit().unwrap();

    assert_eq!(sent(home.path()), "kept\nalone\n");
}

#[test]
fn where_the_post_fails_after_the_decision_the_outcome_is_mixed() {
    let (db, manager) = (Database::in_memory().unwrap(), TransactionManager::new());
    let closed: Post = Arc::new(|_: &str| Err(Error::other("closed")));
    let (conn, outbox) = (db.connect(&manager), Outbox::new(&manager, closed.clone()));
    let account = account(&db, 0);
    let mut transaction = manager.begin().unwrap();
    conn.modify(account, |account| account.cents += 1).unwrap();
    outbox.send("lost").unwrap();

    assert!(matches!(transaction.commit(), Err(Error::Mixed(_))));

    assert!(matches!(transaction.outcome(), Some(Outcome::Mixed(_))));
    drop(transaction);
    assert_eq!(cents(&db, account), 1, "it did happen");
    let _runner = postman(&db, closed).unwrap();
    db.transact(|conn| send(conn, "by job")).unwrap();
    assert_eq!(db.jobs().list().unwrap().len(), 1, "this one waits");
}

/// Runs one of the tests below, which dies after the decision; what is left.
fn after_the_death_of(child: &str) -> (TempDir, Database) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", &format!("outbox::{child}")]);
    let died = !command.env(CHILD, home.path()).output().unwrap().status.success();
    assert!(died, "it lives");
    let db = open(home.path());
    (home, db)
}

/// In a child: sends a message in some way, and dies between the decision and what follows.
fn dying(way: impl FnOnce(&Path, &Connection, &TransactionManager) -> Result<()>) {
    let Some(home) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let (db, manager) = (open(&home), TransactionManager::new());
    let (conn, account) = (db.connect(&manager), account(&db, 0));
    let mut transaction = manager.begin().unwrap();
    conn.modify(account, |account| account.cents += 1).unwrap();
    way(&home, &conn, &manager).unwrap();
    Third::before().at_finish(|| std::process::abort()).join(&manager);
    transaction.commit().unwrap();
}

#[test]
#[ignore = "run by where_the_process_dies_after_the_decision_the_message_is_lost"]
fn child_with_a_data_manager() {
    dying(|home, _, manager| Outbox::new(manager, post(home)).send("hello"));
}

#[test]
fn where_the_process_dies_after_the_decision_the_message_is_lost() {
    let (home, db) = after_the_death_of("child_with_a_data_manager");

    assert_eq!(cents(&db, account(&db, 0)), 1);
    let runner = postman(&db, post(home.path())).unwrap();
    assert!(runner.run_until_idle(PATIENCE));
    assert_eq!(sent(home.path()), "", "nobody knows of it");
}

#[test]
#[ignore = "run by where_the_process_dies_after_the_decision_the_job_is_done_by_the_next"]
fn child_with_a_job() {
    dying(|_, conn, _| send(conn, "hello"));
}

#[test]
fn where_the_process_dies_after_the_decision_the_job_is_done_by_the_next() {
    let (home, db) = after_the_death_of("child_with_a_job");

    assert_eq!(cents(&db, account(&db, 0)), 1);
    let runner = postman(&db, post(home.path())).unwrap();
    assert!(runner.run_until_idle(PATIENCE));
    assert_eq!(sent(home.path()), "hello\n");
}
