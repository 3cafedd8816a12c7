//! Following a writer: a reader takes in what was committed since it looked last.
//!
//! It goes on where its opening stopped, by the same rules: beside a living writer only what is
//! proven durable is shown, without one all that is whole. Readers go on meanwhile, as beside a
//! leader that publishes.
//!
//! # Invariants
//! - What was shown stays: marks only grow.
//! - A frame of a living writer that no sync has covered is never shown.
//!
//! Format: docs/format.md, "Reading beside a writer".

use super::core::Core;
use super::opening::{PAUSE, TRIES, may_have_writer, note_global, take_records};
use super::walk::{Mark, walk};
use crate::error::{Damage, Error, Result};
use crate::format::{Fields, Frame, FrameHeader, FrameKind};
use crate::id::{Oid, Tid};
use crate::sync::atomic::Ordering;

/// What a look at the rest of the log found.
enum Sight {
    /// All that may be shown is.
    Clear,
    /// A writer came while it was read.
    Stirred,
    /// What is bad was durable.
    Damaged(Damage),
}

impl Core {
    /// Shows what was committed since; the last transaction that is shown now.
    pub(super) fn follow(&self) -> Result<Tid> {
        let _look = self.look.lock();
        let mut tried = 0;
        loop {
            self.check_open(&self.ordered.lock())?;
            self.check_name()?;
            self.check_length()?;
            self.check_past()?;
            tried += 1;
            let last = tried == TRIES;
            match self.try_follow() {
                Ok(Sight::Clear) => break,
                // Writers come and go: what is proven can be shown the next time.
                Ok(Sight::Stirred) if last => break,
                Ok(Sight::Damaged(damage)) if last => return Err(damage.into()),
                Err(error) if last => return Err(error),
                // A writer may have been in the middle of a write, or have cut zeros off the end.
                _ => std::thread::sleep(PAUSE),
            }
        }
        // Under the lock: who has just looked in vain, and does not sleep yet, would sleep on.
        let ordered = self.ordered.lock();
        self.moved.notify_all();
        drop(ordered);
        Ok(self.generation.last_tid())
    }

    /// Goes on as far as may be shown.
    fn try_follow(&self) -> Result<Sight> {
        if may_have_writer(&*self.directory, &self.name) {
            let (proven, shown) = self.reach()?;
            return self.show(proven, shown);
        }
        let log = &self.generation.log;
        let walked = walk(log, self.length()?, self.mark(), self.durable(), |_| Ok(()))?;
        let (end, proven) = (walked.mark.at, walked.proven);
        if end < proven {
            return Ok(Sight::Damaged(walked.damage(self.path(), proven)));
        }
        if may_have_writer(&*self.directory, &self.name) {
            // Perhaps it wrote what was just read, and nothing of that is durable.
            return Ok(Sight::Stirred);
        }
        self.show(proven, end)
    }

    /// How much is proven beside a living writer, and how much of that can be shown. It is found
    /// from header to header: whatever stands behind the last one is not written yet.
    fn reach(&self) -> Result<(u64, u64)> {
        let (log, length) = (&self.generation.log, self.length()?);
        let (mut at, mut proven) = (self.generation.published_end(), self.durable());
        let mut bytes = Vec::new();
        while at.saturating_add(FrameHeader::LEN as u64) <= length {
            // By position: the writer may cut zeros off the end.
            log.read_into(&mut bytes, at, FrameHeader::LEN)?;
            let header = bytes.first_chunk();
            let header = header.and_then(|it| FrameHeader::decode(&log.sums, at, it).ok());
            let Some(header) = header else { break };
            proven = proven.max(header.durable_upto);
            let end = header.frame_len().and_then(|length| at.checked_add(length));
            let Some(end) = end.filter(|&end| end <= length) else { break };
            at = end;
        }
        Ok((proven, proven.min(at)))
    }

    /// Shows the frames below `shown`, all of which are whole.
    fn show(&self, proven: u64, shown: u64) -> Result<Sight> {
        let log = &self.generation.log;
        let walked = walk(log, shown, self.mark(), proven, |frame| self.take_in(frame))?;
        if walked.mark.at < shown {
            return Ok(Sight::Damaged(walked.damage(self.path(), proven)));
        }
        self.durable.fetch_max(proven.min(shown), Ordering::AcqRel);
        if proven >= self.ordered.lock().content_end {
            self.durable_mark.raise(self.generation.last_tid());
        }
        Ok(Sight::Clear)
    }

    fn length(&self) -> Result<u64> {
        let length = self.generation.log.file.len();
        length.map_err(|error| Error::io("measure", self.path(), error))
    }

    /// Where the next frame stands that is not shown yet.
    fn mark(&self) -> Mark {
        Mark {
            at: self.generation.published_end(),
            chain: self.leader.lock().chain,
            tid: self.generation.last_tid(),
            next_oid: Oid::new(self.next_oid.load(Ordering::Acquire)),
        }
    }

    /// Publishes a frame that somebody else has written.
    fn take_in(&self, frame: &Frame<'_>) -> Result<()> {
        let wrong = |wrong| self.generation.log.corrupt(frame.offset, wrong);
        let fields = Fields::decode(frame.fields()).map_err(wrong)?;
        for (id, definition) in fields.types {
            self.types.learn(id, definition).map_err(wrong)?;
        }
        let decided = !fields.participants.is_empty();
        let (mut decisions, mut prepared) = (self.decisions.lock(), self.prepared.lock());
        note_global(frame, fields.gtid, decided, &mut decisions, &mut prepared).map_err(wrong)?;
        drop((decisions, prepared));
        take_records(&self.generation, frame, &mut self.pinned.lock())?;
        self.leader.lock().chain = frame.sum;
        if frame.header.kind != FrameKind::Seal {
            self.ordered.lock().content_end = frame.end();
        }
        self.next_oid.fetch_max(frame.header.next_oid.number(), Ordering::AcqRel);
        Ok(())
    }
}
