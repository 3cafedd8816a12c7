//! Who is inside the closure of a `transact`: [`Turn`].
//!
//! # Invariants
//! - A thread has at most one turn of each database.

use crate::error::{Error, Result};
use std::cell::RefCell;

thread_local! {
    static TURNS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A `Turn` is held while the closure of a `transact` runs in this thread; hooks run without.
pub(super) struct Turn(u32);

impl Turn {
    /// The turn of the database of this tag.
    ///
    /// # Errors
    /// [`Error::AlreadyInTransaction`] where this thread has it.
    pub fn take(tag: u32) -> Result<Turn> {
        TURNS.with_borrow_mut(|turns| {
            if turns.contains(&tag) {
                return Err(Error::AlreadyInTransaction(
                    "call transact inside another one of the same database",
                ));
            }
            turns.push(tag);
            Ok(Turn(tag))
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.with_borrow_mut(|turns| turns.retain(|&tag| tag != self.0));
    }
}
