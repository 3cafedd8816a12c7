//! Running seeds, and telling what was seen.

use super::explore::{Count, explore};
use super::tally;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{process, thread};

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    Seeds(u64),
    Time(Duration),
}

/// The seed to begin with and how long to go on, as the environment says.
pub fn asked() -> (u64, Bound) {
    let number = |name| std::env::var(name).ok().map(|it| it.parse().expect("it is a number"));
    let first: u64 = number("PERENNIAL_SEED").unwrap_or(0);
    let minutes =
        number("PERENNIAL_MINUTES").map(|it: u64| Bound::Time(Duration::from_secs(60 * it)));
    let seeds = number("PERENNIAL_SEEDS").map(Bound::Seeds);
    (first, seeds.or(minutes).unwrap_or(Bound::Seeds(2000)))
}

/// Does it while nobody else explores: databases of one seed have one id, and two runs at a time
/// would take them for one another's.
pub fn alone<T>(act: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// Explores seeds from `first` on.
pub fn run(first: u64, bound: Bound) {
    alone(|| run_alone(first, bound));
}

fn run_alone(first: u64, bound: Bound) {
    let watch = Watch::start();
    let begun = Instant::now();
    let (mut seen, mut told, mut seed) = (Count::default(), Instant::now(), first);
    loop {
        let over = match bound {
            Bound::Seeds(seeds) => seed - first >= seeds,
            Bound::Time(time) => begun.elapsed() >= time,
        };
        if over || told.elapsed() > Duration::from_secs(30) {
            tell(first, seed, &seen, begun);
            told = Instant::now();
        }
        if over {
            return;
        }
        watch.tell(seed);
        seen.add(explore_or_tell(seed));
        seed += 1;
    }
}

/// Ends the process where a seed hangs: nothing else would tell which one.
struct Watch(mpsc::Sender<u64>);

impl Watch {
    fn start() -> Watch {
        let (sender, seeds) = mpsc::channel();
        thread::spawn(move || {
            let mut last = seeds.recv().ok();
            while let Some(seed) = last {
                last = match seeds.recv_timeout(Duration::from_secs(120)) {
                    Ok(next) => Some(next),
                    Err(mpsc::RecvTimeoutError::Disconnected) => None,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        println!("{}", once_more(seed, "hangs"));
                        process::abort()
                    }
                };
            }
        });
        Watch(sender)
    }

    /// The next seed begins.
    fn tell(&self, seed: u64) {
        self.0.send(seed).expect("somebody watches");
    }
}

fn once_more(seed: u64, what: &str) -> String {
    format!(
        "seed {seed} {what}; once more:\nPERENNIAL_SEED={seed} PERENNIAL_SEEDS=1 cargo test \
         --release -- --ignored simulation --nocapture"
    )
}

fn explore_or_tell(seed: u64) -> Count {
    match catch_unwind(AssertUnwindSafe(|| explore(seed))) {
        Ok(count) => count,
        Err(panic) => {
            println!("{}", once_more(seed, "fails"));
            resume_unwind(panic)
        }
    }
}

fn tell(first: u64, seed: u64, seen: &Count, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds from {first} on: {} states, {} of them on a disk that failed, {} after a second \
         crash; {seconds:.1} s, {:.0} states a second",
        seed - first,
        seen.states,
        seen.faulty,
        seen.again,
        seen.states as f64 / seconds,
    );
    println!("  with {}", tally::told());
}
