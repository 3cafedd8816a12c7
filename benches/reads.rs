//! What reading a cached object costs, and whether threads that read different objects get into
//! each other's way.
//!
//! Every thread has a connection and a thousand objects of its own, and reads them again and again
//! in one transaction. The best of several rounds counts, since other programs only ever make it
//! slower.

#[allow(dead_code, reason = "what other benches measure with")]
mod kit;

use kit::Tally;
use perennial::{Database, Ref, Result, TransactionManager};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const OBJECTS: usize = 1_000;
const READS: usize = 200_000;
const ROUNDS: usize = 200;

fn main() -> Result<()> {
    let home = tempfile::tempdir().expect("a directory");
    let (memory, file) = (Database::in_memory()?, Database::open(home.path().join("bench.db"))?);
    println!("The time of one cached read, and how many times as many reads two threads make. Two");
    println!("that have a core each should make at least 1.8 times as many.\n");
    for (name, db) in [("memory", memory), ("file", file)] {
        let (one, two) = (best(&db, 1)?, best(&db, 2)?);
        let gain = 2.0 * one.as_secs_f64() / two.as_secs_f64();
        let each = one.as_secs_f64() * 1e9 / READS as f64;
        println!("{name:<8} {each:5.1} ns   two threads: {gain:.2} times as many");
    }
    Ok(())
}

/// How long so many threads take that read at the same time.
fn best(db: &Database, threads: usize) -> Result<Duration> {
    let all = db.transact(|conn| {
        (0..OBJECTS * threads).map(|n| conn.add(Tally(n as u64))).collect::<Result<Vec<_>>>()
    })?;
    let rounds = (0..ROUNDS).map(|_| round(db, threads, &all));
    Ok(rounds.min().expect("there is a round"))
}

/// From the first read of any thread to the last one of all.
fn round(db: &Database, threads: usize, all: &[Ref<Tally>]) -> Duration {
    let start = &Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let start_one = |mine| scope.spawn(move || read(db, mine, start));
        let readers: Vec<_> = all.chunks(OBJECTS).map(start_one).collect();
        readers.into_iter().map(|reader| reader.join().expect("the objects are stored")).collect()
    });
    let begun = spans.iter().map(|&(begun, _)| begun).min();
    let ended = spans.iter().map(|&(_, ended)| ended).max();
    ended.zip(begun).map(|(ended, begun)| ended - begun).expect("there is a thread")
}

fn read(db: &Database, mine: &[Ref<Tally>], start: &Barrier) -> (Instant, Instant) {
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let _transaction = manager.begin().expect("no other one runs");
    start.wait();
    let begun = Instant::now();
    for &object in mine.iter().cycle().take(READS) {
        std::hint::black_box(conn.get(object).expect("it is stored"));
    }
    (begun, Instant::now())
}
