//! A damaged file is not the same each time it is read, as on a disk that is about to fail.

use super::kit::{Files, NEW, OLD, directory, files, flip, frames, story};
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::storage::file::{Recovery, recover};
use perennial::{Error, Result};
use std::sync::Arc;

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
