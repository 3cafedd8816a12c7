//! Group commit: one thread writes, syncs and publishes for everybody who waits.
//!
//! Whoever finds that nobody leads takes all frames that have a place, chains them, writes them,
//! syncs once, publishes them in order and wakes the others. Meanwhile further frames queue up
//! for the next leader. Every sync of the log passes through this place, one at a time, but for
//! those of mending it before anybody is there, and of cutting its zeros off when it closes.
//!
//! # Invariants
//! - Publication is in the order of the log; a synchronous commit is published after the sync
//!   that covers it, and so is everything behind it.
//! - Before anything is written the file is looked at: what another program cut off must not be
//!   hidden by what follows. Nothing is durable in a file that its name does not lead to.
//! - After a failed write or sync nothing is written, synced or published any more: the system
//!   reports a lost page once, and a second sync would prove nothing.

use super::core::{Act, Core, LeaderState, Ordered, Placed, State, tell};
use crate::error::{Error, Result};
use crate::format::{FrameBuilder, FrameKind, Malformed};
use crate::id::{GlobalId, Oid, Tid};
use crate::storage::Batch;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Small frames that come together are gathered into writes of about this size.
const GATHER: usize = 1 << 20;

impl Core {
    /// Writes what is queued, syncs where somebody waits for that or `sync` is set, publishes.
    ///
    /// Only while nobody leads; a failure halts the storage.
    pub(super) fn lead<'a>(
        &'a self,
        mut ordered: MutexGuard<'a, Ordered>,
        sync: bool,
    ) -> MutexGuard<'a, Ordered> {
        let mut batch = std::mem::take(&mut ordered.queue);
        let mut last = batch.iter().map(|placed| placed.tid).max().unwrap_or(ordered.last_tid);
        ordered.leading = true;
        drop(ordered);
        let guard = HaltOnPanic { core: self, last };
        let outcome = match self.check_length() {
            Ok(()) => self.write_and_publish(&mut batch, sync),
            Err(cut) => {
                // Nothing was written: what became of this batch is known.
                last = self.generation.last_tid();
                Err(cut.to_string().into())
            }
        };
        if let Err(cause) = &outcome {
            // Before the lock is taken: who listens to events is foreign code.
            let path = self.path().display();
            tell(|| tracing::error!(%path, %cause, "the database halts"));
        }
        std::mem::forget(guard);
        let mut ordered = self.ordered.lock();
        ordered.leading = false;
        match outcome {
            Ok(()) => retire(&mut ordered, &batch),
            Err(cause) => self.halt(&mut ordered, last, &cause),
        }
        self.moved.notify_all();
        ordered
    }

    fn write_and_publish(&self, batch: &mut [Placed], sync: bool) -> Result<(), Box<str>> {
        let mut state = self.leader.lock();
        let chain = self.write(&mut state, batch).map_err(|wrong| wrong.to_string())?;
        let end = batch.last().map_or(0, |last| last.end);
        let end = end.max(self.generation.published_end());
        let synced = (sync || batch.iter().any(|placed| placed.sync)) && self.durable() < end;
        if synced {
            self.generation
                .log
                .file
                .sync()
                .map_err(|error| Error::io("sync", self.path(), error).to_string())?;
            self.check_name().map_err(|taken_away| taken_away.to_string())?;
            self.durable.store(end, Ordering::Release);
        }
        state.chain = chain;
        batch.iter().for_each(|placed| self.publish(placed));
        if synced {
            self.durable_mark.raise(self.generation.last_tid());
        }
        Ok(())
    }

    /// Chains the frames, seals them and writes them; the sum of the last one.
    fn write(&self, state: &mut LeaderState, batch: &mut [Placed]) -> Result<u64> {
        let (sums, file) = (&self.generation.log.sums, &self.generation.log.file);
        let next_oid = Oid::new(self.next_oid.load(Ordering::Acquire));
        let failed = |error| Error::io("write", self.path(), error);
        let (mut chain, buffer) = (state.chain, &mut state.buffer);
        buffer.clear();
        let gathered = if batch.len() > 1 { GATHER } else { 0 };
        let mut start = batch.first().map_or(0, |placed| placed.offset);
        for placed in batch {
            let wrong = |wrong: Malformed| Error::InvalidArgument(wrong.0.into());
            placed.builder.place(sums, placed.offset, placed.tid).map_err(wrong)?;
            chain = placed.builder.finish(sums, chain, self.durable(), next_oid);
            let bytes = placed.builder.bytes();
            if buffer.len() + bytes.len() > gathered && !buffer.is_empty() {
                file.append(start, buffer).map_err(failed)?;
                buffer.clear();
                start = placed.offset;
            }
            if bytes.len() >= gathered {
                file.append(placed.offset, bytes).map_err(failed)?;
                start = placed.offset + bytes.len() as u64;
            } else {
                buffer.extend_from_slice(bytes);
            }
        }
        if !buffer.is_empty() {
            file.append(start, buffer).map_err(failed)?;
        }
        Ok(chain)
    }

    fn publish(&self, placed: &Placed) {
        let end = placed.end;
        match &placed.act {
            Act::Seal => {}
            Act::Prepare(gtid) => drop(self.prepared.lock().insert(*gtid, placed.offset)),
            Act::Abort(gtid) => drop(self.prepared.lock().remove(gtid)),
            Act::End(gtid) => drop(self.decisions.lock().remove(gtid)),
            Act::Commit(batch, settles) => {
                self.keep_books(placed.offset, batch, *settles);
                let starts = placed.builder.record_starts().iter();
                let records = starts.map(|start| placed.offset + start);
                let records = batch.writes().map(|write| write.oid).zip(records);
                return self.generation.publish(end, placed.tid, records);
            }
        }
        self.generation.publish(end, placed.tid, std::iter::empty());
    }

    /// Notes what a commit whose frame stands at `offset` means beside its records.
    fn keep_books(&self, offset: u64, batch: &Batch, settles: Option<GlobalId>) {
        if let Some(decision) = batch.decision.as_ref().filter(|it| !it.participants.is_empty()) {
            self.decisions.lock().insert(decision.gtid, offset);
        }
        if let Some(gtid) = settles {
            self.prepared.lock().remove(&gtid);
        }
        let mut pinned = self.pinned.lock();
        if !pinned.is_empty() || batch.writes().any(|write| write.pinned) {
            for write in batch.writes() {
                match write.pinned && write.content.is_some() {
                    true => pinned.insert(write.oid),
                    false => pinned.remove(&write.oid),
                };
            }
        }
    }

    /// Takes nothing more: up to `last` nobody knows what the disk holds.
    fn halt(&self, ordered: &mut Ordered, last: Tid, cause: &str) {
        ordered.state = State::Halted(last, cause.into());
        ordered.queue.clear();
        ordered.pending.clear();
        self.rest.stop();
    }

    /// Returns when all that is published now is durable; a Seal needs no sync.
    pub(super) fn sync(&self) -> Result<()> {
        let content_end = self.ordered.lock().content_end;
        self.sync_upto(self.generation.published_end().min(content_end))
    }

    /// Returns when the log is durable up to `target`, which is published.
    pub(super) fn sync_upto(&self, target: u64) -> Result<()> {
        let mut ordered = self.ordered.lock();
        while self.durable() < target {
            match &ordered.state {
                State::Halted(_, cause) => return Err(Error::Unknown((**cause).into())),
                _ if ordered.leading => self.moved.wait(&mut ordered),
                _ => ordered = self.lead(ordered, true),
            }
        }
        self.check_running(&ordered)
    }

    /// Writes a Seal where the log does not end with one, as the witness of what precedes it.
    ///
    /// It is not synced, and makes nothing dirty that a sync would have to follow.
    pub(super) fn seal(&self) -> Result<()> {
        let mut ordered = self.ordered.lock();
        loop {
            self.check_running(&ordered)?;
            if ordered.leading {
                self.moved.wait(&mut ordered);
                continue;
            }
            if ordered.content_end != ordered.end || self.durable() != ordered.end {
                return Ok(());
            }
            let wrong = |wrong: Malformed| Error::InvalidArgument(wrong.0.into());
            let builder = FrameBuilder::new(FrameKind::Seal, &[]).map_err(wrong)?;
            let room = ordered.promises.room;
            if let Some(offset) = self.take_place(&mut ordered, builder.length(), room)? {
                let (tid, end, act) = (ordered.last_tid, ordered.end, Act::Seal);
                ordered.queue.push(Placed { builder, offset, end, tid, sync: false, act });
                ordered = self.lead(ordered, false);
                return self.check_running(&ordered);
            }
        }
    }

    /// Waits until `done`, or `bound` has passed; whether it is.
    pub(super) fn wait(&self, bound: Duration, done: impl Fn(&Ordered) -> bool) -> Result<bool> {
        // A bound beyond the clock's reach is as good as a year.
        let year = Duration::from_secs(365 * 24 * 3600);
        let until = Instant::now() + bound.min(year);
        let mut ordered = self.ordered.lock();
        while !done(&ordered) {
            self.check_open(&ordered)?;
            if self.moved.wait_until(&mut ordered, until).timed_out() {
                return Ok(done(&ordered));
            }
        }
        Ok(true)
    }

    /// Returns when the frame that ends at `end` is published, leading where nobody else does.
    pub(super) fn await_end(&self, end: u64) -> Result<()> {
        let mut ordered = self.ordered.lock();
        while self.generation.published_end() < end {
            self.check_running(&ordered)?;
            if ordered.leading {
                self.moved.wait(&mut ordered);
            } else {
                ordered = self.lead(ordered, false);
            }
        }
        Ok(())
    }
}

/// Forgets the pending revisions of frames that are published.
fn retire(ordered: &mut Ordered, batch: &[Placed]) {
    for placed in batch {
        let decision = placed.batch().and_then(|batch| batch.decision.as_ref());
        if let Some(decision) = decision {
            ordered.promises.deciding.remove(&decision.gtid);
        }
    }
    let last = ordered.queue.is_empty();
    ordered.pending.retire(batch, last);
}

/// A leader that panics leaves nobody to wake the others: the storage halts.
struct HaltOnPanic<'a> {
    core: &'a Core,
    last: Tid,
}

impl Drop for HaltOnPanic<'_> {
    fn drop(&mut self) {
        let mut ordered = self.core.ordered.lock();
        ordered.leading = false;
        self.core.halt(&mut ordered, self.last, "the thread that wrote for all panicked");
        drop(ordered);
        self.core.moved.notify_all();
        let path = self.core.path().display();
        tell(|| tracing::error!(%path, "a panic halts the database"));
    }
}
