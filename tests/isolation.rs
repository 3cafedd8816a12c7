//! What transactions that run at the same time see of each other.

use crate::support::databases::{Account, Tally, cents, storages};
use crate::support::rng::Rng;
use perennial::collections::Counter;
use perennial::{
    Connection, Database, Error, Isolation, Oid, Ref, RetryPolicy, Settings, TransactionManager,
};
use std::sync::atomic::{AtomicBool, Ordering};

/// Holds the law against a new database of each kind, with this isolation.
fn everywhere(isolation: Isolation, law: impl Fn(&Database)) {
    let mut settings = Settings::default();
    settings.isolation = isolation;
    for (storage, _home) in storages() {
        law(&Database::with_storage(storage, &settings));
    }
}

/// Accounts with so much each.
fn accounts(db: &Database, count: usize, cents: i64) -> Vec<Ref<Account>> {
    let new = |conn: &Connection| conn.add(Account { owner: "alice".into(), cents });
    db.transact(|conn| (0..count).map(|_| new(conn)).collect()).unwrap()
}

/// Two doctors are on call; each goes home if the other stays. How the second one's commit ends.
fn both_go_home(db: &Database) -> Result<(), Error> {
    let on_call = accounts(db, 2, 1);
    let managers = [TransactionManager::new(), TransactionManager::new()];
    let conns = managers.each_ref().map(|manager| db.connect(manager));
    let mut transactions = managers.each_ref().map(|manager| manager.begin().unwrap());
    for (me, conn) in conns.iter().enumerate() {
        assert_eq!(conn.get(on_call[1 - me]).unwrap().cents, 1);
        conn.modify(on_call[me], |account| account.cents = 0).unwrap();
    }
    transactions[0].commit().unwrap();
    transactions[1].commit().map(drop)
}

// M4
#[test]
fn under_snapshot_isolation_two_may_each_change_what_the_other_has_read() {
    everywhere(Isolation::Snapshot, |db| both_go_home(db).unwrap());
}

// M4
#[test]
fn under_serializable_isolation_what_was_read_must_not_have_changed() {
    everywhere(Isolation::Serializable, |db| {
        let error = both_go_home(db).unwrap_err();
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        assert!(conflict.read && conflict.to_string().contains("bank.Account"), "{conflict}");
    });
}

// M4
#[test]
fn a_root_that_was_missing_must_not_have_come() {
    everywhere(Isolation::Serializable, |db| {
        let [account] = accounts(db, 1, 0)[..] else { panic!("one") };
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        assert!(conn.root::<Tally>("tally").unwrap().is_none());
        conn.modify(account, |account| account.cents = 1).unwrap();
        db.transact(|conn| conn.root_or_init("tally", |_| Ok(Tally(0)))).unwrap();

        let error = transaction.commit().unwrap_err();

        assert!(
            matches!(&error, Error::Conflict(conflict) if conflict.oid == Oid::ROOT),
            "{error}"
        );
    });
}

// M5
#[test]
fn under_serializable_isolation_nothing_is_merged() {
    everywhere(Isolation::Serializable, |db| {
        let counter = db.transact(Counter::create).unwrap();
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        counter.add(&conn, 1).unwrap();
        db.transact(|conn| counter.add(conn, 2).map(drop)).unwrap();

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Conflict(_)), "{error}");
    });
}

// M4
#[test]
fn who_only_reads_never_conflicts_and_its_reads_do_not_leak_into_the_next_transaction() {
    everywhere(Isolation::Serializable, |db| {
        let [read, written] = accounts(db, 2, 0)[..] else { panic!("two") };
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        for _ in 0..2 {
            let mut reader = manager.begin().unwrap();
            conn.get(read).unwrap();
            db.transact(|conn| conn.modify(read, |account| account.cents += 1)).unwrap();
            assert_eq!(reader.commit().unwrap().tid, None);
        }
        let mut writer = manager.begin().unwrap();
        conn.modify(written, |account| account.cents += 1).unwrap();
        db.transact(|conn| conn.modify(read, |account| account.cents += 1)).unwrap();

        writer.commit().unwrap();
    });
}

// M4, S5
#[test]
fn what_was_read_before_a_rollback_counts() {
    everywhere(Isolation::Serializable, |db| {
        let [read, written] = accounts(db, 2, 0)[..] else { panic!("two") };
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        let here = transaction.savepoint().unwrap();
        conn.get(read).unwrap();
        conn.modify(written, |account| account.cents = 5).unwrap();
        here.rollback().unwrap();
        conn.modify(written, |account| account.cents = 1).unwrap();
        db.transact(|conn| conn.modify(read, |account| account.cents += 1)).unwrap();

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Conflict(_)), "{error}");
    });
}

/// Threads take from pairs of accounts, of which both together must not become negative, and move
/// money between others, whose sum stays; a reader watches.
fn soak(db: &Database, threads: usize, rounds: usize) {
    let pair = accounts(db, 2, 0);
    let moved = accounts(db, 6, 100);
    let over = AtomicBool::new(false);
    let patient = RetryPolicy::new(10_000);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (pair, moved, patient) = (&pair, &moved, &patient);
                scope.spawn(move || {
                    let mut rng = Rng::new(thread as u64);
                    for _ in 0..rounds {
                        let [from, to] = [(); 2].map(|()| moved[rng.below(6) as usize]);
                        let mine = pair[rng.below(2) as usize];
                        let work = |conn: &Connection| {
                            conn.modify(from, |account| account.cents -= 1)?;
                            conn.modify(to, |account| account.cents += 1)?;
                            let both = conn.get(pair[0])?.cents + conn.get(pair[1])?.cents;
                            // There is next to nothing in both, so that two who take meet.
                            conn.modify(mine, |it| it.cents += if both > 0 { -1 } else { 1 })
                        };
                        db.transact_with(patient, work).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let seen = db.view(|view| {
                    let sum = |all: &[Ref<Account>]| {
                        all.iter().map(|&it| Ok(view.get(it)?.cents)).sum::<Result<i64, Error>>()
                    };
                    Ok((sum(&moved)?, sum(&pair)?))
                });
                let (moved, pair) = seen.unwrap();
                assert!(moved == 600 && pair >= 0, "{moved}, {pair}");
            }
        });
        running.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(moved.iter().map(|&account| cents(db, account)).sum::<i64>(), 600);
}

// M3, M4, R3
#[test]
fn whatever_races_what_must_hold_of_several_objects_holds() {
    everywhere(Isolation::Serializable, |db| {
        for threads in [2, 4, 8, 16] {
            soak(db, threads, 400 / threads);
        }
    });
}
