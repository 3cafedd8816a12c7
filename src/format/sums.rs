//! Checksums that know where they belong: [`Sums`].
//!
//! A sum is seeded with the database, the generation of its file and the offset of what it
//! covers, so that bytes of another file, or of another place in this one, never pass for good.
//!
//! # Invariants
//! - Headers and frames have true 64-bit sums: the search after a bad spot tries every position
//!   of the rest of a file, and 32 bits would find frames that are not there.
//!
//! Format: docs/format.md, "Sums".

use crate::id::{DatabaseId, Tid};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The sum of bytes that stand at the start of a file, where nothing seeds it yet.
pub fn plain_sum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The sums of one generation of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    base: u64,
}

impl Sums {
    /// Those of this generation.
    pub fn new(database: DatabaseId, generation: u64) -> Sums {
        let mut seed = [0; 24];
        let (id, number) = seed.split_at_mut(16);
        id.copy_from_slice(&database.bytes());
        number.copy_from_slice(&generation.to_le_bytes());
        Sums { base: xxh3_64(&seed) }
    }

    /// The 64-bit sum of `bytes` that stand at `offset`.
    pub fn sum(&self, offset: u64, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.base.wrapping_add(offset))
    }

    /// The 32-bit sum of a record at `offset`, stored by `tid`, whose bytes have the CRC `crc`.
    ///
    /// The CRC is taken while nobody waits; the place is mixed in once it is known. The mix is no
    /// CRC itself: the difference of two seeds of one CRC is a constant, and would tell nothing.
    pub fn record(&self, offset: u64, tid: Tid, crc: u32) -> u32 {
        let mix = self.sum(offset, &tid.number().to_le_bytes());
        crc ^ (mix as u32) ^ ((mix >> 32) as u32)
    }
}
