//! The books on global transactions: what is promised to whom, what is being decided, and what
//! was given up. [`Promises`] is a part of the ordered section's state, and does nothing but
//! keep them.
//!
//! # Invariants
//! - An object that is to be written is promised to one transaction at most, and relied on by no
//!   other meanwhile.

use crate::id::{GlobalId, Oid};
use crate::storage::Batch;
use crate::storage::promise::Refusals;
use crate::tables::OidMap;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// A part of a global transaction that was promised, and all it takes to keep the promise.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) gtid: GlobalId,
    /// Where its Prepare stands; 0 for a batch that writes nothing, and needs none.
    pub(super) offset: u64,
    pub(super) batch: Arc<Batch>,
    /// Where the newest records stand of the objects that it would store.
    pub(super) bases: Vec<u64>,
    /// How much of the file is kept free for it.
    pub(super) room: u64,
}

/// Everything that is not settled, and everything that was given up here.
#[derive(Debug, Default)]
pub(super) struct Promises {
    held: BTreeMap<GlobalId, Held>,
    writers: OidMap<GlobalId>,
    readers: OidMap<BTreeSet<GlobalId>>,
    /// Bytes that must exist behind the log's end, so that a full disk breaks no promise.
    pub(super) room: u64,
    /// Decisions that have a place and are not published.
    pub(super) deciding: HashSet<GlobalId>,
    /// Transactions that must not be decided any more.
    pub(super) refused: Refusals,
}

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    room: u64,
    /// The promise, where it is in doubt.
    parked: Option<Letter>,
}

impl Promises {
    /// Reserves what `batch` writes and checks; whether `gtid` had no promise yet.
    pub(super) fn reserve(&mut self, gtid: GlobalId, batch: &Arc<Batch>, room: u64) -> bool {
        if self.held.contains_key(&gtid) {
            return false;
        }
        for write in batch.writes() {
            self.writers.insert(write.oid, gtid);
        }
        for &(oid, _) in &batch.reads {
            self.readers.entry(oid).or_default().insert(gtid);
        }
        self.room += room;
        self.held.insert(gtid, Held { batch: batch.clone(), room, parked: None });
        true
    }

    /// Lets go of what was reserved for `gtid`.
    pub(super) fn release(&mut self, gtid: GlobalId) {
        let Some(held) = self.held.remove(&gtid) else { return };
        self.room -= held.room;
        for write in held.batch.writes() {
            self.writers.remove(&write.oid);
        }
        for (oid, _) in &held.batch.reads {
            if let Some(readers) = self.readers.get_mut(oid) {
                readers.remove(&gtid);
                if readers.is_empty() {
                    self.readers.remove(oid);
                }
            }
        }
    }

    /// The promise is in doubt from now on.
    pub(super) fn park(&mut self, letter: Letter) {
        if let Some(held) = self.held.get_mut(&letter.gtid) {
            held.parked = Some(letter);
        }
    }

    /// Takes out the promise of `gtid`, if it is in doubt.
    pub(super) fn take_parked(&mut self, gtid: GlobalId) -> Option<Letter> {
        self.held.get_mut(&gtid)?.parked.take()
    }

    /// The promises that are in doubt.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Letter> {
        self.held.values().filter_map(|held| held.parked.as_ref())
    }

    /// Whether nothing is promised to anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether something is promised to `gtid`.
    pub(super) fn holds(&self, gtid: GlobalId) -> bool {
        self.held.contains_key(&gtid)
    }

    /// Whether something is promised to `gtid`, and whoever holds the promise will settle it.
    pub(super) fn is_held(&self, gtid: GlobalId) -> bool {
        self.held.get(&gtid).is_some_and(|held| held.parked.is_none())
    }

    /// The transaction that keeps others from writing `oid`, or, if that is all they want, from
    /// relying on it.
    pub(super) fn holder(&self, oid: Oid, read: bool) -> Option<GlobalId> {
        if self.is_empty() {
            return None;
        }
        let writer = self.writers.get(&oid).copied();
        let reader = || self.readers.get(&oid)?.first().copied();
        if read { writer } else { writer.or_else(reader) }
    }
}
