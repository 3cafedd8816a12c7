//! The power goes at every moment of a transaction of several databases, in many ways, and again
//! while they recover; then they are opened in every order.

use super::kit::{NAMES, Side, open, set, sides};
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::file::Directory;
use perennial::{Error, Result};

/// How many times as much is to be tried as usual.
fn scale() -> u64 {
    let asked = std::env::var("PERENNIAL_SEEDS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(1)
}

/// What may be found: from `moment` on at least `floor`, and at most `ceiling`.
#[derive(Clone, Copy)]
struct Mark {
    moment: usize,
    floor: i64,
    ceiling: i64,
}

/// Commits numbers to `count` databases, one after the other; what may be found when.
fn live(disk: &SimDisk, count: usize, commits: i64) -> Vec<Mark> {
    let sides = sides(disk, count);
    let start = sides[0].value();
    let mut marks = vec![Mark { moment: disk.moment(), floor: start, ceiling: start }];
    for value in start + 1..=start + commits {
        marks.push(Mark { moment: disk.moment(), floor: value - 1, ceiling: value });
        set(&sides, value).unwrap();
        marks.push(Mark { moment: disk.moment(), floor: value, ceiling: value });
        if value % 2 == 0 {
            // What one of them did lazily becomes durable, or is in the index.
            sides[value as usize % count].db.sync().unwrap();
        }
    }
    marks
}

/// All orders of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    match count {
        2 => vec![vec![0, 1], vec![1, 0]],
        _ => vec![vec![0, 1, 2], vec![1, 2, 0], vec![2, 1, 0], vec![0, 2, 1]],
    }
}

/// Opens the databases in this order; where one of them cannot be opened, says so.
fn open_all(disk: &SimDisk, order: &[usize]) -> Result<Vec<Side>> {
    let mut opened = Vec::new();
    for &which in order {
        opened.push((which, Side::of(open(disk, NAMES[which])?)?));
    }
    opened.sort_by_key(|(which, _)| *which);
    Ok(opened.into_iter().map(|(_, side)| side).collect())
}

/// Opens what is left of `disk`, and checks that all hold one number within `mark`; which.
fn check(disk: &SimDisk, order: &[usize], mark: Mark, story: &str) -> i64 {
    let sides = open_all(disk, order).unwrap_or_else(|error| panic!("{story}: {error:?}"));
    let values: Vec<i64> = sides.iter().map(Side::value).collect();
    assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{story}: {values:?}");
    let found = values[0];
    let (floor, ceiling) = (mark.floor, mark.ceiling);
    assert!((floor..=ceiling).contains(&found), "{story}: {found} of {floor} to {ceiling}");
    for side in &sides {
        assert!(side.db.in_doubt().unwrap().is_empty(), "{story}: still in doubt");
    }
    set(&sides, found + 1).unwrap_or_else(|error| panic!("{story}: goes on: {error:?}"));
    found
}

/// Crashes at each moment from `marks` on; how many states were opened.
fn crash_everywhere(disk: &SimDisk, marks: &[Mark], count: usize, depth: u32) -> u64 {
    let mut states = 0;
    for moment in disk.moments().filter(|moment| moment.number >= marks[0].moment) {
        let mark = marks.iter().rev().find(|mark| mark.moment <= moment.number).unwrap();
        for policy in Policy::ALL {
            for (number, order) in orders(count).into_iter().enumerate() {
                let seed = moment.number as u64 * 31 + number as u64;
                let left = moment.crash(policy, seed);
                let story = format!("at {} with {policy:?}, opened as {order:?}", moment.number);
                let found = check(&left, &order, *mark, &story);
                states += 1;
                // A second crash, while what the first one left was recovered and went on.
                if depth > 0
                    && (moment.number * 7 + number + policy as usize * 3).is_multiple_of(131)
                {
                    let again =
                        [Mark { moment: 0, floor: found.min(mark.floor), ceiling: found + 1 }];
                    states += crash_everywhere(&left, &again, count, depth - 1);
                }
            }
        }
    }
    states
}

// T16
#[test]
fn a_power_loss_at_any_moment_leaves_a_transaction_in_both_databases_or_in_neither() {
    // Which of them decides is drawn when they are created.
    for _ in 0..2 * scale() {
        let disk = SimDisk::new();
        let marks = live(&disk, 2, 2);
        let states = crash_everywhere(&disk, &marks, 2, 1);
        println!("{states} states of two databases after {} actions", disk.moment());
    }
}

// T16
#[test]
fn a_power_loss_at_any_moment_leaves_a_transaction_in_all_of_three_databases_or_in_none() {
    for _ in 0..scale() {
        let disk = SimDisk::new();
        let marks = live(&disk, 3, 2);
        let states = crash_everywhere(&disk, &marks, 3, 0);
        println!("{states} states of three databases after {} actions", disk.moment());
    }
}

// T16, R13
#[test]
fn a_killed_process_leaves_a_transaction_in_both_databases_or_in_neither() {
    let disk = SimDisk::new();
    let marks = live(&disk, 2, 6);
    for moment in disk.moments().filter(|moment| moment.number >= marks[0].moment) {
        let mark = marks.iter().rev().find(|mark| mark.moment <= moment.number).unwrap();
        for order in orders(2) {
            let left = moment.crash(Policy::Everything, 0);
            check(&left, &order, *mark, &format!("killed at {}", moment.number));
            let names = left.names().unwrap();
            assert!(names.iter().all(|name| !name.contains(".tmp-")), "{names:?}");
        }
    }
}

/// Sets numbers on a disk on which the thing number `nth` of a kind fails; what may be found then,
/// or `None` where it did not come to that.
fn live_with_a_fault(disk: &SimDisk, fault: (Kind, u64, Failure, Times)) -> Option<Mark> {
    let sides = sides(disk, 2);
    let (kind, nth, failure, times) = fault;
    disk.fail(kind, nth, failure, times);
    let mut mark = Mark { moment: 0, floor: 0, ceiling: 0 };
    for value in 1..=3 {
        match set(&sides, value) {
            Ok(_) => (mark.floor, mark.ceiling) = (value, value),
            Err(Error::Unknown(_)) => mark.ceiling = mark.ceiling.max(value),
            // Nothing happened: not of this one, and not later.
            Err(_) => {}
        }
    }
    drop(sides);
    (disk.failures() > 0).then_some(mark)
}

// T16, R10
#[test]
fn a_disk_that_fails_at_any_operation_leaves_a_transaction_in_both_databases_or_in_neither() {
    let faults = [
        (Kind::Write, Failure::Io),
        (Kind::Write, Failure::Full),
        (Kind::Sync, Failure::Io),
        (Kind::Sync, Failure::Lost),
        (Kind::Read, Failure::Io),
    ];
    let mut states = 0;
    for (kind, failure) in faults {
        for times in [Times::Once, Times::Always] {
            for nth in 0.. {
                let disk = SimDisk::new();
                let Some(mark) = live_with_a_fault(&disk, (kind, nth, failure, times)) else {
                    assert!(nth > 0, "{kind:?} was to fail, and never happened");
                    break;
                };
                disk.heal();
                for (number, policy) in Policy::ALL.into_iter().enumerate() {
                    let order = &orders(2)[number % 2];
                    let left = disk.crash(policy, nth);
                    let story = format!("{kind:?} {nth} {failure:?} {times:?}, {policy:?}");
                    check(&left, order, mark, &story);
                    states += 1;
                }
            }
        }
    }
    println!("{states} states after faults");
}
