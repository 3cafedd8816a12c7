//! What is on a simulated disk, and what of it is found after a power loss.
//!
//! [`State`] is the model that `sim.rs` describes: it performs [`Action`]s and crashes by a
//! [`Policy`]. It knows no handles, locks or faults.

use super::rng::Rng;
use super::sparse::Sparse;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How much of what was un-synced is found after the power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// Of each write some sectors of 512 bytes, by the seed; of each trim and name change, whether.
    Sectors,
    /// Of each write a run of its bytes, by the seed: none, all, or torn anywhere.
    Bytes,
    /// Some of the writes in an order of their own, the last of them torn, by the seed.
    Reordered,
}

impl Policy {
    /// Each of them.
    pub const ALL: [Policy; 5] =
        [Policy::Nothing, Policy::Everything, Policy::Sectors, Policy::Bytes, Policy::Reordered];
}

/// One thing done to the disk, as it was done: a write that failed half-way is its first half.
#[derive(Debug, Clone)]
pub enum Action {
    /// A file was created.
    Create { name: String, inode: usize },
    /// A file was renamed, perhaps onto another.
    Rename { from: String, to: String, inode: usize },
    /// A name was removed.
    Remove { name: String, inode: usize },
    /// The directory was synced.
    SyncNames,
    /// Bytes were written.
    Write { inode: usize, offset: u64, bytes: Bytes },
    /// A file was cut.
    Trim { inode: usize, length: u64 },
    /// A file was synced.
    Sync { inode: usize },
    /// A sync failed and called what it had not written clean; where there is a seed, some of it
    /// had arrived.
    Lose { inode: usize, kept: Option<u64> },
    /// Something failed and changed nothing.
    Refused,
}

/// Bytes to write; zeros are not spelled out.
#[derive(Clone)]
pub struct Bytes {
    length: u64,
    data: Option<Arc<[u8]>>,
}

impl Bytes {
    /// These bytes.
    pub fn of(bytes: &[u8]) -> Bytes {
        Bytes { length: bytes.len() as u64, data: Some(bytes.into()) }
    }

    /// So many zeros.
    pub fn zeros(length: u64) -> Bytes {
        Bytes { length, data: None }
    }

    /// What is written of them when the disk becomes full.
    pub fn first_half(self) -> Bytes {
        Bytes { length: self.length / 2, data: self.data }
    }

    /// How many they are.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Puts the part `range` of them where it belongs when all of them belong at `offset`.
    fn put(&self, content: &mut Sparse, offset: u64, range: Range<u64>) {
        match &self.data {
            Some(data) => {
                let part = &data[range.start as usize..range.end as usize];
                content.write(offset + range.start, part);
            }
            None => content.zero(offset + range.start, range.end - range.start),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.length, if self.data.is_some() { "bytes" } else { "zeros" })
    }
}

/// Names, and the inodes they stand for.
pub type Names = BTreeMap<String, usize>;

/// A disk at one moment.
#[derive(Clone, Default)]
pub struct State {
    /// The files, by inode.
    pub files: Vec<Content>,
    /// The names, as the running system sees them.
    pub names: Names,
    durable_names: Names,
    unsynced_names: Vec<Action>,
}

/// A file at one moment.
#[derive(Clone, Default)]
pub struct Content {
    /// Its bytes, as the running system sees them.
    pub cache: Sparse,
    durable: Sparse,
    unsynced: Vec<Action>,
}

impl State {
    /// Does it, as the running system sees it.
    pub fn perform(&mut self, action: &Action) {
        match action {
            Action::Create { .. } | Action::Rename { .. } | Action::Remove { .. } => {
                if let Action::Create { .. } = action {
                    self.files.push(Content::default());
                }
                change_names(&mut self.names, action);
                self.unsynced_names.push(action.clone());
            }
            Action::SyncNames => {
                self.durable_names.clone_from(&self.names);
                self.unsynced_names.clear();
            }
            Action::Write { inode, .. } | Action::Trim { inode, .. } => {
                let file = &mut self.files[*inode];
                change_bytes(&mut file.cache, action);
                file.unsynced.push(action.clone());
            }
            Action::Sync { inode } => self.files[*inode].sync(),
            Action::Lose { inode, kept } => self.files[*inode].lose(*kept),
            Action::Refused => {}
        }
    }

    /// What is found after the power is lost.
    pub fn crash(&self, policy: Policy, rng: &mut Rng) -> State {
        let mut names = self.durable_names.clone();
        for change in &self.unsynced_names {
            let kept = match policy {
                Policy::Nothing => false,
                Policy::Everything => true,
                _ => rng.coin(),
            };
            if kept {
                change_names(&mut names, change);
            }
        }
        let crash = |file: &Content| {
            let found = file.crash(policy, rng);
            Content { cache: found.clone(), durable: found, unsynced: Vec::new() }
        };
        let files = self.files.iter().map(crash).collect();
        State { files, durable_names: names.clone(), names, unsynced_names: Vec::new() }
    }
}

impl Content {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change_bytes(&mut self.durable, &change);
        }
        // The length is the file's, whatever became of the bytes: an earlier sync may have lost them.
        self.durable.resize(self.cache.len());
    }

    fn lose(&mut self, kept: Option<u64>) {
        if let Some(seed) = kept {
            self.durable = self.crash(Policy::Sectors, &mut Rng::new(seed));
        }
        self.unsynced.clear();
    }

    fn crash(&self, policy: Policy, rng: &mut Rng) -> Sparse {
        let mut found = self.durable.clone();
        match policy {
            Policy::Nothing => return found,
            Policy::Everything => {
                let mut all = self.clone();
                all.sync();
                return all.durable;
            }
            Policy::Sectors | Policy::Bytes | Policy::Reordered => self.grow(&mut found, rng),
        }
        let mut changes: Vec<&Action> = self.unsynced.iter().collect();
        let mut count = changes.len();
        if policy == Policy::Reordered {
            rng.shuffle(&mut changes);
            count = rng.below(changes.len() as u64 + 1) as usize;
        }
        for (number, &change) in changes[..count].iter().enumerate() {
            let Action::Write { offset, bytes, .. } = change else {
                if policy == Policy::Reordered || rng.coin() {
                    change_bytes(&mut found, change);
                }
                continue;
            };
            match policy {
                Policy::Sectors => {
                    let sectors = sectors(*offset, bytes.length).filter(|_| rng.coin());
                    sectors.for_each(|sector| bytes.put(&mut found, *offset, sector));
                }
                Policy::Reordered if number + 1 < count => change_bytes(&mut found, change),
                _ => bytes.put(&mut found, *offset, torn(bytes.length, rng)),
            }
        }
        found
    }

    /// Makes the file as long as it may be without any of its new bytes.
    fn grow(&self, found: &mut Sparse, rng: &mut Rng) {
        let (start, longest) = (self.durable.len(), self.cache.len());
        if longest <= start || rng.coin() {
            return;
        }
        let length = 1 + rng.below(longest - start);
        let filler: Vec<u8> = match rng.below(3) {
            0 => vec![0; length as usize],
            1 => (0..length).map(|_| rng.number() as u8).collect(),
            _ => {
                let mut old = vec![0; length.min(start) as usize];
                self.durable.read(rng.below(start - old.len() as u64 + 1), &mut old);
                old.resize(length as usize, 0);
                old
            }
        };
        found.write(start, &filler);
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: u64, length: u64) -> impl Iterator<Item = Range<u64>> {
    const SECTOR: u64 = 512;
    let sectors = offset / SECTOR..(offset + length).div_ceil(SECTOR);
    sectors.map(move |sector| {
        let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
        start.saturating_sub(offset)..(end - offset).min(length)
    })
}

/// A run of the bytes of a write: none, all, a beginning, an end, or one from the middle.
fn torn(length: u64, rng: &mut Rng) -> Range<u64> {
    let (one, other) = (rng.below(length + 1), rng.below(length + 1));
    match rng.below(5) {
        0 => 0..0,
        1 => 0..length,
        2 => 0..one,
        3 => one..length,
        _ => one.min(other)..one.max(other),
    }
}

fn change_bytes(content: &mut Sparse, change: &Action) {
    match change {
        Action::Write { offset, bytes, .. } => bytes.put(content, *offset, 0..bytes.length),
        Action::Trim { length, .. } => content.resize(content.len().min(*length)),
        other => unreachable!("{other:?} changes no bytes"),
    }
}

/// Does the change to the names as they are, some earlier changes of which may be lost.
fn change_names(names: &mut Names, change: &Action) {
    let mut unlink = |name: &String, inode: &usize| {
        if names.get(name) == Some(inode) {
            names.remove(name);
        }
    };
    match change {
        Action::Create { name, inode } => drop(names.insert(name.clone(), *inode)),
        Action::Rename { from, to, inode } => {
            unlink(from, inode);
            names.insert(to.clone(), *inode);
        }
        Action::Remove { name, inode } => unlink(name, inode),
        other => unreachable!("{other:?} changes no names"),
    }
}
