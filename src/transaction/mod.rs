//! Units of work over any number of data managers.
//!
//! A [`TransactionManager`] gives out one [`Transaction`] at a time, to one flow of control. What
//! takes part is a [`DataManager`], which joins at its first change. [`Transaction::commit`] runs
//! the hooks, lets the managers flush, and takes them through two-phase commit (`phases`); whatever
//! happens then becomes an [`Outcome`], which the hooks hear once nothing is locked and nothing is
//! current any more (`ending`). A [`Savepoint`] is a place to return to on the way. This room
//! knows no storage and no object: those who have them come here as data managers. To read it,
//! begin with `data_manager`, then `phases`, then `ending`.
//!
//! ```
//! use perennial::transaction::{Outcome, TransactionManager};
//!
//! let manager = TransactionManager::new();
//! let mut transaction = manager.begin()?;
//! transaction.note("month end")?;
//! transaction.on_end(|outcome| assert!(matches!(outcome, Outcome::Committed { .. })))?;
//! let report = transaction.commit()?;
//! assert_eq!(report.tid, None, "nobody joined, so nothing was written");
//! # Ok::<(), perennial::Error>(())
//! ```
//!
//! # Invariants
//! - No lock is held while foreign code runs: managers, hooks, synchronizers, closures, and what
//!   they drop.
//! - A panic in foreign code is an error that names whose it is, and goes no further.
//! - A transaction that failed accepts abort and nothing else, and keeps naming its first cause.

mod contain;
mod current;
mod data_manager;
mod ending;
mod gate;
mod guard;
mod hooks;
mod log;
mod manager;
mod member;
mod outcome;
mod phases;
mod retry;
mod savepoint;
mod state;
mod synchronizer;

pub use crate::error::{Action, ActionLog, Phase};
pub(crate) use contain::{contain, discard};
pub use current::Current;
pub use data_manager::{
    Coordinator, DataManager, Decision, Info, ManagerId, Participant, Prepared, Saved,
};
pub use guard::Transaction;
pub use hooks::{HookFailure, HookResult};
pub use manager::{Epoch, TransactionManager};
pub use outcome::{Outcome, Report, Status, Unfinished};
pub use retry::{Retry, RetryPolicy};
pub use savepoint::Savepoint;
pub use synchronizer::Synchronizer;
