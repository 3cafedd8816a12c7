//! The guard of a transaction: [`Transaction`].
//!
//! It alone can commit; `ending` says how.
//!
//! # Invariants
//! - A guard that is gone leaves no transaction behind, be it by an early return or a panic.

use super::current::Current;
use super::outcome::Report;
use crate::error::Result;
use std::ops::Deref;

/// A `Transaction` is a unit of work: all of it happens, or nothing.
///
/// Everything but its end is asked of the [`Current`] that it derefs to. Dropped before it was
/// committed, it aborts; a failure of that is logged.
#[must_use = "a transaction is aborted when it is dropped"]
#[derive(Debug)]
pub struct Transaction {
    pub(super) current: Current,
}

impl Transaction {
    /// Commits: makes the changes of all data managers happen, or of none.
    ///
    /// After an error the transaction is still current, has failed, and must be aborted, or
    /// dropped. What is durable when this returns is for the data managers to say.
    ///
    /// # Errors
    /// The first one of a before-commit hook or data manager: nothing happened. But with
    /// [`Error::Unknown`] the changes may have happened, and with [`Error::Mixed`] some have.
    /// [`Error::TransactionFailed`], [`Error::Doomed`], [`Error::TransactionOver`] and
    /// [`Error::InProgress`] where nobody was asked.
    ///
    /// [`Error::Unknown`]: crate::Error::Unknown
    /// [`Error::Mixed`]: crate::Error::Mixed
    /// [`Error::TransactionFailed`]: crate::Error::TransactionFailed
    /// [`Error::Doomed`]: crate::Error::Doomed
    /// [`Error::TransactionOver`]: crate::Error::TransactionOver
    /// [`Error::InProgress`]: crate::Error::InProgress
    pub fn commit(&mut self) -> Result<Report> {
        self.current.commit()
    }

    /// Aborts: forgets all changes. Does nothing where the transaction is over.
    ///
    /// # Errors
    /// [`Error::AbortFailed`](crate::Error::AbortFailed) where data managers failed to; all were
    /// asked, it says what each answered, and the transaction is over.
    pub fn abort(&mut self) -> Result<()> {
        self.current.abort()
    }
}

impl Deref for Transaction {
    type Target = Current;

    fn deref(&self) -> &Current {
        &self.current
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Err(error) = self.current.abort() {
            tracing::error!(transaction = %self.id(), %error, "dropped, but not aborted");
        }
    }
}
