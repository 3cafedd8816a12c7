//! A deterministic simulation: databases at work on a disk that loses power and fails, as a seed
//! says.
//!
//! One thread takes the steps of all who work, so that one seed is one run: transactions of every
//! shape in one database or two, jobs, savepoints, snapshots of the index while commits go on,
//! readers beside the writer, reopening, killing. A witness between the objects and the file keeps
//! the story of what was asked for and answered. Then the power goes at moments that the seed
//! chooses, in ways that it chooses, while the disk may fail; what is left is opened, compared
//! with the story, worked with, and crashed again.
//!
//! `cargo test --release -- --ignored simulation --nocapture` runs it for as long as
//! `PERENNIAL_MINUTES` says, or over `PERENNIAL_SEEDS` seeds from `PERENNIAL_SEED` on. A failure
//! prints its seed.

mod damage;
mod explore;
mod flow;
mod group;
mod life;
mod model;
mod run;
mod story;
mod tally;
mod witness;

use run::{Bound, run};

// R5, R8, R9, R10, R13, T16
#[test]
fn whatever_a_seed_brings_no_promise_is_lost_and_no_commit_halved() {
    run(0, Bound::Seeds(100));
}

#[test]
fn one_seed_is_one_run() {
    run::alone(|| {
        for seed in 1000..1005 {
            assert_eq!(explore::explore(seed), explore::explore(seed), "seed {seed}");
        }
    });
}

/// The long one.
#[test]
#[ignore = "runs as long as it is told to"]
fn simulation() {
    let (first, bound) = run::asked();
    run(first, bound);
}
