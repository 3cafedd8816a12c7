//! A promise that is kept or taken back while others want what it reserves.

use super::{explore_storages, together};
use crate::kit::{create, snapshot, text, work};
use perennial::GlobalId;
use perennial::storage::{Intent, Storage, Verdict};
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
