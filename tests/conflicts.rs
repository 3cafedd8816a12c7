//! Laws of transactions that meet: conflicts, merging, snapshots, retries.

use crate::support::databases::{Account, Tally, account, cents, everywhere, stray};
use perennial::transaction::{RetryPolicy, Transaction};
use perennial::{Connection, Database, Error, Ref, Result, Tid, TransactionManager};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// A connection in a transaction of its own, as another user would have it.
fn user(db: &Database) -> (Transaction, Connection) {
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    (manager.begin().unwrap(), conn)
}

fn tally(db: &Database, number: i64) -> Ref<Tally> {
    db.transact(|conn| conn.add(Tally(number))).unwrap()
}

// M1
#[test]
fn the_second_of_two_changes_conflicts() {
    everywhere(|db| {
        let account = account(db, 100);
        let base = db.last_tid();
        let (mut first, one) = user(db);
        let (mut second, two) = user(db);
        first.note("salary").unwrap();
        second.note("rent").unwrap();
        one.modify(account, |a| a.cents += 30).unwrap();
        two.modify(account, |a| a.cents -= 60).unwrap();

        let winner = first.commit().unwrap().tid.unwrap();
        let error = second.commit().unwrap_err();

        assert!(error.is_retryable());
        let Error::Conflict(conflict) = &error else { panic!("{error}") };
        assert_eq!((conflict.oid, conflict.read), (account.oid(), false));
        assert_eq!(conflict.type_name.as_deref(), Some("bank.Account"));
        assert_eq!((conflict.base, conflict.current), (base, winner));
        assert_eq!((&*conflict.mine, &*conflict.theirs), ("rent", "salary"));
        second.abort().unwrap();
        drop(second);
        let manager = TransactionManager::new();
        let two = db.connect(&manager);
        let _next = manager.begin().unwrap();
        assert_eq!(two.get(account).unwrap().cents, 130);
    });
}

// M2
#[test]
fn a_transaction_sees_one_state_to_its_end() {
    everywhere(|db| {
        let (read, unread) = (account(db, 1), stray(db, 1));
        let (_transaction, conn) = user(db);
        assert_eq!(conn.get(read).unwrap().cents, 1);

        db.transact(|conn| {
            conn.modify(read, |a| a.cents = 2)?;
            conn.modify(unread, |a| a.cents = 2)?;
            conn.set_root("new", unread)
        })
        .unwrap();

        assert_eq!(conn.get(read).unwrap().cents, 1);
        assert_eq!(conn.get(unread).unwrap().cents, 1, "first loaded after the change");
        assert_eq!(conn.root::<Account>("new").unwrap(), None);
        assert_eq!(conn.history(read).unwrap().len(), 1);
        assert_eq!((cents(db, read), cents(db, unread)), (2, 2));
    });
}

// M2
#[test]
fn a_connection_sees_the_next_state_in_its_next_transaction() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        for cents in 2..5 {
            db.transact(|conn| conn.modify(account, |a| a.cents = cents)).unwrap();
            let _transaction = manager.begin().unwrap();
            assert_eq!(conn.get(account).unwrap().cents, cents);
            let late = db.connect(&manager);
            assert_eq!(late.get(account).unwrap().cents, cents, "made when it was running");
        }
    });
}

// M4
#[test]
fn different_objects_both_commit() {
    everywhere(|db| {
        let (a, b) = (account(db, 50), stray(db, 50));
        let withdraw = |conn: &Connection, from: Ref<Account>| {
            let total = conn.get(a).unwrap().cents + conn.get(b).unwrap().cents;
            conn.modify(from, |account| account.cents -= total).unwrap();
        };
        let (mut first, one) = user(db);
        let (mut second, two) = user(db);
        withdraw(&one, a);
        withdraw(&two, b);

        first.commit().unwrap();
        second.commit().unwrap();

        assert_eq!((cents(db, a), cents(db, b)), (-50, -50), "write skew, as documented");
    });
}

// M4
#[test]
fn a_checked_object_that_changed_conflicts() {
    everywhere(|db| {
        let (limit, spent) = (account(db, 10), stray(db, 5));
        let (mut transaction, conn) = user(db);
        conn.check_current(limit).unwrap();
        conn.modify(spent, |a| a.cents += 5).unwrap();
        db.transact(|conn| {
            conn.transaction()?.note("lower")?;
            conn.modify(limit, |a| a.cents = 5)
        })
        .unwrap();

        let error = transaction.commit().unwrap_err();

        let Error::Conflict(conflict) = &error else { panic!("{error}") };
        assert_eq!((conflict.oid, conflict.read), (limit.oid(), true));
        assert_eq!(conflict.type_name.as_deref(), Some("bank.Account"));
        assert_eq!((conflict.current, &*conflict.theirs), (db.last_tid(), "lower"));
        assert_eq!(cents(db, spent), 5);
    });
}

// M4, C4
#[test]
fn a_check_holds_though_the_change_turns_out_to_be_none() {
    everywhere(|db| {
        for check_first in [false, true] {
            let (checked, changed) = (stray(db, 1), stray(db, 1));
            let (mut transaction, conn) = user(db);
            if check_first {
                conn.check_current(checked).unwrap();
            }
            conn.modify(checked, |_| ()).unwrap();
            if !check_first {
                conn.check_current(checked).unwrap();
            }
            conn.modify(changed, |a| a.cents = 2).unwrap();
            db.transact(|conn| conn.modify(checked, |a| a.cents = 2)).unwrap();

            let error = transaction.commit().unwrap_err();

            assert!(matches!(&error, Error::Conflict(c) if c.read), "{error}");
        }
    });
}

// M4
#[test]
fn a_check_ends_with_its_transaction_and_stores_nothing() {
    everywhere(|db| {
        let (checked, changed) = (account(db, 1), stray(db, 1));
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let before = db.last_tid();
        let mut transaction = manager.begin().unwrap();
        conn.check_current(checked).unwrap();
        assert_eq!(transaction.commit().unwrap().tid, None);
        assert_eq!(db.last_tid(), before);
        drop(transaction);

        let mut transaction = manager.begin().unwrap();
        db.transact(|conn| conn.modify(checked, |a| a.cents = 2)).unwrap();
        conn.modify(changed, |a| a.cents = 2).unwrap();

        transaction.commit().unwrap();
    });
}

// C4
#[test]
fn a_change_that_changes_nothing_conflicts_with_nobody() {
    everywhere(|db| {
        let (touched, changed) = (account(db, 1), stray(db, 1));
        let (mut transaction, conn) = user(db);
        conn.modify(touched, |a| a.cents += 1).unwrap();
        conn.modify(touched, |a| a.cents -= 1).unwrap();
        conn.modify(changed, |a| a.cents = 5).unwrap();
        db.transact(|conn| conn.modify(touched, |a| a.cents = 2)).unwrap();

        transaction.commit().unwrap();

        assert_eq!((cents(db, touched), cents(db, changed)), (2, 5));
        assert_eq!(db.history(touched).unwrap().len(), 2);
    });
}

// M5
#[test]
fn a_resolver_merges() {
    everywhere(|db| {
        let number = tally(db, 10);
        let (mut first, one) = user(db);
        let (mut second, two) = user(db);
        let (mut third, three) = user(db);
        one.modify(number, |n| n.0 += 1).unwrap();
        two.modify(number, |n| n.0 += 2).unwrap();
        three.modify(number, |n| n.0 += 4).unwrap();

        first.commit().unwrap();
        second.commit().unwrap();
        third.commit().unwrap();

        assert_eq!(db.view(|view| Ok(view.get(number)?.0)).unwrap(), 17);
        assert_eq!(db.history(number).unwrap().len(), 4);
    });
}

// M5
#[test]
fn a_resolver_that_declines_or_panics_is_a_conflict() {
    everywhere(|db| {
        for unlucky in [13, 666] {
            let number = tally(db, 10);
            let (mut transaction, conn) = user(db);
            conn.modify(number, |n| n.0 = unlucky).unwrap();
            db.transact(|conn| conn.modify(number, |n| n.0 = 11)).unwrap();

            let error = transaction.commit().unwrap_err();

            let Error::Conflict(conflict) = &error else { panic!("{error}") };
            assert_eq!(conflict.type_name.as_deref(), Some("laws.Tally"));
        }
    });
}

// M1
#[test]
fn a_removal_never_merges() {
    everywhere(|db| {
        let number = db.transact(|conn| conn.add_pinned(Tally(1))).unwrap();
        let (mut changing, one) = user(db);
        let (mut removing, two) = user(db);
        one.modify(number, |n| n.0 += 1).unwrap();
        two.remove_pinned(number).unwrap();

        db.transact(|conn| conn.modify(number, |n| n.0 += 1)).unwrap();
        assert!(matches!(removing.commit(), Err(Error::Conflict(_))));
        db.transact(|conn| conn.remove_pinned(number)).unwrap();

        assert!(matches!(changing.commit(), Err(Error::Conflict(_))));
    });
}

// C1
#[test]
fn different_new_names_never_conflict() {
    everywhere(|db| {
        let (mut first, one) = user(db);
        let (mut second, two) = user(db);
        one.root_or_init("one", |_| Ok(Tally(1))).unwrap();
        two.root_or_init("two", |_| Ok(Tally(2))).unwrap();

        first.commit().unwrap();
        second.commit().unwrap();

        let names: Vec<_> = db.view(|view| view.roots()).unwrap();
        assert_eq!(names.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["one", "two"]);
        let (mut first, one) = user(db);
        let (mut second, two) = user(db);
        one.remove_root("one").unwrap();
        two.root_or_init("three", |_| Ok(Tally(3))).unwrap();
        first.commit().unwrap();
        second.commit().unwrap();
        let names: Vec<_> = db.view(|view| view.roots()).unwrap();
        assert_eq!(names.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["three", "two"]);
    });
}

// C1
#[test]
fn a_root_that_two_race_to_make_is_made_once() {
    everywhere(|db| {
        let found: Vec<Ref<Tally>> = thread::scope(|scope| {
            let make = || db.transact(|conn| conn.root_or_init("one", |_| Ok(Tally(0)))).unwrap();
            let racing: Vec<_> = (0..3).map(|_| scope.spawn(make)).collect();
            racing.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        assert!(found.iter().all(|root| *root == found[0]), "{found:?}");
    });
}

// M6
#[test]
fn a_view_of_the_past_shows_the_past() {
    everywhere(|db| {
        let account = account(db, 1);
        let created = db.last_tid();
        for cents in 2..6 {
            db.transact(|conn| conn.modify(account, |a| a.cents = cents)).unwrap();
            assert_eq!(self::cents(db, account), cents);
            let then = db.view_at(created, |view| Ok((view.tid()?, view.get(account)?.cents)));
            assert_eq!(then.unwrap(), (created, 1));
        }
        let future = Tid::new(db.last_tid().number() + 1);
        assert!(matches!(db.view_at(future, |_| Ok(())), Err(Error::InvalidArgument(_))));
        let before = db.view_at(Tid::ZERO, |view| view.get(account)).unwrap_err();
        assert!(matches!(before, Error::NotFound(_)));
    });
}

// M3, R3
#[test]
fn racing_transfers_neither_make_nor_lose_money() {
    everywhere(|db| {
        let (a, b) = (account(db, 1000), stray(db, 0));
        let number = tally(db, 0);
        let done = AtomicBool::new(false);
        let total = |view: &perennial::View| Ok(view.get(a)?.cents + view.get(b)?.cents);

        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    assert_eq!(db.view(total).unwrap(), 1000);
                }
            });
            let transfer = || {
                for _ in 0..20 {
                    let moved = db.transact_with(&RetryPolicy::new(1000), |conn| {
                        conn.modify(a, |a| a.cents -= 1)?;
                        conn.modify(b, |b| b.cents += 1)?;
                        conn.modify(number, |n| n.0 += 1)
                    });
                    moved.unwrap();
                }
            };
            let writers: Vec<_> = (0..3).map(|_| scope.spawn(transfer)).collect();
            let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, Ordering::Release);
            reader.join().unwrap();
            results.into_iter().for_each(|result| result.unwrap());
        });

        assert_eq!((cents(db, a), cents(db, b)), (940, 60));
        assert_eq!(db.view(|view| Ok(view.get(number)?.0)).unwrap(), 60);
    });
}

// T13
#[test]
fn a_conflict_is_tried_again_and_then_surfaces() {
    everywhere(|db| {
        let account = account(db, 0);
        let tries = AtomicU32::new(0);
        let outpaced = |conn: &Connection, times: u32| -> Result<()> {
            conn.modify(account, |a| a.cents += 1)?;
            if tries.fetch_add(1, Ordering::Relaxed) < times {
                let faster = || db.transact(|conn| conn.modify(account, |a| a.cents += 100));
                thread::scope(|scope| scope.spawn(faster).join().unwrap())?;
            }
            Ok(())
        };

        db.transact(|conn| outpaced(conn, 2)).unwrap();
        assert_eq!((tries.swap(0, Ordering::Relaxed), cents(db, account)), (3, 201));

        let error = db.transact_with(&RetryPolicy::new(2), |conn| outpaced(conn, 9)).unwrap_err();
        assert!(matches!(error, Error::Conflict(_)));
        assert_eq!(tries.swap(0, Ordering::Relaxed), 2);
        let error = db.transact_with(&RetryPolicy::new(0), |conn| outpaced(conn, 9)).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)));
        let error = db.transact(|conn| {
            outpaced(conn, 0)?;
            Err::<(), _>(Error::other("no"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no");
        assert_eq!((tries.load(Ordering::Relaxed), cents(db, account)), (1, 401));
    });
}

// T13
#[test]
fn an_error_of_the_applications_own_aborts() {
    #[derive(Debug)]
    enum Refusal {
        Overdrawn,
        Database(Error),
    }
    impl From<Error> for Refusal {
        fn from(error: Error) -> Refusal {
            Refusal::Database(error)
        }
    }
    everywhere(|db| {
        let account = account(db, 10);

        let refused = db.try_transact(|conn| {
            conn.modify(account, |a| a.cents -= 20)?;
            if conn.get(account)?.cents < 0 { Err(Refusal::Overdrawn) } else { Ok(()) }
        });

        assert!(matches!(refused, Err(Refusal::Overdrawn)));
        let refused = db.try_view(|view| match view.get(account)?.cents {
            10 => Err::<(), _>(Refusal::Overdrawn),
            _ => Ok(()),
        });
        assert!(matches!(refused, Err(Refusal::Overdrawn)));
        db.close().unwrap();
        let closed = db.try_view(|_| Ok::<(), Refusal>(()));
        assert!(matches!(closed, Err(Refusal::Database(Error::Closed))));
    });
}

#[test]
fn transact_inside_transact_is_an_error() {
    everywhere(|db| {
        let account = account(db, 1);
        let other = Database::in_memory().unwrap();

        db.transact(|conn| {
            let inner = db.transact(|conn| conn.modify(account, |a| a.cents = 2)).unwrap_err();
            assert!(matches!(inner, Error::AlreadyInTransaction(_)), "{inner}");
            other.transact(|conn| conn.root_or_init("fine", |_| Ok(Tally(0)))).map(drop)?;
            conn.modify(account, |a| a.cents += 10)
        })
        .unwrap();

        assert_eq!(cents(db, account), 11);
        let db = db.clone();
        let hook = db.clone();
        db.transact(|conn| {
            let db = hook.clone();
            conn.transaction()?
                .on_commit(move |_| db.transact(|conn| conn.modify(account, |a| a.cents += 100)))?;
            conn.modify(account, |a| a.cents += 1)
        })
        .unwrap();
        assert_eq!(cents(&db, account), 112, "a hook is not inside");
    });
}

// T15
#[test]
fn two_connections_of_one_database_cannot_change_it_in_one_transaction() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let (one, two) = (db.connect(&manager), db.connect(&manager));
        let mut transaction = manager.begin().unwrap();
        one.modify(account, |a| a.cents += 1).unwrap();

        let error = two.modify(account, |a| a.cents += 1).unwrap_err();

        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(&db.id().to_string()), "{error}");
        assert_eq!(two.get(account).unwrap().cents, 1, "reading is no change");
        transaction.commit().unwrap();
        assert_eq!(cents(db, account), 2);
    });
}

// H9, H10
#[test]
fn a_hook_cannot_leak_a_change_into_the_next_transaction() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let leak = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        conn.modify(account, |a| a.cents = 2).unwrap();
        transaction
            .after_commit(move |_| {
                let error = leak.modify(account, |a| a.cents = 666).unwrap_err();
                assert!(matches!(error, Error::NoTransaction(_)), "{error}");
            })
            .unwrap();

        let report = transaction.commit().unwrap();

        assert!(report.hook_failures.is_empty(), "{:?}", report.hook_failures);
        drop(transaction);
        let mut next = manager.begin().unwrap();
        assert_eq!(conn.get(account).unwrap().cents, 2);
        assert_eq!(next.commit().unwrap().tid, None);
    });
}

// H5
#[test]
fn what_a_hook_hears_of_is_visible_to_everybody() {
    everywhere(|db| {
        let account = account(db, 1);
        let (mut transaction, conn) = user(db);
        conn.modify(account, |a| a.cents = 2).unwrap();
        let handle = db.clone();
        transaction
            .on_commit(move |_| {
                let seen = || {
                    let (_another, conn) = user(&handle);
                    (conn.get(account).unwrap().cents, cents(&handle, account))
                };
                assert_eq!(seen(), (2, 2));
                assert_eq!(thread::scope(|scope| scope.spawn(seen).join().unwrap()), (2, 2));
                let next = || handle.transact(|conn| conn.modify(account, |a| a.cents += 1));
                thread::scope(|scope| scope.spawn(next).join().unwrap())
            })
            .unwrap();

        let report = transaction.commit().unwrap();

        assert!(report.hook_failures.is_empty(), "{:?}", report.hook_failures);
        assert_eq!(cents(db, account), 3, "no lock stood against another thread's commit");
    });
}

// T7
#[test]
fn a_failed_transaction_stays_readable_and_takes_no_change() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let (hook, reader) = (db.connect(&manager), db.connect(&manager));
        let mut transaction = manager.begin().unwrap();
        conn.modify(account, |a| a.cents = 5).unwrap();
        db.transact(|conn| conn.modify(account, |a| a.cents = 2)).unwrap();
        let again = manager.clone();
        transaction
            .after_commit(move |_| {
                let _inside = again.begin()?;
                assert_eq!(hook.get(account)?.cents, 2, "a new transaction, a new state");
                Ok::<(), Error>(())
            })
            .unwrap();
        transaction.commit().unwrap_err();

        let error = conn.modify(account, |a| a.cents = 6).unwrap_err();

        let Error::TransactionFailed(failed) = &error else { panic!("{error}") };
        assert!(failed.cause.contains("conflict on object"), "{error}");
        for conn in [&conn, &reader] {
            assert_eq!(conn.get(account).unwrap().cents, 1, "as it was at the begin");
        }
        assert!(matches!(conn.add(Tally(1)), Err(Error::TransactionFailed(_))));
        transaction.abort().unwrap();
        drop(transaction);
        let mut next = manager.begin().unwrap();
        conn.modify(account, |a| a.cents += 1).unwrap();
        next.commit().unwrap();
        assert_eq!(cents(db, account), 3);
    });
}
