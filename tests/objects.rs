//! Laws of objects, roots, references and views.

use crate::support::databases::{Account, account, cents, everywhere, loose, stray};
use crate::support::errors::logged;
use perennial::error::SchemaMismatch;
use perennial::storage::Durability;
use perennial::{
    Connection, Database, Error, Oid, Persistent, Ref, Result, Tid, TransactionManager,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use tracing::Level;

#[derive(Clone, Serialize, Deserialize)]
struct Bank {
    accounts: BTreeMap<String, Ref<Account>>,
}

impl Persistent for Bank {
    const NAME: &'static str = "bank.Bank";
}

#[test]
fn the_first_program_works() {
    everywhere(|db| {
        let (alice, bob) = db
            .transact(|conn| {
                let alice = conn.add(Account { owner: "alice".into(), cents: 100 })?;
                let bob = conn.add(Account { owner: "bob".into(), cents: 0 })?;
                let bank = conn.root_or_init("bank", |_| Ok(Bank { accounts: BTreeMap::new() }))?;
                conn.modify(bank, |bank| {
                    bank.accounts.insert("alice".into(), alice);
                    bank.accounts.insert("bob".into(), bob);
                })?;
                Ok((alice, bob))
            })
            .unwrap();

        db.transact(|conn| {
            conn.modify(alice, |a| a.cents -= 30)?;
            conn.modify(bob, |b| b.cents += 30)?;
            Ok(())
        })
        .unwrap();

        let names = db.view(|view| {
            let bank = view.root::<Bank>("bank")?.expect("the bank");
            let bank = view.get(bank)?;
            assert_eq!(bank.accounts["alice"], alice);
            let money = |r: Ref<Account>| Ok::<_, Error>(view.get(r)?.cents);
            assert_eq!((money(alice)?, money(bob)?), (70, 30));
            view.roots()
        });
        assert_eq!(names.unwrap()[0].0, "bank");
    });
}

// C1
#[test]
fn a_new_database_has_no_roots() {
    everywhere(|db| {
        assert!(db.view(|view| view.roots()).unwrap().is_empty());
        assert_eq!(db.view(|view| view.root::<Account>("account")).unwrap(), None);
        assert_eq!(db.last_tid(), Tid::ZERO);
    });
}

// C1
#[test]
fn a_root_is_made_once() {
    everywhere(|db| {
        let first = account(db, 1);
        let second = account(db, 2);

        assert_eq!(first, second);
        assert_eq!(cents(db, first), 1);
        assert!(db.transact(|conn| conn.remove_root("account")).unwrap());
        assert!(!db.transact(|conn| conn.remove_root("account")).unwrap());
        assert!(db.view(|view| view.roots()).unwrap().is_empty());
        assert_eq!(cents(db, first), 1, "the object outlives its name");
    });
}

// C1
#[test]
fn a_root_or_reference_of_the_wrong_type_is_told_with_both_types() {
    everywhere(|db| {
        let right = account(db, 1);
        let wrong: Ref<Bank> = loose(right.oid());

        let by_root = db.view(|view| view.root::<Bank>("account")).unwrap_err();
        let by_reference = db.view(|view| view.get(wrong)).err().unwrap();
        let by_change = db.transact(|conn| conn.modify(wrong, |_| ())).unwrap_err();
        let unstored = db.transact(|conn| {
            conn.modify(right, |a| a.cents += 1)?;
            conn.get(wrong).map(drop)
        });

        for error in [by_root, by_reference, by_change, unstored.unwrap_err()] {
            let Error::Schema(mismatch) = &error else { panic!("{error}") };
            let SchemaMismatch::WrongType { oid, stored, asked } = &**mismatch else {
                panic!("{error}");
            };
            assert_eq!(*oid, right.oid());
            assert_eq!((&**stored, &**asked), ("bank.Account", "bank.Bank"));
        }
    });
}

// C2
#[test]
fn what_is_missing_is_told_by_its_oid() {
    everywhere(|db| {
        let unknown: Ref<Account> = loose(stray(db, 1).oid());
        assert_eq!(cents(db, unknown), 1, "a loose reference belongs to whoever uses it");
        let pinned = db.transact(|conn| conn.add_pinned(Account { owner: "x".into(), cents: 0 }));
        let pinned = pinned.unwrap();
        db.transact(|conn| conn.remove_pinned(pinned)).unwrap();

        let removed = db.view(|view| view.get(pinned)).unwrap_err();

        let Error::NotFound(missing) = &removed else { panic!("{removed}") };
        assert_eq!((missing.oid, missing.removed), (pinned.oid(), Some(db.last_tid())));
        let early = db.view_at(Tid::ZERO, |view| view.get(unknown)).unwrap_err();
        let Error::NotFound(missing) = &early else { panic!("{early}") };
        assert_eq!((missing.oid, missing.at, missing.removed), (unknown.oid(), Tid::ZERO, None));
    });
}

// C3
#[test]
fn a_transaction_that_only_read_writes_nothing() {
    everywhere(|db| {
        let account = account(db, 1);
        let last = db.last_tid();
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        assert_eq!(conn.get(account).unwrap().cents, 1);

        let report = transaction.commit().unwrap();

        assert_eq!(report.tid, None);
        assert!(transaction.action_log().is_empty(), "it never joined");
        assert_eq!(db.last_tid(), last);
    });
}

// C3
#[test]
fn reading_outside_a_transaction_is_an_error() {
    everywhere(|db| {
        let account = account(db, 1);
        let conn = db.connect(&TransactionManager::new());

        let read = conn.get(account).unwrap_err();
        let changed = conn.modify(account, |_| ()).unwrap_err();

        for error in [read, changed, conn.tid().unwrap_err(), conn.roots().unwrap_err()] {
            assert!(matches!(error, Error::NoTransaction(_)), "{error}");
        }
    });
}

// C4
#[test]
fn a_change_that_changes_nothing_is_not_stored() {
    everywhere(|db| {
        let account = account(db, 1);
        let last = db.last_tid();

        db.transact(|conn| {
            conn.modify(account, |a| a.cents += 5)?;
            conn.modify(account, |a| a.cents -= 5)
        })
        .unwrap();
        let pinned = db.transact(|conn| {
            let pinned = conn.add_pinned(Account { owner: "x".into(), cents: 0 })?;
            conn.remove_pinned(pinned)?;
            Ok(pinned)
        });

        assert_eq!(db.last_tid(), last);
        assert!(db.view(|view| view.get(pinned.unwrap())).is_err());
    });
}

// C5
#[test]
fn an_object_cannot_be_used_while_it_is_modified() {
    everywhere(|db| {
        let (one, two) = (account(db, 1), stray(db, 2));

        db.transact(|conn| {
            conn.modify(one, |a| {
                let inner = conn.modify(one, |_| ()).unwrap_err();
                assert!(matches!(inner, Error::Busy { oid } if oid == one.oid()), "{inner}");
                assert!(matches!(conn.get(one), Err(Error::Busy { .. })));
                conn.modify(two, |b| b.cents += 1).unwrap();
                a.cents += conn.get(two).unwrap().cents;
            })
        })
        .unwrap();

        assert_eq!((cents(db, one), cents(db, two)), (4, 3));
    });
}

// C5
#[test]
fn a_transaction_cannot_be_committed_inside_a_change() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();

        let changed = conn.modify(account, |a| {
            a.cents = 2;
            let error = transaction.commit().unwrap_err();
            assert!(matches!(error, Error::Busy { oid } if oid == account.oid()), "{error}");
        });

        assert!(matches!(changed, Err(Error::TransactionOver(_))));
        assert_eq!(conn.get(account).unwrap().cents, 1);
        drop(transaction);
        assert_eq!(cents(db, account), 1);
    });
}

// C5
#[test]
fn a_panic_inside_a_change_fails_the_transaction() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        conn.modify(account, |a| a.cents = 2).unwrap();

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            conn.modify(account, |a| {
                a.cents = 3;
                panic!("half way");
            })
        }));

        assert!(panicked.is_err());
        assert!(matches!(conn.get(account), Err(Error::Panicked(_))));
        let another = conn.add(Account { owner: "late".into(), cents: 0 }).unwrap_err();
        assert!(another.to_string().contains("panicked while it modified"), "{another}");
        let error = transaction.commit().unwrap_err();
        assert!(matches!(error, Error::TransactionFailed(_)), "{error}");
        transaction.abort().unwrap();
        assert_eq!(cents(db, account), 1);
        let _next = manager.begin().unwrap();
        assert_eq!(conn.get(account).unwrap().cents, 1);
    });
}

// C5
#[test]
fn a_change_that_may_fail_works_on_a_copy() {
    everywhere(|db| {
        let account = account(db, 1);

        db.transact(|conn| {
            for _ in 0..2 {
                let failed: Result<()> = conn.try_modify(account, |a| {
                    a.cents = 99;
                    Err(Error::other("not enough"))
                });
                assert_eq!(failed.unwrap_err().to_string(), "not enough");
                assert_eq!(conn.get(account)?.cents, 1);
            }
            conn.try_modify(account, |a| {
                a.cents += 1;
                Ok::<_, Error>(())
            })?;
            let failed = conn.try_modify(account, |a| {
                a.cents = 99;
                Err::<(), _>(Error::other("not enough"))
            });
            assert!(failed.is_err());
            Ok(())
        })
        .unwrap();

        assert_eq!(cents(db, account), 2);
    });
}

// C5
#[test]
fn a_closure_that_changes_and_then_fails_has_changed() {
    everywhere(|db| {
        let account = account(db, 1);

        let returned = db.transact(|conn| {
            conn.modify(account, |a| {
                a.cents = 2;
                Err::<(), _>("after the fact")
            })
        });

        assert_eq!(returned.unwrap(), Err("after the fact"));
        assert_eq!(cents(db, account), 2);
    });
}

// C6
#[test]
fn a_reference_of_another_database_is_refused() {
    everywhere(|db| {
        let other = Database::in_memory().unwrap();
        let (here, there) = (account(db, 1), account(&other, 2));
        assert_eq!(here.oid(), there.oid(), "both were the first");

        let foreign =
            |error: Error| matches!(error, Error::ForeignRef { oid } if oid == there.oid());
        assert!(foreign(db.view(|view| view.get(there)).unwrap_err()));
        assert!(foreign(db.transact(|conn| conn.modify(there, |_| ())).unwrap_err()));
        assert!(foreign(db.transact(|conn| conn.set_root("there", there)).unwrap_err()));
        let kept = db.transact(|conn| {
            conn.add(Bank { accounts: BTreeMap::from([("there".into(), there)]) })
        });
        assert!(foreign(kept.unwrap_err()), "also inside another object");
    });
}

// C6
#[test]
fn a_type_that_does_not_read_what_it_wrote_is_refused() {
    #[derive(Clone, Serialize)]
    struct Swapped {
        first: u8,
        second: u8,
    }
    impl<'de> Deserialize<'de> for Swapped {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Swapped, D::Error> {
            let (second, first) = Deserialize::deserialize(deserializer)?;
            Ok(Swapped { first, second })
        }
    }
    impl Persistent for Swapped {
        const NAME: &'static str = "laws.Swapped";
    }
    everywhere(|db| {
        let error = db.transact(|conn| conn.add(Swapped { first: 1, second: 2 })).unwrap_err();

        assert!(matches!(error, Error::Codec(_)), "{error}");
        assert!(error.to_string().contains("laws.Swapped"), "{error}");
        assert_eq!(db.last_tid(), Tid::ZERO);
    });
}

// C11
#[test]
fn a_database_lives_as_long_as_its_connections() {
    everywhere(|db| {
        let manager = TransactionManager::new();
        let (account, conn) = {
            let handle = db.clone();
            (account(&handle, 1), handle.connect(&manager))
        };
        let mut transaction = manager.begin().unwrap();
        conn.modify(account, |a| a.cents += 1).unwrap();
        transaction.commit().unwrap();
        assert_eq!(cents(db, account), 2);
    });
}

// C11
#[test]
fn a_closed_database_says_so_to_everybody() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        conn.modify(account, |a| a.cents = 2).unwrap();

        db.close().unwrap();

        assert!(matches!(transaction.commit(), Err(Error::Closed)));
        assert_eq!(conn.get(account).unwrap().cents, 1, "what was seen stays readable");
        drop(transaction);
        let _next = manager.begin().unwrap();
        assert!(matches!(conn.get(account), Err(Error::Closed)));
        assert!(matches!(db.view(|_| Ok(())), Err(Error::Closed)));
        assert!(matches!(db.transact(|conn| conn.roots()), Err(Error::Closed)));
        db.close().unwrap();
    });
}

// C12
#[test]
fn a_connection_moves_and_objects_are_shared() {
    everywhere(|db| {
        let account = account(db, 1);
        let manager = TransactionManager::new();
        let conn: Connection = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        let here = conn.get(account).unwrap();

        let there = thread::spawn(move || {
            let there = conn.get(account).unwrap();
            conn.modify(account, |a| a.cents += 1).unwrap();
            there
        });

        assert!(Arc::ptr_eq(&here, &there.join().unwrap()), "nothing was copied");
        transaction.commit().unwrap();
        assert_eq!((cents(db, account), here.cents), (2, 1));
        let seen = || db.view(|view| view.get(account)).unwrap();
        assert!(Arc::ptr_eq(&seen(), &seen()));
    });
}

// C8
#[test]
fn a_very_large_object_commits_and_is_logged() {
    everywhere(|db| {
        let owner = "x".repeat(17 << 20);
        let mut large = None;

        let warnings = logged(Level::WARN, || {
            large = Some(db.transact(|conn| conn.add(Account { owner: owner.clone(), cents: 1 })));
        });

        let large = large.unwrap().unwrap();
        assert!(db.view(|view| Ok(view.get(large)?.owner == owner)).unwrap());
        let about_it = |line: &&String| line.contains("bank.Account") && line.contains("178257");
        assert_eq!(warnings.iter().filter(about_it).count(), 1, "{warnings:?}");
    });
}

#[test]
fn pinned_objects_are_found_by_their_type() {
    everywhere(|db| {
        let new = |cents| Account { owner: "job".into(), cents };
        stray(db, 0);
        let (one, two) = db
            .transact(|conn| {
                conn.add_pinned(Bank { accounts: BTreeMap::new() })?;
                Ok((conn.add_pinned(new(1))?, conn.add_pinned(new(2))?))
            })
            .unwrap();
        assert_eq!(db.view(|view| view.pinned::<Account>()).unwrap(), [one, two]);
        let token = db.view(|view| view.stored_by(one)).unwrap();
        assert_eq!(token, db.last_tid());

        db.transact(|conn| conn.modify(one, |a| a.cents = 10)).unwrap();
        db.transact(|conn| conn.remove_pinned(two)).unwrap();

        assert_eq!(db.view(|view| view.pinned::<Account>()).unwrap(), [one], "pinned as before");
        assert!(db.view(|view| view.stored_by(one)).unwrap() > token);
        let ordinary = stray(db, 1);
        let error = db.transact(|conn| conn.remove_pinned(ordinary)).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    });
}

// U1
#[test]
fn history_tells_who_changed_an_object_and_what_for() {
    everywhere(|db| {
        let account = account(db, 1);
        db.transact(|conn| {
            conn.transaction()?.note("interest")?;
            conn.transaction()?.user("ada")?;
            conn.set_durability(Durability::Lazy)?;
            conn.modify(account, |a| a.cents = 1000)
        })
        .unwrap();

        let history = db.history(account).unwrap();

        let notes: Vec<_> = history.iter().map(|change| &*change.metadata.note).collect();
        assert_eq!(notes, ["interest", ""]);
        assert_eq!(history[0].metadata.user, "ada");
        assert!(history[0].size > history[1].size);
        let before = db.view_at(history[1].tid, |view| view.history(account)).unwrap();
        assert_eq!(before, history[1..]);
        assert_eq!(history[0].tid, db.last_tid());
        assert_ne!(account.oid(), Oid::ROOT);
    });
}
