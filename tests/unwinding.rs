//! Panics: of whatever code of the application runs inside a call, and through whatever was open.

use crate::support::child::{self, Child};
use crate::support::databases::{Account, account, cents, everywhere, loose};
use crate::support::managers::{Fault, working};
use perennial::collections::BTree;
use perennial::transaction::{Phase, Status, TransactionManager};
use perennial::{Connection, Database, Error, Persistent, Ref, Result, RunMode};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what must panic.
fn panics<T: Debug>(what: impl FnOnce() -> T) {
    let outcome = catch_unwind(AssertUnwindSafe(what));
    assert!(outcome.is_err(), "{outcome:?}");
}

fn earn(db: &Database, account: Ref<Account>) {
    db.transact(|conn| conn.modify(account, |account| account.cents += 1)).unwrap();
}

// T9, C5: all that a transaction may hold goes with it.
#[test]
fn a_panic_through_a_transaction_aborts_it_and_the_database_goes_on() {
    everywhere(|db| {
        let account = account(db, 100);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        panics(|| {
            let transaction = manager.begin().unwrap();
            conn.modify(account, |account| account.cents = 0).unwrap();
            transaction.on_end(|_| -> () { panic!("a hook, too") }).unwrap();
            let _here = transaction.savepoint().unwrap();
            conn.modify(account, |account| account.cents = 1).unwrap();
            panic!("in the middle of it")
        });

        assert_eq!(cents(db, account), 100);
        let transaction = manager.begin().unwrap();
        assert_eq!(conn.get(account).unwrap().cents, 100);
        drop(transaction);
        earn(db, account);
    });
}

// T5, T8: while the stack unwinds, a second panic would end the process.
#[test]
fn a_manager_that_panics_while_its_transaction_unwinds_ends_nobody() {
    let home = tempfile::tempdir().unwrap();
    Child::new("unwinding::child_whose_abort_panics", home.path()).run();
}

#[test]
#[ignore = "run by a_manager_that_panics_while_its_transaction_unwinds_ends_nobody"]
fn child_whose_abort_panics() {
    if child::home().is_none() {
        return;
    }
    let (transaction, cells, journal) = working(["a", "b"]);
    cells[0].break_at(Phase::Abort, Fault::Panic);
    transaction.on_abort(|| -> () { panic!("and a hook") }).unwrap();
    transaction.on_end(|_| -> () { panic!("and another") }).unwrap();

    panics(|| {
        let _transaction = transaction;
        panic!("in the middle of it")
    });

    assert!(journal.take().iter().any(|line| line.starts_with("b")), "all were reached");
}

// C11: the lock goes too, and what was committed stays.
#[test]
fn a_panic_through_an_open_database_closes_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("unwound.db");
    panics(|| {
        let db = Database::open(&path).unwrap();
        let runner = db.runner().mode(RunMode::Pool(2)).start().unwrap();
        account(&db, 7);
        let _both = (runner, db);
        panic!("at the end of it")
    });

    let db = Database::open(&path).unwrap();
    assert_eq!(cents(&db, account(&db, 0)), 7);
}

// C5, T13: closures that only read, or make something, hold nothing afterwards.
#[test]
fn a_panic_inside_a_closure_of_the_database_leaves_it_usable() {
    everywhere(|db| {
        let account = account(db, 100);
        panics(|| db.view(|_| -> Result<()> { panic!("reading") }));
        panics(|| db.view_at(db.last_tid(), |_| -> Result<()> { panic!("reading") }));
        panics(|| {
            db.transact(|conn| {
                conn.root_or_init("new", |_| -> Result<Account> { panic!("making") })
            })
        });
        panics(|| {
            db.transact(|conn| -> Result<()> {
                conn.modify(account, |account| account.cents = 0)?;
                panic!("working")
            })
        });

        assert!(db.view(|view| view.root::<Account>("new")).unwrap().is_none());
        assert_eq!(cents(db, account), 100);
        earn(db, account);
    });
}

/// What cannot be read where it is 13.
#[derive(Debug, Clone, Serialize)]
struct Unread(i64);

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Unread, D::Error> {
        let number = i64::deserialize(from)?;
        assert!(number != 13 || !ARMED.get(), "an unlucky number");
        Ok(Unread(number))
    }
}

thread_local! {
    /// Whether the number is unlucky.
    static ARMED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Persistent for Unread {
    const NAME: &'static str = "unwinding.Unread";
}

// C9: a type's code that panics while it reads is a panic, or an error; the rest is readable.
#[test]
fn a_panic_while_an_object_is_decoded_leaves_the_database_usable() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("unread.db");
    let db = Database::open(&path).unwrap();
    let [bad, good] =
        [13, 14].map(|number| db.transact(|conn| conn.add(Unread(number))).unwrap().oid());
    drop(db);
    let db = Database::open(&path).unwrap();
    let read = |oid| db.view(|view| Ok(view.get(loose::<Unread>(oid))?.0));

    ARMED.set(true);
    for _ in 0..3 {
        let outcome = catch_unwind(AssertUnwindSafe(|| read(bad)));
        assert!(!matches!(outcome, Ok(Ok(_))), "{outcome:?}");
        assert_eq!(read(good).unwrap(), 14);
    }
    ARMED.set(false);

    assert_eq!(read(bad).unwrap(), 13);
}

/// A key that cannot be compared with 13.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shy(u32);

impl Ord for Shy {
    fn cmp(&self, other: &Shy) -> Ordering {
        assert!(self.0 != 13 && other.0 != 13, "it is shy");
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Shy {
    fn partial_cmp(&self, other: &Shy) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// X1, C5: nothing of a change that panicked is committed.
#[test]
fn a_key_that_panics_when_it_is_compared_leaves_the_tree_as_it_was() {
    everywhere(|db| {
        let tree = |conn: &Connection| {
            let tree = BTree::<Shy, u32>::create(conn)?;
            (0..13)
                .chain(20..2000)
                .try_for_each(|number| tree.insert(conn, Shy(number), number).map(drop))?;
            Ok(tree)
        };
        let tree = db.transact(tree).unwrap();
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        tree.insert(&conn, Shy(15), 15).unwrap();

        panics(|| tree.insert(&conn, Shy(13), 13));
        panics(|| tree.remove(&conn, &Shy(13)));
        panics(|| tree.get(&conn, &Shy(13)));
        match transaction.commit() {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, Error::TransactionFailed(_)), "{error}");
                assert_eq!(transaction.status(), Status::Failed);
            }
        }
        drop(transaction);

        db.view(|view| {
            tree.check(view)?;
            let keys = tree.keys(view).collect::<Result<Vec<_>>>()?;
            assert!([1993, 1994].contains(&keys.len()), "{}", keys.len());
            Ok(())
        })
        .unwrap();
        db.transact(|conn| tree.insert(conn, Shy(16), 16)).unwrap();
    });
}
