//! Housekeeping: what must happen soon, but nobody should wait for.
//!
//! One thread for each open file, named and joined on close: it syncs lazy commits, writes the
//! Seal when the log falls idle, keeps zeros ahead of the log, and writes the index snapshot when
//! replaying the log would take long. It sleeps without a timeout while there is nothing to do.
//!
//! # Invariants
//! - One thread at a time writes zeros.
//! - A sync of lazy commits starts within [`INTERVAL`] of the commit.
//! - No failure here loses anything: a failed sync halts the storage, the others are logged.

use super::core::{Core, Ordered};
use super::index_file;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a commit the housekeeper looks after it.
pub(super) const INTERVAL: Duration = Duration::from_millis(45);

/// The least and the most that is zeroed at once.
const ZERO_STEP: (u64, u64) = (256 << 10, 4 << 20);

/// Frames of this size and more are not worth zeroing ahead for: their bytes are written twice.
pub(super) const LARGE_FRAME: u64 = 64 << 10;

/// A tail of the log longer than this is worth an index snapshot.
const LONG_TAIL: u64 = 64 << 20;

/// How the housekeeper is woken and stopped.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Something was committed since the last look.
    work: AtomicBool,
    state: Mutex<RestState>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct RestState {
    stopped: bool,
}

impl Rest {
    /// Tells the housekeeper that something was committed.
    pub(super) fn wake(&self) {
        if !self.work.swap(true, Ordering::AcqRel) {
            let _state = self.state.lock();
            self.called.notify_one();
        }
    }

    /// Ends the housekeeper.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.called.notify_one();
    }

    /// Sleeps until there is work, then for an interval; whether to go on.
    fn sleep(&self, more: bool) -> bool {
        let mut state = self.state.lock();
        while !state.stopped && !more && !self.work.load(Ordering::Acquire) {
            self.called.wait(&mut state);
        }
        let until = Instant::now() + INTERVAL;
        while !state.stopped {
            if self.called.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        !state.stopped
    }
}

/// What the last look found.
#[derive(Debug)]
pub(super) struct Look {
    /// Where the log ended.
    end: u64,
    /// Where it ended when a snapshot was written last, or could not be.
    tried: u64,
}

impl Look {
    /// A look at a log that ends at `end`.
    pub(super) fn at(end: u64) -> Look {
        Look { end, tried: 0 }
    }
}

/// Starts the housekeeper of `core`; it ends when its [`Rest`] is stopped.
pub(super) fn start(core: &Arc<Core>) -> Result<thread::JoinHandle<()>> {
    let core = core.clone();
    let path = core.path().to_owned();
    let name = "perennial-housekeeping".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(move || run(&core))
        .map_err(|error| Error::io("start the housekeeping thread of", path, error))
}

fn run(core: &Core) {
    let mut more = false;
    while core.rest.sleep(more) {
        let busy = core.rest.work.swap(false, Ordering::AcqRel);
        more = core.tend().unwrap_or_else(|error| {
            tracing::warn!(%error, "housekeeping failed");
            false
        }) || busy;
    }
}

impl Core {
    /// One round of housekeeping; whether another should follow though nothing is committed.
    pub(super) fn tend(&self) -> Result<bool> {
        let mut look = self.look.lock();
        let (end, content_end) = {
            let ordered = self.ordered.lock();
            self.check_open(&ordered)?;
            (ordered.end, ordered.content_end)
        };
        if self.durable() < content_end.min(self.generation.published_end()) {
            self.sync()?;
        }
        let grown = end.saturating_sub(std::mem::replace(&mut look.end, end));
        if grown == 0 {
            self.seal()?;
        } else {
            self.zero_ahead(grown)?;
        }
        let long = LONG_TAIL.max(index_file::length(self).saturating_mul(2));
        if self.tail() > long && end.saturating_sub(look.tried) > LONG_TAIL {
            // First: a disk that has no room for a snapshot is not asked again in every round.
            look.tried = end;
            index_file::write(self)?;
        }
        Ok(grown != 0)
    }

    /// Writes zeros where the next frames will stand: a sync is cheaper over bytes that exist.
    fn zero_ahead(&self, grown: u64) -> Result<()> {
        let Some((start, length)) = self.take_zeroing(grown) else { return Ok(()) };
        let zeroing = Zeroing(self);
        self.check_length()?;
        let outcome = self.generation.log.file.zero(start, length);
        if outcome.is_ok() {
            self.ordered.lock().zeroed = start + length;
        }
        drop(zeroing);
        // A failure does not halt: nothing was there, and the next commit finds out by itself.
        outcome.map_err(|error| Error::io("zero the end of", self.path(), error))
    }

    /// Writes zeros so that the file exists up to `upto`, and leaves the section meanwhile.
    pub(super) fn make_room(&self, ordered: &mut MutexGuard<'_, Ordered>, upto: u64) -> Result<()> {
        if ordered.zeroing {
            self.moved.wait(ordered);
            return Ok(());
        }
        ordered.zeroing = true;
        let (start, upto) = (ordered.zeroed, upto + ZERO_STEP.0);
        MutexGuard::unlocked(ordered, || {
            let zeroing = Zeroing(self);
            self.check_length()?;
            let failed = |error| Error::io("keep room for promises in", self.path(), error);
            self.generation.log.file.zero(start, upto - start).map_err(failed)?;
            self.ordered.lock().zeroed = upto;
            drop(zeroing);
            Ok(())
        })
    }

    /// The start and length of the range to zero, which no frame takes until that is done. `None`
    /// while somebody else zeroes: if two zeroed one range, the first to finish would let frames
    /// into it, and the second would write zeros over them.
    fn take_zeroing(&self, grown: u64) -> Option<(u64, u64)> {
        let mut ordered = self.ordered.lock();
        let wanted = (4 * grown).clamp(ZERO_STEP.0, ZERO_STEP.1);
        let ahead = ordered.zeroed.saturating_sub(ordered.end);
        let idle = ordered.large_frames || ahead >= wanted / 2;
        if idle || ordered.zeroing || self.check_open(&ordered).is_err() {
            return None;
        }
        ordered.zeroing = true;
        Some((ordered.zeroed, wanted))
    }

    /// How much of the log an opening would have to replay.
    pub(super) fn tail(&self) -> u64 {
        self.generation.published_end().saturating_sub(self.snapshot_upto.load(Ordering::Acquire))
    }
}

/// Frames wait for the zeros ahead of them: however writing these ends, they go on.
struct Zeroing<'a>(&'a Core);

impl Drop for Zeroing<'_> {
    fn drop(&mut self) {
        self.0.ordered.lock().zeroing = false;
        self.0.moved.notify_all();
    }
}
