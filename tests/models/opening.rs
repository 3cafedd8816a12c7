//! The index snapshot: written while others commit, read while its pages are being checked.

use super::{explore, open, together};
use crate::kit::{create, snapshot, text, work};
use crate::support::sim::{Policy, SimDisk};
use perennial::file::{Access, Directory};
use perennial::format::{PAGE_LEN, PAGES_START};
use perennial::storage::{Durability, Storage};
use perennial::{Oid, Tid};
use std::collections::BTreeSet;
use std::sync::Arc;

// R7
#[test]
fn an_index_snapshot_tells_of_one_moment_while_others_commit() {
    explore("an index snapshot beside commits", || {
        let disk = SimDisk::new();
        let storage = Arc::new(open(&disk));
        create(&*storage, "what comes first names the type");
        let (writer, power) = (storage.clone(), disk.clone());
        let crashed = together::<Vec<SimDisk>>(vec![
            Box::new(move || {
                for _ in 0..3 {
                    let oid = writer.new_oid().unwrap();
                    let mut batch = work(&*writer).put_pinned(oid, Tid::ZERO, "mine").into_batch();
                    batch.durability = Durability::Lazy;
                    writer.commit(&Arc::new(batch)).unwrap();
                }
                Vec::new()
            }),
            Box::new(move || {
                let policies = [Policy::Nothing, Policy::Sectors, Policy::Everything];
                let snap = |(seed, policy)| {
                    storage.write_index().unwrap();
                    power.crash(policy, seed)
                };
                (0..).zip(policies).map(snap).collect()
            }),
        ]);
        for disk in crashed.iter().flatten() {
            let storage = open(disk);
            let seen = snapshot(&storage);
            let all = storage.transactions(Tid::ZERO, Tid::MAX).unwrap();
            let stored: BTreeSet<Oid> =
                all.flat_map(|it| it.unwrap().records).map(|(oid, _)| oid).collect();
            assert!(stored.iter().all(|&oid| text(&*seen, oid).is_some()), "the index lacks one");
            let pinned: BTreeSet<Oid> = storage.pinned().unwrap().into_iter().collect();
            assert!(pinned.is_subset(&stored) && stored.len() - pinned.len() == 1);
        }
    });
}

/// A disk with two objects and an index snapshot, the first page of which is good, or not.
fn with_snapshot(good: bool) -> (SimDisk, [Oid; 2], Tid) {
    let disk = SimDisk::new();
    let storage = open(&disk);
    let (one, _) = create(&storage, "0");
    let (other, base) = create(&storage, "0");
    storage.close().unwrap();
    if !good {
        let index = disk.open("model.db.index", Access::Write).unwrap();
        let page = PAGES_START as u64..PAGES_START as u64 + PAGE_LEN as u64;
        let (mut bytes, at) = ([0; 8], page.start + 8 * one.number());
        index.read_at(at, &mut bytes).unwrap();
        bytes[0] ^= 1;
        index.append(at, &bytes).unwrap();
    }
    (disk, [one, other], base)
}

/// Readers touch a page that nobody has checked, while one of its objects is stored again.
fn touch_unchecked(good: bool) {
    let (disk, [one, other], base) = with_snapshot(good);
    let storage = Arc::new(open(&disk));
    let program = |order: [Oid; 2]| -> Box<dyn FnOnce() + Send> {
        let storage = storage.clone();
        Box::new(move || {
            let seen = snapshot(&*storage);
            for oid in order {
                let expected = if oid == other && seen.tid() > base { "1" } else { "0" };
                assert_eq!(text(&*seen, oid).as_deref(), Some(expected));
            }
        })
    };
    let writer = storage.clone();
    together(vec![
        program([one, other]),
        program([other, one]),
        Box::new(move || drop(work(&*writer).put(other, base, "1").commit())),
    ]);
    let seen = snapshot(&*storage);
    assert_eq!([one, other].map(|oid| text(&*seen, oid)), ["0", "1"].map(|it| Some(it.into())));
}

// R7
#[test]
fn a_page_of_the_index_is_checked_before_anybody_relies_on_it() {
    explore("a page is touched first by three", || touch_unchecked(true));
    explore("a damaged page is touched first by three", || touch_unchecked(false));
}
