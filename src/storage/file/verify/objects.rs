//! The books of a verification: where the newest record of every object stands, and which objects
//! can be reached.
//!
//! # Invariants
//! - Eight bytes for every object, also for those that were removed.

use crate::format::Record;
use crate::id::Oid;
use crate::tables::OidArray;

/// What is known of one object: where its newest record stands, and three bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Object(u64);

/// Its newest record is no removal.
const EXISTS: u64 = 1;
/// It is a root of its own.
const PINNED: u64 = 2;
/// A way leads to it from the roots.
const REACHED: u64 = 4;
/// Bits of the flags; a file is shorter than 2^48 bytes.
const SHIFT: u32 = 3;

impl Object {
    /// Where its newest record stands; 0 where none was met.
    pub(super) fn newest(self) -> u64 {
        self.0 >> SHIFT
    }

    pub(super) fn exists(self) -> bool {
        self.0 & EXISTS != 0
    }

    pub(super) fn is_pinned(self) -> bool {
        self.0 & PINNED != 0
    }

    fn is_reached(self) -> bool {
        self.0 & REACHED != 0
    }
}

/// All objects of which a record was met.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: OidArray<Object>,
    /// Of all records that were met.
    pub(super) bytes: u64,
}

impl Objects {
    /// Where the newest record of `oid` stands; 0 where none was met.
    pub(super) fn newest(&self, oid: Oid) -> u64 {
        self.known.get(oid).newest()
    }

    pub(super) fn exists(&self, oid: Oid) -> bool {
        self.known.get(oid).exists()
    }

    /// Every object of which a record was met, in the order of their oids.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Oid, Object)> {
        self.known.rows()
    }

    /// How many objects exist.
    pub(super) fn count(&self) -> u64 {
        self.stored().filter(|(_, object)| object.exists()).count() as u64
    }

    /// Takes the newest record of its object, which stands at `at`.
    pub(super) fn put(&mut self, at: u64, record: &Record<'_>) {
        self.bytes += record.length;
        let flags = match (record.content.is_some(), record.pinned) {
            (true, true) => EXISTS | PINNED,
            (true, false) => EXISTS,
            (false, _) => 0,
        };
        self.known.put(record.oid, Object(at << SHIFT | flags));
    }

    /// Notes that a way leads to `oid`; where its newest record stands, if this is the first way
    /// and the object exists.
    pub(super) fn reach(&mut self, oid: Oid) -> Option<(u64, Oid)> {
        let object = Some(self.known.get(oid)).filter(|it| it.exists() && !it.is_reached())?;
        self.known.put(oid, Object(object.0 | REACHED));
        Some((object.newest(), oid))
    }

    /// The existing objects that no way leads to, and where their newest records stand, in the
    /// order of the file.
    pub(super) fn unreached(&self) -> Vec<(u64, Oid)> {
        let unreached = self.stored().filter(|(_, object)| object.exists() && !object.is_reached());
        let mut places: Vec<_> = unreached.map(|(oid, object)| (object.newest(), oid)).collect();
        places.sort_unstable();
        places
    }
}
