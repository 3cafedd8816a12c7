//! A sealed database in memory whose bytes can be spoiled and put right again: [`Subject`].

use crate::recover::kit::{INDEX as STORY_INDEX, OLD, frames, story};
use crate::support::files::{Files, content, directory};
use crate::support::rng::Rng;
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::format::TypeDef;
use perennial::storage::file::{FileOptions, Mode, Verification, verify};
use perennial::storage::{Batch, FileStorage, Load, Storage, Verdict};
use perennial::{Error, Oid, Result, Tid};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub const NAME: &str = "rotten.db";
pub const INDEX: &str = "rotten.db.index";

/// A database, as it was and as it is now.
pub struct Subject {
    directory: Arc<MemoryDirectory>,
    /// The same without an index snapshot.
    bare: Arc<MemoryDirectory>,
    pub log: Vec<u8>,
    pub index: Vec<u8>,
    frames: Vec<Range<u64>>,
    /// What the newest revision of every object is; none where it was removed.
    expected: BTreeMap<Oid, Option<Vec<u8>>>,
    spoiled: RefCell<Vec<(&'static str, Range<usize>)>>,
}

/// What reading everything came to. Whatever was read was right.
#[derive(Debug)]
pub enum Reading {
    Right,
    /// Something could not be read, and the error said where.
    Unread,
    Refused(Error),
}

fn open(directory: &Arc<MemoryDirectory>, mode: Mode) -> Result<FileStorage> {
    let options =
        FileOptions { mode, housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    FileStorage::open(directory.clone(), NAME, options)
}

fn bytes(directory: &MemoryDirectory, name: &str) -> Vec<u8> {
    content(directory, name).unwrap()
}

/// Random transactions, of one object or many, small and large, until the log is so long.
fn write(storage: &FileStorage, length: u64) {
    let mut rng = Rng::new(42);
    let mut newest: BTreeMap<Oid, Tid> = BTreeMap::new();
    let definition = TypeDef { name: "rot.Bytes".into(), version: 1, shape: "bytes".into() };
    let type_id = storage.intern(&definition).unwrap();
    while storage.facts().log_end < length {
        let mut batch = Batch::default();
        batch.metadata.note = format!("with {} before it", newest.len());
        let oids: Vec<Oid> = newest.keys().copied().collect();
        for _ in 0..=rng.below(6) {
            let old = oids.get(rng.below(oids.len() as u64 * 2 + 1) as usize).copied();
            let oid = old.unwrap_or_else(|| storage.new_oid().unwrap());
            if batch.writes().any(|write| write.oid == oid) {
                continue;
            }
            let base = newest.get(&oid).copied().unwrap_or(Tid::ZERO);
            if old.is_some() && rng.below(20) == 0 {
                batch.remove(oid, base, false);
                continue;
            }
            let large = if rng.below(4) == 0 { 6_000 } else { 900 };
            let data: Vec<u8> = (0..rng.below(large)).map(|_| rng.number() as u8).collect();
            batch.put((oid, base, rng.coin()), type_id, &oids[..oids.len().min(3)], &data);
        }
        let batch = Arc::new(batch);
        match storage.commit(&batch).unwrap() {
            Verdict::Passed(receipt) => {
                newest.extend(batch.writes().map(|write| (write.oid, receipt.tid)));
            }
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }
}

impl Subject {
    /// A database of about this length, closed cleanly.
    pub fn sealed(length: u64) -> Subject {
        let directory = Arc::new(MemoryDirectory::new());
        let storage = open(&directory, Mode::CreateNew).unwrap();
        write(&storage, length);
        storage.close().unwrap();
        Subject::of(bytes(&directory, NAME), bytes(&directory, INDEX))
    }

    /// One with promises kept, taken back and in doubt, and with decisions.
    pub fn of_story() -> Subject {
        let mut story = story();
        let mut take = |name| story.remove(name).unwrap();
        Subject::of(take(OLD), take(STORY_INDEX))
    }

    /// Another one of the same bytes.
    pub fn twin(&self) -> Subject {
        Subject::of(self.log.clone(), self.index.clone())
    }

    fn of(log: Vec<u8>, index: Vec<u8>) -> Subject {
        let mut files = Files::from([(NAME.to_owned(), log.clone())]);
        let bare = directory(&files);
        files.insert(INDEX.to_owned(), index.clone());
        let directory = directory(&files);
        let frames = frames(&log).into_iter().map(|(place, _)| place).collect();
        let spoiled = RefCell::default();
        let storage = open(&directory, Mode::ReadOnly).unwrap();
        let snapshot = storage.snapshot().unwrap();
        let load = |oid| match snapshot.load(oid).unwrap() {
            Load::Found(revision) => Some((oid, Some(revision.data.to_vec()))),
            Load::Removed(_) => Some((oid, None)),
            Load::Absent => None,
        };
        let oids = (0..storage.facts().next_oid.number()).map(Oid::new);
        let expected = oids.filter_map(load).collect();
        drop(snapshot);
        drop(storage);
        Subject { directory, bare, log, index, frames, expected, spoiled }
    }

    /// Where the last frame ends.
    pub fn log_end(&self) -> u64 {
        self.frames.last().unwrap().end
    }

    /// The frame in which a byte stands.
    pub fn frame_of(&self, at: u64) -> Option<Range<u64>> {
        let number = self.frames.partition_point(|frame| frame.end <= at);
        self.frames.get(number).filter(|frame| frame.contains(&at)).cloned()
    }

    /// Puts other bytes into a file.
    pub fn damage(&self, name: &'static str, at: u64, other: &[u8]) {
        self.put(name, at, other);
        let start = at as usize;
        self.spoiled.borrow_mut().push((name, start..start + other.len()));
    }

    fn put(&self, name: &str, at: u64, other: &[u8]) {
        for directory in [&self.directory, &self.bare] {
            if let Ok(file) = directory.open(name, Access::Write) {
                file.rewrite(at, other).unwrap();
            }
        }
    }

    /// Puts everything right again, once it is seen that nobody else changed anything.
    pub fn restore(&self) {
        for (name, place) in self.spoiled.borrow_mut().drain(..) {
            let good = if name == NAME { &self.log } else { &self.index };
            self.put(name, place.start as u64, &good[place]);
        }
    }

    /// Checks that the files are what they were.
    pub fn check_restored(&self) {
        assert!(bytes(&self.directory, NAME) == self.log);
        assert!(bytes(&self.directory, INDEX) == self.index);
        assert!(bytes(&self.bare, NAME) == self.log);
    }

    pub fn verify(&self) -> Result<Verification> {
        verify(&*self.directory, NAME, &mut |_, _| {})
    }

    /// Opens the file and reads every object.
    pub fn read(&self) -> Reading {
        self.read_in(&self.directory)
    }

    /// The same without the index snapshot: the whole log is walked.
    pub fn read_without_index(&self) -> Reading {
        self.read_in(&self.bare)
    }

    fn read_in(&self, directory: &Arc<MemoryDirectory>) -> Reading {
        let storage = match open(directory, Mode::Existing) {
            Ok(storage) => storage,
            Err(error) => return Reading::Refused(error),
        };
        let mut reading = Reading::Right;
        let snapshot = storage.snapshot().unwrap();
        for (&oid, expected) in &self.expected {
            match snapshot.load(oid) {
                Ok(Load::Found(found)) => assert_eq!(Some(&*found.data), expected.as_deref()),
                Ok(Load::Removed(_)) => assert!(expected.is_none(), "{oid} is there no more"),
                Ok(Load::Absent) => panic!("{oid} is lost in silence"),
                Err(Error::Corrupt(corruption)) => {
                    assert!(corruption.offset < self.log.len() as u64);
                    reading = Reading::Unread;
                }
                Err(error) => panic!("{oid}: {error}"),
            }
        }
        reading
    }
}
