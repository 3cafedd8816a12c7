//! Tables whose keys cost one multiplication to hash: [`OidMap`], [`TypeMap`].
//!
//! The standard library's hash withstands keys that somebody chose so that they collide. Oids are
//! given out in sequence, by us; the ids of types come from the compiler.
//!
//! # Invariants
//! - Numbers that lie a power of two apart spread as well as neighbours do.

use crate::id::Oid;
use std::any::TypeId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are oids.
pub(crate) type OidMap<T> = HashMap<Oid, T, BuildHasherDefault<NumberHasher>>;

/// A map whose keys are types of the program.
pub(crate) type TypeMap<T> = HashMap<TypeId, T, BuildHasherDefault<NumberHasher>>;

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
