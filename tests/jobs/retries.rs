//! What becomes of a job whose handler fails.

use super::kit::Remind;
use super::kit::{
    LONG, Pay, Seen, assert_empty, eager, enqueue, enqueue_all, noting, only, pay, paying, remind,
};
use crate::support::databases::everywhere;
use perennial::{
    Database, Enqueued, Error, Failure, Job, JobState, Policy, Result, RunMode, TransactionManager,
    decode_as,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

proptest! {
    /// J15
    #[test]
    fn a_delay_lies_between_half_its_bound_and_its_bound(
        backoff in 1..100_000u64,
        cap in 1..10_000_000u64,
        failures in 1..u32::MAX,
    ) {
        let (backoff, backoff_cap) = (Duration::from_micros(backoff), Duration::from_micros(cap));
        let policy = Policy { backoff, backoff_cap, ..Policy::default() };
        let doubled = backoff.saturating_mul(2_u32.saturating_pow(failures - 1));
        let bound = doubled.min(backoff_cap);

        let delay = policy.delay(failures);

        prop_assert!(bound / 2 <= delay + Duration::from_nanos(1) && delay <= bound);
    }
}

/// J15
#[test]
fn no_retry_is_early() {
    let db = Database::in_memory().unwrap();
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (pause, noted) = (Duration::from_millis(20), times.clone());
    let policy = Policy { backoff: pause, backoff_cap: pause, ..eager() };
    let runner = paying(&db, RunMode::Pool(2), policy, move |context, _| {
        noted.lock().unwrap().push((Instant::now(), SystemTime::now()));
        match context.attempt() {
            1 => Err("soon".into()),
            2 => Err(Failure::retry_after(3 * pause, "later")),
            3 => Err(Failure::Snooze(2 * pause)),
            _ => Ok(()),
        }
    });

    enqueue(&db, &pay(1));

    assert!(runner.run_until_idle(LONG));
    let times = times.lock().unwrap();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(waits.len(), 3);
    for (wait, least) in waits.iter().zip([pause / 2, 3 * pause, 2 * pause]) {
        assert!(*wait >= least, "{wait:?} is less than {least:?}");
    }
    assert_eq!(db.jobs().stats().unwrap().counts.failed, 2, "to snooze is not to fail");
}

/// J16
#[test]
fn a_job_that_keeps_failing_is_dead_with_its_first_and_last_error() {
    everywhere(|db| {
        let policy = Policy { max_attempts: Some(3), ..eager() };
        let runner = paying(db, RunMode::Pool(1), policy, |context, _| match context.attempt() {
            4 => Ok(()),
            attempt => Err(format!("failure {attempt}").into()),
        });

        let id = enqueue(db, &pay(1));

        assert!(runner.run_until_idle(LONG));
        let dead = only(db);
        assert_eq!((dead.state, dead.attempts, dead.failures), (JobState::Dead, 3, 3));
        assert_eq!(dead.first_error.as_deref(), Some("failure 1"));
        assert_eq!(dead.last_error.as_deref(), Some("failure 3"));

        assert!(db.jobs().retry(id).unwrap());
        assert!(runner.run_until_idle(LONG));
        assert_empty(db);
    });
}

/// J16
#[test]
fn a_job_that_fails_is_given_up_by_age() {
    let db = Database::in_memory().unwrap();
    let policy = Policy { give_up_after: Duration::from_millis(30), ..eager() };
    let runner = paying(&db, RunMode::Pool(1), policy, |_, _| Err("never".into()));

    enqueue(&db, &pay(1));

    assert!(runner.run_until_idle(LONG));
    assert_eq!(only(&db).state, JobState::Dead);
    assert!(only(&db).failures > 1);
}

/// J16: counters start again, the idempotency key stays.
#[test]
fn an_operators_retry_resets_the_counters_and_keeps_the_key() {
    let db = Database::in_memory().unwrap();
    let (sender, keys) = mpsc::channel();
    let policy = Policy { max_attempts: Some(1), ..eager() };
    let runner = paying(&db, RunMode::Manual, policy, move |context, _| {
        sender.send(context.idempotency_key())?;
        Err("no".into())
    });
    let id = enqueue(&db, &pay(1));
    runner.run_due();
    assert_eq!(only(&db).state, JobState::Dead);

    db.jobs().retry(id).unwrap();
    assert_eq!((only(&db).state, only(&db).failures), (JobState::Ready, 0));
    runner.run_due();

    let keys: Vec<_> = keys.try_iter().collect();
    assert!(keys.len() == 2 && keys[0] == keys[1]);
}

#[test]
fn a_permanent_failure_is_not_retried() {
    let db = Database::in_memory().unwrap();
    let refuse = |_: &perennial::Context<'_>, _| Err(Failure::permanent("no such address"));
    let runner = paying(&db, RunMode::Pool(1), eager(), refuse);

    enqueue(&db, &pay(1));

    assert!(runner.run_until_idle(LONG));
    assert_eq!((only(&db).state, only(&db).attempts), (JobState::Dead, 1));
}

/// J18
#[test]
fn a_panic_is_a_failure_and_the_pool_survives_it() {
    everywhere(|db| {
        let seen = Seen::default();
        let notes = seen.clone();
        let runner = paying(db, RunMode::Pool(1), eager(), move |context, job| {
            assert!(context.attempt() > 1 || job.cents != 2, "two is too much");
            notes.add(job.cents);
            Ok(())
        });

        enqueue_all(db, 1..=3);

        assert!(runner.run_until_idle(LONG));
        assert_eq!(seen.sorted(), [1, 2, 3]);
        assert_eq!(db.jobs().stats().unwrap().counts.failed, 1);
    });
}

/// J18: a panic in the middle of the handler's own transaction.
#[test]
fn a_panic_inside_complete_writes_nothing() {
    let db = Database::in_memory().unwrap();
    let to = crate::support::databases::account(&db, 0);
    let runner = paying(&db, RunMode::Pool(1), eager(), move |context, _| {
        context.complete(|conn| {
            conn.modify(to, |account| account.cents += 1)?;
            assert!(context.attempt() > 1, "at first");
            Ok(())
        })?;
        Ok(())
    });

    enqueue(&db, &pay(1));

    assert!(runner.run_until_idle(LONG));
    assert_eq!(crate::support::databases::cents(&db, to), 1);
}

/// J24
#[test]
fn one_job_for_each_key_is_pending() {
    everywhere(|db| {
        let first = enqueue(db, &remind("alice"));

        let again = db.transact(|conn| conn.enqueue(&remind("alice"))).unwrap();
        let twice =
            db.transact(|conn| Ok((conn.enqueue(&remind("bob"))?, conn.enqueue(&remind("bob"))?)));

        assert_eq!(again, Enqueued::Duplicate(first));
        let (new, same) = twice.unwrap();
        assert!(matches!(new, Enqueued::New(_)));
        assert_eq!(same, Enqueued::Duplicate(new.id()));
        assert_eq!(db.jobs().list().unwrap().len(), 2);
    });
}

/// J24
#[test]
fn a_key_is_free_when_its_job_is_done() {
    everywhere(|db| {
        let runner = db.runner().on_with::<Remind>(eager(), |_, _| Ok(()));
        let runner = runner.mode(RunMode::Manual).start().unwrap();
        let first = enqueue(db, &remind("alice"));
        runner.run_due();

        let second = enqueue(db, &remind("alice"));

        assert_ne!(first, second);
        runner.stop(LONG, LONG).unwrap();
    });
}

/// J24
#[test]
fn a_key_is_free_after_a_rollback_of_its_job() {
    everywhere(|db| {
        let aborted: Result<()> = db.transact(|conn| {
            conn.enqueue(&remind("alice"))?;
            Err(Error::other("no"))
        });
        assert!(aborted.is_err());

        db.transact(|conn| {
            let here = conn.transaction()?.savepoint()?;
            assert!(matches!(conn.enqueue(&remind("alice"))?, Enqueued::New(_)));
            here.rollback()?;
            assert!(matches!(conn.enqueue(&remind("alice"))?, Enqueued::New(_)));
            Ok(())
        })
        .unwrap();
    });
}

/// J24: who meets a transaction that is still running tries again, and learns how it ended.
#[test]
fn of_two_transactions_with_one_key_the_later_learns_how_the_other_ended() {
    for commits in [true, false] {
        let db = Database::in_memory().unwrap();
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        let first = conn.enqueue(&remind("alice")).unwrap();
        let mut tries = 0;

        let second = db.transact(|other| {
            tries += 1;
            if tries == 2 {
                if commits { drop(transaction.commit()) } else { transaction.abort()? }
            }
            other.enqueue(&remind("alice"))
        });

        let second = second.unwrap();
        assert_eq!(second == Enqueued::Duplicate(first.id()), commits);
        assert_eq!((tries, db.jobs().list().unwrap().len()), (2, 1));
    }
}

/// J24: with different keys nobody waits for anybody.
#[test]
fn keys_never_make_other_jobs_conflict() {
    everywhere(|db| {
        thread::scope(|scope| {
            for worker in 0..8 {
                scope.spawn(move || {
                    for number in 0..20 {
                        let manager = TransactionManager::new();
                        let conn = db.connect(&manager);
                        let mut transaction = manager.begin().unwrap();
                        conn.enqueue(&remind(&format!("{worker} {number}"))).unwrap();
                        conn.enqueue(&pay(number)).unwrap();
                        transaction.commit().unwrap();
                    }
                });
            }
        });

        assert_eq!(db.jobs().list().unwrap().len(), 320);
    });
}

/// J23
#[test]
fn a_kind_that_nobody_knows_waits() {
    let db = Database::in_memory().unwrap();
    enqueue(&db, &remind("alice"));
    let (runner, _seen) = noting(&db, RunMode::Pool(1));

    enqueue(&db, &remind("bob"));

    assert!(runner.run_until_idle(LONG));
    let jobs = db.jobs().list().unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.state == JobState::Ready && job.attempts == 0));
}

/// A payment, as it was before cents.
#[derive(Serialize, Deserialize)]
struct Pay0 {
    euros: i32,
}

impl Job for Pay0 {
    const KIND: &'static str = "laws.OldPay";
}

/// The same kind, a version later and renamed.
#[derive(Serialize, Deserialize)]
struct Pay1 {
    cents: i64,
}

impl Job for Pay1 {
    const KIND: &'static str = "laws.NewPay";
    const VERSION: u32 = 1;
    const ALIASES: &'static [&'static str] = &["laws.OldPay"];

    fn upgrade(_: u32, payload: &[u8]) -> Result<Pay1> {
        let old: Pay0 = decode_as(payload)?;
        assert!(old.euros < 1000, "too much to upgrade");
        Ok(Pay1 { cents: i64::from(old.euros) * 100 })
    }
}

/// J23
#[test]
fn a_job_of_an_older_version_is_upgraded_and_one_that_cannot_be_is_dead() {
    let db = Database::in_memory().unwrap();
    enqueue(&db, &Pay0 { euros: 7 });
    enqueue(&db, &Pay0 { euros: 1000 });
    let (seen, notes) = (Seen::default(), Seen::default());
    let noted = notes.clone();
    let runner = db.runner().on_with::<Pay1>(eager(), move |_, job| {
        noted.add(job.cents);
        Ok(())
    });
    let runner = runner.mode(RunMode::Pool(1)).start().unwrap();

    assert!(runner.run_until_idle(LONG));

    assert_eq!((seen.all(), notes.all()), (vec![], vec![700]));
    assert_eq!((only(&db).state, only(&db).attempts), (JobState::Dead, 1));
}

/// A payment whose fields changed, and nothing else.
#[derive(Serialize, Deserialize)]
struct Swapped {
    cents: i64,
    to: Option<u64>,
}

impl Job for Swapped {
    const KIND: &'static str = Pay::KIND;
}

/// J23: bytes that would pass for another job's are refused, too.
#[test]
fn a_job_that_its_type_cannot_read_is_dead() {
    let db = Database::in_memory().unwrap();
    enqueue(&db, &Swapped { cents: 1, to: None });

    let (runner, seen) = noting(&db, RunMode::Pool(1));

    assert!(runner.run_until_idle(LONG));
    assert_eq!(seen.all(), [0; 0]);
    assert_eq!(only(&db).state, JobState::Dead);
    assert!(only(&db).last_error.unwrap().contains("fields changed"));
}
