//! The decoded objects that all connections of a database share: [`Cache`].
//!
//! Views look here before they ask a snapshot; reads and commits fill it. Revisions never change,
//! so nothing is ever invalidated: an entry is good for a snapshot where its place is that of the
//! object's newest revision and its tid is not beyond the snapshot. Older snapshots pass it by.
//!
//! # Invariants
//! - What an entry holds is the object as of the entry's tid.
//! - The weights of all entries together stay within the bound. That an object is absent is never
//!   remembered.
//! - What is forgotten is dropped when no lock is held; a panic there is nobody's who put another in.

use super::kind::Object;
use crate::id::{Oid, Tid};
use crate::storage::Place;
use crate::transaction::discard;
use quick_cache::sync::Cache as QuickCache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::hash::{BuildHasherDefault, Hasher};

/// What an entry costs beside its object: the key, the tags and the policy's own memory.
const OVERHEAD: u64 = 128;

/// The weight of a typical entry; the policy reserves room for as many as fit.
const TYPICAL: u64 = 512;

/// How much of it is for objects that were used again. The rest takes what is new, and must hold
/// a few large objects: where it is too small for one, a scan eats into what is hot.
const HOT: f64 = 0.9;

/// A `Cache` maps oids to decoded objects, and forgets those that are used least.
///
/// An object counts with the length of its encoding, which is all that is known of its size.
#[derive(Debug)]
pub(super) struct Cache {
    entries: QuickCache<Oid, Cached, ByLength, BuildHasherDefault<OidHasher>, Forgotten>,
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
        let items = usize::try_from(bytes / TYPICAL).unwrap_or(usize::MAX).min(1 << 20);
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(items).weight_capacity(bytes);
        let options = options.hot_allocation(HOT).build().expect("both capacities are set");
        let hasher = BuildHasherDefault::default();
        Cache { entries: QuickCache::with_options(options, ByLength, hasher, Forgotten) }
    }

    /// The object `oid` for a snapshot as of `tid`, to which its newest revision is at `place`.
    #[inline]
    pub fn get(&self, oid: Oid, place: Place, tid: Tid) -> Option<Cached> {
        self.entries.get(&oid).filter(|entry| entry.place == place && entry.tid <= tid)
    }

    /// Remembers an object, in the place of what was known of it.
    pub fn insert(&self, oid: Oid, entry: Cached) {
        discard(self.entries.insert_with_lifecycle(oid, entry));
    }
}

/// Gathers what an insertion pushes out, for [`Cache::insert`] to drop.
#[derive(Debug, Clone)]
struct Forgotten;

impl Lifecycle<Oid, Cached> for Forgotten {
    type RequestState = Vec<Cached>;

    fn begin_request(&self) -> Vec<Cached> {
        Vec::new()
    }

    fn on_evict(&self, forgotten: &mut Vec<Cached>, _: Oid, entry: Cached) {
        forgotten.push(entry);
    }
}

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<Oid, Cached> for ByLength {
    fn weight(&self, _: &Oid, entry: &Cached) -> u64 {
        OVERHEAD + u64::from(entry.length)
    }
}

/// Oids are drawn in sequence, by nobody who wants them to collide: one multiplication spreads
/// them.
#[derive(Debug, Default)]
struct OidHasher(u64);

impl Hasher for OidHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: neighbours land far from each other.
        let spread = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
