//! The end of a database in a file: closed or dropped in the middle of whatever goes on.

use crate::support::databases::{Account, Tally, cents};
use perennial::transaction::TransactionManager;
use perennial::{
    Connection, Database, Error, Failure, Job, JobState, Ref, Result, RetryPolicy, RunMode,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(30);

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("laws.db");
    (home, path)
}

fn tally(db: &Database, name: &str) -> Ref<Tally> {
    db.transact(|conn| conn.root_or_init(name, |_| Ok(Tally(0)))).unwrap()
}

fn value(db: &Database, name: &str) -> i64 {
    db.view(|view| Ok(view.get(view.root::<Tally>(name)?.unwrap())?.0)).unwrap()
}

/// C11, R10: of commits that race a close each is there or was refused.
#[test]
fn what_committed_while_the_database_was_closed_is_there_and_nothing_else() {
    const THREADS: usize = 4;
    for round in 0..8 {
        let (_home, path) = home();
        let db = Database::open(&path).unwrap();
        let names: Vec<_> = (0..THREADS).map(|number| format!("own {number}")).collect();
        let owns: Vec<_> = names.iter().map(|name| tally(&db, name)).collect();
        let shared = tally(&db, "shared");
        let policy = RetryPolicy::new(1000);
        let counts: Vec<i64> = thread::scope(|scope| {
            let count = |own: &Ref<Tally>| {
                let (db, own, policy) = (db.clone(), *own, &policy);
                scope.spawn(move || {
                    let work = |conn: &Connection| {
                        conn.modify(own, |own| own.0 += 1)?;
                        conn.modify(shared, |shared| shared.0 += 1)
                    };
                    // 13 and 666 are numbers that this type does not merge.
                    (0..).find(|_| db.transact_with(policy, work).is_err()).unwrap()
                })
            };
            let threads: Vec<_> = owns.iter().map(count).collect();
            thread::sleep(Duration::from_millis(5 + 3 * round));
            db.close().unwrap();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        drop(db);

        let db = Database::open(&path).unwrap();

        let stored: Vec<_> = names.iter().map(|name| value(&db, name)).collect();
        assert_eq!(stored, counts);
        assert_eq!(value(&db, "shared"), counts.iter().sum::<i64>());
    }
}

/// C11: a transaction that was open when the database closed reads on, and is refused.
#[test]
fn a_transaction_that_outlives_the_close_can_read_and_not_commit() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let (changed, other) = (tally(&db, "changed"), tally(&db, "other"));
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let mut transaction = manager.begin().unwrap();
    conn.modify(changed, |tally| tally.0 = 1).unwrap();
    let closer = db.clone();
    transaction.before_commit(move || closer.close()).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Closed), "{error}");
    assert_eq!(conn.get(other).unwrap().0, 0);
    let again = Database::open(&path).unwrap();
    assert_eq!(value(&again, "changed"), 0);
    transaction.abort().unwrap();
    let refused = db.transact(|conn| conn.get(other));
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
}

/// H10: the transaction's end is told before the close, and by it nothing is lost.
#[test]
fn a_hook_after_the_commit_may_close_the_database() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let changed = tally(&db, "changed");
    let work = |conn: &Connection| {
        let closer = db.clone();
        conn.transaction()?.on_commit(move |_| closer.close())?;
        conn.modify(changed, |tally| tally.0 = 1)
    };

    db.transact(work).unwrap();

    assert_eq!(value(&Database::open(&path).unwrap(), "changed"), 1);
}

/// C12: what a transaction has changed and where it can return to move with it.
#[test]
fn a_transaction_goes_on_in_another_thread() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let (kept, undone) = (tally(&db, "kept"), tally(&db, "undone"));
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().unwrap();
    conn.modify(kept, |tally| tally.0 = 1).unwrap();
    let here = transaction.savepoint().unwrap();
    conn.modify(undone, |tally| tally.0 = 1).unwrap();

    let (conn, mut transaction) = thread::spawn(move || {
        here.rollback().unwrap();
        conn.modify(kept, |tally| tally.0 += 1).unwrap();
        (conn, transaction)
    })
    .join()
    .unwrap();
    drop(db);
    transaction.commit().unwrap();

    assert!(matches!(Database::open(&path), Err(Error::Locked(_))));
    drop((conn, transaction));
    let db = Database::open(&path).unwrap();
    assert_eq!((value(&db, "kept"), value(&db, "undone")), (2, 0));
}

/// C11: transactions whose guards were forgotten keep neither the lock nor anything else, once
/// their manager has ended them.
#[test]
fn forgotten_guards_keep_nothing_once_they_are_ended() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let changed = tally(&db, "changed");
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().unwrap();
    conn.modify(changed, |tally| tally.0 = 1).unwrap();
    std::mem::forget(transaction.savepoint().unwrap());
    std::mem::forget(transaction);

    manager.abort_current().unwrap();

    db.transact(|conn| conn.modify(changed, |tally| tally.0 = 2)).unwrap();
    drop((conn, db));
    assert_eq!(value(&Database::open(&path).unwrap(), "changed"), 2);
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Close {
    account: Ref<Account>,
}

impl Job for Close {
    const KIND: &'static str = "laws.Close";
}

/// J3, J17: to the next start it looks as though the process had died.
#[test]
fn a_job_that_closes_its_database_is_run_again_by_the_next_opening() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let ran = Arc::new(Mutex::new(0));
    let count = ran.clone();
    db.runner()
        .on::<Close>(move |context, job| {
            context.view(|view| view.get(job.account))?;
            context.database().close()?;
            *count.lock().unwrap() += 1;
            let late =
                context.complete(|conn| conn.modify(job.account, |account| account.cents += 1));
            assert!(matches!(late, Err(Error::Closed)), "{late:?}");
            Ok(())
        })
        .mode(RunMode::Inline)
        .start()
        .unwrap();
    let account = db
        .transact(|conn| {
            let new = |_: &Connection| Ok(Account { owner: "alice".into(), cents: 0 });
            let account = conn.root_or_init("account", new)?;
            conn.enqueue(&Close { account })?;
            Ok(account)
        })
        .unwrap();
    assert_eq!(*ran.lock().unwrap(), 1);
    assert!(matches!(db.view(|view| view.get(account)), Err(Error::Closed)));

    let db = Database::open(&path).unwrap();
    let handle = |context: &perennial::Context<'_>, job: Close| -> Result<(), Failure> {
        assert_eq!(context.crashes(), 1);
        context.complete(|conn| conn.modify(job.account, |account| account.cents += 1))?;
        Ok(())
    };
    let runner = db.runner().on::<Close>(handle).mode(RunMode::Manual).start().unwrap();

    assert!(runner.run_until_idle(LONG));
    let account = db.view(|view| Ok(view.root("account")?.unwrap())).unwrap();
    assert_eq!(cents(&db, account), 1);
    assert_eq!(db.jobs().list().unwrap(), []);
}

/// R9: whoever only reads can look at jobs, and neither start nor make any.
#[test]
fn a_database_opened_for_reading_runs_and_takes_no_jobs() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let account = db.transact(|conn| conn.add(Account { owner: "bob".into(), cents: 0 })).unwrap();
    let id = db.transact(|conn| conn.enqueue(&Close { account })).unwrap().id();
    drop(db);
    let db = Database::options().read_only().open(&path).unwrap();

    let runner = db.runner().on::<Close>(|_, _| Ok(())).mode(RunMode::Manual).start();
    let job = Close { account: db.jobs().read::<Close>(id).unwrap().unwrap().account };
    let enqueued = db.transact(|conn| conn.enqueue(&job));

    assert!(matches!(runner, Err(Error::ReadOnly(_))), "{runner:?}");
    assert!(matches!(enqueued, Err(Error::ReadOnly(_))), "{enqueued:?}");
    assert_eq!(db.jobs().get(id).unwrap().unwrap().state, JobState::Ready);
}

/// C1, M1: what one opening gave out is nothing to another, though the file is the same.
#[test]
fn a_reference_of_an_earlier_opening_is_refused() {
    let (_home, path) = home();
    let db = Database::open(&path).unwrap();
    let old = tally(&db, "tally");
    drop(db);
    let db = Database::open(&path).unwrap();

    let read = db.view(|view| view.get(old));

    assert!(matches!(read, Err(Error::ForeignRef { .. })), "{read:?}");
}
