//! Laws of savepoints over objects.

use crate::support::databases::{Account, Tally, account, cents, everywhere, stray};
use perennial::transaction::Transaction;
use perennial::{Connection, Database, Error, Ref, TransactionManager};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

fn user(db: &Database) -> (TransactionManager, Transaction, Connection) {
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().unwrap();
    (manager, transaction, conn)
}

// S1
#[test]
fn a_rollback_restores_and_may_be_repeated() {
    everywhere(|db| {
        let x = account(db, 100);
        let (_manager, mut transaction, conn) = user(db);
        conn.modify(x, |a| a.owner = "before".into()).unwrap();
        let here = transaction.savepoint().unwrap();

        for cents in [200, 300] {
            conn.modify(x, |a| a.cents = cents).unwrap();
            here.rollback().unwrap();
            assert_eq!(conn.get(x).unwrap().cents, 100);
            assert_eq!(conn.get(x).unwrap().owner, "before");
        }

        transaction.commit().unwrap();
        assert_eq!(cents(db, x), 100);
    });
}

// S2
#[test]
fn a_rollback_makes_later_savepoints_invalid() {
    everywhere(|db| {
        let x = account(db, 0);
        let (_manager, transaction, conn) = user(db);
        let set = |cents| conn.modify(x, |a| a.cents = cents).unwrap();
        let seen = || conn.get(x).unwrap().cents;
        set(1);
        let first = transaction.savepoint().unwrap();
        set(2);
        let second = transaction.savepoint().unwrap();
        set(3);
        let third = transaction.savepoint().unwrap();
        set(4);

        second.rollback().unwrap();

        assert_eq!(seen(), 2);
        assert!(matches!(third.rollback(), Err(Error::InvalidSavepoint(_))));
        assert_eq!(seen(), 2);
        first.rollback().unwrap();
        assert_eq!(seen(), 1);
    });
}

// S3
#[test]
fn after_a_rollback_further_work_commits() {
    everywhere(|db| {
        let (x, y) = (account(db, 1), stray(db, 1));
        let (_manager, mut transaction, conn) = user(db);
        conn.modify(x, |a| a.cents = 2).unwrap();
        let here = transaction.savepoint().unwrap();
        conn.modify(y, |a| a.cents = 3).unwrap();
        here.rollback().unwrap();
        conn.modify(x, |a| a.cents += 2).unwrap();

        transaction.commit().unwrap();

        assert_eq!((cents(db, x), cents(db, y)), (4, 1));
        assert_eq!(db.history(y).unwrap().len(), 1, "nothing was stored of it");
    });
}

// S5
#[test]
fn a_savepoint_before_the_first_change_undoes_the_joining() {
    everywhere(|db| {
        let x = account(db, 1);
        let (_manager, mut transaction, conn) = user(db);
        let mut booked = 0;
        for item in 0..4 {
            let here = transaction.savepoint().unwrap();
            conn.modify(x, |a| a.cents += 10).unwrap();
            if item % 2 == 1 {
                here.rollback().unwrap();
                db.transact(|conn| conn.add(Tally(0))).unwrap();
                assert_eq!(conn.get(x).unwrap().cents, 1 + booked, "the same state, item {item}");
            } else {
                booked += 10;
            }
        }

        transaction.commit().unwrap();

        assert_eq!(cents(db, x), 21);
    });
}

// S5
#[test]
fn rolled_back_to_nothing_a_transaction_writes_nothing() {
    everywhere(|db| {
        let x = account(db, 1);
        let last = db.last_tid();
        let (_manager, mut transaction, conn) = user(db);
        let here = transaction.savepoint().unwrap();
        conn.modify(x, |a| a.cents = 2).unwrap();
        here.rollback().unwrap();

        assert_eq!(transaction.commit().unwrap().tid, None);
        assert_eq!((db.last_tid(), cents(db, x)), (last, 1));
    });
}

// S7
#[test]
fn objects_added_since_are_unknown_after_a_rollback() {
    everywhere(|db| {
        let x = account(db, 1);
        let (_manager, mut transaction, conn) = user(db);
        conn.modify(x, |a| a.cents = 2).unwrap();
        let here = transaction.savepoint().unwrap();
        let new = conn.add(Account { owner: "new".into(), cents: 1 }).unwrap();
        let pinned = conn.add_pinned(Tally(1)).unwrap();
        conn.set_root("new", new).unwrap();

        here.rollback().unwrap();

        let error = conn.get(new).unwrap_err();
        assert!(matches!(&error, Error::NotFound(missing) if missing.oid == new.oid()), "{error}");
        assert!(matches!(conn.modify(new, |_| ()), Err(Error::NotFound(_))));
        assert_eq!(conn.root::<Account>("new").unwrap(), None);
        transaction.commit().unwrap();
        assert!(db.view(|view| view.get(pinned)).is_err());
        assert_eq!(cents(db, x), 2);
    });
}

// S8
#[test]
fn many_savepoints_make_one_record() {
    everywhere(|db| {
        let x = account(db, 0);
        let (_manager, mut transaction, conn) = user(db);
        let mut held = Vec::new();
        for _ in 0..10 {
            conn.modify(x, |a| a.cents += 1).unwrap();
            held.push(transaction.savepoint().unwrap());
        }

        transaction.commit().unwrap();

        assert_eq!(db.history(x).unwrap().len(), 2);
        assert!(matches!(held[3].rollback(), Err(Error::InvalidSavepoint(_))), "S4");
    });
}

// S9
#[test]
fn savepoints_show_nothing_to_others_nor_of_others() {
    everywhere(|db| {
        let (x, y) = (account(db, 1), stray(db, 1));
        let (_manager, transaction, conn) = user(db);
        conn.modify(x, |a| a.cents = 2).unwrap();
        db.transact(|conn| conn.modify(y, |a| a.cents = 2)).unwrap();

        let here = transaction.savepoint().unwrap();

        assert_eq!(cents(db, x), 1);
        assert_eq!(conn.get(y).unwrap().cents, 1);
        here.rollback().unwrap();
        assert_eq!(conn.get(y).unwrap().cents, 1);
    });
}

// S10
#[test]
fn checks_made_since_vanish_and_those_before_stay() {
    everywhere(|db| {
        for before in [false, true] {
            let (limit, x) = (stray(db, 10), stray(db, 0));
            let (_manager, mut transaction, conn) = user(db);
            conn.modify(x, |a| a.cents += 1).unwrap();
            if before {
                conn.check_current(limit).unwrap();
            }
            let here = transaction.savepoint().unwrap();
            conn.check_current(limit).unwrap();
            here.rollback().unwrap();
            db.transact(|conn| conn.modify(limit, |a| a.cents = 5)).unwrap();

            assert_eq!(transaction.commit().is_err(), before);
        }
    });
}

// S11
#[test]
fn a_savepoint_after_each_of_many_changes_copies_no_more_than_the_changes() {
    everywhere(|db| {
        let (_manager, mut transaction, conn) = user(db);
        for n in 0..20_000 {
            conn.add(Tally(n)).unwrap();
        }
        let x = conn.root_or_init("x", |_| Ok(Tally(0))).unwrap();
        let untouched = conn.add(Tally(7)).unwrap();
        let holders = || Arc::strong_count(&conn.get(untouched).unwrap());
        let before = holders();
        let mut held = Vec::new();
        for n in 1..=5_000 {
            held.push(transaction.savepoint().unwrap());
            conn.modify(x, |x| x.0 = n).unwrap();
        }

        assert_eq!(holders(), before, "no savepoint holds what changed before it and not since");
        held.drain(1..4_000).for_each(drop);
        held[0].rollback().unwrap();

        assert_eq!(conn.get(x).unwrap().0, 0);
        transaction.commit().unwrap();
        assert_eq!(db.view(|view| Ok(view.get(x)?.0)).unwrap(), 0);
    });
}

#[test]
fn no_savepoint_is_taken_while_a_closure_has_an_object() {
    everywhere(|db| {
        let x = account(db, 1);
        let (_manager, transaction, conn) = user(db);
        conn.modify(x, |a| a.cents = 2).unwrap();
        let here = transaction.savepoint().unwrap();

        let rolled_back = conn.modify(x, |a| {
            a.cents = 3;
            here.rollback().unwrap();
        });
        assert!(matches!(rolled_back, Err(Error::InvalidArgument(_))), "{rolled_back:?}");
        assert_eq!(conn.get(x).unwrap().cents, 2);

        let taken = conn.modify(x, |_| transaction.savepoint().map(drop)).unwrap();
        assert!(matches!(taken, Err(Error::Busy { oid }) if oid == x.oid()), "{taken:?}");
    });
}

/// What a random program does.
#[derive(Debug, Clone)]
enum Step {
    Set(usize, i64),
    Add(i64),
    Save,
    /// Lets go of one savepoint.
    Release(usize),
    RollBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_usize, any::<i64>()).prop_map(|(which, to)| Step::Set(which, to)),
        2 => any::<i64>().prop_map(Step::Add),
        3 => Just(Step::Save),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Release(which.index(64))),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::RollBack(which.index(64))),
    ]
}

// S1, S2, S3, S7
#[test]
fn random_programs_with_savepoints_do_what_copies_of_a_map_do() {
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    let checked = runner.run(&vec(step(), 0..60), |steps| {
        let db = Database::in_memory().unwrap();
        let (_manager, mut transaction, conn) = user(&db);
        let mut model: BTreeMap<Ref<Tally>, i64> = BTreeMap::new();
        let mut saved = Vec::new();
        let mut ever = Vec::new();
        for step in steps {
            match step {
                Step::Set(which, to) => {
                    let Some((&one, now)) = model.iter_mut().nth(which) else { continue };
                    conn.modify(one, |one| one.0 = to).unwrap();
                    *now = to;
                }
                Step::Add(number) => {
                    let new = conn.add(Tally(number)).unwrap();
                    ever.push(new);
                    model.insert(new, number);
                }
                Step::Save => saved.push((transaction.savepoint().unwrap(), model.clone())),
                Step::Release(which) if which < saved.len() => drop(saved.remove(which)),
                Step::RollBack(which) if which < saved.len() => {
                    saved.truncate(which + 1);
                    saved[which].0.rollback().unwrap();
                    model = saved[which].1.clone();
                }
                Step::Release(_) | Step::RollBack(_) => {}
            }
            for one in &ever {
                let seen = conn.get(*one).ok().map(|one| one.0);
                assert_eq!(seen, model.get(one).copied(), "object {}", one.oid());
            }
        }
        transaction.commit().unwrap();
        for one in ever {
            let stored = db.view(|view| view.get(one)).ok().map(|one| one.0);
            assert_eq!(stored, model.get(&one).copied());
        }
        Ok(())
    });
    checked.unwrap();
}
