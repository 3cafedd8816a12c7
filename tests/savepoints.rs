//! Laws of savepoints.

use crate::support::managers::{Cell, Fault, Journal};
use perennial::Error;
use perennial::transaction::{Phase, Status, Transaction, TransactionManager};

/// A manager, its transaction, and cells `a` and `b`, of which nothing was changed.
fn idle() -> (TransactionManager, Transaction, Cell, Cell, Journal) {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let transaction = manager.begin().unwrap();
    let (a, b) = (Cell::new("a", &journal), Cell::new("b", &journal));
    (manager, transaction, a, b, journal)
}

/// S1
#[test]
fn a_savepoint_can_be_rolled_back_again_and_again() {
    let (manager, transaction, a, ..) = idle();
    a.set(&manager, 100).unwrap();
    let here = transaction.savepoint().unwrap();

    for value in [200, 300] {
        a.set(&manager, value).unwrap();
        assert!(here.can_rollback());
        here.rollback().unwrap();
        assert_eq!(a.value(), 100);
    }
}

/// S2
#[test]
fn a_rollback_invalidates_later_savepoints_and_no_earlier_one() {
    let (manager, transaction, a, ..) = idle();
    let points = [1, 2, 3, 4].map(|value| {
        a.set(&manager, value).unwrap();
        transaction.savepoint().unwrap()
    });

    points[1].rollback().unwrap();

    assert_eq!(points.each_ref().map(|point| point.can_rollback()), [true, true, false, false]);
    assert!(matches!(points[2].rollback(), Err(Error::InvalidSavepoint(_))));
    assert_eq!((a.value(), transaction.status()), (2, Status::Active));
    points[0].rollback().unwrap();
    assert_eq!(a.value(), 1);
    assert!(matches!(points[1].rollback(), Err(Error::InvalidSavepoint(_))));
}

/// S3
#[test]
fn work_after_a_rollback_commits_alone() {
    let (manager, mut transaction, a, b, _) = idle();
    a.set(&manager, 1).unwrap();
    let here = transaction.savepoint().unwrap();
    a.set(&manager, 2).unwrap();
    here.rollback().unwrap();
    b.set(&manager, 3).unwrap();

    transaction.commit().unwrap();

    assert_eq!((a.committed(), b.committed()), (1, 3));
}

/// S4
#[test]
fn the_end_of_the_transaction_invalidates_its_savepoints() {
    for commit in [true, false] {
        let (manager, mut transaction, a, ..) = idle();
        let here = transaction.savepoint().unwrap();
        a.set(&manager, 1).unwrap();

        if commit {
            transaction.commit().map(drop).unwrap()
        } else {
            transaction.abort().unwrap()
        }

        assert!(!here.can_rollback());
        assert!(matches!(here.rollback(), Err(Error::InvalidSavepoint(_))));
        let next = manager.begin().unwrap();
        a.set(&manager, 2).unwrap();
        assert!(matches!(here.rollback(), Err(Error::InvalidSavepoint(_))));
        assert_eq!((a.value(), next.status()), (2, Status::Active));
    }
}

/// S4: after a failed commit the transaction is failed, before all else.
#[test]
fn a_failed_commit_invalidates_its_savepoints() {
    let (manager, mut transaction, a, ..) = idle();
    a.set(&manager, 1).unwrap();
    let here = transaction.savepoint().unwrap();
    a.break_at(Phase::CommitAlone, Fault::Error);

    transaction.commit().unwrap_err();

    assert!(!here.can_rollback());
    assert!(matches!(here.rollback(), Err(Error::TransactionFailed(_))));
}

/// S5. Left in the transaction, the manager would be joined twice by its next change, and run
/// each phase twice.
#[test]
fn rolling_back_a_savepoint_also_undoes_late_joiners() {
    let (manager, mut transaction, a, b, journal) = idle();
    a.set(&manager, 1).unwrap();
    let here = transaction.savepoint().unwrap();
    b.set(&manager, 2).unwrap();
    journal.take();

    here.rollback().unwrap();

    assert_eq!(journal.take(), ["a rollback", "b abort"]);
    assert_eq!(b.value(), 0);
    b.set(&manager, 3).unwrap();
    transaction.commit().unwrap();
    assert_eq!(journal.take(), ["a prepare", "b commit alone", "a finish"]);
    assert_eq!((a.committed(), b.committed()), (1, 3));
}

/// S5: the batch that skips what fails, its first savepoint taken before anybody joined.
#[test]
fn a_savepoint_may_precede_all_work() {
    let (manager, mut transaction, a, b, _) = idle();
    for item in [10, -1, 30, -1] {
        let here = transaction.savepoint().unwrap();
        a.set(&manager, item).unwrap();
        b.set(&manager, b.value() + item).unwrap();
        if item < 0 {
            here.rollback().unwrap();
        }
    }

    transaction.commit().unwrap();

    assert_eq!((a.committed(), b.committed()), (30, 40));
}

/// S6
#[test]
fn a_strict_savepoint_needs_the_support_of_all() {
    let (manager, mut transaction, a, b, journal) = idle();
    let b = b.without_savepoints();
    a.set(&manager, 1).unwrap();
    b.set(&manager, 1).unwrap();

    let refused = transaction.savepoint().map(drop).unwrap_err();

    assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
    assert_eq!(transaction.status(), Status::Failed);
    let error = transaction.commit().unwrap_err();
    assert!(error.to_string().contains("b has no savepoints"), "{error}");
    journal.take();
    transaction.abort().unwrap();
    assert_eq!(journal.take(), ["a abort", "b abort"]);
}

/// S6
#[test]
fn an_optimistic_savepoint_fails_only_when_rolled_back() {
    let (manager, mut transaction, a, b, journal) = idle();
    let b = b.without_savepoints();
    a.set(&manager, 1).unwrap();
    let before = transaction.optimistic_savepoint().unwrap();
    b.set(&manager, 1).unwrap();

    let here = transaction.optimistic_savepoint().unwrap();

    assert!(before.can_rollback() && !here.can_rollback());
    assert_eq!(transaction.status(), Status::Active);
    assert!(transaction.action_log().is_empty(), "nothing failed");
    journal.take();
    let error = here.rollback().unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)) && error.to_string().contains('b'), "{error}");
    assert_eq!(journal.take(), [""; 0]);
    assert_eq!(transaction.status(), Status::Failed, "it holds what was to be undone");
    assert!(transaction.commit().is_err());
    assert!(!before.can_rollback());
}

/// S6: what was never rolled back does not matter.
#[test]
fn an_optimistic_savepoint_does_not_stand_against_the_commit() {
    let (manager, mut transaction, _, b, _) = idle();
    let b = b.without_savepoints();
    b.set(&manager, 1).unwrap();
    let _here = transaction.optimistic_savepoint().unwrap();

    transaction.commit().unwrap();

    assert_eq!(b.committed(), 1);
}

#[test]
fn a_savepoint_that_fails_fails_the_transaction() {
    for fault in [Fault::Error, Fault::Panic] {
        for optimistic in [false, true] {
            let (manager, transaction, a, ..) = idle();
            a.set(&manager, 1).unwrap();
            a.break_at(Phase::Savepoint, fault);

            let taken = if optimistic {
                transaction.optimistic_savepoint()
            } else {
                transaction.savepoint()
            };

            assert!(taken.is_err());
            assert_eq!(transaction.status(), Status::Failed);
        }
    }
}

/// S10, H4
#[test]
fn hooks_registered_since_vanish_on_rollback() {
    let (_, mut transaction, _, _, journal) = idle();
    let register = |name: &'static str| {
        let [one, two, three] = [(); 3].map(|()| journal.clone());
        transaction.before_commit(move || one.say(format!("{name} before"))).unwrap();
        transaction.after_commit(move |_| two.say(format!("{name} after"))).unwrap();
        transaction.after_commit_at(-1, move |_| three.say(format!("{name} first"))).unwrap();
    };
    register("kept");
    let here = transaction.savepoint().unwrap();
    register("lost");
    here.rollback().unwrap();
    register("new");

    transaction.commit().unwrap();

    let expected =
        ["kept before", "new before", "kept first", "new first", "kept after", "new after"];
    assert_eq!(journal.take(), expected);
}

/// S12
#[test]
fn a_rollback_that_fails_fails_the_transaction() {
    for fault in [Fault::Error, Fault::Panic] {
        let (manager, mut transaction, a, b, journal) = idle();
        a.set(&manager, 1).unwrap();
        b.set(&manager, 1).unwrap();
        let here = transaction.savepoint().unwrap();
        a.set(&manager, 2).unwrap();
        a.break_at(Phase::Rollback, fault);

        let error = here.rollback().unwrap_err().to_string();

        assert_eq!(transaction.status(), Status::Failed);
        assert!(transaction.commit().unwrap_err().to_string().contains(&error));
        journal.take();
        transaction.abort().unwrap();
        assert_eq!(journal.take(), ["a abort", "b abort"]);
    }
}

/// S12: also where it is the abort of a late joiner that fails; it has left all the same.
#[test]
fn a_late_joiner_that_fails_to_abort_fails_the_transaction() {
    let (manager, mut transaction, a, b, journal) = idle();
    b.set(&manager, 1).unwrap();
    let here = transaction.savepoint().unwrap();
    a.set(&manager, 1).unwrap();
    a.break_at(Phase::Abort, Fault::Error);
    journal.take();

    here.rollback().unwrap_err();

    assert_eq!(transaction.status(), Status::Failed);
    transaction.abort().unwrap();
    assert_eq!(journal.take(), ["a abort", "b abort"]);
}

/// S2: so that managers can keep them on a stack.
#[test]
fn a_rollback_drops_later_savepoints_newest_first() {
    let (manager, mut transaction, a, ..) = idle();
    a.set(&manager, 1).unwrap();
    let points = [(); 4].map(|()| transaction.savepoint().unwrap());

    points[1].rollback().unwrap();
    assert_eq!(a.forgotten(), [4, 3]);
    transaction.abort().unwrap();
    assert_eq!(a.forgotten(), [4, 3, 2, 1]);
}

/// What a manager gave for a savepoint goes when the savepoint does, and when it became invalid.
#[test]
fn what_a_savepoint_remembers_is_dropped_with_it() {
    let (manager, mut transaction, a, ..) = idle();
    a.set(&manager, 1).unwrap();
    let [first, second, third] = [(); 3].map(|()| transaction.savepoint().unwrap());
    assert_eq!(a.memories(), 3);

    drop(second);
    assert_eq!(a.memories(), 2);
    first.rollback().unwrap();
    assert_eq!(a.memories(), 1);
    drop(third);
    transaction.commit().unwrap();
    assert_eq!(a.memories(), 0);
}

/// S11: what is kept for a savepoint does not grow with the number of savepoints.
#[test]
fn ten_thousand_savepoints_leave_nothing_behind() {
    let (manager, mut transaction, a, ..) = idle();
    a.set(&manager, 0).unwrap();
    let points: Vec<_> = (1..=10_000)
        .map(|value| {
            let point = transaction.savepoint().unwrap();
            a.set(&manager, value).unwrap();
            point
        })
        .collect();

    points[5000].rollback().unwrap();
    assert_eq!((a.value(), a.memories()), (5000, 5001));
    drop(points);

    assert_eq!(a.memories(), 0);
    transaction.commit().unwrap();
    assert_eq!(transaction.action_log().len(), 1, "savepoints that succeed are not logged");
}

/// T10, H1: a hook may take savepoints as other work may.
#[test]
fn a_before_commit_hook_may_use_savepoints() {
    let (manager, mut transaction, a, ..) = idle();
    let (current, hooked) = (transaction.clone(), a.clone());
    transaction
        .before_commit(move || {
            hooked.set(&manager, 1)?;
            let here = current.savepoint()?;
            hooked.set(&manager, 2)?;
            here.rollback()
        })
        .unwrap();

    transaction.commit().unwrap();

    assert_eq!(a.committed(), 1);
}

/// A savepoint may be the last to hold what its transaction's hooks captured, and be captured.
#[test]
fn a_hook_may_own_a_savepoint() {
    let (manager, mut transaction, a, ..) = idle();
    a.set(&manager, 1).unwrap();
    let outer = transaction.savepoint().unwrap();
    let inner = transaction.savepoint().unwrap();
    transaction.on_commit(move |_| drop(inner)).unwrap();
    let inner = transaction.savepoint().unwrap();
    transaction.before_commit(move || inner.rollback()).unwrap();

    outer.rollback().unwrap();
    transaction.abort().unwrap();

    assert_eq!(a.memories(), 0);
}
