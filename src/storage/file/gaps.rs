//! The stretches of a log that could not be read in order: [`Gaps`].
//!
//! `verify` and `recover` note them on their way, and ask whether a record that something leads to
//! stood in one.
//!
//! # Invariants
//! - They are noted in the order in which they stand in the file.

use std::ops::Range;

/// Stretches of a file, by their offsets.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<Range<u64>>);

impl Gaps {
    /// Notes one that does not begin before the last.
    pub(super) fn push(&mut self, gap: Range<u64>) {
        debug_assert!(self.0.last().is_none_or(|last| last.start <= gap.start), "{gap:?}");
        self.0.push(gap);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has the byte at `offset`.
    pub(super) fn contain(&self, offset: u64) -> bool {
        let before = self.0.partition_point(|gap| gap.start <= offset);
        let gap = before.checked_sub(1).and_then(|last| self.0.get(last));
        gap.is_some_and(|gap| gap.contains(&offset))
    }
}
