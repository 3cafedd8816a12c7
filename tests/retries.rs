//! Laws of work that is tried again.

use crate::support::managers::{Cell, Fault, Journal};
use perennial::error::Conflict;
use perennial::transaction::{Phase, RetryPolicy, Status, TransactionManager};
use perennial::{Error, Oid, Result, Tid};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn impatient(tries: u32) -> RetryPolicy {
    RetryPolicy::new(tries).backoff(Duration::ZERO, Duration::ZERO)
}

/// T13
#[test]
fn a_retryable_error_at_commit_starts_a_new_transaction() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let a = Cell::new("a", &journal);
    let retries = Arc::new(AtomicU32::new(0));
    let seen = retries.clone();
    let policy = impatient(5).on_retry(move |retry| {
        assert!(retry.cause.contains("conflict on object 1"), "{}", retry.cause);
        seen.store(retry.failed, Ordering::Relaxed);
    });
    a.break_at(Phase::CommitAlone, Fault::Conflict);
    let mut ids = Vec::new();

    let result = manager.run(&policy, |current| {
        ids.push(current.id());
        if ids.len() == 3 {
            a.mend();
        }
        a.set(&manager, 4)
    });

    result.unwrap();
    ids.dedup();
    assert_eq!((ids.len(), retries.load(Ordering::Relaxed), a.waits()), (3, 2, 2));
    assert_eq!((a.committed(), manager.status()), (4, Status::Idle));
}

/// T13
#[test]
fn tries_are_counted_and_the_last_error_surfaces() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let a = Cell::new("a", &journal);
    a.break_at(Phase::CommitAlone, Fault::Conflict);
    let mut tries = 0;

    let result = manager.run(&impatient(3), |_| {
        tries += 1;
        a.set(&manager, 4)
    });

    assert!(matches!(result, Err(Error::Conflict(_))));
    assert_eq!((tries, a.waits()), (3, 2), "nobody waits after the last try");
    let none = manager.run(&impatient(0), |_| -> Result<()> { panic!("a try") });
    assert!(matches!(none, Err(Error::InvalidArgument(_))));
}

/// T13
#[test]
fn an_error_that_is_not_retryable_surfaces_at_once() {
    for fault in [Fault::Error, Fault::Unknown] {
        let (manager, journal) = (TransactionManager::new(), Journal::default());
        let a = Cell::new("a", &journal);
        a.break_at(Phase::CommitAlone, fault);
        let mut tries = 0;

        let result = manager.run(&impatient(3), |_| {
            tries += 1;
            a.set(&manager, 4)
        });

        assert_eq!((result.is_err(), tries, manager.status()), (true, 1, Status::Idle));
    }
}

/// T13: the transaction is asked, whatever error its work makes of it.
#[test]
fn work_may_hide_the_error_and_is_tried_again() {
    #[derive(Debug)]
    struct Mine;
    impl From<Error> for Mine {
        fn from(_: Error) -> Mine {
            Mine
        }
    }
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let a = Cell::new("a", &journal);
    let conflict = || Conflict::new(Oid::ROOT, Tid::ZERO, Tid::MAX);
    let mut tries = 0;

    let result = manager.try_run(&impatient(3), |current| {
        tries += 1;
        a.set(&manager, tries)?;
        match tries {
            1 => {
                current.fail(&conflict().into());
                Err(Mine)
            }
            2 => {
                current.fail(&conflict().into());
                Ok(()) // forgotten: the commit remembers
            }
            _ => Ok(()),
        }
    });

    result.unwrap();
    assert_eq!((tries, a.committed()), (3, 3));
    let plain = manager.try_run(&impatient(3), |_| Err::<(), _>(Mine));
    assert!(plain.is_err());
}

/// T13: an error of the work itself counts in the same way.
#[test]
fn a_retryable_error_in_the_work_is_retried() {
    let manager = TransactionManager::new();
    let mut tries = 0;

    let result = manager.run(&impatient(2), |_| {
        tries += 1;
        Err::<(), _>(Conflict::new(Oid::ROOT, Tid::ZERO, Tid::MAX).into())
    });

    assert!(matches!(result, Err(Error::Conflict(_))));
    assert_eq!(tries, 2);
}

/// T13
#[test]
fn a_panic_in_the_work_aborts_and_goes_on() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let a = Cell::new("a", &journal);

    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        manager.run(&impatient(3), |_| -> Result<()> {
            a.set(&manager, 1)?;
            panic!("out of my mind")
        })
    }));

    assert!(caught.is_err());
    assert_eq!(journal.take(), ["a abort"]);
    assert_eq!((manager.status(), a.value()), (Status::Idle, 0));
}

/// T13: the manager that failed, or another, may know better than the error; it is asked while it
/// still has its work.
#[test]
fn a_manager_may_declare_an_error_retryable() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let (a, b) = (Cell::new("a", &journal), Cell::new("b", &journal).stubborn());
    a.break_at(Phase::Prepare, Fault::Error);

    let result = manager.run(&impatient(2), |_| {
        a.set(&manager, 1)?;
        b.set(&manager, 1)
    });

    assert_eq!(result.unwrap_err().to_string(), "a cannot prepare");
    let one_try = ["a prepare", "b is asked: a cannot prepare", "a abort", "b abort"];
    assert_eq!(journal.take(), [one_try, one_try].concat());
}

/// T6: the work may be done already, whatever a manager says.
#[test]
fn an_unknown_outcome_is_never_retried() {
    for in_the_work in [true, false] {
        let (manager, journal) = (TransactionManager::new(), Journal::default());
        let a = Cell::new("a", &journal).stubborn();
        a.break_at(Phase::CommitAlone, Fault::Unknown);
        let mut tries = 0;

        let result = manager.run(&impatient(3), |_| {
            tries += 1;
            a.set(&manager, 1)?;
            if in_the_work { Err(Error::Unknown("of another transaction".into())) } else { Ok(()) }
        });

        assert!(matches!(result, Err(Error::Unknown(_))));
        assert_eq!(tries, 1);
    }
}

/// T7, T13: what a hook makes of the error does not hide the first cause.
#[test]
fn the_first_cause_decides() {
    let manager = TransactionManager::new();
    let conflict = || Error::from(Conflict::new(Oid::ROOT, Tid::ZERO, Tid::MAX));
    let mut tries = 0;

    let result = manager.run(&impatient(2), |current| {
        tries += 1;
        let inside = current.clone();
        current.before_commit(move || {
            inside.fail(&conflict());
            inside.fail(&Error::other("second"));
            Err(Error::other("third"))
        })
    });

    assert_eq!(result.unwrap_err().to_string(), "third");
    assert_eq!(tries, 2);
}

/// T13
#[test]
fn waits_never_exceed_their_cap() {
    let (manager, delays) = (TransactionManager::new(), Arc::new(AtomicU32::new(0)));
    let seen = delays.clone();
    let cap = Duration::from_nanos(50);
    let policy =
        RetryPolicy::new(40).backoff(Duration::from_nanos(10), cap).on_retry(move |retry| {
            let first = retry.failed > 1 || retry.delay <= Duration::from_nanos(10);
            assert!(retry.delay <= cap && first, "{retry:?}");
            seen.fetch_add(u32::from(!retry.delay.is_zero()), Ordering::Relaxed);
        });

    let result = manager
        .run(&policy, |_| Err::<(), _>(Conflict::new(Oid::ROOT, Tid::ZERO, Tid::MAX).into()));

    assert!(matches!(result, Err(Error::Conflict(_))));
    assert!(delays.load(Ordering::Relaxed) > 0, "nobody waited at all");
}

/// T13: one flow of control has one transaction.
#[test]
fn running_inside_a_transaction_is_an_error() {
    let manager = TransactionManager::new();

    let result = manager.run(&impatient(3), |_| manager.run(&impatient(3), |_| Ok(())));

    assert!(matches!(result, Err(Error::AlreadyInTransaction("begin"))));
}
