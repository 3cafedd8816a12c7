//! Blocks of a sealed database that were zeroed, filled with noise, written twice or exchanged.

use super::subject::{INDEX, NAME, Reading, Subject};
use crate::recover::kit::{Files, INDEX as OLD_INDEX, OLD};
use crate::recover::sweeps::Sweep;
use crate::support::rng::Rng;
use perennial::Error;
use perennial::format::FIRST_FRAME;
use perennial::storage::file::{Finding, FindingKind};
use std::ops::Range;

/// What is done to the blocks of a file.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    Zeros,
    Noise,
    /// What stands in another block stands here, too.
    Twice(usize),
    /// This block and another have changed places.
    Swapped(usize),
}

/// What became of spoiled blocks.
#[derive(Debug, Default)]
struct Figures {
    spoiled: u64,
    unread: u64,
    refused: u64,
    untouched: u64,
}

/// The bytes at these places, after they were spoiled.
fn spoil(
    log: &[u8],
    size: usize,
    block: usize,
    how: Spoil,
    rng: &mut Rng,
) -> Vec<(usize, Vec<u8>)> {
    let of = |block: usize| block * size..((block + 1) * size).min(log.len());
    let place = of(block);
    let fit = |mut bytes: Vec<u8>, place: &Range<usize>| {
        bytes.resize(place.len(), 0);
        (place.start, bytes)
    };
    match how {
        Spoil::Zeros => vec![(place.start, vec![0; place.len()])],
        Spoil::Noise => {
            vec![(place.start, place.map(|_| rng.number() as u8).collect())]
        }
        Spoil::Twice(other) => vec![fit(log[of(other)].to_vec(), &place)],
        Spoil::Swapped(other) => {
            let there = of(other);
            vec![fit(log[there.clone()].to_vec(), &place), fit(log[place].to_vec(), &there)]
        }
    }
}

/// Spoils blocks of `size` bytes, every `step`th, in every way; recovers those for which
/// `recovers` says so.
fn sweep(subject: &Subject, size: usize, step: usize, recovers: usize) -> Figures {
    let mut rng = Rng::new(7);
    let files: Files =
        [(OLD.to_owned(), subject.log.clone()), (OLD_INDEX.to_owned(), subject.index.clone())]
            .into();
    let recovery = Sweep::of(files);
    let (blocks, mut figures) = (subject.log.len().div_ceil(size), Figures::default());
    for block in (0..blocks).step_by(step) {
        let other = rng.below(blocks as u64) as usize;
        let ways = [Spoil::Zeros, Spoil::Noise, Spoil::Twice(other), Spoil::Swapped(other)];
        for how in ways {
            let spoiled = spoil(&subject.log, size, block, how, &mut rng);
            let place = |(at, bytes): &(usize, Vec<u8>)| *at as u64..(at + bytes.len()) as u64;
            let places: Vec<Range<u64>> = spoiled.iter().map(place).collect();
            spoiled.iter().for_each(|(at, bytes)| subject.damage(NAME, *at as u64, bytes));
            check(subject, &spoiled, how, &mut figures);
            subject.restore();
            if block % recovers == 0 {
                let mut damaged = recovery.files.clone();
                let log = damaged.get_mut(OLD).unwrap();
                for (at, bytes) in &spoiled {
                    log[*at..at + bytes.len()].copy_from_slice(bytes);
                }
                recovery.check_all(&damaged, &places);
            }
        }
    }
    subject.check_restored();
    figures
}

/// Checks what is said of a file that is spoiled so.
fn check(subject: &Subject, spoiled: &[(usize, Vec<u8>)], how: Spoil, figures: &mut Figures) {
    let differs = |(at, bytes): &(usize, Vec<u8>)| {
        let first = bytes.iter().zip(&subject.log[*at..]).position(|(bad, good)| bad != good);
        first.map(|first| (at + first) as u64)
    };
    let changed: Vec<u64> = spoiled.iter().filter_map(differs).collect();
    let Some(&first) = changed.iter().min() else { return };
    figures.spoiled += 1;
    match (subject.verify(), subject.read()) {
        (Ok(verification), reading) => {
            let start = subject.frame_of(first).map_or(first / 2048 * 2048, |frame| frame.start);
            let there = |it: &Finding| {
                it.offset == start && it.kind != FindingKind::Record || it.offset == first
            };
            let found = verification.findings.iter().any(there);
            assert!(found, "{how:?} at {first}: {:?}", verification.findings);
            match reading {
                Reading::Right => figures.untouched += 1,
                Reading::Unread => figures.unread += 1,
                Reading::Refused(Error::Damaged(_)) => figures.refused += 1,
                Reading::Refused(error) => panic!("{how:?} at {first}: {error}"),
            }
        }
        // Both copies of the header are in one block.
        (Err(Error::NotADatabase(_)), Reading::Refused(Error::NotADatabase(_))) => {
            assert!(first < FIRST_FRAME);
            figures.refused += 1;
        }
        (outcome, reading) => panic!("{how:?} at {first}: {outcome:?}, {reading:?}"),
    }
}

// R5, R6
#[test]
fn spoiled_blocks_are_found_and_what_is_not_in_them_is_recovered() {
    let subject = Subject::sealed(60_000);
    let figures = sweep(&subject, 4096, 5, 2);
    let smaller = sweep(&subject, 512, 23, 4);
    assert!(figures.unread > 3 && smaller.unread > 3, "{figures:?} {smaller:?}");
}

// R7
#[test]
fn spoiled_blocks_of_the_snapshot_change_no_answer() {
    let subject = Subject::sealed(60_000);
    let mut rng = Rng::new(9);
    for block in 0..subject.index.len().div_ceil(512) {
        for how in [Spoil::Zeros, Spoil::Noise, Spoil::Twice(1), Spoil::Swapped(9)] {
            for (at, bytes) in spoil(&subject.index, 512, block, how, &mut rng) {
                subject.damage(INDEX, at as u64, &bytes);
            }
            assert!(subject.verify().unwrap().is_sound(), "{how:?} {block}");
            assert!(matches!(subject.read(), Reading::Right), "{how:?} {block}");
            subject.restore();
        }
    }
}

// R5, R6
#[test]
#[ignore = "a minute: every block of a megabyte, in every way"]
fn bit_rot_of_every_block() {
    let subject = Subject::sealed(1_000_000);
    for (size, recovers) in [(4096, 1), (512, 4)] {
        let begun = std::time::Instant::now();
        let figures = sweep(&subject, size, 1, recovers);
        println!("blocks of {size} bytes: {figures:?} in {:?}", begun.elapsed());
    }
}
