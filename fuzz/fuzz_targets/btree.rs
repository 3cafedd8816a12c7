//! A tree in a database file against the map of the standard library, through commits, aborts,
//! savepoints and openings.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use perennial::collections::BTree;
use perennial::file::MemoryDirectory;
use perennial::storage::FileStorage;
use perennial::{
    Connection, Database, Persistent, Ref, Savepoint, Settings, Transaction, TransactionManager,
};
use perennial_fuzz::files::NAME;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// No program is longer.
const STEPS: usize = 200;

type Tree = BTree<String, u64>;
type Model = BTreeMap<String, u64>;

/// One step of a program. Of a key, eight bits are its number.
#[derive(Debug, Arbitrary)]
enum Step {
    Insert(u8, u8),
    Remove(u8),
    /// Adds to the value; takes out what would become odd.
    Update(u8, u8),
    Extend {
        first: u8,
        count: u8,
        value: u8,
    },
    RemoveAll {
        first: u8,
        count: u8,
    },
    Clear,
    Get(u8),
    Range(u8, u8, bool),
    Savepoint,
    Rollback(u8),
    Commit,
    Abort,
    Reopen,
}

fuzz_target!(|input: (u8, Vec<Step>)| {
    let mut life = Life::begin(input.0);
    input.1.iter().take(STEPS).for_each(|step| life.step(step));
    life.commit();
    life.reopen();
});

/// The root that keeps the tree's handle.
#[derive(Clone, Serialize, Deserialize)]
struct Home {
    tree: Tree,
}

impl Persistent for Home {
    const NAME: &'static str = "fuzz.Home";
}

struct Life {
    directory: Arc<MemoryDirectory>,
    /// How long a key is: leaves hold few keys or many.
    width: usize,
    work: Option<Work>,
    committed: Model,
    model: Model,
}

/// A database in use; dropped in this order.
struct Work {
    savepoints: Vec<(Savepoint, Model)>,
    conn: Connection,
    transaction: Option<Transaction>,
    manager: TransactionManager,
    tree: Tree,
    _db: Database,
}

impl Life {
    fn begin(width: u8) -> Life {
        let directory = Arc::new(MemoryDirectory::new());
        let width = [3, 40, 300, 600][usize::from(width) % 4];
        let (committed, model) = Default::default();
        let mut life = Life { directory, width, work: None, committed, model };
        life.reopen();
        life
    }

    fn key(&self, number: u8) -> String {
        format!("{number:0>width$}", width = self.width)
    }

    fn work(&mut self) -> &mut Work {
        let work = self.work.as_mut().expect("it is open");
        if work.transaction.is_none() {
            work.transaction = Some(work.manager.begin().expect("none runs"));
        }
        work
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Commit => self.commit(),
            Step::Abort => self.abort(),
            Step::Reopen => self.reopen(),
            Step::Savepoint => {
                let model = self.model.clone();
                let work = self.work();
                let savepoint = work.transaction.as_ref().expect("it runs").savepoint();
                work.savepoints.push((savepoint.expect("a savepoint"), model));
            }
            Step::Rollback(number) => self.rollback(number),
            _ => self.change(step),
        }
    }

    fn change(&mut self, step: &Step) {
        let keys = |first: u8, count: u8| first..first.saturating_add(count % 32);
        let mut model = std::mem::take(&mut self.model);
        let key = |number| self.key(number);
        let (wide, many) = match *step {
            Step::Insert(n, _) | Step::Remove(n) | Step::Update(n, _) | Step::Get(n) => {
                (key(n), vec![])
            }
            Step::Extend { first, count, .. } | Step::RemoveAll { first, count } => {
                (String::new(), keys(first, count).map(key).collect())
            }
            Step::Range(from, to, _) => (key(from), vec![key(to)]),
            _ => (String::new(), vec![]),
        };
        let Work { conn, tree, .. } = self.work();
        let tree = *tree;
        match *step {
            Step::Insert(_, value) => {
                let before = tree.insert(conn, wide.clone(), value.into()).expect("inserted");
                assert_eq!(before, model.insert(wide, value.into()));
            }
            Step::Remove(_) => {
                let before = tree.remove(conn, &*wide).expect("removed");
                assert_eq!(before, model.remove(&wide));
            }
            Step::Update(_, more) => update(conn, tree, &mut model, wide, more.into()),
            Step::Extend { value, .. } => {
                let pairs = || many.iter().rev().map(|key| (key.clone(), u64::from(value)));
                tree.extend(conn, pairs()).expect("extended");
                model.extend(pairs());
            }
            Step::RemoveAll { .. } => {
                for key in many {
                    let before = tree.remove(conn, &*key).expect("removed");
                    assert_eq!(before, model.remove(&key));
                }
            }
            Step::Clear => {
                tree.clear(conn).expect("cleared");
                model.clear();
            }
            Step::Get(_) => {
                assert_eq!(tree.get(conn, &*wide).expect("read"), model.get(&wide).copied());
                assert_eq!(
                    tree.first(conn).expect("read").as_ref().map(|it| &it.0),
                    model.keys().next()
                );
            }
            Step::Range(_, _, open) => range(conn, tree, &model, &wide, &many[0], open),
            _ => {}
        }
        self.model = model;
    }

    fn rollback(&mut self, number: u8) {
        let work = self.work();
        if work.savepoints.is_empty() {
            return;
        }
        let number = usize::from(number) % work.savepoints.len();
        work.savepoints.truncate(number + 1);
        let (savepoint, model) = work.savepoints.last().expect("there is one");
        savepoint.rollback().expect("rolled back");
        self.model = model.clone();
        self.check();
    }

    fn commit(&mut self) {
        let work = self.work();
        work.savepoints.clear();
        let mut transaction = work.transaction.take().expect("it runs");
        transaction.commit().expect("committed");
        self.committed = self.model.clone();
        self.check();
    }

    fn abort(&mut self) {
        let work = self.work();
        work.savepoints.clear();
        work.transaction.take().expect("it runs").abort().expect("aborted");
        self.model = self.committed.clone();
        self.check();
    }

    /// Opens the file again, with nothing of it in memory.
    fn reopen(&mut self) {
        if self.work.take().is_some() {
            self.model = self.committed.clone();
        }
        let options = perennial::storage::file::FileOptions {
            housekeeping: false,
            ..perennial::storage::file::FileOptions::default()
        };
        let storage = FileStorage::open(self.directory.clone(), NAME, options).expect("it opens");
        let db = Database::with_storage(Arc::new(storage), &Settings::default());
        let home: Ref<Home> = db
            .transact(|conn| {
                conn.root_or_init("home", |conn| Ok(Home { tree: BTree::create(conn)? }))
            })
            .expect("a root");
        let tree = db.view(|view| Ok(view.get(home)?.tree)).expect("a handle");
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let savepoints = Vec::new();
        self.work = Some(Work { savepoints, conn, transaction: None, manager, tree, _db: db });
        self.check();
    }

    /// The tree is sound, and equals the map.
    fn check(&mut self) {
        let model = std::mem::take(&mut self.model);
        let Work { conn, tree, .. } = self.work();
        let facts = tree.check(conn).expect("checked");
        assert!(facts.is_sound(), "{:?}", facts.faults);
        assert_eq!(facts.entries, model.len());
        assert_eq!(tree.iter(conn).collect::<perennial::Result<Model>>().expect("read"), model);
        self.model = model;
    }
}

fn update(conn: &Connection, tree: Tree, model: &mut Model, key: String, more: u64) {
    let step = |value: Option<u64>| Some(value.unwrap_or(0) + more).filter(|sum| sum % 2 == 0);
    let before = model.get(&key).copied();
    tree.update(conn, key.clone(), |value| {
        assert_eq!(value, before);
        step(value)
    })
    .expect("updated");
    match step(before) {
        Some(value) => drop(model.insert(key, value)),
        None => drop(model.remove(&key)),
    }
}

/// A part of the tree, from both ends.
fn range(conn: &Connection, tree: Tree, model: &Model, from: &str, to: &str, open: bool) {
    if from > to || (from == to && open) {
        return;
    }
    let bound = |key| if open { Bound::Excluded(key) } else { Bound::Included(key) };
    let bounds = (bound(from), bound(to));
    let found: Vec<_> = tree.range::<str>(conn, bounds).map(|it| it.expect("read")).collect();
    let expected = || model.range::<str, _>(bounds).map(|(key, value)| (key.clone(), *value));
    assert!(found.into_iter().eq(expected()));
    let back: Vec<_> = tree.range::<str>(conn, bounds).rev().map(|it| it.expect("read")).collect();
    assert!(back.into_iter().eq(expected().rev()));
}
