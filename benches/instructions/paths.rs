//! The paths whose instructions are counted, the cheapest first. A new one is a line in
//! [`PATHS`] and a function that makes it ready.

use crate::kit::{Tally, Work};
use perennial::{Connection, Database, Durability, Ref, TransactionManager};

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
        std::hint::black_box(conn.get(object).expect("it is stored"));
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

fn in_memory() -> Database {
    Database::in_memory().expect("there are random numbers")
}

fn stored(db: &Database) -> Ref<Tally> {
    db.transact(|conn| conn.add(Tally(0))).expect("a new one")
}

fn change(db: &Database, object: Ref<Tally>) {
    db.transact(|conn| conn.modify(object, |tally| tally.0 += 1)).expect("nobody else is there");
}
