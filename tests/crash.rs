//! The power goes: at every moment of a storage's life, in many ways, and again while it recovers.
//!
//! A life runs once on a simulated disk, and keeps a story of what may be found at each moment.
//! Then the disk is looked at as the power loss would have left it at each of them. The number of
//! states that were opened is printed (`--nocapture`); `PERENNIAL_SEEDS` multiplies it.

mod laws;
mod life;
mod story;

use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use life::Life;
use story::Story;

/// How many times as much is to be tried as usual.
fn scale() -> u64 {
    let asked = std::env::var("PERENNIAL_SEEDS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(1)
}

/// A life of so many steps; the disk remembers it.
fn live(seed: u64, steps: usize, tended: bool) -> Life {
    let mut life = Life::begin(&SimDisk::new(), Story::new(), seed).expect("it opens");
    life.tended = tended;
    (0..steps).for_each(|_| life.step());
    life
}

/// What the disk may be found as: each policy, those with a choice with several seeds.
fn ways(seeds: u64) -> impl Iterator<Item = (Policy, u64)> {
    Policy::ALL.into_iter().flat_map(move |policy| {
        let chooses = !matches!(policy, Policy::Nothing | Policy::Everything);
        (0..if chooses { seeds } else { 1 }).map(move |seed| (policy, seed))
    })
}

/// Crashes at each moment of a life, opens what is left, goes on, and crashes again up to `depth`
/// times; how many states were opened.
fn crash_everywhere(life: &Life, seeds: u64, depth: u32) -> u64 {
    let mut states = 0;
    for moment in life.disk.moments() {
        for (policy, seed) in ways(seeds) {
            let seed = seed * 1_000_003 + moment.number as u64;
            let disk = moment.crash(policy, seed);
            let story = life.story.cut_at(moment.number);
            let mut next = Life::begin(&disk, story, seed).unwrap_or_else(|error| {
                panic!("crashed at {} with {policy:?} and seed {seed}: {error:?}", moment.number)
            });
            states += 1;
            next.commit_durably();
            if depth > 0 && (moment.number as u64 + seed).is_multiple_of(7) {
                states += crash_everywhere(&next, 1, depth - 1);
            }
        }
    }
    states
}

// R8, R13
#[test]
fn a_power_loss_at_any_moment_loses_no_promise_and_halves_no_commit() {
    for seed in 0..scale() {
        let mut life = live(seed, 40, false);
        life.close();
        let states = crash_everywhere(&life, 2, 1);
        println!("{states} states after {} actions", life.disk.moment());
    }
}

// R8, R13: zeros stand ahead of the log, and it is sealed where it falls idle.
#[test]
fn a_power_loss_beside_housekeeping_loses_no_promise_and_halves_no_commit() {
    for seed in 0..scale() {
        let mut life = live(seed, 25, true);
        life.close();
        let states = crash_everywhere(&life, 1, 0);
        println!("{states} states after {} actions", life.disk.moment());
    }
}

/// A life on a disk on which the thing number `nth` of a kind fails; whether it came to that.
fn live_with_a_fault(fault: (Kind, u64, Failure, Times), states: &mut u64) -> bool {
    let (kind, nth, failure, times) = fault;
    let disk = SimDisk::new();
    disk.fail(kind, nth, failure, times);
    let Ok(mut life) = Life::begin(&disk, Story::new(), 5) else {
        disk.heal();
        let mut life = Life::begin(&disk, Story::new(), 5).expect("a disk that works is enough");
        *states += crash_after(&mut life);
        return true;
    };
    life.tended = nth.is_multiple_of(8);
    (0..20).for_each(|_| life.step());
    life.close();
    *states += crash_after(&mut life);
    disk.failures() > 0
}

/// Opens the disk as it is, and as it would be found without power; then loses what was not
/// synced after the opening has shown something.
fn crash_after(life: &mut Life) -> u64 {
    let moment = life.disk.moment();
    life.disk.heal();
    let mut states = 0;
    for (policy, seed) in ways(1) {
        let disk = life.disk.crash(policy, seed);
        let story = life.story.cut_at(moment);
        let mut next = Life::begin(&disk, story, seed).expect("it opens after the power loss");
        next.commit_durably();
        states += 1;
    }
    life.reopen();
    life.commit_durably();
    let disk = life.disk.crash(Policy::Nothing, 0);
    let story = life.story.cut_at(life.disk.moment());
    Life::begin(&disk, story, 0).expect("what an opening has shown is no hole");
    states + 2
}

// R10
#[test]
fn a_disk_that_fails_at_any_operation_loses_no_promise() {
    let kinds = [
        (Kind::Create, Failure::Io),
        (Kind::Rename, Failure::Io),
        (Kind::Remove, Failure::Io),
        (Kind::SyncNames, Failure::Io),
        (Kind::Write, Failure::Io),
        (Kind::Write, Failure::Full),
        (Kind::Trim, Failure::Io),
        (Kind::Sync, Failure::Io),
        (Kind::Sync, Failure::Lost),
    ];
    let mut states = 0;
    for (kind, failure) in kinds {
        for times in [Times::Once, Times::Always] {
            let fails = |nth| live_with_a_fault((kind, nth, failure, times), &mut states);
            let count = (0..).map(fails).take_while(|failed| *failed).count();
            println!("{kind:?} {failure:?} {times:?}: {count} failures");
        }
    }
    println!("{states} states after failures of the disk");
}
