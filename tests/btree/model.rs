//! Trees that equal the map of the standard library, whatever is done to both.

use super::kit::{Change, Model, again, change, contents, facts, key, reload, sound, tree, user};
use crate::support::databases::{everywhere, storages};
use perennial::{Database, Settings};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The changes of one transaction, and whether it is committed.
fn round() -> impl Strategy<Value = (Vec<Change>, bool)> {
    (vec(change(120), 0..12), prop::bool::weighted(0.8))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // X1, and X7: a transaction stores something exactly if the map is another one afterwards
    #[test]
    fn a_tree_equals_the_map_that_had_the_same_changes(rounds in vec(round(), 1..12)) {
        for (storage, home) in storages() {
            let db = Database::with_storage(storage.clone(), &Settings::default());
            let tree = tree(&db, []);
            let mut model = Model::new();
            for (changes, committed) in &rounds {
                let (last, mut next) = (db.last_tid(), model.clone());
                let (mut transaction, conn) = user(&db);
                for change in changes {
                    change.apply(&conn, tree, &mut next);
                    sound(&conn, tree);
                }
                prop_assert_eq!(tree.iter(&conn).collect::<perennial::Result<Model>>().unwrap(), next.clone());
                if *committed {
                    transaction.commit().unwrap();
                    if model == next && changes.len() == 1 {
                        prop_assert_eq!(db.last_tid(), last, "stored, and nothing changed");
                    }
                    prop_assert!(model == next || db.last_tid() > last, "changed, and not stored");
                    model = next;
                } else {
                    transaction.abort().unwrap();
                }
                prop_assert_eq!(facts(&db, tree).entries, model.len());
                prop_assert_eq!(contents(&db, tree), model.clone());
            }
            drop(db);
            let (_storage, db) = reload(storage, &home);
            let tree = again(tree);
            prop_assert_eq!(facts(&db, tree).entries, model.len());
            prop_assert_eq!(contents(&db, tree), model);
        }
    }
}

// X1
#[test]
fn ends_and_numbers_are_those_of_the_map() {
    everywhere(|db| {
        let all = tree(db, 0..100);
        let none = tree(db, []);
        db.view(|view| {
            assert_eq!(all.first(view)?, Some((key(0), 0)));
            assert_eq!(all.last(view)?, Some((key(99), 99)));
            assert_eq!((all.len(view)?, all.is_empty(view)?), (100, false));
            assert!(all.contains_key(view, &*key(7))? && !all.contains_key(view, "7")?);
            assert_eq!((none.first(view)?, none.last(view)?), (None, None));
            assert_eq!((none.len(view)?, none.is_empty(view)?), (0, true));
            Ok(())
        })
        .unwrap();
    });
}

// X1
#[test]
fn a_tree_grows_and_shrinks_by_levels() {
    everywhere(|db| {
        let tree = tree(db, 0..300);
        assert!(facts(db, tree).depth >= 4, "the keys are long enough for a deep tree");

        for number in (0..300).rev() {
            db.transact(|conn| tree.remove(conn, &*key(number))).unwrap();
        }

        let facts = facts(db, tree);
        assert_eq!((facts.depth, facts.leaves, facts.inner_nodes), (1, 1, 0));
    });
}

// X1
#[test]
fn no_empty_leaf_stays_in_a_tree_whose_keys_are_removed_in_any_order() {
    let db = Database::in_memory().unwrap();
    for step in [1, 7, 13, 29, 101] {
        let tree = tree(&db, 0..200);
        let order: Vec<u32> = (0..200).map(|n| n * step % 200).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 200, "{step} reaches all");
        for number in order {
            db.transact(|conn| tree.remove(conn, &*key(number))).unwrap();
            let facts = facts(&db, tree);
            assert!(facts.empty_leaves == 0 || facts.leaves == 1, "{facts:?}");
        }
    }
}

// S1
#[test]
fn a_rollback_also_undoes_splits_and_joins() {
    everywhere(|db| {
        let tree = tree(db, 0..40);
        let (mut transaction, conn) = user(db);
        tree.remove(&conn, &*key(3)).unwrap();
        let here = transaction.savepoint().unwrap();
        for number in 0..30 {
            tree.remove(&conn, &*key(number)).unwrap();
            tree.insert(&conn, key(100 + number), 0).unwrap();
        }
        sound(&conn, tree);

        here.rollback().unwrap();

        assert_eq!(sound(&conn, tree).entries, 39);
        transaction.commit().unwrap();
        let numbers: Vec<u32> = super::kit::numbers(db, tree);
        assert_eq!(numbers, (0..40).filter(|&n| n != 3).collect::<Vec<_>>());
    });
}

// U1
#[test]
fn a_tree_can_be_read_as_it_was() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, 0..50);
    let then = db.last_tid();

    db.transact(|conn| tree.clear(conn)).unwrap();

    assert_eq!(facts(&db, tree).entries, 0);
    assert_eq!(db.view_at(then, |view| Ok(sound(view, tree).entries)).unwrap(), 50);
}
