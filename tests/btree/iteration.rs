//! Iterating over a tree while it changes.

use super::kit::{Change, Model, change, key, tree, user};
use perennial::Database;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

// X5
#[test]
fn every_key_can_be_removed_when_the_iterator_comes_to_it() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, 0..100);
    let (mut transaction, conn) = user(&db);

    let mut seen = Vec::new();
    for entry in tree.iter(&conn) {
        let (key, value) = entry.unwrap();
        assert_eq!(tree.remove(&conn, &key).unwrap(), Some(value));
        seen.push(value);
    }

    assert!(seen.into_iter().eq(0..100));
    assert!(tree.is_empty(&conn).unwrap());
    transaction.commit().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // X5
    #[test]
    fn iterating_while_the_tree_changes_skips_and_repeats_nothing(
        steps in vec((any::<bool>(), vec(change(80), 0..4)), 0..60)
    ) {
        let db = Database::in_memory().unwrap();
        let tree = tree(&db, (0..80).step_by(2));
        let (_transaction, conn) = user(&db);
        let mut model: Model = (0..80).step_by(2).map(|n| (key(n), u64::from(n))).collect();
        // There throughout; there at some time.
        let mut stayed: BTreeSet<String> = model.keys().cloned().collect();
        let mut ever = stayed.clone();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let mut keys = tree.keys(&conn);
        for (is_front, changes) in &steps {
            let taken = if *is_front { keys.next() } else { keys.next_back() };
            let taken = taken.transpose().unwrap();
            if *is_front { front.extend(taken) } else { back.extend(taken) }
            for change in changes.iter().filter(|change| !matches!(change, Change::Clear)) {
                change.apply(&conn, tree, &mut model);
                stayed.retain(|key| model.contains_key(key));
                ever.extend(model.keys().cloned());
            }
        }
        front.extend(keys.map(|key| key.unwrap()));
        front.extend(back.into_iter().rev());

        prop_assert!(front.is_sorted_by(|a, b| a < b), "in order, and each once");
        let shown: BTreeSet<String> = front.into_iter().collect();
        prop_assert!(shown.is_superset(&stayed), "none that was there throughout is skipped");
        prop_assert!(shown.is_subset(&ever));
    }
}

// X5
#[test]
fn an_iterator_of_a_view_shows_the_state_of_the_view() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, 0..60);

    let shown = db
        .view(|view| {
            let mut keys = tree.keys(view);
            let first = keys.next().transpose()?;
            db.transact(|conn| tree.clear(conn))?;
            Ok(first.into_iter().chain(keys.map(|key| key.unwrap())).count())
        })
        .unwrap();

    assert_eq!(shown, 60);
}
