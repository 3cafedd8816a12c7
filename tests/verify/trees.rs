//! Trees on disk with something wrong in them, and objects that nothing leads to.

use crate::btree::nodes::{Body, Node};
use crate::support::databases::loose;
use perennial::collections::{BTree, TreeSet, verify};
use perennial::file::MemoryDirectory;
use perennial::storage::file::{FindingKind, Verification};
use perennial::{Database, Persistent, Ref};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::sync::Arc;

const NAME: &str = "trees.db";

#[derive(Clone, Serialize, Deserialize)]
struct Holder<T> {
    tree: T,
}

macro_rules! holder {
    ($($tree:ty = $name:literal),+) => {
        $(impl Persistent for Holder<$tree> {
            const NAME: &'static str = $name;
        })+
    };
}

holder!(
    BTree<u32, u64> = "trees.Numbers",
    BTree<Reverse<i64>, String> = "trees.Reversed",
    BTree<(String, Option<u8>), Vec<u8>> = "trees.Tuples",
    BTree<Vec<u16>, ()> = "trees.Lists",
    TreeSet<String> = "trees.Set"
);

fn open(directory: &Arc<MemoryDirectory>) -> Database {
    Database::options().directory(directory.clone()).open(NAME).unwrap()
}

fn verified(directory: &MemoryDirectory) -> Verification {
    verify(directory, NAME, &mut |_, _| {}).unwrap()
}

#[test]
fn sound_trees_of_any_keys_are_sound() {
    let directory = Arc::new(MemoryDirectory::new());
    let db = open(&directory);
    db.transact(|conn| {
        let numbers = BTree::<u32, u64>::create(conn)?;
        numbers.extend(conn, (0..3_000).map(|number| (number * 7 % 3_001, 1)))?;
        conn.root_or_init("numbers", |_| Ok(Holder { tree: numbers }))?;
        let reversed = BTree::<Reverse<i64>, String>::create(conn)?;
        reversed.extend(conn, (0..900).map(|it| (Reverse(it - 450), it.to_string())))?;
        conn.root_or_init("reversed", |_| Ok(Holder { tree: reversed }))?;
        let tuples = BTree::<(String, Option<u8>), Vec<u8>>::create(conn)?;
        let entries = (0..900).map(|it: i32| {
            let part = if it % 3 == 0 { None } else { Some((it % 200) as u8) };
            ((format!("key {}", it / 9), part), vec![7; 9])
        });
        tuples.extend(conn, entries)?;
        conn.root_or_init("tuples", |_| Ok(Holder { tree: tuples }))?;
        let lists = BTree::<Vec<u16>, ()>::create(conn)?;
        lists.extend(conn, (0..900u16).map(|it| (vec![it % 7; usize::from(it % 11)], ())))?;
        conn.root_or_init("lists", |_| Ok(Holder { tree: lists }))?;
        let set = TreeSet::<String>::create(conn)?;
        (0..900).try_for_each(|it| set.insert(conn, format!("{:x}", it * 7919)).map(drop))?;
        conn.root_or_init("set", |_| Ok(Holder { tree: set }))?;
        Ok(())
    })
    .unwrap();
    db.close().unwrap();

    let verification = verified(&directory);

    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    assert_eq!(verification.unreachable, 0);
    assert!(verification.objects > 30);
}

type Breakage = fn(&mut Node, &mut Node);

/// What can be wrong with a tree: how a root and its second leaf get there, what is said of it, and
/// whether of the leaf.
const BREAKAGES: [(Breakage, &str); 12] = [
    (|_, leaf| leaf.entries().swap(3, 4), "its keys are out of order"),
    (|_, leaf| leaf.entries()[4].0 = leaf.entries()[3].0, "its keys are out of order"),
    (|_, leaf| leaf.entries()[0].0 = 0, "it has keys that it does not answer for"),
    (|_, leaf| leaf.entries().last_mut().unwrap().0 = 1_999, "that it does not answer for"),
    (|_, leaf| leaf.low = Some(3), "it answers for other keys than object"),
    (|_, leaf| leaf.high = None, "it answers for other keys than object"),
    (|_, leaf| leaf.body = Body::Unlinked, "it was taken out of the tree"),
    (
        |_, leaf| leaf.body = Body::Inner { level: 0, children: vec![] },
        "it has children, on the level of leaves",
    ),
    (|root, _| root.children().swap(1, 2), "its keys are out of order"),
    (|root, _| root.children().truncate(0), "it has no child for its first keys"),
    (|root, _| root.children()[2].1 = root.children()[1].1, "a second way leads to object"),
    (
        |root, _| {
            let Body::Inner { level, .. } = &mut root.body else { panic!("not an inner node") };
            *level = 2;
        },
        "it is on another level than object",
    ),
];

// X1
#[test]
fn whatever_is_wrong_with_a_tree_on_disk_is_found() {
    for (spoil, what) in BREAKAGES {
        let directory = Arc::new(MemoryDirectory::new());
        let db = open(&directory);
        let tree = db
            .transact(|conn| {
                let tree = BTree::<u32, u64>::create(conn)?;
                tree.extend(conn, (0..2_000).map(|number| (number, 1)))?;
                conn.root_or_init("tree", |_| Ok(Holder { tree }))?;
                Ok(tree)
            })
            .unwrap();
        let named = db
            .transact(|conn| {
                let at: Ref<Node> = loose(tree.oid());
                let mut root = Node::clone(&*conn.get(at)?);
                let second = root.children()[1].1;
                let mut leaf = Node::clone(&*conn.get(second)?);
                spoil(&mut root, &mut leaf);
                conn.modify(at, |node| *node = root.clone())?;
                conn.modify(second, |node| *node = leaf.clone())?;
                Ok([tree.oid(), second.oid()])
            })
            .unwrap();
        db.close().unwrap();

        let verification = verified(&directory);

        let found = verification.findings.iter().find(|it| it.what.contains(what));
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}", verification.findings));
        assert_eq!(found.kind, FindingKind::Collection, "{found}");
        let of_child = what.starts_with("it is on another level");
        assert!(of_child || named.contains(&found.oid.unwrap()), "{found}");
        assert_eq!(found.type_name.as_deref(), Some("perennial.BTree<u32, u64>"));
        assert!(!verification.is_sound());
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Link {
    to: Option<Ref<Link>>,
}

impl Persistent for Link {
    const NAME: &'static str = "trees.Link";
}

// C6
#[test]
fn what_no_way_leads_to_is_counted_and_is_no_fault() {
    let directory = Arc::new(MemoryDirectory::new());
    let db = open(&directory);
    let chain = |length: usize, root: Option<&str>| {
        db.transact(|conn| {
            let mut first = conn.add(Link { to: None })?;
            let last = first;
            for _ in 1..length {
                first = conn.add(Link { to: Some(first) })?;
            }
            // A ring: who only counts references takes it for alive.
            conn.modify(last, |link| link.to = Some(first))?;
            if let Some(root) = root {
                conn.root_or_init(root, |_| Ok(Link { to: Some(first) }))?;
            }
            Ok(())
        })
        .unwrap();
    };
    chain(200, Some("kept"));
    chain(7, None);
    db.close().unwrap();

    let verification = verified(&directory);

    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    // The root object, the named link, and two rings.
    assert_eq!((verification.objects, verification.unreachable), (1 + 1 + 200 + 7, 7));
    assert!(verification.unreachable_bytes > 0);
}
