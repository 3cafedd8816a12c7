//! Who looks at several databases at once sees all of a transaction, or nothing.

use super::kit::{NAMES, Side, begin, decider, open, set, sides};
use crate::support::managers::{Cell, Fault, Journal};
use crate::support::sim::SimDisk;
use perennial::transaction::Phase;
use perennial::{Database, Error, TransactionManager};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two sides in memory, and two in files.
fn pairs() -> Vec<Vec<Side>> {
    let in_memory = || Side::of(Database::in_memory().unwrap()).unwrap();
    vec![vec![in_memory(), in_memory()], sides(&SimDisk::new(), 2)]
}

// T16
#[test]
fn connections_that_begin_together_never_see_half_of_a_transaction() {
    for sides in pairs() {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let manager = TransactionManager::new();
                    let conns: Vec<_> = sides.iter().map(|it| it.db.connect(&manager)).collect();
                    while !over.load(Ordering::Relaxed) {
                        let mut transaction = manager.begin().unwrap();
                        let seen = |of: usize| conns[of].get(sides[of].number).unwrap().0;
                        assert_eq!(seen(0), seen(1));
                        transaction.abort().unwrap();
                    }
                });
            }
            (1..=300).for_each(|value| drop(set(&sides, value).unwrap()));
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [300, 300]);
    }
}

// T16
#[test]
fn transactions_of_several_databases_race_and_lose_nothing() {
    for sides in pairs() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let manager = TransactionManager::new();
                    let conns: Vec<_> = sides.iter().map(|it| it.db.connect(&manager)).collect();
                    let policy = perennial::RetryPolicy::new(1000);
                    for _ in 0..25 {
                        manager
                            .run(&policy, |_| {
                                for (side, conn) in sides.iter().zip(&conns) {
                                    let next = conn.get(side.number)?.0 + 1;
                                    conn.modify(side.number, |number| number.0 = next)?;
                                }
                                Ok(())
                            })
                            .unwrap();
                    }
                });
            }
        });
        // Additions merge where they meet: what counts is that none is lost.
        assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [100, 100]);
    }
}

// T4
#[test]
fn where_another_manager_cannot_prepare_no_database_is_changed() {
    for sides in pairs() {
        let (manager, _connections, mut transaction) = begin(&sides, 7);
        let stubborn = Cell::new("zz", &Journal::default());
        stubborn.set(&manager, 1).unwrap();
        // Where no database remembers, the last manager decides.
        stubborn.break_at(Phase::Prepare, Fault::Error);
        stubborn.break_at(Phase::CommitAlone, Fault::Error);

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Other(_)), "{error}");
        drop(transaction);
        assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [0, 0]);
        set(&sides, 8).expect("nothing is reserved any more");
    }
}

// T16, M5
#[test]
fn a_conflict_in_one_database_leaves_the_others_unchanged() {
    for sides in pairs() {
        for loser in 0..2 {
            let before = sides[0].value();
            // The resolver declines this number.
            let (_manager, _connections, mut transaction) = begin(&sides, 13);
            let side = &sides[loser];
            side.db.transact(|conn| conn.modify(side.number, |number| number.0 += 100)).unwrap();

            let error = transaction.commit().unwrap_err();

            assert!(matches!(error, Error::Conflict(_)), "{error}");
            drop(transaction);
            side.db.transact(|conn| conn.modify(side.number, |number| number.0 -= 100)).unwrap();
            assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [before, before]);
        }
    }
}

// M4, S10
#[test]
fn what_is_only_checked_in_another_database_counts_at_the_commit() {
    for sides in pairs() {
        let [changed, checked] = &sides[..] else { panic!("two sides") };
        let manager = TransactionManager::new();
        let conns: Vec<_> = sides.iter().map(|it| it.db.connect(&manager)).collect();
        let mut transaction = manager.begin().unwrap();
        conns[0].modify(changed.number, |number| number.0 += 1).unwrap();
        conns[1].check_current(checked.number).unwrap();
        checked.db.transact(|conn| conn.modify(checked.number, |number| number.0 += 5)).unwrap();

        let error = transaction.commit().unwrap_err();

        let Error::Conflict(conflict) = error else { panic!("{error}") };
        assert!(conflict.read);
        drop(transaction);
        assert_eq!(changed.value(), 0);
    }
}

// T16: looking while something becomes visible would wait for itself
#[test]
fn a_manager_that_looks_at_several_databases_while_it_finishes_is_refused() {
    let sides = sides(&SimDisk::new(), 2);
    let (manager, _connections, mut transaction) = begin(&sides, 3);
    let other = TransactionManager::new();
    let _conns: Vec<_> = sides.iter().map(|it| it.db.connect(&other)).collect();
    let curious = Cell::new("zz", &Journal::default());
    curious.set(&manager, 1).unwrap();
    let (told, looking) = std::sync::mpsc::channel();
    curious.at(Phase::Finish, move || told.send(other.begin().map(drop)).unwrap());

    transaction.commit().unwrap();

    let refusal = looking.recv().unwrap().unwrap_err();
    assert!(matches!(refusal, Error::Unsupported(_)), "{refusal}");
    assert_eq!(sides.iter().map(Side::value).collect::<Vec<_>>(), [3, 3]);
}

// T6
#[test]
fn a_database_that_cannot_finish_is_named_and_recovers() {
    let disk = SimDisk::new();
    let sides = sides(&disk, 2);
    let (_, others) = decider(&sides);
    let late = others[0].db.clone();
    let (manager, _connections, mut transaction) = begin(&sides, 5);
    // Prepares behind the databases, when the promise is given.
    let closer = Cell::new("zz", &Journal::default());
    closer.set(&manager, 1).unwrap();
    closer.at(Phase::Prepare, move || late.close().unwrap());

    let report = transaction.commit().unwrap();

    assert_eq!(report.unfinished.len(), 1, "{report:?}");
    assert!(report.unfinished[0].manager.contains(&others[0].db.id().to_string()));
    drop((transaction, _connections));
    drop(sides);
    let reopened = NAMES[..2].iter().map(|name| Side::of(open(&disk, name).unwrap()).unwrap());
    let reopened: Vec<_> = reopened.collect();
    assert_eq!(reopened.iter().map(Side::value).collect::<Vec<_>>(), [5, 5]);
}
