//! What may come between the commit of a job and its handing over, and how keys live on.

use super::kit::*;
use crate::support::managers::{Cell, Fault, Journal};
use perennial::transaction::{Phase, TransactionManager};
use perennial::{
    Connection, Context, Database, Enqueued, Error, JobState, Policy, RunMode, Runner,
};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Enqueues a job without a runner, and calls `before` when it is committed and not handed over.
fn enqueue_and(db: &Database, whom: &str, before: impl FnOnce() + Send + 'static) -> Enqueued {
    let mut before = Some(before);
    let enqueue = |conn: &Connection| {
        let before = before.take();
        conn.transaction()?.after_commit_at(-1, move |_| before.into_iter().for_each(|f| f()))?;
        conn.enqueue(&remind(whom))
    };
    db.transact(enqueue).unwrap()
}

/// J13, J24: a runner that starts at that moment finds the job in the file; it must not be given
/// it again, nor lose sight of it.
#[test]
fn a_job_that_runs_before_it_is_handed_over_is_not_started_twice() {
    let db = Database::in_memory().unwrap();
    let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let runner = Arc::new(OnceLock::new());
    let (other, at) = (db.clone(), [begun.clone(), go_on.clone()]);
    let (place, handler_at) = (runner.clone(), at.clone());
    let start = move || {
        let handle = move |_: &Context<'_>, _: Remind| {
            for barrier in &handler_at {
                barrier.wait();
            }
            Ok(())
        };
        let runner = other.runner().on_with::<Remind>(eager(), handle).mode(RunMode::Manual);
        place.set(runner.start().unwrap()).unwrap();
        let place = place.clone();
        thread::spawn(move || place.get().unwrap().run_due());
        at[0].wait();
    };

    let first = enqueue_and(&db, "alice", start).id();

    let runner = runner.get().unwrap();
    assert_eq!(runner.run_due(), 0);
    assert_eq!(db.jobs().stats().unwrap().running, 1);
    let again = db.transact(|conn| conn.enqueue(&remind("alice"))).unwrap();
    assert_eq!(again, Enqueued::Duplicate(first));
    go_on.wait();
    assert!(runner.run_until_idle(LONG));
    assert_empty(&db);
}

/// J24.
#[test]
fn a_job_discarded_before_it_is_handed_over_leaves_its_key_free() {
    let db = Database::in_memory().unwrap();
    let other = db.clone();
    let discard = move || {
        let id = only(&other).id;
        assert!(other.jobs().discard(id).unwrap());
    };

    enqueue_and(&db, "alice", discard);

    let again = db.transact(|conn| conn.enqueue(&remind("alice"))).unwrap();
    assert!(matches!(again, Enqueued::New(_)), "{again:?}");
}

fn reminding(db: &Database, max_crashes: u32) -> Runner {
    let policy = Policy { max_crashes, ..eager() };
    db.runner().on_with::<Remind>(policy, |_, _| Ok(())).mode(RunMode::Manual).start().unwrap()
}

/// J17, J24: it is not pending any more.
#[test]
fn a_job_that_is_dead_after_crashes_leaves_its_key_free() {
    let home = Home::default();
    let db = home.open();
    reminding(&db, 1);
    let dead = enqueue(&db, &remind("alice"));
    drop(db);
    let db = home.open();

    let runner = reminding(&db, 1);

    assert_eq!(only(&db).state, JobState::Dead);
    assert_eq!(db.jobs().stats().unwrap().counts.dead, 1);
    let again = db.transact(|conn| conn.enqueue(&remind("alice"))).unwrap();
    assert!(matches!(again, Enqueued::New(id) if id != dead), "{again:?}");
    assert!(runner.run_until_idle(LONG));
}

/// J24: whoever revives a dead job does not take the key from the one that is pending.
#[test]
fn a_revived_job_does_not_take_the_key_of_another() {
    let home = Home::default();
    let db = home.open();
    reminding(&db, 1);
    let dead = enqueue(&db, &remind("alice"));
    drop(db);
    let db = home.open();
    let runner = reminding(&db, 1);
    let far = SystemTime::now() + LONG * 1000;
    let pending = db.transact(|conn| conn.enqueue_at(&remind("alice"), far)).unwrap().id();
    assert!(db.jobs().retry(dead).unwrap());

    assert_eq!(runner.run_due(), 1);

    assert_eq!(only(&db).id, pending);
    let again = db.transact(|conn| conn.enqueue(&remind("alice"))).unwrap();
    assert_eq!(again, Enqueued::Duplicate(pending));
}

/// J1, T6: the database has committed the job, whoever else failed to finish.
#[test]
fn a_job_of_a_transaction_that_others_did_not_finish_is_run() {
    let db = Database::in_memory().unwrap();
    let (runner, seen) = noting(&db, RunMode::Manual);
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let conn = db.connect(&manager);
    let other = Cell::new("other", &journal);
    other.break_at(Phase::Finish, Fault::Error);
    let mut transaction = manager.begin().unwrap();
    other.set(&manager, 1).unwrap();
    conn.enqueue(&pay(1)).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Mixed(_)), "{error}");
    transaction.abort().unwrap();
    assert!(runner.run_until_idle(LONG));
    assert_eq!(seen.all(), [1]);
    assert_empty(&db);
}

/// J25: a handler may stop the runner that runs it.
#[test]
fn a_handler_may_stop_its_runner() {
    let db = Database::in_memory().unwrap();
    let place: Arc<Mutex<Option<Runner>>> = Arc::default();
    let (mine, seen) = (place.clone(), Seen::default());
    let notes = seen.clone();
    let moment = Duration::from_millis(1);
    let runner = paying(&db, RunMode::Pool(2), eager(), move |_, job| {
        let runner = loop {
            if let Some(runner) = mine.lock().unwrap().take() {
                break runner;
            }
        };
        assert_eq!(runner.stop(moment, moment)?, 1);
        notes.add(job.cents);
        Ok(())
    });
    *place.lock().unwrap() = Some(runner);

    enqueue(&db, &pay(1));

    let until = Instant::now() + LONG;
    while !db.jobs().list().unwrap().is_empty() && Instant::now() < until {
        thread::yield_now();
    }
    assert_eq!(seen.all(), [1]);
    let (next, seen) = noting(&db, RunMode::Manual);
    enqueue(&db, &pay(2));
    assert!(next.run_until_idle(LONG));
    assert_eq!(seen.all(), [2]);
}
