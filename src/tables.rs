//! Tables whose keys cost one multiplication to hash: [`OidMap`], [`OidTable`], [`TypeMap`].
//!
//! The standard library's hash withstands keys that somebody chose so that they collide. Oids are
//! given out in sequence, by us; the ids of types come from the compiler. Where oids are those of a
//! file that may be forged, and any number of them, it is the standard library's that counts them.
//!
//! # Invariants
//! - Numbers that lie a power of two apart spread as well as neighbours do.

use crate::id::Oid;
use std::any::TypeId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are oids.
pub(crate) type OidMap<T> = HashMap<Oid, T, BuildHasherDefault<NumberHasher>>;

/// A map whose keys are types of the program.
pub(crate) type TypeMap<T> = HashMap<TypeId, T, BuildHasherDefault<NumberHasher>>;

/// An `OidTable` is an [`OidMap`] that keeps its rows in the order in which they came: objects made
/// one after the other lie in the order of their oids.
#[derive(Debug)]
pub(crate) struct OidTable<T> {
    rows: Vec<(Oid, T)>,
    /// Where the row of each object is.
    places: OidMap<usize>,
}

impl<T> OidTable<T> {
    pub fn get(&self, oid: Oid) -> Option<&T> {
        self.rows.get(*self.places.get(&oid)?).map(|(_, row)| row)
    }

    pub fn get_mut(&mut self, oid: Oid) -> Option<&mut T> {
        self.rows.get_mut(*self.places.get(&oid)?).map(|(_, row)| row)
    }

    /// Puts `row` in, and returns the one that it replaces.
    pub fn insert(&mut self, oid: Oid, row: T) -> Option<T> {
        match self.places.entry(oid) {
            Entry::Occupied(place) => {
                self.rows.get_mut(*place.get()).map(|(_, old)| std::mem::replace(old, row))
            }
            Entry::Vacant(place) => {
                place.insert(self.rows.len());
                self.rows.push((oid, row));
                None
            }
        }
    }

    /// Takes a row out; the last one takes its place.
    pub fn remove(&mut self, oid: Oid) -> Option<T> {
        let place = self.places.remove(&oid)?;
        let (_, row) = self.rows.swap_remove(place);
        if let Some((moved, _)) = self.rows.get(place) {
            self.places.insert(*moved, place);
        }
        Some(row)
    }

    pub fn rows(&self) -> &[(Oid, T)] {
        &self.rows
    }

    pub fn into_rows(self) -> Vec<(Oid, T)> {
        self.rows
    }
}

impl<T> Default for OidTable<T> {
    fn default() -> OidTable<T> {
        OidTable { rows: Vec::new(), places: OidMap::default() }
    }
}

/// The hash of a number.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: neighbours land far from each other.
        let spread = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
