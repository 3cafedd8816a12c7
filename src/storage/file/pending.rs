//! What has a place in the log and is not published yet: [`Pending`].
//!
//! The ordered section adds to it and asks it, the leader takes out what was published.
//!
//! # Invariants
//! - Of each object it has the newest revision that has a place, or none.

use super::core::Placed;
use crate::id::{Oid, Tid};
use crate::storage::Batch;
use crate::tables::OidMap;
use std::sync::Arc;

/// A table for more revisions than this is given back when it is empty.
const KEPT: usize = 1 << 14;

/// The newest revisions of objects, not yet published.
#[derive(Debug, Default)]
pub(super) struct Pending {
    newest: OidMap<Upcoming>,
    batches: Batches,
}

/// A revision that is not yet published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upcoming {
    pub(super) tid: Tid,
    pub(super) offset: u64,
    /// Which write of its batch it is.
    pub(super) number: usize,
}

/// What is not yet published, by transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches(Vec<(Tid, Arc<Batch>)>);

impl Batches {
    /// What this transaction, which is not yet published, commits.
    pub(super) fn of(&self, tid: Tid) -> Option<&Arc<Batch>> {
        self.0.iter().find(|(of, _)| *of == tid).map(|(_, batch)| batch)
    }
}

impl Pending {
    pub(super) fn get(&self, oid: Oid) -> Option<&Upcoming> {
        self.newest.get(&oid)
    }

    /// What is to be published of these objects, one after the other, and the batches it is from.
    pub(super) fn of(&self, oids: impl Iterator<Item = Oid>) -> (Vec<Option<Upcoming>>, Batches) {
        if self.newest.is_empty() {
            return Default::default();
        }
        let found: Vec<_> = oids.map(|oid| self.get(oid).copied()).collect();
        let any = found.iter().any(Option::is_some);
        (found, if any { self.batches.clone() } else { Batches::default() })
    }

    /// `placed` has got its place.
    pub(super) fn add(&mut self, placed: &Placed) {
        let Some(batch) = placed.batch() else { return };
        self.newest.reserve(batch.len());
        for (number, (write, start)) in
            batch.writes().zip(placed.builder.record_starts()).enumerate()
        {
            let (tid, offset) = (placed.tid, placed.offset + start);
            self.newest.insert(write.oid, Upcoming { tid, offset, number });
        }
        self.batches.0.push((placed.tid, batch.clone()));
    }

    /// `published` is. `last` says that nothing else is pending.
    pub(super) fn retire(&mut self, published: &[Placed], last: bool) {
        if last {
            self.clear();
            return;
        }
        for placed in published {
            for write in placed.batch().into_iter().flat_map(|batch| batch.writes()) {
                if self.get(write.oid).is_some_and(|upcoming| upcoming.tid == placed.tid) {
                    self.newest.remove(&write.oid);
                }
            }
        }
        self.batches.0.retain(|(tid, _)| published.iter().all(|placed| placed.tid != *tid));
    }

    pub(super) fn clear(&mut self) {
        self.newest.clear();
        self.newest.shrink_to(KEPT);
        self.batches.0.clear();
    }
}
