//! The way through a log and over its bad spots: [`Passage`].
//!
//! Like the walk of an opening it goes from frame to frame. At a bad spot it first asks how much of
//! the file was durable, as the rest of it proves. Below that, the spot is damage, and the way goes
//! on at the next good header; above, a crash or a running writer may have left it, and the way
//! ends. `verify` reports what is met, `recover` copies it.
//!
//! # Invariants
//! - It only moves forward.
//! - A frame behind a gap counts only if everything in front of it was durable once: behind what
//!   was not, nothing was ever committed.
//! - Beside a running writer a bad spot is looked at again before it is called damage: the bytes
//!   may have been read while they were written.

use super::log::Log;
use super::tail::last_written;
use super::walk::{Mark, witnesses};
use super::window::Window;
use crate::error::{NotADatabase, Result};
use crate::format::{Frame, FrameHeader, FrameKind, Malformed};
use crate::id::Tid;
use std::ops::Range;

/// How often a place is looked at beside a running writer before it is called bad.
const TRIES: u32 = 3;

/// How much is searched at once.
const STRETCH: u64 = 1 << 16;

/// What is met on the way.
#[derive(Debug)]
pub(super) enum Spot<'a> {
    /// A whole frame, and what is wrong with its place among the others.
    Frame(Frame<'a>, Option<Malformed>),
    /// A frame of which only the header is good.
    Damaged(Damaged<'a>),
    /// The good header of a frame that does not follow the one before it. It is met again, as the
    /// first one behind a gap.
    Misfit(u64, FrameHeader, Malformed),
    /// Bytes among which no frame was found.
    Unreadable(Range<u64>, Malformed),
    /// Bytes that are not zero, and that nothing proves durable; perhaps of this transaction.
    Tail(Range<u64>, Malformed, Option<Tid>),
}

/// A frame whose header is good and whose sum is wrong.
#[derive(Debug)]
pub(super) struct Damaged<'a> {
    pub(super) at: u64,
    pub(super) header: FrameHeader,
    /// All of it.
    pub(super) bytes: &'a [u8],
    pub(super) wrong: Malformed,
    /// The sum that it should have, where the next frame is chained to it: only its own note of
    /// that sum, or of its length, is bad.
    pub(super) vouched: Option<u64>,
}

/// What is wrong at a place.
enum Bad {
    /// No good header stands there.
    Header(Malformed),
    /// A good header, of a frame that does not continue the log.
    Misfit(FrameHeader, Malformed),
    /// A good header, of a frame that is damaged.
    Frame(FrameHeader, Malformed),
}

/// A reading of a log on its way.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    window: Window<'a>,
    length: u64,
    mark: Mark,
    /// Whether what precedes the mark is known, so that the next frame must continue it.
    continued: bool,
    /// Everything below was durable once.
    proven: u64,
    living: bool,
    tried: u32,
    searched: bool,
    ended: bool,
}

impl<'a> Passage<'a> {
    /// The way through the log below `length` from `mark` on, where everything below `proven` was
    /// durable; `living` says that somebody writes it.
    pub(super) fn new(
        log: &'a Log,
        length: u64,
        mark: Mark,
        proven: u64,
        living: bool,
    ) -> Passage<'a> {
        let window = Window::new(log, length);
        let (continued, tried, searched, ended) = (true, 0, false, false);
        Passage { window, length, mark, continued, proven, living, tried, searched, ended }
    }

    /// The same, where it is not known what precedes the first frame.
    pub(super) fn behind_a_gap(self) -> Passage<'a> {
        Passage { continued: false, ..self }
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.ended && self.mark.at < self.length
    }

    /// The end of what was read so far, and whether what precedes it is known.
    pub(super) fn mark(&self) -> (Mark, bool) {
        (self.mark, self.continued)
    }

    /// Everything below was durable once, as far as is known.
    pub(super) fn proven(&self) -> u64 {
        self.proven
    }

    /// Goes on by one spot.
    pub(super) fn step(&mut self, meet: &mut dyn FnMut(Spot<'_>) -> Result<()>) -> Result<()> {
        let at = self.mark.at;
        let header = match self.window.header(at)? {
            Err(wrong) => return self.pass(at, Bad::Header(wrong), meet),
            Ok(header) => header,
        };
        self.proven = self.proven.max(header.durable_upto);
        if let Err(wrong) = self.fits(&header) {
            return self.pass(at, Bad::Misfit(header, wrong), meet);
        }
        let next = if self.continued { None } else { self.chain_behind(at, &header)? };
        let wrong = match self.window.frame(at)? {
            Err(wrong) => wrong,
            Ok(frame) => {
                // Whole, and chained to what is whole: no crash made this.
                if let FrameKind::Later(kind) = header.kind {
                    let what =
                        format!("the frame at offset {at} is of kind {kind}, of a later format");
                    return Err(NotADatabase::new(&self.window.log().path, what).into());
                }
                let wrong = match next.is_some_and(|chain| chain != frame.sum) {
                    true => Some("the frame behind it does not follow it".into()),
                    false if self.continued => self.mark.check_order(&header).err(),
                    false => None,
                };
                let (end, sum) = (frame.end(), frame.sum);
                meet(Spot::Frame(frame, wrong))?;
                self.advance(&header, end, Some(sum));
                return Ok(());
            }
        };
        self.pass(at, Bad::Frame(header, wrong), meet)
    }

    fn fits(&self, header: &FrameHeader) -> Result<(), Malformed> {
        match self.continued {
            true => self.mark.fits(header),
            false if self.mark.at > self.proven => {
                Err("what is in front of the frame was never durable".into())
            }
            false if header.tid < self.mark.tid => {
                Err("the transaction of the frame is out of order".into())
            }
            false => Ok(()),
        }
    }

    /// What the frame behind the one at `at` says to be chained to, if its header is good.
    fn chain_behind(&mut self, at: u64, header: &FrameHeader) -> Result<Option<u64>> {
        let end = at.saturating_add(header.frame_len().unwrap_or(u64::MAX));
        if end >= self.length {
            return Ok(None);
        }
        Ok(self.window.header(end)?.ok().map(|header| header.chain))
    }

    /// Goes to `end`; `chain` is the sum of the frame before, where that is known.
    fn advance(&mut self, header: &FrameHeader, end: u64, chain: Option<u64>) {
        let (tid, next_oid) = (header.tid, header.next_oid);
        self.mark = Mark { at: end, chain: chain.unwrap_or(0), tid, next_oid };
        (self.continued, self.tried) = (chain.is_some(), 0);
    }

    /// Decides what a bad spot is, and passes over it.
    fn pass(
        &mut self,
        at: u64,
        bad: Bad,
        meet: &mut dyn FnMut(Spot<'_>) -> Result<()>,
    ) -> Result<()> {
        if !self.searched || self.living {
            self.proven = witnesses(&mut self.window, self.length, at, self.proven)?;
            self.searched = true;
        }
        if at >= self.proven {
            return self.end_at_tail(at, bad, meet);
        }
        if self.living && self.tried < TRIES {
            self.tried += 1;
            self.window.forget();
            return Ok(());
        }
        match bad {
            Bad::Misfit(header, wrong) if self.continued => {
                self.continued = false;
                meet(Spot::Misfit(at, header, wrong))
            }
            Bad::Header(wrong) | Bad::Misfit(_, wrong) => {
                let next = self.next_header(at + 8)?.unwrap_or(self.length);
                (self.mark.at, self.continued, self.tried) = (next, false, 0);
                meet(Spot::Unreadable(at..next, wrong))
            }
            Bad::Frame(header, wrong) => {
                let next = self.chain_behind(at, &header)?;
                let length = header.frame_len().unwrap_or(u64::MAX);
                let sums = self.window.log().sums;
                let bytes = self.window.get(at, usize::try_from(length).unwrap_or(usize::MAX))?;
                let covered = bytes.split_last_chunk::<{ FrameHeader::TRAILER_LEN }>();
                let sum = covered.map(|(covered, _)| sums.sum(at, covered));
                let vouched = sum.filter(|_| next == sum);
                meet(Spot::Damaged(Damaged { at, header, bytes, wrong, vouched }))?;
                self.advance(&header, at.saturating_add(length), vouched);
                Ok(())
            }
        }
    }

    /// Where the next good header stands, from `from` on.
    fn next_header(&mut self, from: u64) -> Result<Option<u64>> {
        let mut at = from;
        while at < self.length {
            let stretch = self.window.get(at, STRETCH as usize)?;
            let starts = stretch.chunks(8).zip((at..).step_by(8));
            let starts = starts.filter(|(bytes, _)| FrameHeader::looks_like(bytes));
            let candidates: Vec<u64> = starts.map(|(_, offset)| offset).collect();
            for offset in candidates {
                let header = self.window.header(offset)?;
                if header.is_ok_and(|header| header.tid >= self.mark.tid) {
                    return Ok(Some(offset));
                }
            }
            at = at.saturating_add(STRETCH);
        }
        Ok(None)
    }

    /// Nothing from `at` on was ever promised: tells what is there beside zeros.
    fn end_at_tail(
        &mut self,
        at: u64,
        bad: Bad,
        meet: &mut dyn FnMut(Spot<'_>) -> Result<()>,
    ) -> Result<()> {
        self.ended = true;
        let end = last_written(self.window.log(), at, self.length)?;
        if end == at {
            return Ok(());
        }
        let (wrong, tid) = match bad {
            Bad::Header(wrong) => (wrong, None),
            Bad::Misfit(header, wrong) | Bad::Frame(header, wrong) => {
                (wrong, (header.kind == FrameKind::Commit).then_some(header.tid))
            }
        };
        meet(Spot::Tail(at..end, wrong, tid))
    }
}
