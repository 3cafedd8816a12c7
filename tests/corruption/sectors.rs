//! Sectors that a disk zeroed, scribbled over, exchanged or wrote to a second place.

use super::kit::{Files, NAME, Written, directory, files, open, without_index, written_of};
use crate::support::rng::Rng;
use perennial::Error;
use perennial::format::FrameHeader;
use perennial::storage::Storage;
use perennial::storage::file::Mode;

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
