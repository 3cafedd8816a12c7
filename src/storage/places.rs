//! A number for every oid, found without a lock: [`Places`].
//!
//! Storages keep here where the newest revision of each object is. Oids are dense and never given
//! out again, so an array is smaller and faster than any map.
//!
//! # Invariants
//! - A slot stays where it is: the array grows by chunks, each as long as all before it.

use crate::file::Slots;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Slots of the first chunk; few for a checker or an interpreter, so that it sees the array grow.
const FIRST_CHUNK: u64 = if cfg!(any(shuttle, miri)) { 2 } else { 1 << 16 };

/// Numbers; 0 where none was stored. Of the memory, only the pages that are touched cost any.
#[derive(Debug)]
pub(super) struct Places {
    chunks: [OnceLock<Slots>; 40],
}

impl Places {
    /// All of them 0.
    pub fn new() -> Places {
        Places { chunks: [const { OnceLock::new() }; 40] }
    }

    /// What was stored at `index`.
    #[inline]
    pub fn get(&self, index: u64) -> u64 {
        let (chunk, within, _) = chunk_of(index);
        let slot = self.chunks.get(chunk).and_then(OnceLock::get).and_then(|it| it.get(within));
        slot.map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    /// No number was stored at or above.
    pub fn reach(&self) -> u64 {
        match self.chunks.iter().rposition(|chunk| chunk.get().is_some()) {
            None => 0,
            Some(chunk) => FIRST_CHUNK << chunk,
        }
    }

    /// The slot at `index`; `None` where there is no memory for it.
    pub fn slot(&self, index: u64) -> Option<&AtomicU64> {
        let (chunk, within, length) = chunk_of(index);
        let cell = self.chunks.get(chunk)?;
        if cell.get().is_none() {
            let fresh = Slots::zeroed(usize::try_from(length).ok()?)?;
            // Somebody else may have been first; then theirs is as good.
            let _ = cell.set(fresh);
        }
        cell.get()?.get(within)
    }
}

/// The chunk of a slot, the place in it, and how many slots it has.
#[inline]
fn chunk_of(index: u64) -> (usize, usize, u64) {
    match (index / FIRST_CHUNK).checked_ilog2() {
        None => (0, index as usize, FIRST_CHUNK),
        Some(power) => {
            let start = FIRST_CHUNK << power;
            (power as usize + 1, (index - start) as usize, start)
        }
    }
}
