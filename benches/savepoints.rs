//! A savepoint costs what changes after it, not what has changed before.
//!
//! A transaction has changed a thousand, a hundred thousand or a million objects; then come ten
//! thousand rounds of a savepoint and one more change. Making the transaction ready is not in the
//! time.

mod kit;

use divan::Bencher;
use kit::Work;
use perennial::Savepoint;
use std::fmt;

const ROUNDS: u32 = 10_000;
const SAMPLES: u32 = 20;

/// How many objects the transaction has changed, and among how many the rounds choose. Where these
/// are few, they are in the processor's caches, however large the transaction is.
struct Case {
    changed: usize,
    among: usize,
}

const CASES: [Case; 5] = [
    Case { changed: 1_000, among: 1_000 },
    Case { changed: 100_000, among: 1_000 },
    Case { changed: 1_000_000, among: 1_000 },
    Case { changed: 100_000, among: 100_000 },
    Case { changed: 1_000_000, among: 1_000_000 },
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.among, self.changed)
    }
}

fn main() {
    println!(
        "The time of one round: a savepoint and a change of one object. `1000 of 1000000` means"
    );
    println!("that a million objects were changed before, and the rounds go on with a thousand of");
    println!(
        "them. The first three lines of a group must be alike; the last two differ from them by"
    );
    println!("misses of the processor's caches, which a change without a savepoint has as well.\n");
    divan::main();
}

/// No savepoint.
#[divan::bench(args = CASES, sample_size = ROUNDS, sample_count = SAMPLES)]
fn change_alone(bencher: Bencher, case: &Case) {
    let mut work = Work::new(case.changed, case.among);
    bencher.bench_local(|| work.change());
}

/// All savepoints live until the ten thousand rounds are over.
#[divan::bench(args = CASES, sample_size = ROUNDS, sample_count = SAMPLES)]
fn kept(bencher: Bencher, case: &Case) {
    let mut work = Work::new(case.changed, case.among);
    // What the closure returns is dropped when the clock has stopped.
    bencher.bench_local(|| round(&mut work));
}

/// Each is dropped at once, and what it remembers goes to an earlier one.
#[divan::bench(args = CASES, sample_size = ROUNDS, sample_count = SAMPLES)]
fn dropped(bencher: Bencher, case: &Case) {
    let mut work = Work::new(case.changed, case.among);
    let _earlier = work.savepoint();
    bencher.bench_local(|| drop(round(&mut work)));
}

/// Each is rolled back to, and dropped.
#[divan::bench(args = CASES, sample_size = ROUNDS, sample_count = SAMPLES)]
fn rolled_back(bencher: Bencher, case: &Case) {
    let mut work = Work::new(case.changed, case.among);
    let _earlier = work.savepoint();
    bencher.bench_local(|| round(&mut work).rollback().expect("it is valid"));
}

fn round(work: &mut Work) -> Savepoint {
    let here = work.savepoint();
    work.change();
    here
}
