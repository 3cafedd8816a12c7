//! The decoded objects that all connections of a database share: [`Cache`].
//!
//! Views look here before they ask a snapshot; reads and commits fill it. Revisions never change,
//! so nothing is ever invalidated: an entry is good for a snapshot where its place is that of the
//! object's newest revision and its tid is not beyond the snapshot. Older snapshots pass it by.
//! `slots` has what is remembered, `policy` decides what is forgotten.
//!
//! # Invariants
//! - What an entry holds is the object as of the entry's tid.
//! - The weights of all entries together stay within the bound. That an object is absent is never
//!   remembered.
//! - Who finds an object takes the lock of its slot and no other.
//! - What is forgotten is dropped when no lock is held; a panic there is nobody's who put another in.

mod policy;
mod slots;

use super::kind::Object;
use crate::id::{Oid, Tid};
use crate::storage::Place;
use crate::sync::Mutex;
use crate::transaction::discard;
use policy::Policy;
use slots::Slots;

/// What an entry costs beside its object: the slot, the tags and the policy's own memory.
const OVERHEAD: u64 = 128;

/// The weight of a typical entry; there are slots for as many as fit.
const TYPICAL: u64 = 512;

/// A `Cache` maps oids to decoded objects, and forgets those that are used least.
///
/// An object counts with the length of its encoding, which is all that is known of its size.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Slots,
    policy: Mutex<Policy>,
}

/// An object as of one transaction.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    pub place: Place,
    pub tid: Tid,
    pub pinned: bool,
    /// How many bytes its encoding has.
    pub length: u32,
    pub object: Object,
}

impl Cache {
    /// A cache of at most `bytes`.
    pub fn new(bytes: u64) -> Cache {
        let typical = usize::try_from(bytes / TYPICAL).unwrap_or(usize::MAX);
        let slots = Slots::new(typical);
        let policy = Mutex::new(Policy::new(bytes, slots.count()));
        Cache { slots, policy }
    }

    /// The object `oid` for a snapshot as of `tid`, to which its newest revision is at `place`.
    #[inline]
    pub fn get(&self, oid: Oid, place: Place, tid: Tid) -> Option<Cached> {
        self.slots.find(oid, place, tid)
    }

    /// Remembers an object that was read; unless somebody else is at it: no reader waits for
    /// another.
    pub fn offer(&self, oid: Oid, entry: Cached) {
        let spare =
            self.policy.try_lock().map(|mut policy| policy.admit(&self.slots, oid, entry, false));
        discard(spare);
    }

    /// Remembers an object that was stored, in the place of what was known of it; or, if nothing
    /// was, of others, unless `gently`.
    pub fn insert(&self, oid: Oid, entry: Cached, gently: bool) {
        let spare = self.policy.lock().admit(&self.slots, oid, entry, gently);
        discard(spare);
    }
}

impl Cached {
    fn weight(&self) -> u64 {
        OVERHEAD + u64::from(self.length)
    }
}
