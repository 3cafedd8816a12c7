//! Bytes of a sealed database that went bad, one after the other, block after block: found, with
//! their place, or of no consequence; never taken for data.
//!
//! `cargo test` tries a sample. All of it, in half an hour on two cores:
//! `cargo test --release -- --ignored bit_rot --nocapture`; with `PERENNIAL_BYTES=250000`, a file of
//! a quarter of the length, in a few minutes.

mod blocks;
mod subject;

use perennial::Error;
use perennial::format::FIRST_FRAME;
use perennial::storage::file::{Finding, FindingKind};
use subject::{INDEX, NAME, Reading, Subject};

/// What became of the flipped bytes of a file.
#[derive(Debug, Default)]
struct Figures {
    flipped: u64,
    /// Opening refused the file, with the place.
    refused: u64,
    /// An object or its history could not be read, and the error says where.
    unread: u64,
    /// Nothing that was read was touched.
    untouched: u64,
    /// Opening without the index snapshot refused the file, with the place.
    walked: u64,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.flipped += other.flipped;
        self.refused += other.refused;
        self.unread += other.unread;
        self.untouched += other.untouched;
        self.walked += other.walked;
    }
}

/// Flips every `step`th byte of the database, from the byte `first` on, and checks what everybody
/// says.
fn flip_log(subject: &Subject, first: usize, step: usize) -> Figures {
    let mut figures = Figures::default();
    for at in (first..subject.log.len()).step_by(step) {
        let flipped = subject.log[at] ^ 1 << (at % 8);
        figures.flipped += 1;
        subject.damage(NAME, at as u64, &[flipped]);
        check_verified(subject, at as u64);
        match subject.read() {
            Reading::Right => figures.untouched += 1,
            Reading::Unread => figures.unread += 1,
            Reading::Refused(Error::Damaged(damage)) => {
                // A copy of the header, or the Seal at the end that the index snapshot knows of.
                let frame = subject.frame_of(at as u64);
                let place = frame.map_or(at as u64 / 2048 * 2048, |frame| frame.start);
                assert_eq!(damage.offset, place, "{at}");
                figures.refused += 1;
            }
            Reading::Refused(error) => panic!("{at}: {error}"),
        }
        figures.walked += u64::from(walk_refuses(subject, at as u64));
        subject.restore();
    }
    figures
}

/// Checks that verifying finds the byte at `at` where it is.
fn check_verified(subject: &Subject, at: u64) {
    let verification = subject.verify().unwrap();
    let place = subject.frame_of(at);
    let there = |it: &Finding| match &place {
        Some(place) => it.kind == FindingKind::Frame && place.contains(&it.offset),
        None => it.kind == FindingKind::Header && it.offset / 2048 == at / 2048,
    };
    assert!(verification.findings.iter().any(there), "{at}: {:?}", verification.findings);
    assert!(!verification.is_sound());
}

/// Whether an opening that reads the whole log refuses the file because of the byte at `at`; where
/// it does not, what it shows is right.
fn walk_refuses(subject: &Subject, at: u64) -> bool {
    let Some(place) = subject.frame_of(at) else { return false };
    match subject.read_without_index() {
        Reading::Refused(Error::Damaged(damage)) => {
            assert_eq!(damage.offset, place.start, "{at}");
            true
        }
        // Nothing behind the Seal vouches for it.
        Reading::Right if place.end == subject.log.len() as u64 => false,
        reading => panic!("{at}: {reading:?}"),
    }
}

/// Flips every `step`th byte of the index snapshot: it is passed over, or no matter.
fn flip_index(subject: &Subject, step: usize) -> (u64, u64) {
    let (mut told, mut silent) = (0, 0);
    for at in (0..subject.index.len()).step_by(step) {
        subject.damage(INDEX, at as u64, &[subject.index[at] ^ 1 << (at % 8)]);
        let verification = subject.verify().unwrap();
        assert!(verification.is_sound(), "{at}: {:?}", verification.findings);
        match verification.findings.is_empty() {
            true => silent += 1,
            false => told += 1,
        }
        assert!(matches!(subject.read(), Reading::Right), "{at}");
        subject.restore();
    }
    (told, silent)
}

// R5, R7
#[test]
fn a_sample_of_flipped_bytes_is_found_and_never_taken_for_data() {
    let subject = Subject::sealed(60_000);

    let figures = flip_log(&subject, 0, 149);
    flip_index(&subject, 199);

    assert!(figures.unread > 100, "{figures:?}");
}

// R5
#[test]
fn flipped_bytes_of_a_log_with_promises_are_found_and_never_taken_for_data() {
    let subject = Subject::of_story();
    let frames = FIRST_FRAME as usize..subject.log_end() as usize;
    for at in frames.step_by(7) {
        subject.damage(NAME, at as u64, &[subject.log[at] ^ 1 << (at % 8)]);
        check_verified(&subject, at as u64);
        match subject.read() {
            Reading::Right | Reading::Unread => {}
            // A Prepare in doubt is read by every opening.
            Reading::Refused(Error::Corrupt(corruption)) => {
                let place = subject.frame_of(at as u64).unwrap();
                assert!(place.contains(&corruption.offset), "{at}: {corruption}");
            }
            Reading::Refused(error) => panic!("{at}: {error}"),
        }
        subject.restore();
    }
}

/// How many bytes the log is to have; the work grows with the square of it.
fn length() -> u64 {
    let asked = std::env::var("PERENNIAL_BYTES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(1_000_000)
}

// R5, R7
#[test]
#[ignore = "half an hour: every byte of a megabyte"]
fn bit_rot_of_every_byte() {
    let subject = Subject::sealed(length());
    println!("a log of {} bytes, an index snapshot of {}", subject.log.len(), subject.index.len());
    let begun = std::time::Instant::now();

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        let share = |first| {
            let twin = subject.twin();
            scope.spawn(move || flip_log(&twin, first, threads))
        };
        let shares: Vec<_> = (0..threads).map(share).collect();
        shares.into_iter().for_each(|it| figures.add(&it.join().unwrap()));
    });

    println!("{figures:?} in {:?}", begun.elapsed());
    let (told, silent) = flip_index(&subject, 1);
    println!("of the index snapshot, {told} told and {silent} without meaning: no answer changed");
    subject.check_restored();
}
