//! Models: small programs of a few threads, run in thousands of orders.
//!
//! The code that is checked is that of the library. With `--cfg shuttle` its locks, conditions,
//! cells and atomics (`src/sync.rs`) belong to a checker, which runs one thread at a time, decides
//! at each of them who goes on, and says so where nobody can. Half of the orders are drawn at
//! random, the other half so that a bug that takes three changes of threads is met soon.
//!
//! ```console
//! $ RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/models --test models
//! $ PERENNIAL_SCHEDULES=100000 RUSTFLAGS=… cargo test … --test models -- group --nocapture
//! ```
//!
//! The checker knows no weak memory: that is left to Miri and to the sanitizer.

#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "a model that meets an error has failed")]

mod commits;
mod group;
mod objects;
mod opening;
mod promises;
mod publication;

#[path = "../storage_laws/kit.rs"]
#[allow(dead_code, reason = "models need less of it than laws do")]
mod kit;

#[path = "../support"]
#[allow(dead_code, reason = "models need less of it than tests do")]
mod support {
    pub mod databases;
    pub mod faults;
    pub mod platter;
    pub mod rng;
    pub mod sim;
    pub mod sparse;
}

use crate::support::sim::SimDisk;
use perennial::storage::file::FileOptions;
use perennial::storage::{FileStorage, MemoryStorage, Storage};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many changes of threads the bugs need that are met soon.
const DEPTH: usize = 3;

/// Runs the model in as many orders as `PERENNIAL_SCHEDULES` says.
fn explore(name: &str, model: impl Fn() + Copy + Send + Sync + 'static) {
    let count = std::env::var("PERENNIAL_SCHEDULES").map_or(500, |text| text.parse().unwrap());
    let explored = Explored { name, schedules: Arc::default() };
    explored.run(RandomScheduler::new(usize::div_ceil(count, 2)), model);
    explored.run(PctScheduler::new(DEPTH, usize::div_ceil(count, 2)), model);
}

/// Says in how many orders a model was run, also where the last of them failed.
struct Explored<'a> {
    name: &'a str,
    schedules: Arc<AtomicUsize>,
}

impl Explored<'_> {
    fn run(&self, scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::default();
        config.stack_size = 1 << 21;
        config.silence_warnings = true;
        let schedules = self.schedules.clone();
        Runner::new(scheduler, config).run(move || {
            schedules.fetch_add(1, Ordering::Relaxed);
            model();
        });
    }
}

impl Drop for Explored<'_> {
    fn drop(&mut self) {
        let verb = if std::thread::panicking() { "failed in the last of" } else { "held in" };
        println!("{} {verb} {} schedules", self.name, self.schedules.load(Ordering::Relaxed));
    }
}

/// Explores the model over each kind of storage.
fn explore_storages(name: &str, model: impl Fn(Arc<dyn Storage>) + Copy + Send + Sync + 'static) {
    explore(&format!("{name}, memory"), move || model(Arc::new(MemoryStorage::new().unwrap())));
    explore(&format!("{name}, file"), move || model(Arc::new(open(&SimDisk::new()))));
}

fn open(disk: &SimDisk) -> FileStorage {
    open_with(disk, false)
}

fn open_with(disk: &SimDisk, housekeeping: bool) -> FileStorage {
    let options = FileOptions { housekeeping, ..FileOptions::default() };
    FileStorage::open(Arc::new(disk.clone()), "model.db", options).unwrap()
}

/// Runs all at once; what they return.
fn together<T: Send + 'static>(programs: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = programs.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}
