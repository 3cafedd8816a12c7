//! Nobody sees half of a commit of several databases: [`Curtain`], [`Glimpse`].
//!
//! The databases of one transaction become visible one after the other. While they do, the commit
//! holds a curtain closed; a manager with several connections begins with a glimpse, which takes
//! the snapshots of all of them, and there is none while a curtain is closed. Commits of one
//! database, and managers with one connection, never come here.
//!
//! # Invariants
//! - Curtains may overlap; a glimpse overlaps with nothing.
//! - Nobody waits here for ever, and no thread for itself.

use crate::error::{Error, Result};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::cell::Cell;
use std::time::Duration;

/// Read by curtains, written by glimpses: those are many in a program that commits to several
/// databases, and none of them waits for another.
static GATE: RwLock<()> = RwLock::new(());

/// A disk that takes longer for a sync hangs.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Held from before the decision until the last participant has finished.
pub(super) struct Curtain {
    _held: RwLockReadGuard<'static, ()>,
    _inside: Inside,
}

/// Held while the snapshots of several connections are taken.
pub(super) struct Glimpse {
    _held: RwLockWriteGuard<'static, ()>,
    _inside: Inside,
}

impl Curtain {
    /// Waits for glimpses to pass.
    pub(super) fn close() -> Result<Curtain> {
        let inside = Inside::enter("commit a transaction of several databases")?;
        let held = GATE
            .try_read_for(PATIENCE)
            .ok_or_else(|| hangs("commit", "snapshots of several databases are being taken"))?;
        Ok(Curtain { _held: held, _inside: inside })
    }
}

impl Glimpse {
    /// Waits for curtains to open.
    pub(super) fn take() -> Result<Glimpse> {
        let inside = Inside::enter("begin a transaction with several connections")?;
        let held = GATE.try_write_for(PATIENCE).ok_or_else(|| {
            hangs("begin", "a transaction of several databases is becoming visible")
        })?;
        Ok(Glimpse { _held: held, _inside: inside })
    }
}

fn hangs(action: &str, cause: &str) -> Error {
    let seconds = PATIENCE.as_secs();
    Error::other(format!("cannot {action}: after {seconds} seconds {cause} still"))
}

/// Marks the thread that would otherwise wait for itself.
struct Inside(());

impl Inside {
    fn enter(action: &str) -> Result<Inside> {
        if INSIDE.replace(true) {
            let what = format!(
                "cannot {action} inside a phase of another transaction of several databases"
            );
            return Err(Error::Unsupported(what.into()));
        }
        Ok(Inside(()))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}
