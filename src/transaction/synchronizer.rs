//! Those who hear of every transaction of a manager: [`Synchronizer`].
//!
//! `manager` keeps and calls them, where it begins a transaction and where `ending` ends one.
//!
//! # Invariants
//! - Of each transaction a synchronizer hears new, before and after once, in this order.

use super::current::Current;
use super::outcome::Outcome;

/// A `Synchronizer` is told where transactions begin and end. It takes no part in them: it cannot
/// fail one, and a panic of it is logged and goes no further.
///
/// Registered with [`TransactionManager::add_synchronizer`], which holds it weakly.
///
/// [`TransactionManager::add_synchronizer`]: super::TransactionManager::add_synchronizer
pub trait Synchronizer: Send + Sync {
    /// A transaction began, or was running already at the time of the registration.
    fn new_transaction(&self, current: &Current) {
        let _ = current;
    }

    /// The transaction is about to be committed, its before-commit hooks having run, or aborted.
    ///
    /// Before a commit, work may still be added. Told once for each transaction.
    fn before_completion(&self, current: &Current) {
        let _ = current;
    }

    /// The transaction is over, and no longer current. Told before the hooks that hear the
    /// outcome; where the commit failed, at the abort that must follow it.
    fn after_completion(&self, outcome: &Outcome) {
        let _ = outcome;
    }
}
