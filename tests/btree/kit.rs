//! Trees that branch with few keys, and the maps that they must equal.

use perennial::collections::BTree;
use perennial::collections::btree::TreeFacts;
use perennial::file::DiskDirectory;
use perennial::storage::file::FileOptions;
use perennial::storage::{FileStorage, Storage};
use perennial::transaction::Transaction;
use perennial::{Connection, Database, Settings, TransactionManager, View};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tempfile::TempDir;

pub type Tree = BTree<String, u64>;
pub type Model = BTreeMap<String, u64>;

/// A key so long that a leaf has room for three, and an inner node for four children.
pub fn key(number: u32) -> String {
    format!("{number:0>600}")
}

/// A tree with these keys, each with itself as its value.
pub fn tree(db: &Database, keys: impl IntoIterator<Item = u32> + Clone) -> Tree {
    db.transact(|conn| {
        let tree = Tree::create(conn)?;
        tree.extend(conn, keys.clone().into_iter().map(|n| (key(n), u64::from(n))))?;
        Ok(tree)
    })
    .unwrap()
}

/// What the tree holds.
pub fn contents(db: &Database, tree: Tree) -> Model {
    db.view(|view| tree.iter(view).collect()).unwrap()
}

/// The numbers of the tree's keys.
pub fn numbers(db: &Database, tree: Tree) -> Vec<u32> {
    contents(db, tree).keys().map(|key| key.parse().unwrap()).collect()
}

/// What the tree consists of, once nothing is found wrong with it.
pub fn sound(view: &View, tree: Tree) -> TreeFacts {
    let facts = tree.check(view).unwrap();
    assert!(facts.is_sound(), "{:?}", facts.faults);
    facts
}

pub fn facts(db: &Database, tree: Tree) -> TreeFacts {
    db.view(|view| Ok(sound(view, tree))).unwrap()
}

/// A connection in a transaction of its own, as another user would have it.
pub fn user(db: &Database) -> (Transaction, Connection) {
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    (manager.begin().unwrap(), conn)
}

/// The same database, with nothing of it in memory.
pub fn reload(storage: Arc<dyn Storage>, home: &Option<TempDir>) -> (Arc<dyn Storage>, Database) {
    let storage = match home {
        None => storage,
        Some(home) => {
            storage.close().unwrap();
            let directory = Arc::new(DiskDirectory::new(home.path()));
            Arc::new(FileStorage::open(directory, "laws.db", FileOptions::default()).unwrap())
        }
    };
    (storage.clone(), Database::with_storage(storage, &Settings::default()))
}

/// The handle, as it is read from bytes: of no database in particular.
pub fn again(tree: Tree) -> Tree {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    perennial::codec::encode("tree", &tree, 0, &mut bytes, &mut references).unwrap();
    assert_eq!(references, [tree.oid()], "who keeps the handle refers to the tree");
    perennial::codec::decode("tree", &bytes, 0).unwrap()
}

/// A change of a tree, and of its model.
#[derive(Debug, Clone)]
pub enum Change {
    Insert(u32, u64),
    Remove(u32),
    /// Adds to the value; takes out what would become odd.
    Update(u32, u64),
    Extend(Range<u32>, u64),
    RemoveAll(Range<u32>),
    Clear,
}

/// Changes of keys below `keys`.
pub fn change(keys: u32) -> impl Strategy<Value = Change> {
    let run = (0..keys, 0..20u32).prop_map(move |(start, count)| start..(start + count).min(keys));
    prop_oneof![
        8 => (0..keys, 0..4u64).prop_map(|(key, value)| Change::Insert(key, value)),
        8 => (0..keys).prop_map(Change::Remove),
        3 => (0..keys, 0..4u64).prop_map(|(key, more)| Change::Update(key, more)),
        2 => (run.clone(), 0..4u64).prop_map(|(keys, value)| Change::Extend(keys, value)),
        2 => run.prop_map(Change::RemoveAll),
        1 => Just(Change::Clear),
    ]
}

impl Change {
    /// Changes both alike; what the tree tells of it must be true.
    pub fn apply(&self, conn: &Connection, tree: Tree, model: &mut Model) {
        let step = |more: u64, value: Option<u64>| {
            Some(value.unwrap_or(0) + more).filter(|sum| sum % 2 == 0)
        };
        match self {
            Change::Insert(number, value) => {
                let before = tree.insert(conn, key(*number), *value).unwrap();
                assert_eq!(before, model.insert(key(*number), *value));
            }
            Change::Remove(number) => {
                let before = tree.remove(conn, &*key(*number)).unwrap();
                assert_eq!(before, model.remove(&key(*number)));
            }
            Change::Update(number, more) => {
                let before = model.get(&key(*number)).copied();
                tree.update(conn, key(*number), |value| {
                    assert_eq!(value, before);
                    step(*more, value)
                })
                .unwrap();
                match step(*more, before) {
                    Some(value) => drop(model.insert(key(*number), value)),
                    None => drop(model.remove(&key(*number))),
                }
            }
            Change::Extend(numbers, value) => {
                // Out of order, and each twice: the last one counts.
                let once = |value| numbers.clone().rev().map(move |n| (key(n), value));
                tree.extend(conn, once(value + 1).chain(once(*value))).unwrap();
                model.extend(once(*value));
            }
            Change::RemoveAll(numbers) => {
                for number in numbers.clone() {
                    Change::Remove(number).apply(conn, tree, model);
                }
            }
            Change::Clear => {
                tree.clear(conn).unwrap();
                model.clear();
            }
        }
    }
}
