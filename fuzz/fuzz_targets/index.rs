//! Bytes as an index snapshot beside a good log: every answer is the one without any.
//!
//! The snapshot is one of the log's own, of this moment or an earlier one, or one of a copy that
//! went another way, edited; or any bytes.
//! Where its sums were made right over edits, it lies, and then nothing may panic or hang.
//!
//! Of the two logs, one was closed: its last snapshot proves how long it was, and does not stand
//! beside the other.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use perennial::Tid;
use perennial::storage::file::{Mode, Reads, verify};
use perennial::storage::{FileStorage, Storage, TwoPhase};
use perennial_fuzz::edit::Edit;
use perennial_fuzz::files::{self, Files, INDEX, NAME};
use perennial_fuzz::forge;
use perennial_fuzz::heap::{Counting, in_proportion};
use perennial_fuzz::opinion::Opinion;
use perennial_fuzz::story::{Story, gtid};

#[global_allocator]
static HEAP: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let Some(files) = subject(choice, rest) else { return };
    let length: usize = files.values().map(Vec::len).sum();
    in_proportion(length, || look(&files, choice & 64 != 0));
});

/// The last of the story's files, or the closed one, and a snapshot.
fn subject(choice: u8, bytes: &[u8]) -> Option<Files> {
    let story = Story::get();
    let mut files = story.moments.last().expect("there are some").clone();
    let mut snapshots: Vec<_> = story.snapshots.iter().chain(&story.strangers).collect();
    if choice & 32 != 0 || choice % 4 == 0 {
        files.insert(NAME.into(), story.closed[NAME].clone());
        snapshots.extend(story.closed.get(INDEX));
    }
    let index = match choice % 4 {
        0 => bytes.to_vec(),
        _ => {
            let mut source = Unstructured::new(bytes);
            let number = usize::from(source.arbitrary::<u8>().ok()?);
            let mut index = snapshots[number % snapshots.len()].clone();
            for edit in Vec::<Edit>::arbitrary_take_rest(source).ok()? {
                edit.apply(&mut index);
            }
            if choice & 64 != 0 {
                forge::index(story, &mut index);
            }
            index
        }
    };
    files.insert(INDEX.into(), index);
    Some(files)
}

fn look(files: &Files, forged: bool) {
    let opinion = Opinion::of(&files[NAME]).expect("it is good");
    let mut without = files.clone();
    without.remove(INDEX);
    for mode in [Mode::ReadOnly, Mode::Existing] {
        let directory = files::directory(files);
        let found = verify(&*directory, NAME, &mut |_, _| {}).expect("it is a database");
        assert!(forged || found.is_sound(), "{:?}", found.findings);
        let storage = match files::open(directory.clone(), mode, Reads::Pread) {
            Ok(storage) => storage,
            Err(error) => {
                assert!(forged, "{error:?}");
                continue;
            }
        };
        if forged {
            read(&storage);
            let _ = storage.close();
            continue;
        }
        let other =
            files::open(files::directory(&without), mode, Reads::Pread).expect("it is good");
        assert!(opinion.check(&storage), "what is there can be read");
        opinion.check_history(&storage);
        assert_eq!(answers(&storage), answers(&other));
        storage.close().expect("it closes");
        drop(storage);
        let again = files::open(directory, mode, Reads::Pread).expect("it is good");
        assert!(opinion.check(&again), "what is there can be read again");
    }
}

/// Reads what there is, right or wrong.
fn read(storage: &FileStorage) {
    let snapshot = storage.snapshot().expect("it is open");
    for oid in (0..9).chain(598..602).map(perennial::Oid::new) {
        let _ = (snapshot.load(oid).is_ok(), storage.history(oid).is_ok());
    }
    for transaction in storage.transactions(Tid::ZERO, Tid::MAX).expect("it is open") {
        if transaction.is_err() {
            break;
        }
    }
    let _ = answers(storage);
}

/// What a storage says of itself.
fn answers(storage: &FileStorage) -> String {
    let facts = storage.facts();
    let decisions: Vec<_> = match storage.check_writable("ask") {
        Ok(()) => (0..7).map(|it| storage.decision(gtid(it), Tid::ZERO).ok()).collect(),
        Err(_) => Vec::new(),
    };
    format!(
        "{:?}",
        (
            (storage.pinned().ok(), storage.in_doubt().ok(), storage.open_decisions().ok()),
            (storage.last_tid(), facts.log_end, decisions),
            sorted_types(storage),
        )
    )
}

fn sorted_types(storage: &FileStorage) -> Vec<String> {
    let mut types: Vec<_> =
        storage.types().iter().map(|(id, it)| format!("{} {it}", id.0)).collect();
    types.sort();
    types
}
