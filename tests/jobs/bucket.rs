//! Looking after jobs, and stopping those who run them.

use super::kit::{
    Home, LONG, assert_empty, eager, enqueue, enqueue_all, noting, only, pay, paying,
};
use crate::support::databases::{account, cents, everywhere};
use perennial::storage::MemoryStorage;
use perennial::{Database, Error, JobState, Policy, RunMode, Settings};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(10);

#[test]
fn the_bucket_lists_counts_and_finds_jobs() {
    everywhere(|db| {
        let ids: Vec<_> = (0..3).map(|cents| enqueue(db, &pay(cents))).collect();

        let jobs = db.jobs().list().unwrap();

        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
        assert!(jobs.iter().all(|job| job.kind == "laws.Pay" && job.state == JobState::Ready));
        assert_eq!(db.jobs().get(ids[1]).unwrap().as_ref(), Some(&jobs[1]));
        let stats = db.jobs().stats().unwrap();
        assert_eq!((stats.ready, stats.claimed, stats.dead, stats.bytes), (3, 0, 0, 6));
        let other = account(db, 1).oid();
        assert!(matches!(db.jobs().get(other), Err(Error::Schema(_))));
    });
}

#[test]
fn a_discarded_job_is_gone() {
    everywhere(|db| {
        let id = enqueue(db, &pay(1));

        assert!(db.jobs().discard(id).unwrap());

        assert!(!db.jobs().discard(id).unwrap());
        assert_eq!(db.jobs().get(id).unwrap(), None);
        let (runner, seen) = noting(db, RunMode::Manual);
        assert_eq!((runner.run_due(), seen.all()), (0, vec![]));
    });
}

/// J14: what a handler brings whose job was discarded meanwhile is refused.
#[test]
fn the_late_result_of_a_lost_claim_is_refused() {
    for completes in [true, false] {
        let db = Database::in_memory().unwrap();
        let to = account(&db, 0);
        let runner = paying(&db, RunMode::Manual, eager(), move |context, _| {
            assert!(!context.is_cancelled());
            assert!(context.database().jobs().discard(context.id())?);
            assert!(context.is_cancelled());
            if completes {
                let late = context.complete(|conn| conn.modify(to, |a| a.cents += 1));
                assert!(matches!(late, Err(Error::ClaimLost { .. })));
            }
            Ok(())
        });

        enqueue(&db, &pay(1));
        assert_eq!(runner.run_due(), 1);

        assert_eq!(cents(&db, to), 0);
        assert_eq!(db.jobs().stats().unwrap().counts.lost, 1);
        assert_empty(&db);
    }
}

/// Two databases over one storage, which therefore have different boot ids: to each, the other is
/// the dead past, or the future.
fn two_openings() -> (Database, Database) {
    let storage = Arc::new(MemoryStorage::new().unwrap());
    let open = || Database::with_storage(storage.clone(), &Settings::default());
    (open(), open())
}

/// J14: also where the job is there, and somebody else's.
#[test]
fn the_late_result_for_a_job_that_another_process_took_over_is_refused() {
    let (earlier, later) = two_openings();
    let to = account(&earlier, 0);
    let rival = later.clone();
    let runner = paying(&earlier, RunMode::Manual, eager(), move |context, _| {
        let failing = paying(&rival, RunMode::Manual, Policy::default(), |_, _| Err("no".into()));
        assert_eq!(failing.run_due(), 1);
        let late = context.complete(|conn| conn.modify(to, |account| account.cents += 1));
        assert!(matches!(late, Err(Error::ClaimLost { .. })));
        Err("late".into())
    });

    enqueue(&earlier, &pay(1));
    assert_eq!(runner.run_due(), 1);

    assert_eq!(cents(&earlier, to), 0);
    assert_eq!((only(&later).failures, only(&later).last_error.as_deref()), (1, Some("no")));
    assert_eq!(earlier.jobs().stats().unwrap().counts.lost, 1);
}

/// J14: nor is such a job begun.
#[test]
fn a_job_that_another_process_took_over_is_not_started() {
    let (earlier, later) = two_openings();
    let (runner, seen) = noting(&earlier, RunMode::Manual);
    enqueue(&earlier, &pay(1));
    let (_other, _) = noting(&later, RunMode::Manual);

    runner.run_due();

    assert_eq!(seen.all(), [0; 0]);
    assert_eq!((only(&later).state, only(&later).crashes), (JobState::Ready, 1));
}

#[test]
fn a_paused_kind_waits_for_its_resumption() {
    everywhere(|db| {
        db.jobs().pause("laws.Pay").unwrap();
        let (runner, seen) = noting(db, RunMode::Pool(1));
        enqueue(db, &pay(1));
        assert!(!runner.run_until_idle(SOON));
        assert_eq!((seen.all(), only(db).state), (vec![], JobState::Ready));

        db.jobs().resume("laws.Pay").unwrap();

        assert!(runner.run_until_idle(LONG));
        assert_eq!(seen.all(), [1]);
    });
}

/// J22
#[test]
fn a_job_beyond_its_timeout_is_cancelled_and_not_started_twice() {
    let db = Database::in_memory().unwrap();
    let policy = Policy { timeout: Some(SOON), ..eager() };
    let (sender, starts) = mpsc::channel();
    let runner = paying(&db, RunMode::Pool(2), policy, move |context, _| {
        sender.send(context.attempt())?;
        while !context.is_cancelled() {
            thread::yield_now();
        }
        while context.database().jobs().stats()?.stuck == 0 {
            thread::yield_now();
        }
        Ok(())
    });

    enqueue(&db, &pay(1));

    assert!(runner.run_until_idle(LONG));
    assert_eq!(starts.try_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(db.jobs().stats().unwrap().counts.late, 1);
}

/// J25
#[test]
fn a_stop_waits_for_a_slow_job_and_gives_back_the_others() {
    everywhere(|db| {
        let (started, starts) = mpsc::channel();
        let runner = paying(db, RunMode::Pool(1), eager(), move |context, _| {
            started.send(())?;
            while !context.is_cancelled() {
                thread::yield_now();
            }
            Err("told to stop".into())
        });
        enqueue_all(db, 0..3);
        starts.recv().unwrap();

        assert_eq!(runner.stop(SOON, LONG).unwrap(), 0);

        assert_eq!(starts.try_iter().count(), 0, "no other job was started");
        let jobs = db.jobs().list().unwrap();
        assert_eq!(jobs.len(), 3);
        assert!(jobs.iter().all(|job| job.state == JobState::Ready && job.failures == 0));
    });
}

/// J25: a handler that does not listen is left alone, and its result is applied when it comes.
#[test]
fn a_stop_reports_who_does_not_return() {
    let db = Database::in_memory().unwrap();
    let release = Arc::new(AtomicBool::new(false));
    let (started, starts) = mpsc::channel();
    let free = release.clone();
    let runner = paying(&db, RunMode::Pool(1), eager(), move |_, _| {
        started.send(())?;
        while !free.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Ok(())
    });
    enqueue(&db, &pay(1));
    starts.recv().unwrap();

    assert_eq!(runner.stop(SOON, SOON).unwrap(), 1);

    let (runner, seen) = noting(&db, RunMode::Pool(1));
    assert!(!runner.run_until_idle(SOON), "it still runs");
    assert_eq!(seen.all(), [0; 0], "and is not started by another runner");
    release.store(true, Ordering::SeqCst);
    assert!(runner.run_until_idle(LONG));
    assert_empty(&db);
}

/// J25: what a later runner finds was given back, uncharged.
#[test]
fn jobs_given_back_by_a_stop_are_run_by_the_next_runner() {
    let home = Home::default();
    let db = home.open();
    let (runner, _seen) = noting(&db, RunMode::Manual);
    enqueue_all(&db, 0..3);
    runner.stop(LONG, LONG).unwrap();
    drop(db);

    let db = home.open();
    assert!(db.jobs().list().unwrap().iter().all(|job| job.crashes == 0));
    let (runner, seen) = noting(&db, RunMode::Pool(1));
    assert!(runner.run_until_idle(LONG));
    assert_eq!(seen.sorted(), [0, 1, 2]);
}

#[test]
fn a_database_has_one_runner_at_a_time() {
    let db = Database::in_memory().unwrap();
    let (runner, _seen) = noting(&db, RunMode::Pool(1));

    assert!(matches!(db.runner().start(), Err(Error::Unsupported(_))));

    runner.stop(LONG, LONG).unwrap();
    let (_runner, seen) = noting(&db, RunMode::Inline);
    enqueue(&db, &pay(1));
    assert_eq!(seen.all(), [1]);
}

#[test]
fn a_runner_that_makes_no_sense_is_refused() {
    let db = Database::in_memory().unwrap();
    let twice =
        db.runner().on::<super::kit::Pay>(|_, _| Ok(())).on::<super::kit::Pay>(|_, _| Ok(()));

    assert!(matches!(twice.start(), Err(Error::InvalidArgument(_))));
    let none = db.runner().mode(RunMode::Pool(0));
    assert!(matches!(none.start(), Err(Error::InvalidArgument(_))));
    db.runner().start().unwrap();
}

/// A runner keeps nothing open, nor do its threads; also where a worker has the last handle.
#[test]
fn the_last_handle_of_a_database_may_go_on_a_worker() {
    let home = Home::default();
    let db = home.open();
    let (started, starts) = mpsc::channel();
    let (release, free) = mpsc::channel::<()>();
    let free = std::sync::Mutex::new(free);
    let runner = paying(&db, RunMode::Pool(2), eager(), move |_, _| {
        started.send(())?;
        free.lock().unwrap().recv()?;
        Ok(())
    });
    enqueue(&db, &pay(1));
    starts.recv().unwrap();

    drop(db);
    release.send(()).unwrap();

    while home.is_locked() {
        thread::yield_now();
    }
    assert_empty(&home.open());
    assert_eq!(runner.run_due(), 0);
}
