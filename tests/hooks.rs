//! Laws of hooks and synchronizers.

use crate::support::errors::logged_errors;
use crate::support::managers::{Cell, Fault, Journal};
use perennial::transaction::{
    Current, Outcome, Phase, Status, Synchronizer, Transaction, TransactionManager,
};
use perennial::{Error, Result};
use std::sync::Arc;

fn begun() -> (TransactionManager, Transaction, Cell, Journal) {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let transaction = manager.begin().unwrap();
    let cell = Cell::new("a", &journal);
    (manager, transaction, cell, journal)
}

/// Registers a hook of every kind; each says its kind and what it was told.
fn hook_everywhere(current: &Current, journal: &Journal) {
    fn told(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Committed { .. } => "committed",
            Outcome::Aborted => "aborted",
            Outcome::Failed(_) => "failed",
            Outcome::Unknown(_) => "unknown",
            Outcome::Mixed(_) => "mixed",
            _ => "something new",
        }
    }
    let journals = [(); 5].map(|()| journal.clone());
    let [before, after, success, abort, end] = journals;
    current.before_commit(move || before.say("before")).unwrap();
    current.after_commit(move |how| after.say(format!("after: {}", told(how)))).unwrap();
    current.on_commit(move |how| success.say(format!("success: {}", told(how)))).unwrap();
    current.on_abort(move || abort.say("abort")).unwrap();
    current.on_end(move |how| end.say(format!("end: {}", told(how)))).unwrap();
}

/// H1
#[test]
fn before_commit_hooks_run_in_order_and_take_part_in_the_commit() {
    let (manager, mut transaction, cell, journal) = begun();
    let (current, hooked) = (transaction.clone(), cell.clone());
    let [first, second, third] = [(); 3].map(|()| journal.clone());
    transaction
        .before_commit(move || {
            first.say("first");
            current.before_commit(move || third.say("third, added by the first"))?;
            hooked.set(&manager, 5)
        })
        .unwrap();
    transaction.before_commit(move || second.say("second")).unwrap();

    transaction.commit().unwrap();

    let expected = ["first", "second", "third, added by the first", "a commit alone"];
    assert_eq!(journal.take(), expected);
    assert_eq!(cell.committed(), 5);
}

/// H2
#[test]
fn a_before_commit_hook_that_fails_fails_the_commit() {
    for panics in [false, true] {
        let (manager, mut transaction, cell, journal) = begun();
        cell.set(&manager, 1).unwrap();
        let late = journal.clone();
        let hook = move || if panics { panic!("no") } else { Err(Error::other("no")) };
        transaction.before_commit(hook).unwrap();
        transaction.before_commit(move || late.say("never")).unwrap();

        let error = transaction.commit().unwrap_err();

        assert!(error.to_string().ends_with("no"), "{error}");
        assert_eq!(matches!(error, Error::Panicked(_)), panics);
        assert_eq!(journal.take(), ["a abort"]);
        assert_eq!((cell.committed(), transaction.status()), (0, Status::Failed));
        assert!(matches!(transaction.commit(), Err(Error::TransactionFailed(_))));
        assert_eq!(journal.take(), [""; 0]);
    }
}

/// H1: a hook cannot end the transaction that it runs in, nor begin another.
#[test]
fn a_before_commit_hook_cannot_end_the_transaction() {
    let (manager, mut transaction, cell, _) = begun();
    let (inside, hooked) = (manager.clone(), cell.clone());
    transaction
        .before_commit(move || {
            assert!(matches!(inside.abort_current(), Err(Error::InProgress("abort"))));
            assert!(matches!(inside.begin(), Err(Error::AlreadyInTransaction(_))));
            hooked.set(&inside, 1)
        })
        .unwrap();

    transaction.commit().unwrap();

    assert_eq!(cell.committed(), 1);
}

/// T10
#[test]
fn a_before_commit_hook_may_doom_the_transaction() {
    let (manager, mut transaction, cell, journal) = begun();
    cell.set(&manager, 1).unwrap();
    let current = transaction.clone();
    transaction.before_commit(move || current.doom()).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Doomed("commit")), "{error}");
    assert_eq!(journal.take(), ["a abort"]);
}

/// H3
#[test]
fn savepoints_run_no_hooks() {
    let (manager, transaction, cell, journal) = begun();
    hook_everywhere(&transaction, &journal);
    cell.set(&manager, 1).unwrap();

    transaction.savepoint().unwrap().rollback().unwrap();

    assert_eq!(journal.take(), ["a savepoint", "a rollback"]);
}

/// H3, H11
#[test]
fn an_abort_runs_the_hooks_for_it_and_discards_the_others() {
    let (manager, mut transaction, cell, journal) = begun();
    cell.set(&manager, 1).unwrap();
    hook_everywhere(&transaction, &journal);

    transaction.abort().unwrap();

    assert_eq!(journal.take(), ["a abort", "abort", "end: aborted"]);
    transaction.abort().unwrap();
    assert_eq!(journal.take(), [""; 0]);
}

/// H5
#[test]
fn hooks_hear_of_success_when_it_is_visible_and_nothing_is_locked() {
    let (manager, mut transaction, cell, journal) = begun();
    cell.set(&manager, 8).unwrap();
    hook_everywhere(&transaction, &journal);
    let (seen, outside) = (cell.clone(), manager.clone());
    transaction
        .after_commit(move |_| {
            assert_eq!((seen.committed(), outside.status()), (8, Status::Idle));
            assert_eq!(outside.epoch().active(), None);
            let elsewhere = std::thread::spawn(move || outside.begin().unwrap().commit().is_ok());
            assert!(elsewhere.join().unwrap());
        })
        .unwrap();

    let report = transaction.commit().unwrap();

    assert!(report.hook_failures.is_empty());
    let hooks = ["before", "a commit alone", "after: committed", "success: committed"];
    assert_eq!(journal.take(), [&hooks[..], &["end: committed"]].concat());
}

/// H5
#[test]
fn hooks_run_by_priority_then_registration() {
    let (_, mut transaction, _, journal) = begun();
    for (name, priority) in [("c", 5), ("b", 0), ("a", -5), ("d", 5)] {
        let journal = journal.clone();
        transaction.after_commit_at(priority, move |_| journal.say(name)).unwrap();
    }
    let last = journal.clone();
    transaction.on_end(move |_| last.say("b'")).unwrap();

    transaction.commit().unwrap();

    assert_eq!(journal.take(), ["a", "b", "b'", "c", "d"]);
}

/// H6, H11
#[test]
fn hooks_hear_of_failure_and_the_error_stays_the_first_one() {
    for (fault, told) in [(Fault::Error, "failed"), (Fault::Unknown, "unknown")] {
        let (manager, mut transaction, cell, journal) = begun();
        cell.set(&manager, 1).unwrap();
        hook_everywhere(&transaction, &journal);
        transaction.after_commit(|_| Err(Error::other("a hook's own trouble"))).unwrap();
        cell.break_at(Phase::CommitAlone, fault);

        let error = transaction.commit().unwrap_err();

        assert!(!error.to_string().contains("trouble"), "{error}");
        let calls = journal.take();
        assert_eq!(calls[calls.len() - 2..], [format!("after: {told}"), format!("end: {told}")]);
        transaction.abort().unwrap();
        assert_eq!(journal.take(), [""; 0], "hooks run once");
    }
}

/// H6: while they run, the failed transaction is not current; then it is again.
#[test]
fn a_failed_transaction_is_set_aside_for_its_hooks() {
    let (manager, mut transaction, cell, _) = begun();
    cell.set(&manager, 1).unwrap();
    let (inside, hooked, epoch) = (manager.clone(), cell.clone(), manager.epoch());
    let number = epoch.active();
    transaction
        .after_commit(move |_| {
            assert_eq!(inside.status(), Status::Idle);
            hooked.mend();
            let mut own = inside.begin()?;
            hooked.set(&inside, 2)?;
            own.commit().map(drop)
        })
        .unwrap();
    cell.break_at(Phase::CommitAlone, Fault::Error);

    transaction.commit().unwrap_err();

    assert_eq!(cell.committed(), 2);
    assert_eq!((manager.status(), epoch.active()), (Status::Failed, number));
    transaction.abort().unwrap();
    assert_eq!(manager.status(), Status::Idle);
}

/// H6: an error that a hook brings from elsewhere says nothing of this transaction.
#[test]
fn the_outcome_is_that_of_this_transaction() {
    let (_, mut transaction, _, journal) = begun();
    hook_everywhere(&transaction, &journal);
    transaction.before_commit(|| Err(Error::Unknown("of another one".into()))).unwrap();

    assert!(matches!(transaction.commit(), Err(Error::Unknown(_))));

    assert_eq!(journal.take(), ["before", "after: failed", "end: failed"]);
    assert_eq!(transaction.status(), Status::Failed);
}

/// H7
#[test]
fn a_hook_that_fails_is_reported_and_changes_nothing() {
    let (manager, mut transaction, cell, journal) = begun();
    cell.set(&manager, 1).unwrap();
    transaction.after_commit(|_| Err(Error::other("first"))).unwrap();
    transaction.on_end(|_| -> () { panic!("second") }).unwrap();
    hook_everywhere(&transaction, &journal);
    let mut report = None;

    let logged = logged_errors(|| report = transaction.commit().ok());

    let failures = report.unwrap().hook_failures;
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("hooks.rs") && texts[0].ends_with("first"), "{texts:?}");
    assert!(texts[1].ends_with("second"), "{texts:?}");
    assert_eq!((failures.len(), logged.len()), (2, 2));
    assert!(journal.take().contains(&"end: committed".into()));
    assert_eq!((cell.committed(), transaction.status()), (1, Status::Committed));
}

/// H8
#[test]
fn hooks_are_consumed() {
    let (manager, mut transaction, _, journal) = begun();
    hook_everywhere(&transaction, &journal);
    transaction.commit().unwrap();
    journal.take();

    manager.begin().unwrap().commit().unwrap();
    manager.begin().unwrap().abort().unwrap();

    assert_eq!(journal.take(), [""; 0]);
}

/// H8: iteratively, so that many do not exhaust the stack.
#[test]
fn a_hook_may_add_hooks() {
    fn again(current: Current, left: u32, journal: Journal) -> Result<()> {
        let next = current.clone();
        current.after_commit(move |_| match left {
            0 => {
                journal.say("the last one");
                Ok(())
            }
            _ => again(next, left - 1, journal),
        })
    }
    let (_, mut transaction, _, journal) = begun();
    again(transaction.clone(), 50_000, journal.clone()).unwrap();

    let report = transaction.commit().unwrap();

    assert!(report.hook_failures.is_empty());
    assert_eq!(journal.take(), ["the last one"]);
    assert!(transaction.after_commit(|_| ()).is_err(), "now it is too late");
}

/// H9
#[test]
fn a_hook_cannot_change_what_it_captured() {
    let (manager, mut transaction, cell, _) = begun();
    cell.set(&manager, 1).unwrap();
    let (inside, hooked, current) = (manager.clone(), cell.clone(), transaction.clone());
    transaction
        .after_commit(move |_| {
            assert!(matches!(hooked.set(&inside, 666), Err(Error::NoTransaction(_))));
            assert!(matches!(current.join(hooked.handle()), Err(Error::TransactionOver(_))));
            assert!(matches!(current.savepoint(), Err(Error::TransactionOver(_))));
            assert!(matches!(current.before_commit(|| ()), Err(Error::TransactionOver(_))));
        })
        .unwrap();

    let report = transaction.commit().unwrap();
    manager.begin().unwrap().commit().unwrap();

    assert!(report.hook_failures.is_empty(), "{:?}", report.hook_failures);
    assert_eq!(cell.committed(), 1);
}

/// H10
#[test]
fn a_hook_may_run_transactions_of_its_own() {
    let (manager, mut transaction, cell, journal) = begun();
    cell.set(&manager, 1).unwrap();
    let (inside, hooked) = (manager.clone(), cell.clone());
    transaction
        .after_commit(move |_| {
            let mut own = inside.begin()?;
            let value = hooked.committed();
            hooked.set(&inside, value + 1)?;
            own.commit().map(drop)
        })
        .unwrap();

    let report = transaction.commit().unwrap();

    assert!(report.hook_failures.is_empty());
    assert_eq!(cell.committed(), 2);
    assert_eq!(journal.take(), ["a commit alone", "a commit alone"], "and nobody is aborted");
}

/// H10: what it leaves open would stop everybody.
#[test]
fn a_transaction_that_a_hook_leaves_open_is_aborted() {
    let (manager, mut transaction, cell, journal) = begun();
    let (inside, hooked) = (manager.clone(), cell.clone());
    transaction
        .after_commit(move |_| {
            std::mem::forget(inside.begin()?);
            hooked.set(&inside, 1)
        })
        .unwrap();

    let report = transaction.commit().unwrap();

    assert!(report.hook_failures[0].to_string().contains("left a transaction open"));
    assert_eq!(journal.take(), ["a abort"]);
    assert_eq!((manager.status(), cell.value()), (Status::Idle, 0));
}

/// H11: a transaction that failed, but not in commit, is aborted like any other.
#[test]
fn a_transaction_that_failed_before_any_commit_runs_its_abort_hooks() {
    let (_, mut transaction, _, journal) = begun();
    hook_everywhere(&transaction, &journal);
    transaction.fail(&Error::other("in the work"));
    assert!(matches!(transaction.commit(), Err(Error::TransactionFailed(_))));

    transaction.abort().unwrap();

    assert_eq!(journal.take(), ["abort", "end: aborted"]);
}

/// A hook that never runs is dropped with the transaction, and with it what it holds.
#[test]
fn hooks_that_do_not_run_are_dropped() {
    let (_, mut transaction, _, journal) = begun();
    let held = Arc::new(());
    let [one, two, three] = [(); 3].map(|()| held.clone());
    transaction.before_commit(move || drop(one)).unwrap();
    transaction.on_commit(move |_| drop(two)).unwrap();
    let here = transaction.savepoint().unwrap();
    transaction.on_abort(move || drop(three)).unwrap();
    hook_everywhere(&transaction, &journal);

    here.rollback().unwrap();
    assert_eq!(Arc::strong_count(&held), 3);
    transaction.abort().unwrap();

    assert_eq!(Arc::strong_count(&held), 1);
}

/// T6: nobody is left to refuse the transaction, so somebody must be told.
#[test]
fn what_was_decided_and_not_finished_is_logged_as_an_error() {
    let (manager, mut transaction, cell, journal) = begun();
    let other = Cell::new("z", &journal);
    cell.set(&manager, 1).unwrap();
    other.set(&manager, 1).unwrap();
    cell.break_at(Phase::Finish, Fault::Error);

    let logged = logged_errors(|| drop(transaction.commit()));

    let id = format!("transaction={}", transaction.id());
    assert_eq!(logged.len(), 2, "the finish, and the disagreement: {logged:?}");
    assert!(logged.iter().all(|line| line.contains(&id) && line.contains("a cannot finish")));
    assert!(logged[0].contains("manager=a phase=finish"), "{logged:?}");
}

struct Listener(Journal);

impl Synchronizer for Listener {
    fn new_transaction(&self, current: &Current) {
        self.0.say(format!("new: {:?}", current.status()));
    }

    fn before_completion(&self, current: &Current) {
        self.0.say(format!("before: {:?}", current.status()));
    }

    fn after_completion(&self, outcome: &Outcome) {
        self.0.say(format!("after: {}", if outcome.is_committed() { "done" } else { "undone" }));
    }
}

/// H12
#[test]
fn synchronizers_hear_of_every_transaction() {
    let (manager, mut transaction, cell, journal) = begun();
    let listener = Arc::new(Listener(journal.clone()));
    cell.set(&manager, 1).unwrap();

    manager.add_synchronizer(Arc::downgrade(&listener) as _);
    transaction.commit().unwrap();
    manager.begin().unwrap().abort().unwrap();

    let committed = ["new: Active", "before: InProgress", "a commit alone", "after: done"];
    let aborted = ["new: Active", "before: InProgress", "after: undone"];
    assert_eq!(journal.take(), [&committed[..], &aborted[..]].concat());
}

/// H12: a failed commit is over with its abort.
#[test]
fn synchronizers_hear_of_a_failed_commit_once() {
    let (manager, mut transaction, cell, journal) = begun();
    let listener = Arc::new(Listener(journal.clone()));
    manager.add_synchronizer(Arc::downgrade(&listener) as _);
    cell.set(&manager, 1).unwrap();
    cell.break_at(Phase::CommitAlone, Fault::Error);

    transaction.commit().unwrap_err();
    journal.say("failed");
    transaction.abort().unwrap();

    let told = ["new: Active", "before: InProgress", "a commit alone", "a abort"];
    assert_eq!(journal.take(), [&told[..], &["failed", "after: undone"]].concat());
}

/// H12
#[test]
fn a_dropped_synchronizer_hears_nothing_and_a_panicking_one_harms_nobody() {
    struct Panicking;
    impl Synchronizer for Panicking {
        fn before_completion(&self, _: &Current) {
            panic!("not today");
        }
    }
    let (manager, mut transaction, cell, journal) = begun();
    let (gone, panicking) = (Arc::new(Listener(journal.clone())), Arc::new(Panicking));
    manager.add_synchronizer(Arc::downgrade(&gone) as _);
    manager.add_synchronizer(Arc::downgrade(&panicking) as _);
    journal.take();
    drop(gone);
    cell.set(&manager, 1).unwrap();

    let logged = logged_errors(|| drop(transaction.commit().unwrap()));

    assert_eq!(journal.take(), ["a commit alone"]);
    assert!(logged[0].contains("not today"), "{logged:?}");
    assert_eq!(cell.committed(), 1);
}

/// H12: a synchronizer may add work before a commit, as a hook may.
#[test]
fn what_a_synchronizer_adds_before_completion_is_committed() {
    struct Adding(Cell);
    impl Synchronizer for Adding {
        fn before_completion(&self, current: &Current) {
            let (cell, manager) = (self.0.clone(), current.manager().clone());
            current.before_commit(move || cell.set(&manager, 3)).unwrap();
        }
    }
    let (manager, mut transaction, cell, _) = begun();
    let adding = Arc::new(Adding(cell.clone()));
    manager.add_synchronizer(Arc::downgrade(&adding) as _);

    transaction.commit().unwrap();

    assert_eq!(cell.committed(), 3);
}
