//! Reading a log in order: through a [`Window`] that moves over the file, frame by [`Frames`].
//!
//! Opening, repairing the index and listing transactions use it. It reads by position, never
//! through a map, so that a disk that fails here is an error and not a signal; and it needs no
//! more memory than the longest frame.

use super::log::Log;
use crate::error::Result;
use crate::format::{Frame, FrameHeader, Malformed};

/// How much is read at once.
const STRETCH: usize = 1 << 20;

/// A stretch of the file, in memory.
#[derive(Debug)]
pub(super) struct Window<'a> {
    log: &'a Log,
    start: u64,
    bytes: Vec<u8>,
    /// Nothing is read from here on.
    bound: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(log: &'a Log, bound: u64) -> Window<'a> {
        Window { log, start: 0, bytes: Vec::new(), bound }
    }

    /// The log it moves over.
    pub(super) fn log(&self) -> &'a Log {
        self.log
    }

    /// The `length` bytes at `offset`; fewer where the bound comes first.
    pub(super) fn get(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let room = usize::try_from(self.bound.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(room);
        let within = offset.checked_sub(self.start).and_then(|it| usize::try_from(it).ok());
        let have = within.and_then(|within| within.checked_add(length));
        if have.is_none_or(|end| end > self.bytes.len()) {
            self.fill(offset, length.max(STRETCH.min(room)))?;
        }
        let within = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(within..).and_then(|rest| rest.get(..length)).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64, length: usize) -> Result<()> {
        self.start = offset;
        self.log.read_into(&mut self.bytes, offset, length)
    }

    /// Reads anew what is asked for next: somebody may have written there.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// What the header at `offset` claims to have been durable, if its sum is good.
    pub(super) fn claim(&mut self, offset: u64) -> Result<Option<u64>> {
        let sums = self.log.sums;
        let header = self.get(offset, FrameHeader::LEN)?.first_chunk();
        let header = header.and_then(|bytes| FrameHeader::decode(&sums, offset, bytes).ok());
        Ok(header.map(|header| header.durable_upto))
    }

    /// The header of the frame at `offset`, if a good one stands there whose frame fits.
    pub(super) fn header(&mut self, offset: u64) -> Result<Result<FrameHeader, Malformed>> {
        let (sums, bound) = (self.log.sums, self.bound);
        let bytes = self.get(offset, FrameHeader::LEN)?;
        let Some(bytes) = bytes.first_chunk() else {
            return Ok(Err("the log ends within a frame header".into()));
        };
        Ok(FrameHeader::decode(&sums, offset, bytes).and_then(|header| {
            let end = header.frame_len().and_then(|length| offset.checked_add(length));
            if end.is_none_or(|end| end > bound) {
                return Err("the frame ends beyond the log".into());
            }
            Ok(header)
        }))
    }

    /// The frame at `offset`, all of which is checked.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Result<Frame<'_>, Malformed>> {
        let header = match self.header(offset)? {
            Ok(header) => header,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let sums = self.log.sums;
        let length = header.frame_len().and_then(|length| usize::try_from(length).ok());
        let bytes = self.get(offset, length.unwrap_or(usize::MAX))?;
        Ok(Frame::decode(&sums, offset, bytes))
    }
}

/// The frames of a part of the log that is known to be good, in order.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    window: Window<'a>,
    at: u64,
    end: u64,
}

impl<'a> Frames<'a> {
    /// Those from the one at `start` up to `end`, where one ends.
    pub(super) fn new(log: &'a Log, start: u64, end: u64) -> Frames<'a> {
        Frames { window: Window::new(log, end), at: start, end }
    }

    /// The next one.
    ///
    /// # Errors
    /// Where a frame breaks a rule: what should be good is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (at, log) = (self.at, self.window.log);
        match self.window.frame(at)? {
            Ok(frame) => {
                self.at = frame.end();
                Ok(Some(frame))
            }
            Err(wrong) => Err(log.corrupt(at, wrong)),
        }
    }
}
