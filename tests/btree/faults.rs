//! Trees with something missing, or out of place: found, named, and never taken for an answer.

use super::nodes::{Body, Node, Numbers};
use crate::support::databases::{loose, storages};
use crate::support::managers::{Cell, Journal};
use perennial::storage::{Batch, Load, Storage, Verdict};
use perennial::{Connection, Database, Error, Oid, Result, Settings, Tid};
use std::sync::Arc;

/// A tree of a root and some leaves.
fn tree(db: &Database) -> (Numbers, Vec<Oid>) {
    let tree = db
        .transact(|conn| {
            let tree = Numbers::create(conn)?;
            tree.extend(conn, (0..2_000).map(|number| (number, 1)))?;
            Ok(tree)
        })
        .unwrap();
    let mut root = db.view(|view| Ok(Node::clone(&*view.get(loose::<Node>(tree.oid()))?))).unwrap();
    let leaves: Vec<Oid> = root.children().iter().map(|(_, child)| child.oid()).collect();
    assert!(leaves.len() > 3);
    (tree, leaves)
}

/// Removes an object that is still referred to, which no connection would do.
fn remove(storage: &Arc<dyn Storage>, oid: Oid) {
    let snapshot = storage.snapshot().unwrap();
    let Load::Found(revision) = snapshot.load(oid).unwrap() else {
        panic!("there is no object {oid}");
    };
    let base: Tid = revision.tid;
    let mut batch = Batch::default();
    batch.remove(oid, base, false);
    assert!(matches!(storage.commit(&Arc::new(batch)).unwrap(), Verdict::Passed(_)));
}

// X6, C2
#[test]
fn a_missing_leaf_is_an_error_that_names_it_and_never_a_missing_key() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (tree, leaves) = tree(&db);
        remove(&storage, leaves[0]);
        let missing = |error: Error| {
            let Error::NotFound(missing) = &error else { panic!("{error}") };
            (missing.oid, missing.referrer) == (leaves[0], Some(tree.oid()))
        };
        let fails = |result: Result<bool>| missing(result.unwrap_err());

        db.view(|view| {
            assert!(fails(tree.get(view, &1).map(|value| value.is_some())));
            assert!(fails(tree.contains_key(view, &1)));
            assert!(fails(tree.first(view).map(|entry| entry.is_some())));
            assert!(fails(tree.len(view).map(|count| count > 0)));
            assert!(fails(tree.is_empty(view)));
            let shown: Vec<_> = tree.iter(view).rev().collect();
            assert!(shown.len() > 1 && shown[..shown.len() - 1].iter().all(Result::is_ok));
            assert!(tree.last(view)?.is_some(), "the other leaves are there");
            let faults = tree.check(view)?.faults;
            assert!(matches!(&faults[..], [one] if one.oid == leaves[0]), "{faults:?}");
            Ok(())
        })
        .unwrap();
        assert!(fails(db.transact(|conn| tree.insert(conn, 1, 1).map(|value| value.is_some()))));
        assert!(fails(db.transact(|conn| tree.remove(conn, &1).map(|value| value.is_some()))));
        assert!(fails(db.transact(|conn| tree.clear(conn).map(|()| true))));
    }
}

// X6
#[test]
fn a_missing_root_is_an_error_that_names_it() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (tree, _) = tree(&db);
        remove(&storage, tree.oid());

        for error in [
            db.view(|view| tree.get(view, &1)).unwrap_err(),
            db.view(|view| tree.check(view)).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound(missing) if missing.oid == tree.oid()));
        }
    }
}

// X6: a change that ends half way must not be committed, even by those who ignore its error
#[test]
fn an_error_in_the_middle_of_a_change_of_several_objects_fails_the_transaction() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (tree, leaves) = tree(&db);
        remove(&storage, leaves[1]);
        let (mut transaction, conn) = super::kit::user(&db);

        // Joining what is left of the first leaf needs its neighbour.
        let error = (0..2_000).find_map(|number| tree.remove(&conn, &number).err()).unwrap();

        assert!(matches!(error, Error::NotFound(missing) if missing.oid == leaves[1]));
        assert!(matches!(transaction.commit(), Err(Error::TransactionFailed(_))));
        transaction.abort().unwrap();
        assert_eq!(db.view(|view| tree.get(view, &0)).unwrap(), Some(1));
    }
}

// X6, T14: also where the change is made while managers flush, and the error goes no further
#[test]
fn an_error_in_the_middle_of_a_change_fails_the_transaction_also_in_a_flush() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let (tree, leaves) = tree(&db);
        remove(&storage, leaves[1]);
        let (mut transaction, conn) = super::kit::user(&db);
        let cell = Cell::new("a", &Journal::default());
        cell.set(transaction.manager(), 1).unwrap();
        cell.on_flush(move || {
            let failed = (0..2_000).find_map(|number| tree.remove(&conn, &number).err());
            assert!(matches!(failed, Some(Error::NotFound(_) | Error::TransactionFailed(_))));
            false
        });

        let error = transaction.commit().unwrap_err();

        let Error::TransactionFailed(failed) = &error else { panic!("{error}") };
        assert!(failed.cause.contains(&leaves[1].to_string()), "{failed}");
        drop(transaction);
        assert_eq!(cell.committed(), 0);
        assert_eq!(db.view(|view| tree.get(view, &0)).unwrap(), Some(1));
    }
}

type Breakage = fn(&mut Node, &mut Node);

/// What can be wrong with a tree: how a root and its second leaf get there, and what check says.
const BREAKAGES: [(Breakage, &str); 14] = [
    (|_, leaf| leaf.entries().swap(0, 1), "its keys are out of order"),
    (|_, leaf| leaf.entries()[0].0 = 0, "it has keys that it does not answer for"),
    (|_, leaf| leaf.entries().last_mut().unwrap().0 = 1_999, "that it does not answer for"),
    (|_, leaf| leaf.low = Some(3), "it answers for other keys than its parent says"),
    (|_, leaf| leaf.high = None, "it answers for other keys than its parent says"),
    (|_, leaf| leaf.weight += 1, "bytes, and says"),
    (|_, leaf| leaf.body = Body::Unlinked, "it was taken out of the tree"),
    (|root, _| root.children().swap(1, 2), "its children are out of order"),
    (|root, _| root.children().truncate(0), "it has no child for its first keys"),
    (|root, _| root.children()[2].1 = root.children()[1].1, "a second way leads to it"),
    (|root, _| root.children()[0].0 = Some(0), "it has no child for its first keys"),
    (
        |root, _| {
            let Body::Inner { level, .. } = &mut root.body else { panic!("a leaf") };
            *level = 0;
        },
        "it has children, on the level of leaves",
    ),
    (
        |_, leaf| leaf.body = Body::Inner { level: 0, children: Vec::new() },
        "it has children, on the level of leaves",
    ),
    (|root, leaf| (root.weight, leaf.weight) = (u64::MAX, u64::MAX), "bytes, and says"),
];

/// A tree that is broken so.
fn broken(db: &Database, breakage: Breakage) -> (Numbers, Vec<Oid>) {
    let (tree, leaves) = tree(db);
    assert!(db.view(|view| tree.check(view)).unwrap().is_sound());
    let (root, leaf) = (loose::<Node>(tree.oid()), loose::<Node>(leaves[1]));
    db.transact(|conn| {
        let [mut top, mut second] =
            [Node::clone(&*conn.get(root)?), Node::clone(&*conn.get(leaf)?)];
        breakage(&mut top, &mut second);
        conn.modify(root, |node| *node = top)?;
        conn.modify(leaf, |node| *node = second)
    })
    .unwrap();
    (tree, leaves)
}

// X1: check is not fooled
#[test]
fn check_finds_what_is_wrong_and_names_the_object() {
    for (breakage, what) in BREAKAGES {
        let db = Database::in_memory().unwrap();
        let (tree, leaves) = broken(&db, breakage);

        let faults = db.view(|view| tree.check(view)).unwrap().faults;

        let found = faults.iter().find(|fault| fault.what.contains(what));
        let found = found.unwrap_or_else(|| panic!("{what}: {faults:?}"));
        assert!(found.oid == tree.oid() || leaves.contains(&found.oid));
        assert!(found.to_string().contains(&found.oid.to_string()));
    }
}

// X6: what is changed is looked at first
#[test]
fn nothing_is_put_into_what_is_no_leaf() {
    let bodies = [
        Body::Unlinked,
        Body::Inner { level: 0, children: vec![] },
        Body::Inner { level: 1, children: vec![] },
    ];
    for body in bodies {
        let db = Database::in_memory().unwrap();
        let (tree, leaves) = tree(&db);
        let second = loose::<Node>(leaves[1]);
        db.transact(|conn| conn.modify(second, |leaf| leaf.body = body.clone())).unwrap();
        let key = db.view(|view| Ok(view.get(second)?.low.unwrap())).unwrap();
        let named =
            |error: Error| matches!(error, Error::Codec(failure) if failure.oid == Some(leaves[1]));

        let before = db.last_tid();
        assert!(named(db.transact(|conn| tree.insert(conn, key, 1)).unwrap_err()));
        assert!(named(db.transact(|conn| tree.extend(conn, [(key, 1)])).unwrap_err()));
        assert!(named(db.transact(|conn| tree.remove(conn, &key)).unwrap_err()));
        assert!(named(db.view(|view| tree.get(view, &key)).unwrap_err()));
        assert_eq!(db.last_tid(), before);
    }
}

type Change<'a> = &'a dyn Fn(&Connection) -> Result<()>;

// X6: whatever the file holds, a tree answers or says what is wrong
#[test]
fn a_broken_tree_ends_every_call() {
    for (breakage, _) in BREAKAGES {
        let db = Database::in_memory().unwrap();
        let (tree, _) = broken(&db, breakage);
        db.view(|view| {
            assert!(tree.iter(view).count() <= 4_000);
            assert!(tree.iter(view).rev().count() <= 4_000);
            Ok(())
        })
        .unwrap();
        let changes: [Change<'_>; 4] = [
            &|conn| (0..2_000).try_for_each(|number| tree.remove(conn, &number).map(drop)),
            &|conn| (0..2_000).try_for_each(|number| tree.insert(conn, number, 2).map(drop)),
            &|conn| tree.extend(conn, (0..9_000).map(|number| (number % 3_000, number.into()))),
            &|conn| tree.clear(conn),
        ];
        for change in changes {
            let (mut transaction, conn) = super::kit::user(&db);
            let _ = change(&conn);
            transaction.abort().unwrap();
        }
    }
}
