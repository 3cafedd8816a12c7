//! What readers see while others publish: the marks, the index, the tables.

use super::{explore_storages, together};
use crate::kit::{create, definition, found, new_oid, snapshot, text, work};
use perennial::format::TypeDef;
use perennial::storage::Storage;
use perennial::{Oid, Tid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Stores both objects again and again, always with the same text.
fn write_both(storage: &dyn Storage, [one, other]: [Oid; 2], mut base: Tid) {
    for number in 1..4 {
        let text = number.to_string();
        base = work(storage).put(one, base, &text).put(other, base, &text).commit().tid;
    }
}

fn read_both(storage: &dyn Storage, [one, other]: [Oid; 2]) {
    let mut before = Tid::ZERO;
    for _ in 0..3 {
        let last = storage.last_tid();
        let seen = snapshot(storage);
        assert!(seen.tid() >= last && seen.tid() >= before, "time runs back");
        before = seen.tid();
        // In the other order than they were written in.
        let [two, first] = [other, one].map(|oid| found(&*seen, oid));
        assert_eq!(two.data, first.data, "half of a transaction is seen");
        assert_eq!([two.tid, first.tid], [seen.tid(); 2], "the newest revision is not seen");
    }
}

// M3, R2
#[test]
fn a_snapshot_shows_all_of_a_transaction_and_all_before_it() {
    explore_storages("two readers beside a writer", |storage| {
        let [one, other] = [new_oid(&*storage), new_oid(&*storage)];
        let base = work(&*storage).put(one, Tid::ZERO, "0").put(other, Tid::ZERO, "0").commit().tid;
        let (writer, both) = (storage.clone(), [one, other]);
        let reader = |storage: Arc<dyn Storage>| -> Box<dyn FnOnce() + Send> {
            Box::new(move || read_both(&*storage, both))
        };
        together(vec![
            Box::new(move || write_both(&*writer, both, base)),
            reader(storage.clone()),
            reader(storage),
        ]);
    });
}

// R8, R2
#[test]
fn new_objects_have_oids_of_their_own_and_are_found_while_the_index_grows() {
    explore_storages("threads that create", |storage| {
        let create_some = |storage: Arc<dyn Storage>| -> Box<dyn FnOnce() -> Vec<Oid> + Send> {
            Box::new(move || {
                let text_of = |n: usize| format!("object {n}");
                let create_one = |n: usize| create(&*storage, &text_of(n)).0;
                let created: Vec<_> = (0..4).map(create_one).collect();
                let seen = snapshot(&*storage);
                for (number, &oid) in created.iter().enumerate() {
                    assert_eq!(text(&*seen, oid), Some(text_of(number)), "it was acknowledged");
                }
                created
            })
        };
        let created = together((0..3).map(|_| create_some(storage.clone())).collect());
        assert_eq!(created.iter().flatten().collect::<BTreeSet<_>>().len(), 12);
    });
}

// Who names a type first gives it its number; who comes second finds that.
#[test]
fn a_type_that_two_name_first_has_one_number() {
    explore_storages("threads that name types", |storage| {
        let name = |storage: Arc<dyn Storage>| -> Box<dyn FnOnce() -> [u32; 3] + Send> {
            Box::new(move || {
                ["a", "b", "a"].map(|name| {
                    let named = TypeDef { name: name.into(), ..definition() };
                    let id = storage.intern(&named).unwrap();
                    assert_eq!(*storage.type_def(id).unwrap(), named);
                    id.0
                })
            })
        };
        let numbers = together((0..3).map(|_| name(storage.clone())).collect());
        assert!(numbers.iter().all(|same| *same == numbers[0]), "{numbers:?}");
    });
}
