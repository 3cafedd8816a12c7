//! Trees whose nodes hold more or less than this version would put into them, as another version
//! may have left them.

use super::kit::user;
use super::nodes::{Body, Node, Numbers};
use crate::support::databases::loose;
use perennial::{Connection, Database, Ref, Result};
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

type Model = BTreeMap<u32, u64>;

fn weight<T: Serialize>(parts: &[T]) -> u64 {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    for part in parts {
        perennial::codec::encode("part", part, 0, &mut bytes, &mut references).unwrap();
    }
    bytes.len() as u64
}

/// A node from `low` to `high`.
fn node(low: Option<u32>, high: Option<u32>, body: Body) -> Node {
    let weight = match &body {
        Body::Leaf(entries) => weight(entries),
        Body::Inner { children, .. } => weight(children),
        Body::Unlinked => 0,
    };
    Node { low, high, weight, body }
}

/// Nodes above `below`, which begin and are where it says, of so many children each.
fn level(
    conn: &Connection,
    level: u32,
    below: &[(Option<u32>, Ref<Node>)],
    children: usize,
) -> Result<Vec<(Option<u32>, Ref<Node>)>> {
    let groups = below.chunks(children);
    let highs = below.iter().step_by(children).skip(1).map(|(low, _)| *low).chain([None]);
    let above = groups.zip(highs).map(|(group, high)| {
        let (low, children) = (group[0].0, group.to_vec());
        Ok((low, conn.add(node(low, high, Body::Inner { level, children }))?))
    });
    above.collect()
}

/// A tree of leaves with so many entries each, below inner nodes with so many children.
fn tree(db: &Database, fills: &[usize], children: usize) -> (Numbers, Model) {
    let tree = db.transact(Numbers::create).unwrap();
    let model = (0..fills.iter().sum::<usize>() as u32).map(|number| (2 * number, 1)).collect();
    db.transact(|conn| {
        let mut entries = Model::into_iter(Model::clone(&model)).peekable();
        let (mut nodes, mut low) = (Vec::new(), None);
        for &fill in fills {
            let held: Vec<_> = entries.by_ref().take(fill).collect();
            let high = entries.peek().map(|(key, _)| *key);
            nodes.push((low, conn.add(node(low, high, Body::Leaf(held)))?));
            low = high;
        }
        let mut depth = 1;
        while nodes.len() > children {
            nodes = level(conn, depth, &nodes, children)?;
            depth += 1;
        }
        let root = node(None, None, Body::Inner { level: depth, children: nodes });
        conn.modify(loose::<Node>(tree.oid()), |old| *old = root)
    })
    .unwrap();
    (tree, model)
}

fn contents(db: &Database, tree: Numbers) -> Model {
    let facts = db.view(|view| tree.check(view)).unwrap();
    assert!(facts.is_sound(), "{:?}", facts.faults);
    db.view(|view| tree.iter(view).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // X1, X2
    #[test]
    fn a_tree_of_nodes_of_any_fill_does_what_a_map_does(
        fills in prop::collection::vec(prop_oneof![1..4usize, 16..17usize, 200..700usize, 3_000..3_001usize], 2..12),
        children in prop_oneof![2..4usize, 40..41usize],
        changes in prop::collection::vec((0..8_000u32, prop::option::of(0..9u64)), 1..300),
    ) {
        let db = Database::in_memory().unwrap();
        let (tree, mut model) = tree(&db, &fills, children);
        prop_assert_eq!(&contents(&db, tree), &model);
        let (mut transaction, conn) = user(&db);
        for (key, value) in changes {
            prop_assert_eq!(tree.get(&conn, &key).unwrap(), model.get(&key).copied());
            match value {
                Some(value) => assert_eq!(tree.insert(&conn, key, value).unwrap(), model.insert(key, value)),
                None => assert_eq!(tree.remove(&conn, &key).unwrap(), model.remove(&key)),
            }
        }
        transaction.commit().unwrap();
        prop_assert_eq!(contents(&db, tree), model);
    }
}

// X1
#[test]
fn nodes_that_were_too_full_are_split_and_those_nearly_empty_joined_when_they_change() {
    let db = Database::in_memory().unwrap();
    let leaves = |tree: Numbers| db.view(|view| tree.check(view)).unwrap().leaves;
    let (large, _) = tree(&db, &[5_000, 5_000], 40);
    let (tiny, model) = tree(&db, &[1; 60], 40);

    db.transact(|conn| large.insert(conn, 1, 1)).unwrap();
    db.transact(|conn| model.keys().take(30).try_for_each(|key| tiny.remove(conn, key).map(drop)))
        .unwrap();

    assert!(leaves(large) > 10, "the first of its leaves was split");
    assert!(leaves(tiny) < 30, "what was emptied is gone, and neighbours are joined");
}
