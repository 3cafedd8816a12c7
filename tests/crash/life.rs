//! One life of a storage on a simulated disk: it commits this and that, and keeps the story.

use super::story::{State, Story};
use crate::support::rng::Rng;
use crate::support::sim::SimDisk;
use perennial::format::{TypeDef, TypeId};
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, Durability, FileStorage, Load, Snapshot, Storage, Verdict};
use perennial::{Error, Oid, Result, Tid};
use std::sync::Arc;

/// The name of the database.
pub const NAME: &str = "life.db";

pub fn open(disk: &SimDisk) -> Result<FileStorage> {
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    FileStorage::open(Arc::new(disk.clone()), NAME, options)
}

/// A storage at work.
pub struct Life {
    pub disk: SimDisk,
    pub story: Story,
    /// Whether somebody does the housekeeping.
    pub tended: bool,
    storage: Option<FileStorage>,
    rng: Rng,
    /// How many actions there were when the storage was first known to be halted.
    halted: Option<usize>,
}

impl Life {
    /// Opens the database on `disk`, which must hold what `story` says.
    pub fn begin(disk: &SimDisk, story: Story, seed: u64) -> Result<Life> {
        let rng = Rng::new(seed);
        let mut life =
            Life { disk: disk.clone(), story, tended: false, storage: None, rng, halted: None };
        life.open().map(|()| life)
    }

    fn open(&mut self) -> Result<()> {
        let storage = open(&self.disk)?;
        let found = self.story.now().check(&storage);
        self.story.found(self.disk.moment(), found);
        let fresh = storage.new_oid().expect("an oid");
        assert!(!self.story.newest().objects.contains_key(&fresh), "{fresh} is given out again");
        self.halted = None;
        self.storage = Some(storage);
        Ok(())
    }

    fn storage(&self) -> &FileStorage {
        self.storage.as_ref().expect("it is open")
    }

    /// One thing of many, as the seed says; what fails is told by the story.
    pub fn step(&mut self) {
        match self.rng.below(24) {
            0 | 1 => self.sync(),
            2 | 3 if self.tended => self.note(self.storage().tend().map(drop)),
            4 => self.note(self.storage().write_index()),
            5 => self.reopen(),
            6 => self.commit(Durability::Lazy, 40, 90),
            7 => self.commit(Durability::Sync, 1, 5000),
            number => {
                let durability = if number % 3 == 0 { Durability::Lazy } else { Durability::Sync };
                let writes = 1 + self.rng.below(5);
                self.commit(durability, writes, 700);
            }
        }
    }

    /// A commit that waits for the disk.
    pub fn commit_durably(&mut self) {
        self.commit(Durability::Sync, 2, 600);
    }

    /// Commits up to `writes` changes of up to `size` bytes each.
    fn commit(&mut self, durability: Durability, writes: u64, size: u64) {
        let Some((batch, state)) = self.batch(durability, writes, size) else { return };
        self.story.begin(self.disk.moment(), state);
        let verdict = self.storage().commit(&Arc::new(batch));
        let moment = self.disk.moment();
        match verdict {
            Ok(Verdict::Passed(receipt)) => {
                self.story.acknowledge(moment, receipt.tid, durability == Durability::Sync);
            }
            Ok(Verdict::Conflicts(contenders)) => panic!("{contenders:?}"),
            Err(Error::Unknown(_)) => self.note(Err(Error::Unknown("seen".into()))),
            Err(error) => {
                self.story.refuse(moment);
                self.note(Err(error));
            }
        }
    }

    fn batch(&mut self, durability: Durability, writes: u64, size: u64) -> Option<(Batch, State)> {
        let mut state = State { tid: None, stored: Vec::new(), ..self.story.newest().clone() };
        let mut batch = Batch::default();
        batch.durability = durability;
        // A batch needs the bases: where they cannot be read there is none.
        let snapshot = self.storage().snapshot().ok()?;
        let number = self.story.now().states.len();
        let other = 3 + self.rng.below(2);
        let types = [self.type_id(number as u64 % 3), self.type_id(other)];
        for _ in 0..writes {
            let known = state.objects.len() as u64;
            let oid = match known > 0 && self.rng.below(3) > 0 {
                true => *state.objects.keys().nth(self.rng.below(known) as usize)?,
                false => self.storage().new_oid().ok()?,
            };
            if state.stored.contains(&oid) {
                continue;
            }
            let base = tid_of(&*snapshot, oid)?;
            let (pinned, removed) = (self.rng.below(4) == 0, self.rng.below(5) == 0);
            let content = if removed && base != Tid::ZERO {
                batch.remove(oid, base, pinned);
                None
            } else {
                let mut data = format!("{number}/{oid}").into_bytes();
                data.resize(data.len() + self.rng.below(size) as usize, number as u8);
                batch.put((oid, base, pinned), types[data.len() % 2], &[oid], &data);
                Some((pinned, data.into()))
            };
            state.objects.insert(oid, content);
            state.stored.push(oid);
        }
        Some((batch, state))
    }

    fn type_id(&self, number: u64) -> TypeId {
        let name = format!("life.Type{number}").into();
        let definition = TypeDef { name, version: 1, shape: "bytes".into() };
        self.storage().intern(&definition).expect("a number for the type")
    }

    fn sync(&mut self) {
        let outcome = self.storage().sync();
        if outcome.is_ok() {
            self.story.promise(self.disk.moment());
        }
        self.note(outcome);
    }

    /// Closes the storage; the disk of before the crash may go on.
    pub fn close(&mut self) {
        let Some(storage) = self.storage.take() else { return };
        if storage.close().is_ok() {
            self.story.promise(self.disk.moment());
        }
        drop(storage);
        if let Some(halted) = self.halted {
            let written = &self.disk.actions()[halted..];
            assert!(written.is_empty(), "a halted storage went on: {written:?}");
        }
    }

    /// Closes and opens it; where the disk fails that, the disk is replaced by a good one.
    pub fn reopen(&mut self) {
        self.close();
        if self.open().is_err() {
            self.disk.heal();
            self.open().expect("it opens on a disk that works");
        }
    }

    /// Notices when the storage halts.
    fn note(&mut self, outcome: Result<()>) {
        if matches!(outcome, Err(Error::Unknown(_) | Error::Halted(_))) && self.halted.is_none() {
            self.halted = Some(self.disk.moment());
        }
    }
}

/// The transaction that an object's base is.
fn tid_of(snapshot: &dyn Snapshot, oid: Oid) -> Option<Tid> {
    match snapshot.load(oid).ok()? {
        Load::Found(revision) => Some(revision.tid),
        Load::Removed(tid) => Some(tid),
        Load::Absent => Some(Tid::ZERO),
    }
}
