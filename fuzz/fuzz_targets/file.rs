//! Bytes as a database file: it is opened for reading and for writing, read, verified and recovered.
//!
//! Nothing panics, hangs or takes more memory than the file is worth; what can be read is what a
//! second opinion finds in the frames; and a file that was only edited shows a prefix of the
//! transactions it had.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use perennial::file::{Directory, DiskDirectory};
use perennial::format::TypeDef;
use perennial::storage::file::{FindingKind, Mode, Reads, Verification, recover, verify};
use perennial::storage::{Batch, FileStorage, Storage, TwoPhase, Verdict};
use perennial::{Error, Oid, Tid};
use perennial_fuzz::edit::Edit;
use perennial_fuzz::files::{self, Files, NAME};
use perennial_fuzz::forge;
use perennial_fuzz::heap::{Counting, in_proportion};
use perennial_fuzz::opinion::Opinion;
use perennial_fuzz::story::{Story, gtid};
use std::sync::Arc;

#[global_allocator]
static HEAP: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    Story::get();
    let Some(subject) = Subject::new(choice, rest) else { return };
    in_proportion(subject.file.len(), || subject.look());
});

/// A file to look at.
struct Subject {
    file: Vec<u8>,
    /// The transactions that it had before it was edited.
    had: Option<Opinion>,
    /// Its sums were made right after it was changed.
    forged: bool,
    /// It is read through a map, from a disk.
    mapped: bool,
}

impl Subject {
    /// The file that some bytes stand for.
    fn new(choice: u8, bytes: &[u8]) -> Option<Subject> {
        let (forged, mapped) = (choice & 64 != 0, choice & 128 != 0 && choice & 32 != 0);
        let mut had = None;
        let mut file = match choice % 4 {
            0 => bytes.to_vec(),
            1 => Story::get().begin(bytes),
            _ => {
                let mut source = Unstructured::new(bytes);
                let mut file = Story::get().moment(source.arbitrary().ok()?)[NAME].clone();
                had = Some(Opinion::of(&file).expect("it is good"));
                for edit in Vec::<Edit>::arbitrary_take_rest(source).ok()? {
                    edit.apply(&mut file);
                }
                file
            }
        };
        if forged {
            forge::file(&mut file);
        }
        Some(Subject { file, had, forged, mapped })
    }

    fn look(&self) {
        let opinion = Opinion::of(&self.file);
        if let (Some(had), Some(opinion), false) = (&self.had, &opinion, self.forged) {
            assert!(had.transactions.starts_with(&opinion.transactions), "made up: {opinion:?}");
        }
        let found = self.verify(&Files::from([(NAME.into(), self.file.clone())]));
        self.recover();
        self.read_only(opinion.as_ref());
        if self.mapped {
            self.read_mapped(opinion.as_ref());
        }
        self.write(opinion.unwrap_or_default(), found);
    }

    fn verify(&self, files: &Files) -> Option<Verification> {
        match verify(&*files::directory(files), NAME, &mut |done, all| assert!(done <= all)) {
            Ok(found) => Some(found),
            Err(error) => {
                assert!(matches!(error, Error::NotADatabase(_) | Error::Exhausted(_)), "{error:?}");
                None
            }
        }
    }

    /// What is recovered is sound, and a part of what there was.
    fn recover(&self) {
        let directory = files::directory(&Files::from([(NAME.into(), self.file.clone())]));
        let (from, to) = ((&*directory as &dyn Directory, NAME), "recovered.db");
        if let Err(error) = recover(from, (&*directory, to), &mut |done, all| assert!(done <= all))
        {
            return refused(&error);
        }
        let files = files::files(&*directory);
        assert!(files[NAME] == self.file, "recovering changes nothing");
        let found = Opinion::of(&files[to]).expect("its header is good");
        if let (Some(had), false) = (&self.had, self.forged) {
            let made_up = found.transactions.iter().find(|it| !had.transactions.contains(it));
            assert!(made_up.is_none(), "made up: {made_up:?}");
        }
        let storage = files::open(directory.clone(), Mode::ReadOnly, Reads::Pread);
        drop(storage.map_err(|error| refused(&error)));
    }

    /// Whoever only reads changes nothing.
    fn read_only(&self, opinion: Option<&Opinion>) {
        let files = Files::from([(NAME.into(), self.file.clone())]);
        let directory = files::directory(&files);
        match files::open(directory.clone(), Mode::ReadOnly, Reads::Pread) {
            Ok(storage) => self.compare(&storage, opinion.expect("its header is good")),
            Err(error) => refused(&error),
        }
        assert!(files::files(&*directory) == files, "reading changes nothing");
    }

    fn read_mapped(&self, opinion: Option<&Opinion>) {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a folder");
        std::fs::write(folder.path().join(NAME), &self.file).expect("it is written");
        let directory = Arc::new(DiskDirectory::new(folder.path()));
        match files::open(directory, Mode::ReadOnly, Reads::Map) {
            Ok(storage) => self.compare(&storage, opinion.expect("its header is good")),
            Err(error) => refused(&error),
        }
    }

    /// Where the file can be written, it goes on from what it shows.
    fn write(&self, opinion: Opinion, found: Option<Verification>) {
        let files = Files::from([(NAME.into(), self.file.clone())]);
        let directory = files::directory(&files);
        let storage = match files::open(directory.clone(), Mode::Existing, Reads::Pread) {
            Ok(storage) => storage,
            Err(error) => {
                refused(&error);
                let sound = found.is_some_and(|found| found.is_sound());
                assert!(!sound || self.forged, "sound, and refused: {error:?}");
                assert!(files::files(&*directory) == files, "who is refused has changed nothing");
                return;
            }
        };
        self.compare(&storage, &opinion);
        let more = add(&storage);
        let closed = storage.close();
        assert!(closed.is_ok() || self.forged, "{closed:?}");
        drop(storage);
        let after = files::files(&*directory);
        if let Some(found) = self.verify(&after) {
            let bad = found
                .findings
                .iter()
                .find(|it| !it.is_harmless() && it.kind != FindingKind::Header);
            assert!(self.forged || bad.is_none(), "{bad:?}");
        }
        let storage = match files::open(directory, Mode::Existing, Reads::Pread) {
            Ok(storage) => storage,
            Err(error) => return assert!(self.forged, "{error:?}"),
        };
        if let Some((oid, tid)) = more {
            let mut opinion = opinion;
            opinion.transactions.push((tid, vec![(oid, Some(b"more".to_vec()))]));
            self.compare(&storage, &opinion);
        }
    }

    fn compare(&self, storage: &FileStorage, opinion: &Opinion) {
        let whole = opinion.check(storage);
        assert!(whole || self.forged, "what was walked over cannot be read");
        if !self.forged {
            opinion.check_history(storage);
        }
        let _ = (storage.pinned(), storage.in_doubt(), storage.open_decisions());
        let _ = (storage.facts(), storage.types());
        for number in 0..7 {
            if storage.check_writable("ask").is_ok() {
                let _ = storage.decision(gtid(number), Tid::ZERO);
            }
        }
    }
}

/// Commits one object more, where nothing stands against it.
fn add(storage: &FileStorage) -> Option<(Oid, Tid)> {
    let oid = storage.new_oid().ok()?;
    let definition = TypeDef { name: "more".into(), version: 1, shape: "str".into() };
    let type_id = storage.intern(&definition).ok()?;
    let mut batch = Batch::default();
    batch.put((oid, Tid::ZERO, false), type_id, &[], b"more");
    match storage.commit(&Arc::new(batch)).ok()? {
        Verdict::Passed(receipt) => Some((oid, receipt.tid)),
        Verdict::Conflicts(_) => None,
    }
}

/// Checks that a file was refused for what it is.
fn refused(error: &Error) {
    let known = matches!(
        error,
        Error::NotADatabase(_) | Error::Damaged(_) | Error::Corrupt(_) | Error::Exhausted(_)
    );
    assert!(known, "{error:?}");
}
