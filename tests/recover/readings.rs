//! How often a damaged file is read, and what if it is not the same each time, as on a disk that is
//! about to fail.

use super::kit::{Author, Files, NEW, OLD, directory, files, flip, frames, of_kind, story};
use crate::support::scratched::Scratched;
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::format::put_varint;
use perennial::storage::Storage;
use perennial::storage::file::{LossKind, Recovery, recover};
use perennial::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Recovers the old file of `first`, which is that of `second` when it is read again.
fn reread(first: &Files, second: &Files) -> (Arc<MemoryDirectory>, Result<Recovery>) {
    let directory = directory(first);
    let file = directory.open(OLD, Access::Write).unwrap();
    let length = second[OLD].len() as u64;
    let outcome = recover((&*directory, OLD), (&*directory, NEW), &mut |done, _| {
        if done > length {
            file.rewrite(0, &second[OLD]).unwrap();
        }
    });
    (directory, outcome)
}

// R6: what is not copied would not be told, or what is told to be lost would be there.
#[test]
fn a_file_that_reads_otherwise_the_second_time_is_refused() {
    let story = story();
    for (place, header) in frames(&story[OLD]) {
        for at in [place.start + 3, place.end - 30] {
            let bad = flip(&story, at);
            for (first, second) in [(&story, &bad), (&bad, &story)] {
                let (directory, outcome) = reread(first, second);

                assert!(matches!(outcome, Err(Error::Io(_))), "{header:?}: {outcome:?}");
                assert_eq!(&files(&*directory), second, "something was left");
            }
        }
    }
}

// R6: what is in it may look like the heads of many records that are as large.
#[test]
fn a_large_object_whose_frame_is_lost_is_read_a_few_times() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [small, large, last] = author.oids();
    author.put(&[(small, &[], "small")]);
    author.put(&[(large, &[], &"\0".repeat(4 << 20))]);
    author.put(&[(last, &[], "last")]);
    author.storage.close().unwrap();
    let (place, _) = frames(&files(&*directory)[OLD])[1].clone();
    let file = directory.open(OLD, Access::Write).unwrap();
    file.rewrite(place.start, &[0xFF; 512]).unwrap();
    for number in 0..200 {
        let back = 1024 + number * 64;
        file.rewrite(place.start + back, &head(back, (2 << 20) + number * 128)).unwrap();
    }
    let inner = MemoryDirectory::clone(&directory);
    let disk = Scratched { inner, name: OLD, ..Scratched::default() };

    let recovery = recover((&disk, OLD), (&disk, NEW), &mut |_, _| {}).unwrap();

    assert_eq!(of_kind(&recovery, LossKind::Frame)[0].offset, place.start);
    let read = disk.read.load(Ordering::Relaxed) / file.len().unwrap();
    assert!(read < 12, "it was read {read} times");
}

/// The head of a record of so many bytes, which stands `back` bytes behind the start of its frame;
/// its sum and its transaction are nothing.
fn head(back: u64, length: u64) -> Vec<u8> {
    let mut head = vec![0; 13];
    for number in [1, back, 0, 1, 0, length] {
        put_varint(&mut head, number);
    }
    head
}
