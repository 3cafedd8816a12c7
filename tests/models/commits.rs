//! Who wins where several change one object, and what closing does to those who commit.

use super::{explore, explore_storages, open, open_with, together};
use crate::kit::{create, found, snapshot, text, tids, work};
use crate::support::sim::{Policy, SimDisk};
use perennial::storage::{Durability, Storage, Verdict};
use perennial::{Error, Oid, Tid};
use std::sync::Arc;
use std::time::Duration;

/// Adds one, as often as it takes; after a conflict, once the winner is visible.
fn increment(storage: &dyn Storage, oid: Oid) -> Tid {
    loop {
        let before = snapshot(storage);
        let number: u64 = text(&*before, oid).unwrap().parse().unwrap();
        let next = work(storage).put(oid, found(&*before, oid).tid, &(number + 1).to_string());
        match next.verdict() {
            Verdict::Passed(receipt) => return receipt.tid,
            Verdict::Conflicts(contenders) => {
                let [winner] = &contenders[..] else { panic!("{contenders:?}") };
                assert!(winner.current > before.tid(), "lost against what it has seen");
                while !storage.wait_published(winner.current, Duration::from_secs(1)).unwrap() {}
            }
        }
    }
}

// R3, M5
#[test]
fn racing_increments_lose_nothing() {
    explore_storages("three that increment", |storage| {
        let (oid, _) = create(&*storage, "0");
        let program = |storage: Arc<dyn Storage>| -> Box<dyn FnOnce() -> [Tid; 2] + Send> {
            Box::new(move || [increment(&*storage, oid), increment(&*storage, oid)])
        };
        let committed = together((0..3).map(|_| program(storage.clone())).collect());
        assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("6"));
        assert!(committed.iter().all(|[first, second]| first < second), "{committed:?}");
        let mut committed: Vec<_> = committed.into_iter().flatten().collect();
        committed.sort();
        assert_eq!(tids(&*storage)[1..], committed, "each is a transaction, in this order");
    });
}

// M4, M5
#[test]
fn of_two_that_rely_on_what_the_other_changes_one_passes() {
    explore_storages("two that check what the other changes", |storage| {
        let ends = [create(&*storage, "1"), create(&*storage, "1")];
        let program = |me: usize, storage: Arc<dyn Storage>| -> Box<dyn FnOnce() -> bool + Send> {
            let ((mine, base), (other, seen)) = (ends[me], ends[1 - me]);
            Box::new(move || {
                let change = work(&*storage).put(mine, base, "0").check(other, seen);
                matches!(change.verdict(), Verdict::Passed(_))
            })
        };
        let passed = together(vec![program(0, storage.clone()), program(1, storage)]);
        assert_eq!(passed.iter().filter(|&&passed| passed).count(), 1);
    });
}

/// Stores objects until it may no more; those that were acknowledged.
fn store_until_closed(storage: &dyn Storage, durability: Durability) -> Vec<Oid> {
    let mut stored = Vec::new();
    loop {
        let Ok(oid) = storage.new_oid() else { return stored };
        let mut next = match storage.last_tid() {
            _ if stored.len() > 3 => return stored,
            _ => work(storage).put(oid, Tid::ZERO, "mine").into_batch(),
        };
        next.durability = durability;
        match storage.commit(&Arc::new(next)) {
            Ok(_) => stored.push(oid),
            Err(Error::Closed) => return stored,
            Err(error) => panic!("{error}"),
        }
    }
}

fn close_beside_commits(housekeeping: bool) {
    let disk = SimDisk::new();
    let storage = Arc::new(open_with(&disk, housekeeping));
    create(&*storage, "what comes first names the type");
    let store = |durability| -> Box<dyn FnOnce() -> Vec<Oid> + Send> {
        let storage = storage.clone();
        Box::new(move || store_until_closed(&*storage, durability))
    };
    let closer = storage.clone();
    let stored = together(vec![
        store(Durability::Sync),
        store(Durability::Lazy),
        Box::new(move || closer.close().map(|()| Vec::new()).unwrap()),
    ]);
    let reopened = open(&disk.crash(Policy::Nothing, 0));
    let seen = snapshot(&reopened);
    let is_there = |&oid: &Oid| text(&*seen, oid).is_some();
    assert!(stored.iter().flatten().all(is_there), "an acknowledged commit is lost");
}

// C11, R1
#[test]
fn closing_lets_racing_commits_pass_or_refuses_them() {
    explore("two that commit while one closes", || close_beside_commits(false));
}

// The housekeeper is woken, waits for its turn, and ends when the storage closes.
#[test]
fn a_housekeeper_at_work_gets_into_nobodys_way() {
    explore("the same beside a housekeeper", || close_beside_commits(true));
}
