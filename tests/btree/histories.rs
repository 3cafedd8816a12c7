//! Threads at one tree in a file, and what they did checked afterwards against one map.
//!
//! Each transaction records what it found and left under every key that it changed. In the order
//! of their tids, each must have found what the one before it left: then the history is one that
//! could have happened to a map, one transaction after the other.

use super::kit::{Change, Model, Tree, again, contents, facts, reload, sound, tree, user};
use crate::support::databases::storages;
use crate::support::rng::Rng;
use perennial::storage::Storage;
use perennial::{Connection, Database, Durability, Error, Settings, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

const KEYS: u64 = 120;
const THREADS: u64 = 4;
const TRANSACTIONS: usize = 30;
const ROUNDS: u64 = 3;

/// Of each key that a transaction changed: what it found, and what it left.
type Effect = BTreeMap<String, (Option<u64>, Option<u64>)>;

fn effect(before: &Model, after: &Model) -> Effect {
    let keys = before.keys().chain(after.keys());
    let of = |key: &String| (before.get(key).copied(), after.get(key).copied());
    keys.map(|key| (key.clone(), of(key))).filter(|(_, (found, left))| found != left).collect()
}

fn any_change(rng: &mut Rng) -> Change {
    let number = rng.below(KEYS) as u32;
    let run = number..(number + rng.below(12) as u32).min(KEYS as u32);
    match rng.below(40) {
        0..16 => Change::Insert(number, rng.number()),
        16..30 => Change::Remove(number),
        30..34 => Change::Update(number, rng.below(4)),
        34..37 => Change::Extend(run, rng.below(1 << 40)),
        37..39 => Change::RemoveAll(run),
        _ => Change::Clear,
    }
}

fn some_changes(rng: &mut Rng, conn: &Connection, tree: Tree, model: &mut Model) {
    for _ in 0..1 + rng.below(3) {
        any_change(rng).apply(conn, tree, model);
    }
}

/// One transaction, with a savepoint now and then; its tid and effect, unless it conflicts.
fn transaction(rng: &mut Rng, db: &Database, tree: Tree) -> Option<(Tid, Effect)> {
    let (mut transaction, conn) = user(db);
    if rng.coin() {
        conn.set_durability(Durability::Lazy).unwrap();
    }
    let before: Model = tree.iter(&conn).collect::<Result<_, _>>().unwrap();
    let mut model = before.clone();
    some_changes(rng, &conn, tree, &mut model);
    if rng.coin() {
        let here = conn.transaction().unwrap().savepoint().unwrap();
        for _ in 0..1 + rng.below(2) {
            some_changes(rng, &conn, tree, &mut model.clone());
            here.rollback().unwrap();
        }
        some_changes(rng, &conn, tree, &mut model);
    }
    assert_eq!(tree.iter(&conn).collect::<Result<Model, _>>().unwrap(), model);
    sound(&conn, tree);
    match transaction.commit() {
        Ok(report) => Some((report.tid?, effect(&before, &model))),
        Err(Error::Conflict(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What all threads committed, in the order of the tids.
fn work(seed: u64, db: &Database, tree: Tree) -> BTreeMap<Tid, Effect> {
    let toil = |thread: u64| {
        let mut rng = Rng::new(seed * THREADS + thread);
        let all = (0..TRANSACTIONS).filter_map(|_| transaction(&mut rng, db, tree));
        all.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || toil(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Plays a history to the map, and looks at the tree as it was after each.
fn replay(db: &Database, tree: Tree, history: &BTreeMap<Tid, Effect>, model: &mut Model) {
    for (&tid, effect) in history {
        for (key, &(found, left)) in effect {
            assert_eq!(model.get(key).copied(), found, "{tid} found what was not there: {key}");
            match left {
                Some(value) => drop(model.insert(key.clone(), value)),
                None => drop(model.remove(key)),
            }
        }
        let then: Model = db.view_at(tid, |view| tree.iter(view).collect()).unwrap();
        assert_eq!(then, *model, "after {tid}");
    }
}

/// Rounds of work on one tree, each followed by a reopening.
fn life(seed: u64, (mut storage, home): (Arc<dyn Storage>, Option<TempDir>)) {
    let mut db = Database::with_storage(storage.clone(), &Settings::default());
    let mut tree = tree(&db, (0..KEYS as u32).step_by(3));
    let mut model = contents(&db, tree);
    let mut committed = 0;
    for round in 0..ROUNDS {
        let history = work(seed * ROUNDS + round, &db, tree);
        committed += history.len();
        drop(db);
        (storage, db) = reload(storage, &home);
        tree = again(tree);
        replay(&db, tree, &history, &mut model);
        assert_eq!(facts(&db, tree).entries, model.len());
    }
    println!("seed {seed}: {committed} transactions");
    assert!(committed as u64 > ROUNDS * THREADS, "nearly all conflict");
}

// X1, X4, M7, S1: `PERENNIAL_SEEDS` multiplies it.
#[test]
fn what_threads_did_to_a_tree_could_have_been_done_in_turn() {
    let asked = std::env::var("PERENNIAL_SEEDS").ok();
    let seeds: u64 = asked.map_or(1, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        storages().into_iter().for_each(|storage| life(seed, storage));
    }
}
