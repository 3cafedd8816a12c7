//! What one reading of the damaged file found whole: [`Reading`].
//!
//! The file is read twice, and a disk that is about to fail may give something else each time. Then
//! what was told of the first reading is not true of what the second one copied.
//!
//! # Invariants
//! - Two readings are equal if they found the same frames.

use crate::format::Frame;

/// The frames that a reading found whole, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    frames: u64,
    sums: u64,
}

impl Reading {
    /// Takes in a frame, whose sum knows its place and all that is in it.
    pub(super) fn note(&mut self, frame: &Frame<'_>) {
        self.frames += 1;
        self.sums = self.sums.rotate_left(1) ^ frame.sum;
    }
}
