//! Laws of counters.

use crate::support::databases::everywhere;
use perennial::collections::Counter;
use perennial::{Connection, Database, Error, TransactionManager};
use proptest::collection::vec;
use proptest::prelude::*;
use std::thread;

fn counter(db: &Database, total: i64) -> Counter {
    db.transact(|conn| {
        let counter = Counter::create(conn)?;
        counter.add(conn, total)?;
        Ok(counter)
    })
    .unwrap()
}

fn total(db: &Database, counter: Counter) -> i64 {
    db.view(|view| counter.get(view)).unwrap()
}

/// Lets transactions that began at the same time add these.
fn add_at_once(db: &Database, counter: Counter, amounts: &[i64]) -> Result<(), Error> {
    let managers: Vec<_> = amounts.iter().map(|_| TransactionManager::new()).collect();
    let users: Vec<_> = managers.iter().map(|m| (m.begin().unwrap(), db.connect(m))).collect();
    for ((_, conn), amount) in users.iter().zip(amounts) {
        counter.add(conn, *amount)?;
    }
    users.into_iter().try_for_each(|(mut transaction, _conn)| transaction.commit().map(drop))
}

// X8
#[test]
fn concurrent_changes_add_up() {
    everywhere(|db| {
        let counter = counter(db, 0);

        add_at_once(db, counter, &[3, -1]).unwrap();

        assert_eq!(total(db, counter), 2);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // X8
    #[test]
    fn a_counter_is_the_sum_of_what_was_added(rounds in vec(vec(-1000i64..1000, 1..5), 1..6)) {
        let db = Database::in_memory().unwrap();
        let counter = counter(&db, 0);
        for amounts in &rounds {
            add_at_once(&db, counter, amounts).unwrap();
        }
        prop_assert_eq!(total(&db, counter), rounds.iter().flatten().sum::<i64>());
    }
}

// X8, M5
#[test]
fn no_addition_of_any_thread_is_lost_or_conflicts() {
    let db = Database::in_memory().unwrap();
    let counter = counter(&db, 0);
    let work = || {
        for _ in 0..200 {
            let manager = TransactionManager::new();
            let conn: Connection = db.connect(&manager);
            let mut transaction = manager.begin().unwrap();
            counter.add(&conn, 1).unwrap();
            transaction.commit().unwrap();
        }
    };

    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));

    assert_eq!(total(&db, counter), 800);
}

// X8
#[test]
fn a_sum_that_does_not_fit_is_an_error_and_changes_nothing() {
    everywhere(|db| {
        let counter = counter(db, i64::MAX - 5);

        let error = db.transact(|conn| counter.add(conn, 6)).unwrap_err();
        assert!(matches!(error, Error::Exhausted(_)));
        assert!(error.to_string().contains(&counter.oid().to_string()), "{error}");
        let together = add_at_once(db, counter, &[3, 3]).unwrap_err();
        assert!(matches!(together, Error::Conflict(_)), "each of them fits: {together}");

        assert_eq!(total(db, counter), i64::MAX - 2);
        // Differences may be larger than a number: there and back again.
        db.transact(|conn| counter.add(conn, -total(db, counter))).unwrap();
        db.transact(|conn| counter.add(conn, i64::MIN)).unwrap();
        assert_eq!(total(db, counter), i64::MIN);
    });
}

// X7
#[test]
fn adding_nothing_stores_nothing() {
    everywhere(|db| {
        let counter = counter(db, 7);
        let last = db.last_tid();

        db.transact(|conn| counter.add(conn, 0)).unwrap();
        db.transact(|conn| counter.add(conn, 5).and_then(|()| counter.add(conn, -5))).unwrap();

        assert_eq!((total(db, counter), db.last_tid()), (7, last));
    });
}
