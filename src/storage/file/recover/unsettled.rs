//! The promises of a damaged log that nothing in it settles: [`Unsettled`].
//!
//! In a good log, what is promised to one transaction is touched by no other before the promise is
//! settled. So where another touched it, the promise was settled by what is lost: nobody knows
//! how, and it must not be given once more.
//!
//! # Invariants
//! - No two open promises exclude each other.

use crate::format::{Fields, FrameKind};
use crate::id::{GlobalId, Oid};
use crate::storage::file::verify::{Promised, Reserved};
use std::collections::HashSet;

/// Open promises, by the transactions to which they were given.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    reserved: Reserved,
}

impl Unsettled {
    /// Takes a good frame at `at`, with the objects it has records of; the frames of promises that
    /// it shows to have been settled by what is lost.
    pub(super) fn take(
        &mut self,
        at: u64,
        kind: FrameKind,
        fields: &Fields,
        writes: &HashSet<Oid>,
    ) -> Vec<u64> {
        let settles = match kind {
            FrameKind::Commit => fields.participants.is_empty(),
            FrameKind::Prepare | FrameKind::Abort => true,
            _ => false,
        };
        let own = fields.gtid.filter(|_| settles).and_then(|gtid| self.reserved.remove(gtid));
        let reads: HashSet<Oid> = fields.reads.iter().map(|&(oid, _)| oid).collect();
        let mut refuted = Vec::new();
        // The same transaction cannot be promised anything twice.
        refuted.extend(own.filter(|_| kind == FrameKind::Prepare).map(|promised| promised.at));
        for gtid in self.reserved.meet(None, writes, &reads).into_keys() {
            refuted.extend(self.reserved.remove(gtid).map(|promised| promised.at));
        }
        if let (FrameKind::Prepare, Some(gtid)) = (kind, fields.gtid) {
            self.reserved.insert(gtid, Promised { at, writes: writes.clone(), reads });
        }
        refuted
    }

    /// Those that are in doubt in the end.
    pub(super) fn in_doubt(&self) -> Vec<GlobalId> {
        self.reserved.open().keys().copied().collect()
    }
}
