//! Laws of flushes: what managers may still do before the phases begin.

use crate::support::managers::{Cell, Fault, working};
use perennial::Error;
use perennial::transaction::{Phase, Status};

/// T14
#[test]
fn a_manager_changed_in_a_flush_is_flushed_before_anybody_prepares() {
    let (mut transaction, [a, z], journal) = working(["a", "z"]);
    let manager = transaction.manager().clone();
    let late = Cell::new("k", &journal);
    let (other, mut rest) = (late.clone(), 1);
    z.on_flush(move || {
        let pending = std::mem::take(&mut rest);
        pending > 0 && other.set(&manager, 9).is_ok()
    });
    a.on_flush(|| false);

    transaction.commit().unwrap();

    let flushes = ["a flush", "z flush", "a flush", "z flush"];
    let phases = ["a prepare", "k prepare", "z commit alone", "a finish", "k finish"];
    assert_eq!(journal.take(), [&flushes[..], &phases[..]].concat());
    assert_eq!(late.committed(), 9);
}

/// T14: also where the one who made it join says that nothing changed.
#[test]
fn a_manager_that_joins_in_a_flush_is_flushed() {
    let (mut transaction, [a], journal) = working(["a"]);
    let manager = transaction.manager().clone();
    let late = Cell::new("b", &journal);
    let (other, mut first) = (late.clone(), true);
    late.on_flush(|| false);
    a.on_flush(move || {
        if std::mem::take(&mut first) {
            other.set(&manager, 9).unwrap();
        }
        false
    });

    transaction.commit().unwrap();

    assert_eq!(journal.take()[..3], ["a flush", "a flush", "b flush"]);
    assert_eq!(late.committed(), 9);
}

/// T14, H1
#[test]
fn a_hook_added_in_a_flush_runs() {
    let (mut transaction, [a], journal) = working(["a"]);
    let (current, said, mut first) = (transaction.clone(), journal.clone(), true);
    a.on_flush(move || {
        if std::mem::take(&mut first) {
            let said = said.clone();
            current.before_commit(move || said.say("hook")).unwrap();
        }
        false
    });

    transaction.commit().unwrap();

    assert_eq!(journal.take(), ["a flush", "hook", "a flush", "a commit alone"]);
}

/// T14
#[test]
fn flushes_that_never_settle_end_in_an_error() {
    let (mut transaction, [a], journal) = working(["a"]);
    a.on_flush(|| true);

    let error = transaction.commit().unwrap_err();

    assert!(error.to_string().contains("flush 100"), "{error}");
    let calls = journal.take();
    assert_eq!((calls.len(), calls.last().unwrap().as_str()), (101, "a abort"));
}

/// T14
#[test]
fn a_flush_that_fails_fails_the_commit() {
    let (mut transaction, [a, _b], journal) = working(["a", "b"]);
    a.on_flush(|| true);
    a.break_at(Phase::Flush, Fault::Panic);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Panicked(_)), "{error}");
    assert_eq!(journal.take(), ["a flush", "a abort", "b abort"]);
    assert_eq!(transaction.status(), Status::Failed);
}
