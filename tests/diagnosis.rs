//! What a transaction that went wrong tells: the log in its error, spans and events, and the words
//! for bad use.

use crate::support::databases::Tally;
use crate::support::errors::{logged, logged_errors, spanned};
use crate::support::managers::{Cell, Fault, Journal, working};
use perennial::error::{
    CodecFailure, Conflict, Corruption, Damage, FailedTransaction, NotADatabase, NotFound,
};
use perennial::transaction::{
    DataManager, Info, ManagerId, Phase, Prepared, Status, Transaction, TransactionManager,
};
use perennial::{Database, DatabaseId, Error, Oid, Result, Tid};
use std::panic::resume_unwind;
use tracing::Level;

/// T5
#[test]
fn the_error_of_a_failed_commit_tells_what_every_manager_did() {
    let (mut transaction, [a, b], _) = working(["a", "b"]);
    b.break_at(Phase::CommitAlone, Fault::Conflict);
    a.break_at(Phase::Abort, Fault::Error);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(&error, Error::Conflict(conflict) if conflict.oid == Oid::new(1)));
    assert!(error.is_retryable());
    let first = "conflict on object 1: based on tid 1, lost to tid 2";
    let log = [
        "1. a: prepare succeeded",
        &format!("2. b: commit alone failed: {first}"),
        "3. a: abort failed: a cannot abort",
        "4. b: abort succeeded",
    ];
    assert_eq!(error.to_string(), first, "what happened first is what is told first");
    assert_eq!(error.actions().unwrap().to_string(), log.join("\n"));
    assert_eq!(*error.actions().unwrap(), transaction.action_log());
    let all = "the data managers were called in this order:";
    assert_eq!(format!("{error:?}"), format!("{first}\n{all}\n  {}", log.join("\n  ")));
}

/// Errors of every kind that tells something of its own.
fn tales() -> Vec<Error> {
    let why = "why";
    vec![
        Error::Unknown(why.into()),
        Error::Mixed(why.into()),
        Error::Halted(why.into()),
        Error::AlreadyJoined(why.into()),
        Error::AbortFailed(why.into()),
        Error::Unsupported(why.into()),
        Error::Panicked(why.into()),
        Error::JobsFull(why.into()),
        Error::Exhausted(why.into()),
        Error::InvalidArgument(why.into()),
        Error::other(why),
        Error::io("read", "x", std::io::ErrorKind::NotFound.into()),
        NotFound::new(Oid::new(1), Tid::new(1)).into(),
        Corruption::new("x", 0, why).into(),
        Damage::new("x", 0, 0, why).into(),
        CodecFailure::new("x", why).into(),
        NotADatabase::new("x", why).into(),
        FailedTransaction::new("dance", why).into(),
    ]
}

/// T5: whatever the error is, its kind stays, and with it all it tells.
#[test]
fn every_error_with_something_to_tell_carries_the_log_and_stays_what_it_is() {
    for (given, expected) in tales().into_iter().zip(tales()) {
        let (mut transaction, [_a, _b], _) = working(["a", "b"]);
        transaction.before_commit(|| Err(given)).unwrap();

        let error = transaction.commit().unwrap_err();

        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{error}");
        assert_eq!(error.to_string(), expected.to_string());
        let log = error.actions().unwrap().to_string();
        assert_eq!(log, "1. a: abort succeeded\n2. b: abort succeeded");
    }
}

/// T5: a word has no place for a log, so it comes in an error that has.
#[test]
fn a_word_is_wrapped_where_the_log_has_more_to_tell() {
    let (mut transaction, [a, _b], _) = working(["a", "b"]);
    transaction.before_commit(|| Err(Error::Closed)).unwrap();
    a.break_at(Phase::Abort, Fault::Error);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::CommitFailed(_)) && !error.is_retryable());
    assert!(matches!(error.cause(), Error::Closed));
    assert_eq!(error.to_string(), "the database is closed");
    let log = ["  1. a: abort failed: a cannot abort", "  2. b: abort succeeded"];
    let text = format!("{error:?}");
    assert!(text.starts_with("the database is closed\n") && text.ends_with(&log.join("\n")));
    assert_eq!(text.matches("1. a").count(), 1, "the log is told once: {text}");
}

/// T5
#[test]
fn a_word_is_returned_as_it_is_where_it_says_everything() {
    let (mut transaction, [_a], _) = working(["a"]);
    transaction.before_commit(|| Err(Error::Closed)).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Closed) && error.actions().is_none());
}

/// T6, T8
#[test]
fn mixed_unknown_and_failed_aborts_carry_the_log() {
    let (mut mixed, [a, _b], _) = working(["a", "b"]);
    a.break_at(Phase::Finish, Fault::Error);
    let (mut unknown, [_c, d], _) = working(["c", "d"]);
    d.break_at(Phase::CommitAlone, Fault::Panic);
    let (mut aborted, [e, _f], _) = working(["e", "f"]);
    e.break_at(Phase::Abort, Fault::Error);

    let logs = [mixed.commit().map(drop), unknown.commit().map(drop), aborted.abort()]
        .map(|result| result.unwrap_err().actions().unwrap().to_string());

    let decided = "1. a: prepare succeeded\n2. b: commit alone succeeded\n";
    assert_eq!(logs[0], format!("{decided}3. a: finish failed: a cannot finish"));
    assert!(logs[1].ends_with("panics in commit alone\n3. c: park succeeded"), "{}", logs[1]);
    assert_eq!(logs[2], "1. e: abort failed: e cannot abort\n2. f: abort succeeded");
}

#[test]
fn the_log_of_another_transaction_gives_way_to_that_of_the_failed_one() {
    let (mut outer, [_a], _) = working(["a"]);
    outer
        .before_commit(|| {
            let (mut inner, [b, _c], _) = working(["b", "c"]);
            b.break_at(Phase::Prepare, Fault::Error);
            inner.commit().map(drop)
        })
        .unwrap();

    let error = outer.commit().unwrap_err();

    assert_eq!(error.to_string(), "b cannot prepare");
    assert_eq!(error.actions().unwrap().to_string(), "1. a: abort succeeded");
}

#[test]
fn an_error_of_which_no_commit_failed_has_no_log() {
    let mut transaction = TransactionManager::new().begin().unwrap();
    transaction.before_commit(|| Err(Error::other("nobody joined"))).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(error.actions().is_none());
    assert_eq!(format!("{error:?}"), "nobody joined");
}

#[test]
fn events_name_transaction_manager_and_phase() {
    let (mut transaction, [a, b], _) = working(["a", "b"]);
    let id = transaction.id();
    b.break_at(Phase::CommitAlone, Fault::Error);
    a.break_at(Phase::Abort, Fault::Error);
    let commit = |transaction: &mut Transaction| drop(transaction.commit());

    let warnings = logged(Level::WARN, || commit(&mut transaction));

    let told = |manager: &str, phase: &str| {
        let start = format!("transaction={id} manager={manager} phase={phase} ");
        let error = format!("error={manager} cannot {phase}");
        let found = |line: &String| line.contains(&start) && line.contains(&error);
        assert!(warnings.iter().any(found), "{manager} {phase}: {warnings:?}");
    };
    told("b", "commit alone");
    told("a", "abort");
    assert_eq!(warnings.len(), 2);
    let (mut transaction, [_c], _) = working(["c"]);
    let id = transaction.id();
    let events = logged(Level::DEBUG, || commit(&mut transaction));
    let call = format!("transaction={id} manager=c phase=commit alone");
    assert!(events.iter().any(|line| line.contains(&call)), "{events:?}");
}

#[test]
fn spans_name_transaction_manager_and_phase() {
    let (mut transaction, [a, b], _) = working(["a", "b"]);
    let id = transaction.id();
    b.break_at(Phase::CommitAlone, Fault::Error);
    a.on_flush(|| false);

    let spans = spanned(|| drop(transaction.commit()));

    let call = |manager, phase| format!("call: transaction={id} manager={manager} phase={phase}");
    let calls = [
        format!("commit: transaction={id}"),
        call("a", "flush"),
        call("b", "flush"),
        call("a", "prepare"),
        call("b", "commit alone"),
        call("a", "abort"),
        call("b", "abort"),
    ];
    assert_eq!(spans, calls);
    assert_eq!(spanned(|| transaction.abort().unwrap()), [format!("abort: transaction={id}")]);
}

/// A transaction that went through `phase` of the manager `a`, which panics there.
fn panicked_in(phase: Phase) -> (Transaction, Result<()>) {
    let (mut transaction, [a, b], _) = working(["a", "b"]);
    a.break_at(phase, Fault::Panic);
    let savepoint = |transaction: &Transaction| transaction.savepoint();
    let result = match phase {
        Phase::Savepoint => savepoint(&transaction).map(drop),
        Phase::Rollback => savepoint(&transaction).unwrap().rollback(),
        Phase::Abort => transaction.abort(),
        Phase::Park => {
            b.break_at(Phase::CommitAlone, Fault::Unknown);
            transaction.commit().map(drop)
        }
        Phase::CommitAlone => {
            drop(transaction);
            let (other, [c], _) = working(["a"]);
            c.break_at(phase, Fault::Panic);
            transaction = other;
            transaction.commit().map(drop)
        }
        _ => {
            a.on_flush(|| false);
            transaction.commit().map(drop)
        }
    };
    (transaction, result)
}

#[test]
fn a_panic_in_any_phase_is_an_error_that_names_manager_and_phase() {
    use Phase::{Abort, CommitAlone, Finish, Flush, Park, Prepare, Rollback, Savepoint};
    let panicked =
        |phase| format!("the data manager a, asked to {phase}, panicked: a panics in {phase}");
    for phase in [Flush, Savepoint, Rollback, Prepare] {
        let (transaction, result) = panicked_in(phase);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Panicked(_)), "{error}");
        assert_eq!(error.to_string(), panicked(phase));
        assert_eq!(transaction.status(), Status::Failed);
    }
    for (phase, status, start) in [
        (CommitAlone, Status::Unknown, "the outcome of the commit is unknown (".to_owned()),
        (Park, Status::Unknown, "the outcome of the commit is unknown (b lost its disk)".into()),
        (
            Finish,
            Status::Mixed,
            "the transaction was committed by some of its data managers".into(),
        ),
        (Abort, Status::Aborted, format!("abort failed: a: abort failed: {}", panicked(Abort))),
    ] {
        let (transaction, result) = panicked_in(phase);
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with(&start), "{error}");
        assert_eq!(transaction.status(), status, "{phase}");
        let told = format!("a: {phase} failed: {}", panicked(phase));
        assert!(error.actions().unwrap().to_string().contains(&told), "{error:?}");
    }
}

/// The words for what cannot be done now.
fn says(result: Result<()>, expected: &str) {
    assert_eq!(result.unwrap_err().to_string(), expected);
}

/// T1, T2, T9
#[test]
fn bad_use_of_transactions_says_what_is_wrong() {
    let manager = TransactionManager::new();
    says(
        manager.current().map(drop),
        "cannot use the current transaction: there is no active transaction",
    );
    let mut transaction = manager.begin().unwrap();
    says(manager.begin().map(drop), "cannot begin: a transaction is already active");
    let here = transaction.savepoint().unwrap();
    transaction.commit().unwrap();
    says(here.rollback(), "the savepoint is no longer valid: its transaction is over");
    says(transaction.commit().map(drop), "cannot commit: this transaction is over");
    let mut next = manager.begin().unwrap();
    next.doom().unwrap();
    says(next.commit().map(drop), "cannot commit: the transaction is doomed; abort it");
    next.fail(&Error::other("no ink"));
    let failed = "cannot commit: the transaction has failed (no ink); abort it";
    says(next.commit().map(drop), failed);
}

/// S2
#[test]
fn a_savepoint_rolled_back_past_says_so() {
    let transaction = TransactionManager::new().begin().unwrap();
    let (early, late) = (transaction.savepoint().unwrap(), transaction.savepoint().unwrap());

    early.rollback().unwrap();

    says(late.rollback(), "the savepoint is no longer valid: an earlier one was rolled back to");
}

/// T11
#[test]
fn joining_twice_says_who_did() {
    let (transaction, [a], _) = working(["a"]);

    says(transaction.join(a.handle()), "the data manager a has already joined this transaction");
}

/// H1: a hook that has the guard itself cannot commit with it; the outer commit goes on.
#[test]
fn a_commit_inside_a_before_commit_hook_is_refused() {
    use parking_lot::Mutex;
    use std::sync::Arc;
    let (mut transaction, [a], _) = working(["a"]);
    let (manager, current) = (transaction.manager().clone(), transaction.clone());
    let answers = Arc::new(Mutex::new(Vec::new()));
    let told = answers.clone();
    transaction
        .before_commit(move || {
            let mut told = told.lock();
            told.push(manager.begin().map(drop).unwrap_err().to_string());
            told.push(manager.abort_current().unwrap_err().to_string());
            told.push(format!("{:?}", current.status()));
        })
        .unwrap();

    transaction.commit().unwrap();

    let running = "while a commit, abort, savepoint or rollback of the transaction is running";
    let expected =
        ["cannot begin: a transaction is already active", &format!("cannot abort {running}")];
    assert_eq!(answers.lock()[..2], expected);
    assert_eq!((answers.lock()[2].as_str(), a.committed()), ("InProgress", 1));
}

/// The transaction keeps its manager: handles on it work though all others are gone.
#[test]
fn a_transaction_outlives_the_handles_on_its_manager() {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let cell = Cell::new("a", &journal);
    let mut transaction = manager.begin().unwrap();
    cell.set(&manager, 1).unwrap();
    drop(manager);

    let current = transaction.clone();
    transaction.commit().unwrap();

    assert_eq!(cell.committed(), 1);
    says(current.note("late"), "cannot note: this transaction is over");
    drop(transaction);
    assert!(current.manager().begin().is_ok());
}

/// A data manager's handle is dropped with the transaction, and the manager joins the next one
/// with a new one.
#[test]
fn a_data_manager_whose_own_handle_is_gone_takes_part_all_the_same() {
    let (mut transaction, [a], journal) = working(["a"]);
    let other = a.clone();

    drop(a);
    transaction.commit().unwrap();

    assert_eq!((journal.take(), other.committed()), (vec!["a commit alone".into()], 1));
}

/// A manager that panics when it is asked the question `at`.
struct Mute {
    at: &'static str,
}

impl Mute {
    fn asked(&self, question: &str) {
        if self.at == question {
            resume_unwind(Box::new(format!("nobody asks for my {question}")));
        }
    }
}

impl DataManager for Mute {
    fn identity(&self) -> ManagerId {
        self.asked("identity");
        ManagerId::new()
    }

    fn sort_key(&self) -> String {
        self.asked("sort key");
        "mute".into()
    }

    fn decides(&self) -> Option<DatabaseId> {
        self.asked("database");
        None
    }

    fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
        Err(Conflict::new(Oid::new(1), Tid::new(1), Tid::new(2)).into())
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_retryable(&self, error: &Error) -> bool {
        self.asked("patience");
        error.is_retryable()
    }

    fn before_retry(&self, _: &Error) -> Option<Box<dyn FnOnce() + Send>> {
        self.asked("hurry");
        None
    }
}

#[test]
fn a_manager_that_panics_when_asked_who_it_is_does_not_join() {
    for question in ["identity", "sort key", "database"] {
        let (mut transaction, [a], _) = working(["a"]);

        let who = "a data manager, asked for its name,";
        let what = format!("{who} panicked: nobody asks for my {question}");
        says(transaction.join(Mute { at: question }), &what);

        transaction.commit().unwrap();
        assert_eq!(a.committed(), 1);
    }
}

#[test]
fn a_manager_that_panics_when_asked_about_an_error_said_nothing() {
    for question in ["patience", "hurry"] {
        let mut transaction = TransactionManager::new().begin().unwrap();
        transaction.join(Mute { at: question }).unwrap();
        let mut error = None;

        let logged = logged_errors(|| error = transaction.commit().err());

        assert!(matches!(error, Some(Error::Conflict(_))), "{error:?}");
        let what = format!("the data manager mute panicked: nobody asks for my {question}");
        assert!(logged[0].contains(&what), "{logged:?}");
        transaction.abort().unwrap();
    }
}

/// C5
#[test]
fn a_commit_inside_a_change_names_the_object() {
    let db = Database::in_memory().unwrap();
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let mut transaction = manager.begin().unwrap();
    let tally = conn.add(Tally(1)).unwrap();

    let changed = conn.modify(tally, |_| {
        let oid = tally.oid();
        let expected = format!("object {oid} is being modified by a closure that is still running");
        says(transaction.commit().map(drop), &expected);
    });

    says(changed, "cannot keep a change of an object: this transaction is over");
    assert_eq!(transaction.status(), Status::Failed);
}
