//! Laws of transactions and data managers.

use crate::support::managers::{Cell, Fault, Journal, working};
use perennial::transaction::{
    Current, DataManager, Decision, Epoch, Info, ManagerId, Outcome, Phase, Prepared, Saved,
    Savepoint, Status, Synchronizer, Transaction, TransactionManager,
};
use perennial::{Error, Result, Tid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// T1
#[test]
fn without_a_transaction_every_request_is_an_error() {
    let manager = TransactionManager::new();
    let mut over = manager.begin().unwrap();
    over.abort().unwrap();

    let refused = manager.current().map(drop).unwrap_err();
    assert!(matches!(refused, Error::NoTransaction(_)), "{refused}");
    let cell = Cell::new("a", &Journal::default());
    assert!(matches!(manager.join(cell.handle()), Err(Error::NoTransaction("join"))));
    assert!(matches!(manager.abort_current(), Err(Error::NoTransaction("abort"))));
    assert!(matches!(manager.check_usable("dance"), Err(Error::NoTransaction("dance"))));
    assert!(matches!(over.commit(), Err(Error::TransactionOver("commit"))));
    assert!(matches!(over.savepoint(), Err(Error::TransactionOver(_))));
    assert!(matches!(over.doom(), Err(Error::TransactionOver("doom"))));
    assert!(matches!(over.join(cell.handle()), Err(Error::TransactionOver("join"))));
    assert!(matches!(over.note("late"), Err(Error::TransactionOver("note"))));
    assert!(matches!(over.on_end(|_| ()), Err(Error::TransactionOver(_))));
    assert_eq!(manager.status(), Status::Idle);
}

#[test]
fn no_two_transactions_have_one_id() {
    let draw = || (0..500).map(|_| TransactionManager::new().begin().unwrap().id());
    let drawn = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| draw().collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });

    let different: BTreeSet<_> = drawn.iter().map(|id| id.bytes()).collect();

    assert_eq!(different.len(), drawn.len());
    // Bytes of a stock that come twice would differ in the lower half only, by the clock.
    let halves: BTreeSet<_> = different.iter().map(|bytes| &bytes[8..]).collect();
    assert_eq!(halves.len(), drawn.len());
}

/// T2
#[test]
fn beginning_twice_leaves_the_first_transaction_alone() {
    let (mut transaction, [cell], _) = working(["a"]);
    let manager = transaction.manager().clone();

    let second = manager.begin();

    assert!(matches!(second, Err(Error::AlreadyInTransaction("begin"))));
    transaction.commit().unwrap();
    assert_eq!(cell.committed(), 1);
}

/// T3, T15
#[test]
fn phases_run_in_the_order_of_sort_keys_one_after_the_other() {
    let (mut transaction, cells, journal) = working(["c", "a", "d", "b"]);

    transaction.commit().unwrap();

    let calls = ["a prepare", "b prepare", "c prepare", "d commit alone"];
    let finishes = ["a finish", "b finish", "c finish"];
    assert_eq!(journal.take(), [&calls[..], &finishes[..]].concat());
    assert!(cells.iter().all(|cell| cell.committed() == 1));
}

/// T3: where databases take part, the smallest one decides, for all others.
#[test]
fn the_smallest_database_decides_and_knows_for_whom() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let cells = [
        Cell::new("a", &journal).deciding(9),
        Cell::new("b", &journal).deciding(3),
        Cell::new("c", &journal),
    ];
    let mut transaction = manager.begin().unwrap();
    cells.iter().for_each(|cell| cell.set(&manager, 1).unwrap());

    let report = transaction.commit().unwrap();

    let calls = ["a prepare", "c prepare", "b commit alone", "a finish", "c finish"];
    assert_eq!(journal.take(), calls);
    assert_eq!(report.tid, Some(Tid::new(3)), "the one of the database that decided");
    let decision = cells[1].seen().decision.unwrap();
    assert_eq!(decision.gtid, transaction.id());
    let names: Vec<_> = decision.participants.iter().map(|who| who.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(decision.participants[0].database.is_some());
}

/// T4
#[test]
fn a_failed_prepare_aborts_everybody_and_is_the_error_returned() {
    let (mut transaction, [a, b, c], journal) = working(["a", "b", "c"]);
    b.break_at(Phase::Prepare, Fault::Error);

    let error = transaction.commit().unwrap_err();

    assert_eq!(error.to_string(), "b cannot prepare");
    assert_eq!(journal.take(), ["a prepare", "b prepare", "a abort", "b abort", "c abort"]);
    assert_eq!(transaction.status(), Status::Failed);
    assert_eq!([a, b, c].map(|cell| cell.committed()), [0, 0, 0]);
}

/// T5
#[test]
fn an_abort_that_fails_in_the_clean_up_hides_nothing() {
    let (mut transaction, [a, b, _c], journal) = working(["a", "b", "c"]);
    b.break_at(Phase::Prepare, Fault::Error);
    a.break_at(Phase::Abort, Fault::Error);

    let error = transaction.commit().unwrap_err();

    assert_eq!(error.to_string(), "b cannot prepare");
    assert_eq!(journal.take().last().unwrap(), "c abort");
    let log: Vec<_> = transaction.action_log().iter().map(ToString::to_string).collect();
    assert!(log.contains(&"b: prepare failed: b cannot prepare".into()), "{log:?}");
    assert!(log.contains(&"a: abort failed: a cannot abort".into()), "{log:?}");
    assert!(log.contains(&"c: abort succeeded".into()), "{log:?}");
}

/// T6
#[test]
fn a_failed_finish_of_one_that_recovers_is_a_commit_with_something_unfinished() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let (a, b) = (Cell::new("a", &journal).recovering(), Cell::new("b", &journal));
    let c = Cell::new("c", &journal);
    let mut transaction = manager.begin().unwrap();
    [&a, &b, &c].iter().for_each(|cell| cell.set(&manager, 1).unwrap());
    a.break_at(Phase::Finish, Fault::Error);

    let report = transaction.commit().unwrap();

    assert_eq!(report.unfinished.len(), 1);
    assert_eq!(report.unfinished[0].to_string(), "a: a cannot finish");
    assert_eq!(
        journal.take(),
        ["a prepare", "b prepare", "c commit alone", "a finish", "b finish"]
    );
    assert_eq!(transaction.status(), Status::Committed);
    assert_eq!((b.committed(), c.committed()), (1, 1));
}

/// T6
#[test]
fn a_failed_finish_of_one_that_cannot_recover_is_mixed_and_aborts_nobody() {
    for fault in [Fault::Error, Fault::Unknown, Fault::Conflict, Fault::Panic] {
        let (mut transaction, [a, b, c], journal) = working(["a", "b", "c"]);
        a.break_at(Phase::Finish, fault);

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Mixed(_)), "{error}");
        assert!(error.to_string().contains("a: "), "{error}");
        assert_eq!(transaction.status(), Status::Mixed);
        assert_eq!((b.committed(), c.committed()), (1, 1));
        transaction.abort().unwrap();
        assert_eq!(transaction.status(), Status::Mixed);
        assert!(journal.take().iter().all(|call| !call.ends_with("abort")));
    }
}

/// T6: nobody knows whether the decision is on the disk, so nobody acts on it. A panic of the
/// decider tells as little.
#[test]
fn an_unknown_decision_parks_the_prepared() {
    for fault in [Fault::Unknown, Fault::Panic] {
        let (mut transaction, [_a, _b, c], journal) = working(["a", "b", "c"]);
        c.break_at(Phase::CommitAlone, fault);

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Unknown(_)), "{error}");
        assert!(error.to_string().contains('c'), "{error}");
        let calls = ["a prepare", "b prepare", "c commit alone", "a park", "b park"];
        assert_eq!(journal.take(), calls);
        assert_eq!(transaction.status(), Status::Unknown);
        assert!(matches!(transaction.outcome(), Some(Outcome::Unknown(_))));
        transaction.abort().unwrap();
        assert_eq!(journal.take(), [""; 0]);
    }
}

/// T6: what the decider knows not to have happened has not happened.
#[test]
fn a_decision_that_failed_aborts_the_prepared() {
    let (mut transaction, [_a, b], journal) = working(["a", "b"]);
    b.break_at(Phase::CommitAlone, Fault::Error);

    let error = transaction.commit().unwrap_err();

    assert_eq!(error.to_string(), "b cannot commit alone");
    assert_eq!(journal.take(), ["a prepare", "b commit alone", "a abort", "b abort"]);
}

/// T7
#[test]
fn a_failed_transaction_names_its_first_cause_until_it_is_aborted() {
    let (mut transaction, [a, b], journal) = working(["a", "b"]);
    let manager = transaction.manager().clone();
    a.break_at(Phase::Prepare, Fault::Error);
    transaction.commit().unwrap_err();
    journal.take();

    let refusals = [
        transaction.commit().map(drop),
        transaction.savepoint().map(drop),
        transaction.doom(),
        transaction.note("still here"),
        transaction.before_commit(|| ()),
        b.set(&manager, 2),
        manager.join(b.handle()),
    ];

    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(matches!(error, Error::TransactionFailed(_)), "{error}");
        assert!(error.to_string().contains("a cannot prepare"), "{error}");
    }
    assert_eq!((journal.take(), b.value()), (vec![], 0));
    assert_eq!(manager.epoch().active(), Some(1), "what was read can still be read");
    transaction.abort().unwrap();
    a.mend();
    let mut next = manager.begin().unwrap();
    a.set(&manager, 3).unwrap();
    next.commit().unwrap();
    assert_eq!(a.committed(), 3);
}

/// T8
#[test]
fn an_abort_reaches_every_manager_and_tells_what_each_answered() {
    for fault in [Fault::Error, Fault::Panic] {
        let (mut transaction, [a, _b], journal) = working(["a", "b"]);
        let manager = transaction.manager().clone();
        a.break_at(Phase::Abort, fault);

        let error = transaction.abort().unwrap_err();

        assert!(matches!(error, Error::AbortFailed(_)), "{error}");
        assert!(error.to_string().contains("a: abort failed: "), "{error}");
        assert!(error.to_string().contains("b: abort succeeded"), "{error}");
        assert_eq!(journal.take(), ["a abort", "b abort"]);
        assert_eq!(manager.status(), Status::Idle);
    }
}

/// T9
#[test]
fn aborting_twice_is_nothing_and_committing_twice_is_an_error() {
    let (mut aborted, [_a], journal) = working(["a"]);
    aborted.abort().unwrap();
    journal.take();
    aborted.abort().unwrap();
    assert_eq!(journal.take(), [""; 0]);
    assert!(matches!(aborted.commit(), Err(Error::TransactionOver("commit"))));

    let (mut committed, [b], journal) = working(["b"]);
    committed.commit().unwrap();
    journal.take();
    assert!(matches!(committed.commit(), Err(Error::TransactionOver("commit"))));
    committed.abort().unwrap();
    assert_eq!((journal.take(), b.committed()), (vec![], 1));
}

/// T9: a guard whose transaction is over has no power over the next one.
#[test]
fn an_old_guard_leaves_the_next_transaction_alone() {
    let (mut old, [a], _) = working(["a"]);
    let manager = old.manager().clone();
    old.commit().unwrap();
    let mut next = manager.begin().unwrap();
    a.set(&manager, 2).unwrap();

    assert!(old.commit().is_err());
    assert!(old.doom().is_err());
    old.abort().unwrap();
    drop(old);

    next.commit().unwrap();
    assert_eq!(a.committed(), 2);
}

/// T10
#[test]
fn a_doomed_transaction_takes_work_and_never_commits() {
    let (mut transaction, [a], journal) = working(["a"]);
    let manager = transaction.manager().clone();
    let b = Cell::new("b", &journal);
    transaction.doom().unwrap();

    for _ in 0..2 {
        assert!(matches!(transaction.commit(), Err(Error::Doomed("commit"))));
        assert_eq!(transaction.status(), Status::Doomed);
    }
    b.set(&manager, 1).unwrap();
    let here = transaction.savepoint().unwrap();
    a.set(&manager, 5).unwrap();
    here.rollback().unwrap();

    assert_eq!(a.value(), 1);
    journal.take();
    transaction.abort().unwrap();
    assert_eq!(journal.take(), ["a abort", "b abort"]);
    assert!(matches!(transaction.doom(), Err(Error::TransactionOver("doom"))));
}

/// T11
#[test]
fn joining_twice_is_an_error_and_the_phases_run_once() {
    let (mut transaction, [a], journal) = working(["a"]);

    let again = transaction.join(a.handle());

    assert!(matches!(again, Err(Error::AlreadyJoined(name)) if &*name == "a"));
    transaction.commit().unwrap();
    assert_eq!(journal.take(), ["a commit alone"]);
}

/// T12
#[test]
fn metadata_reach_the_managers() {
    let (mut transaction, [a, b], _) = working(["a", "b"]);
    transaction.note("one").unwrap();
    transaction.note("two").unwrap();
    transaction.user("somebody").unwrap();
    transaction.extension("key", "old").unwrap();
    transaction.extension("key", "new").unwrap();

    transaction.commit().unwrap();

    for cell in [a, b] {
        let info = cell.seen().info.unwrap();
        assert_eq!((info.note.as_str(), info.user.as_str()), ("one\ntwo", "somebody"));
        assert_eq!(info.extension["key"], b"new");
        assert_eq!((info.extension.len(), info.id), (1, transaction.id()));
    }
}

/// T12
#[test]
fn metadata_beyond_the_limits_are_refused_and_change_nothing() {
    let (mut transaction, [a], _) = working(["a"]);
    transaction.note(&"n".repeat((64 << 10) - 2)).unwrap();
    transaction.note("x").unwrap();
    transaction.extension("key", vec![0; (1 << 20) - 3]).unwrap();
    let before = transaction.info();

    assert!(matches!(transaction.note(""), Err(Error::InvalidArgument(_))));
    assert!(matches!(transaction.user(&"u".repeat(65 << 10)), Err(Error::InvalidArgument(_))));
    assert!(matches!(transaction.extension("l", []), Err(Error::InvalidArgument(_))));
    transaction.extension("key", vec![1; (1 << 20) - 3]).unwrap();

    assert_eq!(transaction.info().note, before.note);
    transaction.commit().unwrap();
    assert_eq!(a.committed(), 1);
}

/// T15
#[test]
fn a_single_manager_commits_in_one_phase() {
    let (mut transaction, [a], journal) = working(["a"]);

    transaction.commit().unwrap();

    assert_eq!(journal.take(), ["a commit alone"]);
    assert!(a.seen().decision.is_none());
}

/// T15
#[test]
fn a_second_manager_of_one_database_is_refused_at_its_first_change() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let first = Cell::new("first", &journal).deciding(1);
    let second = Cell::new("second", &journal).deciding(1);
    let mut transaction = manager.begin().unwrap();
    first.set(&manager, 1).unwrap();

    let refused = second.set(&manager, 1).unwrap_err().to_string();

    let database = "01".repeat(16);
    assert!(["first", "second", &database].iter().all(|part| refused.contains(part)), "{refused}");
    transaction.commit().unwrap();
    assert_eq!((first.committed(), second.committed()), (1, 0));
}

#[test]
fn a_commit_that_nobody_joined_succeeds_without_a_tid() {
    let report = TransactionManager::new().begin().unwrap().commit().unwrap();

    assert_eq!(report.tid, None);
    assert!(report.unfinished.is_empty() && report.hook_failures.is_empty());
}

#[test]
fn a_panic_in_prepare_names_the_manager_and_the_phase() {
    let (mut transaction, [a, _b], _) = working(["a", "b"]);
    a.break_at(Phase::Prepare, Fault::Panic);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Panicked(_)), "{error}");
    let expected = "the data manager a, asked to prepare, panicked: a panics in prepare";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_dropped_guard_aborts() {
    let (transaction, [a], journal) = working(["a"]);
    let manager = transaction.manager().clone();

    drop(transaction);

    assert_eq!(journal.take(), ["a abort"]);
    assert_eq!((a.value(), manager.status()), (0, Status::Idle));
}

#[test]
fn a_forgotten_guard_is_ended_through_the_manager() {
    let (transaction, [_a], journal) = working(["a"]);
    let manager = transaction.manager().clone();
    std::mem::forget(transaction);

    manager.abort_current().unwrap();

    assert_eq!(journal.take(), ["a abort"]);
    manager.begin().unwrap().commit().unwrap();
}

#[test]
fn the_epoch_follows_the_current_transaction() {
    let manager = TransactionManager::new();
    let epoch = manager.epoch();
    assert_eq!(epoch.active(), None);

    let first = manager.begin().unwrap();
    let number = epoch.active();
    drop(first);

    assert!(number.is_some());
    assert_eq!(epoch.active(), None);
    let _second = manager.begin().unwrap();
    assert!(epoch.active() > number);
}

/// A second thread that calls into a running phase is told so: it neither waits nor breaks in.
#[test]
fn a_call_during_a_phase_is_refused() {
    let (mut transaction, [a], _) = working(["a"]);
    let (manager, current) = (transaction.manager().clone(), transaction.clone());
    a.on_flush(move || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(current.savepoint(), Err(Error::InProgress(_))));
                assert!(matches!(manager.abort_current(), Err(Error::InProgress("abort"))));
                assert!(matches!(manager.begin(), Err(Error::AlreadyInTransaction(_))));
                assert_eq!(manager.status(), Status::InProgress);
            });
        });
        false
    });

    transaction.commit().unwrap();

    assert_eq!(a.committed(), 1);
}

/// T11: those who were called already would never hear of who joins now.
#[test]
fn joining_in_a_phase_of_the_commit_is_refused() {
    struct Inviting(ManagerId, TransactionManager, Cell);
    impl Inviting {
        fn invite(&self) {
            let refused = self.1.join(self.2.handle());
            assert!(matches!(refused, Err(Error::InProgress("join"))), "{refused:?}");
            self.2.break_at(Phase::Abort, Fault::Error); // it got so far
        }
    }
    impl DataManager for Inviting {
        fn identity(&self) -> ManagerId {
            self.0
        }
        fn sort_key(&self) -> String {
            "b".into()
        }
        fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
            self.invite();
            Err(Error::other("that was all"))
        }
        fn commit_alone(&mut self, _: &Info, _: Option<&Decision>) -> Result<Option<Tid>> {
            self.invite();
            Err(Error::other("that was all"))
        }
        fn abort(&mut self) -> Result<()> {
            Ok(())
        }
    }
    for other in ["a", "c"] {
        let (mut transaction, [_other], journal) = working([other]);
        let (manager, guest) = (transaction.manager().clone(), Cell::new("guest", &journal));
        transaction.join(Inviting(ManagerId::new(), manager, guest.clone())).unwrap();

        let error = transaction.commit().unwrap_err();

        assert_eq!(error.to_string(), "that was all", "behind {other}");
        assert!(guest.handle().abort().is_err(), "it was asked to invite");
    }
}

/// T11
#[test]
fn joining_while_the_transaction_ends_is_refused() {
    struct Latecomer(TransactionManager, Cell);
    impl Synchronizer for Latecomer {
        fn before_completion(&self, _: &Current) {
            let refused = self.0.join(self.1.handle());
            assert!(matches!(refused, Err(Error::InProgress("join"))));
            self.1.break_at(Phase::Abort, Fault::Error); // it got so far
        }
    }
    let (mut transaction, [_a], journal) = working(["a"]);
    let late = Cell::new("late", &journal);
    let latecomer = Arc::new(Latecomer(transaction.manager().clone(), late.clone()));
    transaction.manager().add_synchronizer(Arc::downgrade(&latecomer) as _);

    transaction.abort().unwrap();

    assert_eq!(journal.take(), ["a abort"]);
    assert!(late.handle().abort().is_err());
}

#[test]
fn handles_move_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<TransactionManager>();
    shared::<Current>();
    shared::<Epoch>();
    shared::<Transaction>();
    shared::<Savepoint>();
}

/// What is dropped, be it refused, rolled back or over, is dropped when nothing is locked: here it
/// asks the transaction how it stands, and would wait for ever.
#[test]
fn what_is_dropped_may_call_back() {
    struct Asking(Current, Journal, ManagerId);
    impl Drop for Asking {
        fn drop(&mut self) {
            self.1.say(format!("{:?}", self.0.manager().status()));
            self.1.say(format!("{:?}", self.0.status()));
        }
    }
    impl Saved for Asking {
        fn rollback(&mut self) -> Result<()> {
            Ok(())
        }
    }
    impl DataManager for Asking {
        fn identity(&self) -> ManagerId {
            self.2
        }
        fn sort_key(&self) -> String {
            "asking".into()
        }
        fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
            Err(Error::other("not today"))
        }
        fn abort(&mut self) -> Result<()> {
            Ok(())
        }
        fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
            Ok(Box::new(Asking(self.0.clone(), self.1.clone(), self.2)))
        }
    }
    let (mut transaction, [], journal) = working([]);
    let (current, id) = (transaction.clone(), ManagerId::new());
    let asking = || Asking(current.clone(), journal.clone(), id);
    let hook = |asking: Asking| move || drop(asking);
    let dropped = |count: usize| assert_eq!(journal.take().len(), 2 * count);

    let start = transaction.savepoint().unwrap();
    transaction.join(asking()).unwrap();
    transaction.join(asking()).unwrap_err();
    dropped(1);
    transaction.before_commit(hook(asking())).unwrap();
    transaction.on_abort(hook(asking())).unwrap();
    drop(transaction.savepoint().unwrap());
    dropped(1);
    let later = transaction.savepoint().unwrap();
    start.rollback().unwrap();
    dropped(4);
    transaction.join(asking()).unwrap();
    transaction.before_commit(|| Err(Error::other("fails"))).unwrap();
    transaction.before_commit(hook(asking())).unwrap();
    transaction.on_abort(hook(asking())).unwrap();
    transaction.commit().unwrap_err();
    dropped(3);
    transaction.on_end(|_| drop(later)).unwrap_err();
    transaction.on_abort(hook(asking())).unwrap_err();
    transaction.join(asking()).unwrap_err();
    transaction.abort().unwrap();
    dropped(2);
}
