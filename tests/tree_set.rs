//! Laws of sets.

use crate::support::databases::everywhere;
use perennial::collections::TreeSet;
use perennial::{Database, Result};
use proptest::collection::btree_set;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Model = BTreeSet<String>;

/// Keys so long that few fill a leaf.
fn keys(upto: usize) -> impl Strategy<Value = Model> {
    btree_set((0..40u32).prop_map(|number| format!("{number:0>600}")), 0..upto)
}

fn set(db: &Database, keys: &Model) -> TreeSet<String> {
    db.transact(|conn| {
        let set = TreeSet::create(conn)?;
        set.extend(conn, keys.iter().cloned())?;
        Ok(set)
    })
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // X8
    #[test]
    fn operations_of_two_sets_are_those_of_the_model(a in keys(30), b in keys(30), none in keys(1)) {
        let db = Database::in_memory().unwrap();
        for (a, b) in [(&a, &b), (&a, &none), (&none, &b), (&none, &none), (&a, &a)] {
            let (left, right) = (set(&db, a), set(&db, b));
            db.view(|view| {
                let union: Vec<String> = left.union(view, right).collect::<Result<_>>()?;
                assert!(union.iter().eq(a.union(b)));
                let both: Vec<String> = left.intersection(view, right).collect::<Result<_>>()?;
                assert!(both.iter().eq(a.intersection(b)));
                let left_only: Vec<String> = left.difference(view, right).collect::<Result<_>>()?;
                assert!(left_only.iter().eq(a.difference(b)));
                let one: Vec<String> =
                    left.symmetric_difference(view, right).collect::<Result<_>>()?;
                assert!(one.iter().eq(a.symmetric_difference(b)));
                Ok(())
            })
            .unwrap();
        }
    }

    // X1, X2
    #[test]
    fn a_set_equals_the_model(a in keys(30), b in keys(30)) {
        let db = Database::in_memory().unwrap();
        let set = set(&db, &a);
        let mut model = a.clone();
        db.transact(|conn| {
            model = a.clone();
            for key in &b {
                assert_eq!(set.contains(conn, key)?, model.contains(key));
                if key.ends_with(['1', '3', '5']) {
                    assert_eq!(set.insert(conn, key.clone())?, model.insert(key.clone()));
                } else {
                    assert_eq!(set.remove(conn, key)?, model.remove(key));
                }
            }
            Ok(())
        })
        .unwrap();
        db.view(|view| {
            assert!(set.check(view)?.is_sound());
            assert_eq!(set.iter(view).collect::<Result<Model>>()?, model.clone());
            assert_eq!((set.len(view)?, set.is_empty(view)?), (model.len(), model.is_empty()));
            assert_eq!(set.first(view)?.as_ref(), model.first());
            assert_eq!(set.last(view)?.as_ref(), model.last());
            if let (Some(low), Some(high)) = (b.first(), b.last()) {
                let found: Vec<String> =
                    set.range::<String>(view, low..=high).collect::<Result<_>>()?;
                assert!(found.iter().eq(model.range::<String, _>(low..=high)));
            }
            Ok(())
        })
        .unwrap();
        db.transact(|conn| set.clear(conn)).unwrap();
        assert!(db.view(|view| set.is_empty(view)).unwrap());
    }
}

// X7
#[test]
fn putting_in_what_is_there_stores_nothing() {
    everywhere(|db| {
        let set = set(db, &["a", "b"].map(String::from).into());
        let last = db.last_tid();

        assert!(!db.transact(|conn| set.insert(conn, "a".into())).unwrap());
        assert!(!db.transact(|conn| set.remove(conn, "c")).unwrap());

        assert_eq!(db.last_tid(), last);
    });
}
