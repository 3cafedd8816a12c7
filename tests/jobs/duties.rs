//! What a job owes to the transaction that asked for it.

use super::kit::{LONG, Pay, assert_empty, eager, enqueue, enqueue_all, noting, only, pay, paying};
use crate::support::databases::{Account, account, cents, everywhere};
use perennial::storage::{MemoryStorage, Storage};
use perennial::{
    Connection, Database, Enqueued, Error, Job, JobLimits, JobState, RunMode, Settings,
    TransactionManager,
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

/// J1
#[test]
fn a_committed_job_is_handled_and_the_bucket_is_empty_afterwards() {
    everywhere(|db| {
        for mode in [RunMode::Pool(2), RunMode::Inline, RunMode::Manual] {
            let (runner, seen) = noting(db, mode);

            enqueue(db, &pay(7));

            assert!(runner.run_until_idle(LONG));
            assert_eq!(seen.all(), [7], "{mode:?}");
            assert_empty(db);
            assert_eq!(runner.stop(LONG, LONG).unwrap(), 0);
        }
    });
}

/// J1
#[test]
fn an_inline_job_has_run_when_the_commit_returns() {
    let db = Database::in_memory().unwrap();
    let (_runner, seen) = noting(&db, RunMode::Inline);

    enqueue(&db, &pay(1));

    assert_eq!(seen.all(), [1]);
}

/// J1
#[test]
fn inline_jobs_that_enqueue_run_one_after_the_other() {
    let db = Database::in_memory().unwrap();
    let (sender, depths) = mpsc::channel();
    let _runner = paying(&db, RunMode::Inline, eager(), move |context, job| {
        if job.cents > 0 {
            context.database().transact(|conn| conn.enqueue(&pay(job.cents - 1)))?;
        }
        sender.send(job.cents)?;
        Ok(())
    });

    enqueue(&db, &pay(3));

    assert_eq!(depths.try_iter().collect::<Vec<_>>(), [3, 2, 1, 0], "not the innermost first");
    assert_empty(&db);
}

/// J1
#[test]
fn without_a_runner_jobs_are_kept() {
    everywhere(|db| {
        let id = enqueue(db, &pay(1));
        assert_eq!((only(db).id, only(db).state), (id, JobState::Ready));
        assert_eq!(only(db).attempts, 0);

        let (runner, seen) = noting(db, RunMode::Pool(1));

        assert!(runner.run_until_idle(LONG));
        assert_eq!(seen.all(), [1]);
    });
}

/// J2
#[test]
fn a_job_of_an_aborted_transaction_never_exists() {
    everywhere(|db| {
        let (runner, seen) = noting(db, RunMode::Pool(1));

        let aborted: Result<(), Error> = db.transact(|conn| {
            conn.enqueue(&pay(1))?;
            Err(Error::other("no"))
        });

        assert!(aborted.is_err());
        assert!(runner.run_until_idle(LONG));
        assert_eq!(seen.all(), [0; 0]);
        assert_empty(db);
    });
}

/// J2, S10
#[test]
fn a_job_past_a_savepoint_goes_with_the_rollback() {
    everywhere(|db| {
        let (runner, seen) = noting(db, RunMode::Pool(1));

        db.transact(|conn| {
            conn.enqueue(&pay(1))?;
            let here = conn.transaction()?.savepoint()?;
            conn.enqueue(&pay(2))?;
            here.rollback()?;
            conn.enqueue(&pay(3))
        })
        .unwrap();

        assert!(runner.run_until_idle(LONG));
        assert_eq!(seen.sorted(), [1, 3]);
        assert_empty(db);
    });
}

/// J2
#[test]
fn a_conflict_takes_the_job_with_it_and_its_retry_brings_one() {
    everywhere(|db| {
        let account = account(db, 0);
        let (runner, seen) = noting(db, RunMode::Pool(1));
        let mut tries = 0;

        db.transact(|conn| {
            tries += 1;
            conn.enqueue(&pay(tries))?;
            conn.modify(account, |account| account.cents += 1)?;
            if tries == 1 {
                thread::scope(|scope| {
                    let other = || db.transact(|conn| conn.modify(account, |a| a.cents += 10));
                    scope.spawn(other).join().unwrap().unwrap();
                });
            }
            Ok(())
        })
        .unwrap();

        assert!(runner.run_until_idle(LONG));
        assert_eq!((tries, seen.all()), (2, vec![2]));
    });
}

/// J2: what a transaction reserves for its jobs is free again when it aborts.
#[test]
fn no_permit_leaks() {
    let db = Database::in_memory().unwrap();
    let (_runner, _seen) = noting(&db, RunMode::Manual);
    for round in 0..3_000 {
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let transaction = manager.begin().unwrap();
        let here = transaction.savepoint().unwrap();
        conn.enqueue(&pay(round)).unwrap();
        if round % 2 == 0 {
            here.rollback().unwrap();
        }
    }

    db.jobs().set_limits(JobLimits { hard: 1, ..JobLimits::default() }).unwrap();
    enqueue(&db, &pay(0));

    assert_eq!(only(&db).state, JobState::Claimed, "a place to be handed over in was free");
}

/// J3
#[test]
fn a_handler_finds_what_its_transaction_wrote() {
    everywhere(|db| {
        let (sender, found) = mpsc::channel();
        let runner = paying(db, RunMode::Pool(2), eager(), move |context, job| {
            let to = job.to.ok_or("no account")?;
            sender.send((job.cents, context.view(|view| Ok(view.get(to)?.cents))?))?;
            Ok(())
        });

        for cents in 0..100 {
            db.transact(|conn| {
                let to = conn.add(Account { owner: "carol".into(), cents })?;
                conn.enqueue(&Pay { to: Some(to), cents })
            })
            .unwrap();
        }

        assert!(runner.run_until_idle(LONG));
        let found: Vec<_> = found.try_iter().collect();
        assert_eq!(found.len(), 100);
        assert!(found.iter().all(|(enqueued, found)| enqueued == found));
    });
}

/// J12: effects once; the conflict is not charged.
#[test]
fn completing_commits_the_handlers_writes_with_the_removal() {
    everywhere(|db| {
        let to = account(db, 0);
        let rival = db.clone();
        let runner = paying(db, RunMode::Manual, eager(), move |context, job| {
            let mut tries = 0;
            context.complete(|conn: &Connection| {
                tries += 1;
                conn.modify(to, |account| account.cents += job.cents)?;
                if tries == 1 {
                    let change = || rival.transact(|conn| conn.modify(to, |a| a.cents += 1000));
                    thread::scope(|scope| scope.spawn(change).join().unwrap())?;
                }
                Ok(())
            })?;
            Err("what is returned after that changes nothing".into())
        });

        enqueue(db, &pay(7));

        assert_eq!(runner.run_due(), 1);
        assert_eq!(cents(db, to), 1007);
        assert_empty(db);
        assert_eq!(db.jobs().stats().unwrap().counts.failed, 0);
        runner.stop(LONG, LONG).unwrap();
    });
}

/// J12: neither, where the handler's own work fails.
#[test]
fn what_complete_refuses_leaves_the_job() {
    let db = Database::in_memory().unwrap();
    let to = account(&db, 0);
    let runner = paying(&db, RunMode::Manual, eager(), move |context, _| {
        context.complete(|conn| {
            conn.modify(to, |account| account.cents += 1)?;
            Err::<(), _>(Error::other("second thoughts"))
        })?;
        Ok(())
    });

    enqueue(&db, &pay(7));
    runner.run_due();

    assert_eq!(cents(&db, to), 0);
    assert_eq!(only(&db).last_error.as_deref(), Some("second thoughts"));
}

/// J15: neither early nor for nothing.
#[test]
fn nothing_is_written_when_nothing_is_due() {
    everywhere(|db| {
        let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
        db.transact(|conn| conn.enqueue_at(&pay(1), tomorrow)).unwrap();
        let before = db.last_tid();

        let (runner, seen) = noting(db, RunMode::Pool(2));
        assert!(!runner.run_until_idle(Duration::from_millis(50)));
        runner.stop(LONG, LONG).unwrap();

        assert_eq!(db.last_tid(), before);
        assert_eq!(seen.all(), [0; 0], "nothing early");
    });
}

/// J20
#[test]
fn a_full_bucket_fails_inside_the_transaction_which_can_still_commit() {
    everywhere(|db| {
        let to = account(db, 0);
        db.jobs().set_limits(JobLimits { hard: 3, ..JobLimits::default() }).unwrap();
        enqueue_all(db, 0..3);

        let full = db.transact(|conn| {
            conn.modify(to, |account| account.cents = 5)?;
            Ok(conn.enqueue(&pay(3)))
        });

        assert!(matches!(full, Ok(Err(Error::JobsFull(_)))));
        assert_eq!((cents(db, to), db.jobs().list().unwrap().len()), (5, 3));
        let (runner, _seen) = noting(db, RunMode::Manual);
        assert_eq!(runner.run_due(), 3);
        enqueue(db, &pay(3));
    });
}

/// J20
#[test]
fn a_job_that_is_too_large_is_refused_and_a_large_one_kept_apart() {
    #[derive(Serialize, Deserialize)]
    struct Letter(String);
    impl Job for Letter {
        const KIND: &'static str = "laws.Letter";
    }
    let storage = Arc::new(MemoryStorage::new().unwrap());
    let db = Database::with_storage(storage.clone(), &Settings::default());
    let letter = |length: usize| Letter("x".repeat(length));

    let refused = db.transact(|conn| Ok(conn.enqueue(&letter(64 << 10))));
    assert!(matches!(refused, Ok(Err(Error::InvalidArgument(_)))));

    let id = enqueue(&db, &letter(60 << 10));
    let (sender, lengths) = mpsc::channel();
    let runner = db.runner().on_with::<Letter>(eager(), move |context, letter| {
        sender.send(letter.0.len())?;
        if context.attempt() == 1 { Err("once more".into()) } else { Ok(()) }
    });
    let runner = runner.mode(RunMode::Manual).start().unwrap();

    runner.run_due();
    // Where the machine is slow, the second attempt was due at once, and the job is gone already.
    let written = storage.history(id).unwrap().iter().find_map(|change| change.size).unwrap();
    assert!(written < 100, "a claim and a failure do not rewrite the letter");
    assert!(runner.run_until_idle(LONG));
    assert_eq!(lengths.try_iter().collect::<Vec<_>>(), [60 << 10; 2]);
    assert_empty(&db);
    assert_eq!(storage.pinned().unwrap(), [], "neither the job nor its letter is left");
}

/// J2: also the jobs of hooks that a transaction's end runs.
#[test]
fn a_job_may_be_enqueued_by_a_hook_before_the_commit() {
    let db = Database::in_memory().unwrap();
    let (runner, seen) = noting(&db, RunMode::Manual);
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let mut transaction = manager.begin().unwrap();
    transaction.before_commit(move || conn.enqueue(&pay(4)).map(drop)).unwrap();

    transaction.commit().unwrap();

    assert_eq!((runner.run_due(), seen.all()), (1, vec![4]));
}

/// What a job is called does not depend on the attempt.
#[test]
fn enqueueing_tells_the_id_that_the_handler_sees() {
    let db = Database::in_memory().unwrap();
    let (sender, ids) = mpsc::channel();
    let runner = paying(&db, RunMode::Manual, eager(), move |context, _| {
        sender.send((context.id(), context.idempotency_key()))?;
        if context.attempt() < 3 { Err("again".into()) } else { Ok(()) }
    });

    let id = db.transact(|conn| conn.enqueue(&pay(1))).unwrap();

    assert!(matches!(id, Enqueued::New(_)));
    assert!(runner.run_until_idle(LONG));
    let key = format!("{}{:016x}", db.id(), id.id().number());
    assert_eq!(ids.try_iter().collect::<Vec<_>>(), vec![(id.id(), key); 3]);
}
