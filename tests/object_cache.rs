//! Laws of the cache that all connections share.

use crate::support::databases::{Account, account, cents, everywhere, everywhere_with, storages};
use perennial::{Connection, Database, Ref, Settings, View};
use std::sync::{Arc, Weak};

const BOUND: u64 = 1 << 20;
const SIZE: usize = 1000;

fn small() -> Settings {
    let mut settings = Settings::default();
    settings.cache_bytes = BOUND;
    settings
}

/// Objects of `SIZE` bytes, ten times as many as fit, none of them cached.
fn many(db: &Database) -> Vec<Ref<Account>> {
    let count = 10 * BOUND as usize / SIZE;
    let new = |n| Account { owner: "x".repeat(SIZE), cents: n as i64 };
    let all = db.transact(|conn| (0..count).map(|n| conn.add(new(n))).collect());
    all.unwrap()
}

/// Reads all; what was given out.
fn read(db: &Database, refs: &[Ref<Account>]) -> Vec<Weak<Account>> {
    let weak = |r: &Ref<Account>| Ok(Arc::downgrade(&db.view(|view| view.get(*r))?));
    refs.iter().map(weak).collect::<perennial::Result<_>>().unwrap()
}

/// The bytes of the objects that something still holds.
fn held(seen: &[Weak<Account>]) -> u64 {
    seen.iter().filter(|object| object.strong_count() > 0).count() as u64 * SIZE as u64
}

// C7
#[test]
fn a_scan_of_ten_times_its_size_stays_within_the_bound() {
    everywhere_with(&small(), |db| {
        let all = many(db);
        let scan = |view: &View| {
            let weak = |r: &Ref<Account>| Ok(Arc::downgrade(&view.get(*r)?));
            all.iter().map(weak).collect()
        };

        let seen: Vec<Weak<Account>> = db.view(scan).unwrap();

        let held = held(&seen);
        assert!(held <= BOUND, "{held} bytes are kept");
        assert!(held > 0, "something is");
    });
}

// C7
#[test]
fn hot_objects_survive_a_scan() {
    everywhere_with(&small(), |db| {
        let all = many(db);
        let (hot, cold) = all.split_at(20);
        (0..3).for_each(|_| drop(read(db, hot)));
        let seen = read(db, hot);

        read(db, cold);

        let survivors = seen.iter().filter(|object| object.strong_count() > 0).count();
        assert!(survivors >= hot.len() * 3 / 4, "{survivors} of {}", hot.len());
    });
}

// C7
#[test]
fn what_fits_is_cached_whatever_was_before() {
    everywhere_with(&small(), |db| {
        let all = many(db);
        let fit = BOUND as usize / SIZE * 3 / 4;
        let (before, now) = (&all[..fit], &all[fit..2 * fit]);
        (0..5).for_each(|_| drop(read(db, before)));

        (0..5).for_each(|_| drop(read(db, now)));

        let seen = read(db, now);
        let cached = seen.iter().filter(|object| object.strong_count() > 0).count();
        assert_eq!(cached, fit);
        assert!(read(db, now).iter().zip(&seen).all(|(one, other)| one.ptr_eq(other)));
    });
}

// C7
#[test]
fn many_small_objects_are_each_found() {
    everywhere_with(&small(), |db| {
        let new = |n| Account { owner: String::new(), cents: n };
        let add = |conn: &Connection| (0..6_000).map(|n| conn.add(new(n))).collect();
        let all: Vec<Ref<Account>> = db.transact(add).unwrap();

        let seen = read(db, &all);

        for ((n, one), seen) in all.iter().enumerate().zip(seen) {
            let one = db.view(|view| view.get(*one)).unwrap();
            assert_eq!(one.cents, n as i64);
            assert!(seen.ptr_eq(&Arc::downgrade(&one)), "the one that was cached");
        }
    });
}

// C7
#[test]
fn changed_objects_are_kept_whatever_the_bound() {
    everywhere_with(&small(), |db| {
        let all = many(db);

        db.transact(|conn| {
            for one in &all {
                conn.modify(*one, |a| a.cents = -1)?;
            }
            all.iter().try_for_each(|one| {
                assert_eq!(conn.get(*one)?.cents, -1);
                Ok(())
            })
        })
        .unwrap();

        assert!(all.iter().all(|one| cents(db, *one) == -1));
    });
}

// C7
#[test]
fn an_object_that_grew_counts_as_it_is() {
    everywhere_with(&small(), |db| {
        let all: Vec<Ref<Account>> = (0..100)
            .map(|_| db.transact(|conn| conn.add(Account { owner: "small".into(), cents: 0 })))
            .collect::<perennial::Result<_>>()
            .unwrap();
        let grown: Vec<Weak<Account>> = all
            .iter()
            .map(|one| {
                db.transact(|conn| conn.modify(*one, |a| a.owner = "x".repeat(10 * SIZE)))?;
                Ok(Arc::downgrade(&db.view(|view| view.get(*one))?))
            })
            .collect::<perennial::Result<_>>()
            .unwrap();

        assert!(held(&grown) * 10 <= BOUND);
    });
}

// C7
#[test]
fn a_cache_of_nothing_still_reads() {
    let mut settings = Settings::default();
    settings.cache_bytes = 0;
    everywhere_with(&settings, |db| {
        let account = account(db, 1);
        db.transact(|conn| conn.modify(account, |a| a.cents += 1)).unwrap();
        assert_eq!(cents(db, account), 2);
    });
}

#[test]
fn a_commit_leaves_its_objects_where_readers_find_them() {
    everywhere(|db| {
        let account = account(db, 1);
        let mut written = None;
        db.transact(|conn| {
            conn.modify(account, |a| a.cents = 2)?;
            written = Some(Arc::downgrade(&conn.get(account)?));
            Ok(())
        })
        .unwrap();

        let read = db.view(|view| view.get(account)).unwrap();

        assert!(written.unwrap().upgrade().is_some_and(|written| Arc::ptr_eq(&written, &read)));
    });
}

#[test]
fn an_old_view_is_not_served_what_is_newer_nor_spoils_it() {
    everywhere(|db| {
        let account = account(db, 1);
        let old = db.last_tid();
        db.transact(|conn| conn.modify(account, |a| a.cents = 2)).unwrap();

        for _ in 0..2 {
            assert_eq!(db.view_at(old, |view| Ok(view.get(account)?.cents)).unwrap(), 1);
            assert_eq!(cents(db, account), 2);
        }
    });
}

#[test]
fn what_was_cached_and_then_changed_elsewhere_is_read_anew() {
    for (storage, _home) in storages() {
        let here = Database::with_storage(storage.clone(), &Settings::default());
        let elsewhere = Database::with_storage(storage, &Settings::default());
        let account = account(&here, 1);
        assert_eq!(cents(&here, account), 1);

        let there = |conn: &Connection| {
            let account = conn.root::<Account>("account")?.expect("the account");
            conn.modify(account, |a| a.cents = 2)
        };
        elsewhere.transact(there).unwrap();

        assert_eq!(cents(&here, account), 2);
    }
}
