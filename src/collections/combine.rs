//! Two sorted sequences read side by side: [`Combined`].
//!
//! Sets make one for each of their operations.
//!
//! # Invariants
//! - What it shows is in order, and each key is there once.

use crate::error::Result;
use std::cmp::Ordering;
use std::fmt;
use std::iter::{FusedIterator, Peekable};

/// Some keys of two sets, in their order: of their union, intersection or difference.
///
/// It ends after an error.
pub struct Combined<I: Iterator> {
    left: Peekable<I>,
    right: Peekable<I>,
    /// Which keys are shown: those of the left only (`Less`), of the right only, of both.
    keep: fn(Ordering) -> bool,
    failed: bool,
}

impl<K: Ord, I: Iterator<Item = Result<K>>> Combined<I> {
    pub(super) fn new(left: I, right: I, keep: fn(Ordering) -> bool) -> Combined<I> {
        Combined { left: left.peekable(), right: right.peekable(), keep, failed: false }
    }

    /// The next key of either side, and where it is.
    fn step(&mut self) -> Option<(Ordering, Result<K>)> {
        let place = match (self.left.peek(), self.right.peek()) {
            (Some(Ok(left)), Some(Ok(right))) => left.cmp(right),
            // An error is told as soon as it is met.
            (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
            (_, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let left = if place.is_le() { self.left.next() } else { None };
        let right = if place.is_ge() { self.right.next() } else { None };
        left.or(right).map(|key| (place, key))
    }
}

impl<K: Ord, I: Iterator<Item = Result<K>>> Iterator for Combined<I> {
    type Item = Result<K>;

    fn next(&mut self) -> Option<Result<K>> {
        while !self.failed {
            let (place, key) = self.step()?;
            self.failed = key.is_err();
            if self.failed || (self.keep)(place) {
                return Some(key);
            }
        }
        None
    }
}

impl<K: Ord, I: Iterator<Item = Result<K>>> FusedIterator for Combined<I> {}

impl<I: Iterator> fmt::Debug for Combined<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combined").finish_non_exhaustive()
    }
}
