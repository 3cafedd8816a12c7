//! A promise that is kept or taken back while others want what it reserves.

use super::{explore, explore_storages, open, together};
use crate::kit::{create, snapshot, text, work};
use crate::support::sim::SimDisk;
use perennial::storage::{Intent, Storage, TwoPhase, Verdict};
use perennial::{GlobalId, Tid};
use std::sync::Arc;

/// One promises to change an object and then does so, or not; the other changes it.
fn promise_beside_a_change(storage: Arc<dyn Storage>, kept: bool) {
    let (oid, base) = create(&*storage, "before");
    let (promising, changing) = (storage.clone(), storage.clone());
    let passed = together::<Option<&str>>(vec![
        Box::new(move || {
            let batch = Arc::new(work(&*promising).put(oid, base, "promised").into_batch());
            let intent = Intent { gtid: GlobalId::random().unwrap(), coordinator: None };
            match promising.prepare(&batch, &intent).unwrap() {
                Verdict::Conflicts(_) => None,
                Verdict::Passed(promise) if kept => {
                    promise.finish().map(|_| Some("promised")).unwrap()
                }
                Verdict::Passed(promise) => promise.abort().map(|()| None).unwrap(),
            }
        }),
        Box::new(move || match work(&*changing).put(oid, base, "changed").verdict() {
            Verdict::Passed(_) => Some("changed"),
            Verdict::Conflicts(_) => None,
        }),
    ]);
    let after = text(&*snapshot(&*storage), oid).unwrap();
    match passed[..] {
        [Some(_), Some(_)] => panic!("both passed"),
        [Some(passed), None] | [None, Some(passed)] => assert_eq!(after, passed),
        _ => assert_eq!(after, "before"),
    }
}

// M5, T16
#[test]
fn what_is_promised_is_changed_by_nobody_else() {
    explore_storages("a promise that is kept", |storage| promise_beside_a_change(storage, true));
    explore_storages("one taken back", |storage| promise_beside_a_change(storage, false));
}

/// A promise makes room for what will keep it, while housekeeping writes zeros ahead of the log.
fn promise_beside_housekeeping() {
    let disk = SimDisk::new();
    let storage = Arc::new(open(&disk));
    let (oid, base) = create(&*storage, "before");
    let (promising, tending) = (storage.clone(), storage.clone());
    together::<()>(vec![
        Box::new(move || {
            let batch = Arc::new(work(&*promising).put(oid, base, "promised").into_batch());
            let intent = Intent { gtid: GlobalId::random().unwrap(), coordinator: None };
            let Verdict::Passed(promise) = promising.prepare(&batch, &intent).unwrap() else {
                panic!("nobody else changes it")
            };
            let (other, _) = create(&*promising, "beside it");
            promise.finish().unwrap();
            let seen = snapshot(&*promising);
            assert_eq!(text(&*seen, oid).as_deref(), Some("promised"));
            assert_eq!(text(&*seen, other).as_deref(), Some("beside it"));
        }),
        Box::new(move || (0..2).for_each(|_| assert!(tending.tend().is_ok()))),
    ]);
    storage.close().unwrap();
    let reopened = open(&disk);
    assert_eq!(text(&*snapshot(&reopened), oid).as_deref(), Some("promised"));
    assert_eq!(reopened.transactions(Tid::ZERO, Tid::MAX).unwrap().count(), 3);
}

// Both wrote zeros from one place on; who was done first let frames in, which the other zeroed.
#[test]
fn no_zero_is_written_over_a_frame() {
    explore("a promise beside housekeeping", promise_beside_housekeeping);
}
