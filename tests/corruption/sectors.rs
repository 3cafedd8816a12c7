//! Sectors that a disk zeroed, scribbled over, exchanged, wrote to a second place, or cannot read.

use super::kit::{
    Files, INDEX, NAME, Written, directory, files, open, without_index, written, written_of,
};
use crate::support::rng::Rng;
use crate::support::scratched::Scratched;
use perennial::file::MemoryDirectory;
use perennial::format::{FrameHeader, PAGE_LEN, PAGES_START};
use perennial::storage::file::{FileOptions, LossKind, Mode, Reads, recover, verify};
use perennial::storage::{FileStorage, Storage};
use perennial::{Error, Tid};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const SECTOR: usize = 512;

const TRANSACTIONS: usize = 24;

fn sector(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut sector = bytes[number * SECTOR..].to_vec();
    sector.truncate(SECTOR);
    sector
}

fn put(bytes: &mut [u8], number: usize, sector: &[u8]) {
    let room = &mut bytes[number * SECTOR..];
    let length = room.len().min(sector.len());
    room[..length].copy_from_slice(&sector[..length]);
}

/// The file with sector `number` damaged in each way; of two sectors, the other one is chosen.
fn damaged(good: &[u8], number: usize, rng: &mut Rng) -> Vec<(&'static str, Vec<u8>)> {
    let count = good.len().div_ceil(SECTOR);
    let other = (number + 1 + rng.below(count as u64 - 1) as usize) % count;
    let noise: Vec<u8> = (0..SECTOR).map(|_| rng.number() as u8).collect();
    let (this, that) = (sector(good, number), sector(good, other));
    let with = |changes: &[(usize, &[u8])]| {
        let mut bytes = good.to_vec();
        changes.iter().for_each(|(at, sector)| put(&mut bytes, *at, sector));
        bytes
    };
    vec![
        ("zeroed", with(&[(number, &[0; SECTOR])])),
        ("noise", with(&[(number, &noise)])),
        ("exchanged", with(&[(number, &that), (other, &this)])),
        ("doubled", with(&[(other, &this)])),
    ]
}

/// Opens and reads everything: an error that leaves the file alone, or the right answers. Whether
/// it was found out.
fn check(written: &Written, damaged: &Files, what: &str) -> bool {
    let (all, directory) = (written.stored.len(), directory(damaged));
    match open(directory.clone(), Mode::Existing) {
        Err(Error::Damaged(_) | Error::Corrupt(_) | Error::NotADatabase(_)) => {
            assert!(files(&*directory) == *damaged, "{what}: the file was changed");
            true
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(storage) if storage.last_tid() < written.stored[all - 1].tid => {
            written.check(&storage, kept(written, &damaged[NAME], what));
            true
        }
        Ok(storage) => written.read(&storage, all).is_err(),
    }
}

/// How many transactions are left of a log whose end was taken for torn: those before the damage.
/// That is right where no header of a later frame is left, which would say that they were durable.
fn kept(written: &Written, damaged: &[u8], what: &str) -> usize {
    let good = &written.closed[NAME];
    let first = damaged.iter().zip(good).position(|(one, other)| one != other).unwrap();
    let kept = written.stored.iter().filter(|it| it.end <= first as u64).count();
    let seal = written.stored.last().unwrap().end;
    let witnesses = written.stored[kept + 1..].iter().map(|it| it.start).chain([seal]);
    for start in witnesses.map(|start| start as usize) {
        let header = start..start + FrameHeader::LEN;
        assert_ne!(damaged[header.clone()], good[header], "{what}: a witness at {start}");
    }
    kept
}

// R5, R6
#[test]
fn a_sector_that_is_zeroed_scribbled_over_exchanged_or_doubled_never_becomes_data() {
    let written = written_of(TRANSACTIONS, 150);
    let good = &written.closed[NAME];
    let sectors = good.len().div_ceil(SECTOR);
    assert!(sectors > 24, "{sectors} sectors");
    let (mut rng, mut found, mut tried) = (Rng::new(3), 0, 0);
    for with_index in [true, false] {
        for number in 0..sectors {
            for (how, bytes) in damaged(good, number, &mut rng) {
                let mut files = written.closed.clone();
                let harmless = bytes == *good;
                files.insert(NAME.into(), bytes);
                if !with_index {
                    files = without_index(&files);
                }
                let what = format!("sector {number} {how}, index: {with_index}");
                let told = check(&written, &files, &what);
                assert!(!(told && harmless), "{what}: nothing was wrong");
                (tried, found) = (tried + 1, found + usize::from(told));
            }
        }
    }
    println!("{found} of {tried} damaged files were told from good ones");
    assert!(found * 3 > tried * 2, "{found} of {tried}");
}

/// These files, on a disk that cannot read these bytes of the index snapshot.
fn scratched(files: &Files, bad: Range<u64>) -> Scratched {
    let inner = MemoryDirectory::clone(&directory(files));
    Scratched { inner, name: INDEX, bad, ..Scratched::default() }
}

// R6: who touches a map of what the disk cannot read is ended by a signal
#[test]
fn who_reads_by_position_maps_nothing() {
    let written = written();
    for (reads, maps_something) in [(Reads::Pread, false), (Reads::Map, true)] {
        for mode in [Mode::Existing, Mode::ReadOnly] {
            let disk = Arc::new(scratched(&written.closed, 0..0));
            let options = FileOptions { mode, reads, housekeeping: false, ..Default::default() };
            let storage = FileStorage::open(disk.clone(), NAME, options).unwrap();
            written.check(&storage, 5);
            storage.close().unwrap();
            assert_eq!(disk.maps.load(Ordering::Relaxed) > 0, maps_something, "{reads:?} {mode:?}");
        }
    }
    let disk = scratched(&written.closed, 0..0);
    assert!(verify(&disk, NAME, &mut |_, _| {}).unwrap().is_sound());
    assert!(recover((&disk, NAME), (&disk, "new"), &mut |_, _| {}).unwrap().is_complete());
    assert_eq!(disk.maps.load(Ordering::Relaxed), 0, "verify and recover");
}

// R6, R7
#[test]
fn a_page_of_the_index_that_cannot_be_read_is_made_again_from_the_log() {
    let written = written();
    let page = PAGES_START..PAGES_START + PAGE_LEN as u64;
    for mode in [Mode::Existing, Mode::ReadOnly] {
        let disk = Arc::new(scratched(&written.closed, page.clone()));
        let storage = open(disk, mode).unwrap();
        let facts = storage.facts();
        assert_eq!(facts.replay_from, facts.log_end, "the rest of it counts");
        written.check(&storage, 5);
    }

    // What it proves counts, too.
    let last = written.stored.last().unwrap();
    let mut files = written.closed.clone();
    files.get_mut(NAME).unwrap()[last.start as usize..].fill(0);
    let disk = scratched(&files, page);
    let recovery = recover((&disk, NAME), (&disk, "new"), &mut |_, _| {}).unwrap();
    let frame = recovery.losses.iter().find(|loss| loss.kind == LossKind::Frame);
    assert_eq!(frame.map(|loss| loss.offset), Some(last.start), "{:?}", recovery.losses);
    assert!(recovery.last_tid > Tid::ZERO && recovery.last_tid < last.tid);
}
