//! What a lane must hold, computed without a database.

use crate::script::{SLOTS, Shelf, Step, play, script};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

/// An item, as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelItem {
    /// The commit that wrote it last.
    pub commit: u64,
    pub len: usize,
    /// The serial of the item that it refers to.
    pub link: Option<u64>,
}

/// A lane, as it must be.
#[derive(Debug, Clone, Default)]
pub struct ModelLane {
    /// The serials of the items on the shelf.
    pub slots: Vec<Option<u64>>,
    /// Every item there ever was: an item that is off the shelf may still be referred to.
    pub items: HashMap<u64, ModelItem>,
    pub tree: BTreeMap<u64, u64>,
    pub jobs: BTreeSet<u64>,
}

impl ModelLane {
    /// The lane after these commits.
    pub fn after(commits: impl Iterator<Item = u64>) -> ModelLane {
        let mut lane = ModelLane { slots: vec![None; SLOTS], ..ModelLane::default() };
        for n in commits {
            let Ok(()) = play(&mut lane, n, &script(n));
        }
        lane
    }

    fn on(&mut self, slot: usize) -> Option<&mut ModelItem> {
        self.slots[slot].and_then(|serial| self.items.get_mut(&serial))
    }
}

impl Shelf for ModelLane {
    type Error = Infallible;

    fn put(&mut self, slot: usize, serial: u64, commit: u64, len: usize) -> Result<(), Infallible> {
        self.items.insert(serial, ModelItem { commit, len, link: None });
        self.slots[slot] = Some(serial);
        Ok(())
    }

    fn change(&mut self, slot: usize, commit: u64, len: usize) -> Result<(), Infallible> {
        if let Some(item) = self.on(slot) {
            (item.commit, item.len) = (commit, len);
        }
        Ok(())
    }

    fn drop(&mut self, slot: usize) -> Result<(), Infallible> {
        self.slots[slot] = None;
        Ok(())
    }

    fn link(&mut self, from: usize, to: usize) -> Result<(), Infallible> {
        let to = self.slots[to];
        if let (Some(item), Some(to)) = (self.on(from), to) {
            item.link = Some(to);
        }
        Ok(())
    }

    fn note(&mut self, key: u64, value: Option<u64>) -> Result<(), Infallible> {
        match value {
            Some(value) => self.tree.insert(key, value),
            None => self.tree.remove(&key),
        };
        Ok(())
    }

    fn job(&mut self, commit: u64) -> Result<(), Infallible> {
        self.jobs.insert(commit);
        Ok(())
    }

    fn in_vain(&mut self, _commit: u64, _steps: &[Step]) -> Result<(), Infallible> {
        Ok(())
    }
}
