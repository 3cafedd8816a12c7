//! Tables whose keys cost one multiplication to hash: [`OidMap`], [`OidTable`], [`TypeMap`]; and
//! one for all objects of a file: [`OidArray`].
//!
//! The standard library's hash withstands keys that somebody chose so that they collide. Oids are
//! given out in sequence, by us; the ids of types come from the compiler. Whatever counts the oids of a
//! file, which may be forged, takes another table.
//!
//! # Invariants
//! - Numbers that lie a power of two apart spread as well as neighbours do.

use crate::id::Oid;
use std::any::TypeId;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
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

/// An `OidArray` has a row for every oid: the default one where none was put.
///
/// Where oids are dense, a row costs what it is long. Those far from all others, which only a
/// strange file has, are kept apart.
#[derive(Debug, Default)]
pub(crate) struct OidArray<T> {
    dense: Vec<T>,
    /// Of the oids that the array does not reach.
    sparse: BTreeMap<Oid, T>,
    /// How many rows were put.
    used: u64,
}

impl<T: Copy + Default + PartialEq> OidArray<T> {
    pub fn get(&self, oid: Oid) -> T {
        let row = usize::try_from(oid.number()).ok().and_then(|it| self.dense.get(it));
        row.or_else(|| self.sparse.get(&oid)).copied().unwrap_or_default()
    }

    /// Puts `row` in the place of the one that was there.
    pub fn put(&mut self, oid: Oid, row: T) {
        let number = usize::try_from(oid.number()).unwrap_or(usize::MAX);
        if number >= self.dense.len() && oid.number() / 2 <= self.used {
            self.reach(number);
        }
        let place = match self.dense.get_mut(number) {
            Some(place) => place,
            None => self.sparse.entry(oid).or_default(),
        };
        self.used += u64::from(*place == T::default());
        *place = row;
    }

    /// Lets the array reach up to `number`, of which at least half will be used.
    fn reach(&mut self, number: usize) {
        self.dense.resize(number + 1, T::default());
        while let Some(first) = self.sparse.first_entry()
            && let Some(place) = self.dense.get_mut(first.key().number() as usize)
        {
            *place = first.remove();
        }
    }

    /// The rows that were put, in the order of their oids.
    pub fn rows(&self) -> impl Iterator<Item = (Oid, T)> {
        let dense = (0..).map(Oid::new).zip(self.dense.iter().copied());
        let sparse = self.sparse.iter().map(|(&oid, &row)| (oid, row));
        dense.chain(sparse).filter(|(_, row)| *row != T::default())
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
