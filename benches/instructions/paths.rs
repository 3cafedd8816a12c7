//! The paths whose instructions are counted, the cheapest first. A new one is a line in
//! [`PATHS`] and a function that makes it ready.

use crate::kit::{Tally, Work};
use perennial::collections::BTree;
use perennial::{Connection, Database, Durability, Ref, TransactionManager};
use std::hint::black_box;

/// Something that an application does very often.
pub struct Path {
    /// What it is called in `instructions.tsv`.
    pub name: &'static str,
    /// How often it is done while the instructions are counted.
    pub rounds: u64,
    /// Makes ready; the closure does it once.
    pub ready: fn() -> Operation,
}

pub type Operation = Box<dyn FnMut()>;

pub const PATHS: &[Path] = &[
    Path { name: "get, cached", rounds: 10_000, ready: get },
    Path { name: "begin, commit nothing", rounds: 10_000, ready: commit_nothing },
    Path { name: "savepoint, change: after 1000", rounds: 10_000, ready: after::<1_000> },
    Path { name: "savepoint, change: after 100000", rounds: 10_000, ready: after::<100_000> },
    Path { name: "savepoint, change: after 1000000", rounds: 10_000, ready: after::<1_000_000> },
    Path { name: "change, commit: memory", rounds: 1_000, ready: commit_in_memory },
    Path { name: "change, commit: file, lazy", rounds: 1_000, ready: commit_to_a_file },
    Path { name: "add 1000, commit: memory", rounds: 20, ready: add },
    Path { name: "tree: get, of 100000", rounds: 10_000, ready: tree_get },
    Path { name: "tree: scan of 100, of 100000", rounds: 1_000, ready: tree_scan },
    Path { name: "tree: load of 10000, commit: memory", rounds: 10, ready: tree_load },
    Path { name: "tree: insert 1000, commit: memory", rounds: 10, ready: tree_insert },
];

fn get() -> Operation {
    let db = in_memory();
    let object = stored(&db);
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().expect("no other one runs");
    Box::new(move || {
        // The closure owns the transaction, which ends with it.
        let _ = &transaction;
        black_box(conn.get(object).expect("it is stored"));
    })
}

fn commit_nothing() -> Operation {
    let manager = TransactionManager::new();
    Box::new(move || {
        let mut transaction = manager.begin().expect("no other one runs");
        transaction.commit().expect("there is nothing to fail");
    })
}

/// A savepoint that is kept, and a change, in a transaction that has changed so many objects.
fn after<const CHANGED: usize>() -> Operation {
    let mut work = Work::new(CHANGED, CHANGED);
    let mut kept = Vec::new();
    Box::new(move || {
        kept.push(work.savepoint());
        work.change();
    })
}

fn commit_in_memory() -> Operation {
    let db = in_memory();
    let object = stored(&db);
    Box::new(move || change(&db, object))
}

fn commit_to_a_file() -> Operation {
    let home = tempfile::tempdir().expect("a directory");
    let options = Database::options().durability(Durability::Lazy);
    let db = options.open(home.path().join("bench.db")).expect("a new file");
    let object = stored(&db);
    Box::new(move || {
        // The closure owns the directory, which goes with it.
        let _ = &home;
        change(&db, object);
    })
}

fn add() -> Operation {
    let db = in_memory();
    Box::new(move || {
        let add = |conn: &Connection| (0..1_000).try_for_each(|n| conn.add(Tally(n)).map(drop));
        db.transact(add).expect("nobody else is there");
    })
}

/// Keys in no order, no two alike.
fn key(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A tree of a hundred thousand, and a connection in a transaction that reads it.
fn tree_read(read: impl Fn(&Connection, BTree<u64, u64>, u64) + 'static) -> Operation {
    let db = in_memory();
    let tree = loaded(&db, 100_000);
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let transaction = manager.begin().expect("no other one runs");
    tree.len(&conn).expect("every leaf is in the cache now");
    let mut number = 0;
    Box::new(move || {
        let _ = &transaction;
        number = (number + 1) % 100_000;
        read(&conn, tree, key(number));
    })
}

fn tree_get() -> Operation {
    tree_read(|conn, tree, key| {
        black_box(tree.get(conn, &key).expect("nothing is missing"));
    })
}

fn tree_scan() -> Operation {
    tree_read(|conn, tree, key| {
        for entry in tree.range(conn, key..).take(100) {
            black_box(entry.expect("nothing is missing"));
        }
    })
}

fn tree_load() -> Operation {
    let db = in_memory();
    Box::new(move || {
        loaded(&db, 10_000);
    })
}

fn tree_insert() -> Operation {
    let db = in_memory();
    let tree = loaded(&db, 100_000);
    let mut next = 100_000..;
    Box::new(move || {
        let numbers: Vec<u64> = next.by_ref().take(1_000).collect();
        let insert = |conn: &Connection| {
            numbers.iter().try_for_each(|&n| tree.insert(conn, key(n), n).map(drop))
        };
        db.transact(insert).expect("nobody else is there");
    })
}

fn loaded(db: &Database, count: u64) -> BTree<u64, u64> {
    let load = |conn: &Connection| {
        let tree = BTree::create(conn)?;
        tree.extend(conn, (0..count).map(|number| (key(number), number)))?;
        Ok(tree)
    };
    db.transact(load).expect("a new one")
}

fn in_memory() -> Database {
    Database::in_memory().expect("there are random numbers")
}

fn stored(db: &Database) -> Ref<Tally> {
    db.transact(|conn| conn.add(Tally(0))).expect("a new one")
}

fn change(db: &Database, object: Ref<Tally>) {
    db.transact(|conn| conn.modify(object, |tally| tally.0 += 1)).expect("nobody else is there");
}
