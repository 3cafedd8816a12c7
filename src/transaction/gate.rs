//! Nobody sees half of a commit of several databases: [`Window`], [`Glimpse`].
//!
//! The databases of one transaction become visible one after the other. While they do, the commit
//! holds a window open; a manager with several connections begins with a glimpse, which takes the
//! snapshots of all of them, and there is none while a window is open. Commits of one database,
//! and managers with one connection, come here never.
//!
//! # Invariants
//! - Windows may overlap, and so may glimpses; a window and a glimpse never do.
//! - Nobody waits here for ever, and no thread for itself.

use crate::error::{Error, Result};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::cell::Cell;
use std::time::Duration;

static GATE: RwLock<()> = RwLock::new(());

/// A disk that takes longer for a sync hangs.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Held from before the decision until the last participant has finished.
pub(super) struct Window {
    _held: RwLockReadGuard<'static, ()>,
    _inside: Inside,
}

/// Held while the snapshots of several connections are taken.
pub(super) struct Glimpse {
    _held: RwLockWriteGuard<'static, ()>,
    _inside: Inside,
}

impl Window {
    /// Waits for glimpses to pass.
    pub(super) fn open() -> Result<Window> {
        let inside = Inside::enter("commit a transaction of several databases")?;
        let held = GATE.try_read_for(PATIENCE).ok_or_else(|| hangs("commit"))?;
        Ok(Window { _held: held, _inside: inside })
    }
}

impl Glimpse {
    /// Waits for windows to close.
    pub(super) fn take() -> Result<Glimpse> {
        let inside = Inside::enter("begin a transaction with several connections")?;
        let held = GATE.try_write_for(PATIENCE).ok_or_else(|| hangs("begin"))?;
        Ok(Glimpse { _held: held, _inside: inside })
    }
}

fn hangs(action: &str) -> Error {
    let seconds = PATIENCE.as_secs();
    Error::other(format!(
        "cannot {action}: for {seconds} seconds a transaction of several databases has been \
         becoming visible"
    ))
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
