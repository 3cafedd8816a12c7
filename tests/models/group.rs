//! Group commit: one thread writes and syncs for all, and the disk may fail.

use super::{explore, open, together};
use crate::kit::{create, snapshot, text, work};
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::storage::{Durability, FileStorage, Storage};
use perennial::{Error, Oid, Tid};
use std::sync::Arc;

/// What a thread was told of an object it stored.
enum Told {
    /// Committed; and how much the disk had been told by then.
    Committed(Oid, usize),
    Unknown(Oid),
    NotWritten(Oid),
}

fn store(storage: &FileStorage, disk: &SimDisk) -> Told {
    let oid = storage.new_oid().unwrap();
    let batch = work(storage).put(oid, Tid::ZERO, "mine").into_batch();
    match storage.commit(&Arc::new(batch)) {
        Ok(_) => {
            assert!(text(&*snapshot(storage), oid).is_some(), "acknowledged, and not visible");
            Told::Committed(oid, disk.moment())
        }
        Err(Error::Unknown(_)) => Told::Unknown(oid),
        Err(Error::Halted(_)) => Told::NotWritten(oid),
        Err(error) => panic!("{error}"),
    }
}

fn is_there(disk: &SimDisk, oid: Oid) -> bool {
    text(&*snapshot(&open(disk)), oid).is_some()
}

/// Looks at what is published, again and again: it survives if the power goes.
fn watch(storage: &FileStorage, disk: &SimDisk) {
    let mut before = Tid::ZERO;
    for _ in 0..8 {
        let last = storage.last_tid();
        if last > before {
            let after = disk.crash(Policy::Nothing, 0);
            assert!(open(&after).last_tid() >= last, "visible, and not durable");
        }
        before = last;
    }
}

/// So many threads store an object each, and one looks on; the sync of this number fails, if any.
fn store_at_once(threads: usize, failing: Option<u64>) {
    let disk = SimDisk::new();
    let storage = Arc::new(open(&disk));
    create(&*storage, "what comes first names the type");
    if let Some(nth) = failing {
        disk.fail(Kind::Sync, nth, Failure::Lost, Times::Once);
    }
    let program = |looks_on: bool| -> Box<dyn FnOnce() -> Option<Told> + Send> {
        let (storage, disk) = (storage.clone(), disk.clone());
        Box::new(move || match looks_on {
            true => {
                watch(&storage, &disk);
                None
            }
            false => Some(store(&storage, &disk)),
        })
    };
    let told = together((0..=threads).map(|number| program(number == threads)).collect());
    let told: Vec<Told> = told.into_iter().flatten().collect();
    let halted = told.iter().any(|told| !matches!(told, Told::Committed(..)));
    // A sync that is left over for closing may be the one that fails.
    assert!(storage.close().is_err() || !halted, "closing tells of the failure");
    told.into_iter().for_each(|told| check(&disk, told, threads, failing.is_some()));
}

fn check(disk: &SimDisk, told: Told, threads: usize, fails: bool) {
    match told {
        Told::Committed(oid, moment) => {
            // To look at the disk of that moment is dear; of many, the last one must do.
            let moment = if threads > 2 { disk.moment() } else { moment };
            assert!(is_there(&disk.crash_at(moment, Policy::Nothing, 0), oid), "told, and lost");
        }
        Told::Unknown(oid) => {
            let after = disk.crash(Policy::Nothing, 0);
            assert!(fails && !is_there(&after, oid), "its sync did not fail");
        }
        Told::NotWritten(oid) => {
            let after = disk.crash(Policy::Everything, 0);
            assert!(fails && !is_there(&after, oid), "told: not written");
        }
    }
}

// R10
#[test]
fn one_waiter_is_told_the_truth() {
    explore("one commits", || store_at_once(1, None));
    explore("one commits, its sync fails", || store_at_once(1, Some(0)));
}

// R10
#[test]
fn two_waiters_are_told_the_truth() {
    explore("two commit", || store_at_once(2, None));
    explore("two commit, the first sync fails", || store_at_once(2, Some(0)));
    explore("two commit, the second sync fails", || store_at_once(2, Some(1)));
}

// R10
#[test]
fn sixty_four_waiters_are_told_the_truth() {
    explore("sixty-four commit", || store_at_once(64, None));
    explore("sixty-four commit, the first sync fails", || store_at_once(64, Some(0)));
    explore("sixty-four commit, the third sync fails", || store_at_once(64, Some(2)));
}

// Lazy commits are not durable before somebody syncs; then all are that were published.
#[test]
fn a_sync_makes_durable_what_was_published_before() {
    explore("lazy commits beside a sync", || {
        let disk = SimDisk::new();
        let storage = Arc::new(open(&disk));
        create(&*storage, "what comes first names the type");
        let program = || -> Box<dyn FnOnce() + Send> {
            let (storage, disk) = (storage.clone(), disk.clone());
            Box::new(move || {
                let oid = storage.new_oid().unwrap();
                let mut batch = work(&*storage).put(oid, Tid::ZERO, "mine").into_batch();
                batch.durability = Durability::Lazy;
                storage.commit(&Arc::new(batch)).unwrap();
                storage.sync().unwrap();
                assert!(is_there(&disk.crash(Policy::Nothing, 0), oid), "synced, and lost");
            })
        };
        together(vec![program(), program()]);
    });
}
