//! What changes cost: in objects written, in leaves, in work.

use super::kit::{facts, key, sound, tree};
use crate::support::databases::storages;
use perennial::collections::BTree;
use perennial::storage::Storage;
use perennial::{Connection, Database, Result, Settings};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::cmp::Ordering;

/// How many objects a transaction that runs `work` stores.
fn stored(storage: &dyn Storage, db: &Database, work: impl Fn(&Connection) -> Result<()>) -> usize {
    let before = db.last_tid();
    db.transact(|conn| work(conn)).unwrap();
    let transactions = storage.transactions(before, db.last_tid()).unwrap();
    transactions.map(|transaction| transaction.unwrap().records.len()).sum()
}

// X3
#[test]
fn changing_one_value_stores_one_leaf() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let tree = tree(&db, 0..300);
        let change =
            |number| stored(&*storage, &db, |conn| tree.insert(conn, key(number), 1000).map(drop));
        assert!((0..300).all(|number| change(number) == 1));
    }
}

// X7
#[test]
fn what_changes_nothing_stores_nothing() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (some, none) = (tree(&db, 0..50), tree(&db, []));
        let stored = |work: &dyn Fn(&Connection) -> Result<()>| stored(&*storage, &db, work);

        assert_eq!(stored(&|conn| some.insert(conn, key(7), 7).map(drop)), 0);
        assert_eq!(stored(&|conn| some.remove(conn, &*key(70)).map(drop)), 0);
        assert_eq!(stored(&|conn| some.update(conn, key(7), |value| value)), 0);
        assert_eq!(stored(&|conn| some.update(conn, key(70), |value| value)), 0);
        assert_eq!(stored(&|conn| some.extend(conn, (5..9).map(|n| (key(n), u64::from(n))))), 0);
        assert_eq!(stored(&|conn| some.extend(conn, [])), 0);
        assert_eq!(stored(&|conn| none.clear(conn)), 0);
        assert_eq!(stored(&|conn| some.update(conn, key(7), |_| Some(8))), 1, "this one does");
    }
}

// X3
#[test]
fn keys_that_come_in_order_fill_leaves_as_a_bulk_load_does() {
    let db = Database::in_memory().unwrap();
    let numbers = 0..5_000u32;
    let [inserted, loaded, shuffled] =
        [0; 3].map(|_| db.transact(BTree::<u32, u64>::create).unwrap());

    for number in numbers.clone() {
        db.transact(|conn| inserted.insert(conn, number, 1)).unwrap();
    }
    db.transact(|conn| loaded.extend(conn, numbers.clone().map(|number| (number, 1)))).unwrap();
    db.transact(|conn| {
        numbers
            .clone()
            .try_for_each(|number| shuffled.insert(conn, number * 1_237 % 5_000, 1).map(drop))
    })
    .unwrap();

    let leaves = |tree: BTree<u32, u64>| {
        let facts = db.view(|view| tree.check(view)).unwrap();
        assert!(facts.is_sound() && facts.entries == 5_000, "{facts:?}");
        facts.leaves
    };
    assert_eq!(leaves(inserted), leaves(loaded));
    assert!(leaves(shuffled) > leaves(loaded));
    assert!(leaves(shuffled) < 2 * leaves(loaded) + 2, "leaves are half full at least");
}

thread_local! {
    static WORK: Cell<u64> = const { Cell::new(0) };
}

/// A key that counts how often it is compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Counted(u32);

impl Ord for Counted {
    fn cmp(&self, other: &Counted) -> Ordering {
        WORK.set(WORK.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Counted {}

fn work(run: impl FnOnce()) -> u64 {
    let before = WORK.get();
    run();
    WORK.get() - before
}

// X3
#[test]
fn a_bulk_load_is_far_less_work_than_inserting() {
    let db = Database::in_memory().unwrap();
    let entries = || (0..20_000u32).map(|number| (Counted(number), ()));
    let load = || db.transact(|conn| BTree::create(conn)?.extend(conn, entries())).unwrap();
    let insert = || {
        db.transact(|conn| {
            let tree = BTree::create(conn)?;
            entries().try_for_each(|(key, ())| tree.insert(conn, key, ()).map(drop))
        })
        .unwrap();
    };

    assert!(3 * work(load) < work(insert));
}

// X3
#[test]
fn many_keys_can_be_added_to_what_is_there() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, (0..400).step_by(7));

    db.transact(|conn| tree.extend(conn, (0..300).rev().map(|n| (key(n), 1)))).unwrap();

    let facts = facts(&db, tree);
    assert_eq!(facts.entries, 300 + (301..400).step_by(7).count());
    db.view(|view| {
        sound(view, tree);
        assert_eq!(tree.get(view, &*key(7))?, Some(1), "what comes in counts");
        assert_eq!(tree.get(view, &*key(301))?, Some(301));
        Ok(())
    })
    .unwrap();
}
