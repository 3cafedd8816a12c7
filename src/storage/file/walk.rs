//! The walk over a log that nobody vouches for: how far it is good, and what that proves.
//!
//! Opening walks from the index snapshot's mark, or from the first frame, to the first bad spot,
//! and looks for witnesses behind it. Every frame says how much of the file a completed sync had
//! covered when it was written: a bad spot below such a claim is damage, one above all of them is
//! what a crash leaves. The walk only reads.
//!
//! # Invariants
//! - A header with a good sum is a witness even where its body is torn, wherever it stands.
//!
//! Format: docs/format.md, "Opening".

use super::log::Log;
use super::window::Window;
use crate::error::{Damage, NotADatabase, Result};
use crate::format::{FIRST_FRAME, FileHeader, Frame, FrameHeader, FrameKind, Malformed};
use crate::id::{Oid, Tid};
use std::path::Path;

/// The end of what was read so far, to which the next frame must fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Where the next frame stands.
    pub(super) at: u64,
    /// The sum of the frame before it.
    pub(super) chain: u64,
    /// The last transaction.
    pub(super) tid: Tid,
    /// Every oid below has been given out.
    pub(super) next_oid: Oid,
}

impl Mark {
    /// Before the first frame of a file.
    pub(super) fn start(header: &FileHeader, header_sum: u64) -> Mark {
        let FileHeader { last_tid: tid, next_oid, .. } = *header;
        Mark { at: FIRST_FRAME, chain: header_sum, tid, next_oid }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(super) struct Walked {
    /// After the last good frame.
    pub(super) mark: Mark,
    /// What kind of frame that was; `None` where there was none.
    pub(super) last: Option<FrameKind>,
    /// Everything below was durable once.
    pub(super) proven: u64,
    /// What is wrong at the mark; `None` where the file ends there.
    pub(super) wrong: Option<Malformed>,
}

/// Walks the log below `length` from `mark` on, where everything below `proven` was durable.
///
/// Every good frame is handed to `apply`, which may refuse it.
pub(super) fn walk(
    log: &Log,
    length: u64,
    mark: Mark,
    proven: u64,
    mut apply: impl FnMut(&Frame<'_>) -> Result<()>,
) -> Result<Walked> {
    let mut window = Window::new(log, length);
    let mut walked = Walked { mark, last: None, proven, wrong: None };
    while walked.mark.at < length {
        match walked.step(&mut window, &mut apply)? {
            Ok(()) => {}
            Err(wrong) => {
                walked.wrong = Some(wrong);
                walked.proven = witnesses(&mut window, length, walked.mark.at, walked.proven)?;
                break;
            }
        }
    }
    Ok(walked)
}

impl Walked {
    /// What is wrong at the mark, as damage: everything below `proven` was durable.
    pub(super) fn damage(self, path: &Path, proven: u64) -> Damage {
        let what = self.wrong.map_or("the log ends there".into(), |wrong| wrong.0);
        Damage::new(path, self.mark.at, proven, what)
    }

    fn step(
        &mut self,
        window: &mut Window<'_>,
        apply: &mut impl FnMut(&Frame<'_>) -> Result<()>,
    ) -> Result<Result<(), Malformed>> {
        let header = match window.header(self.mark.at)? {
            Ok(header) => header,
            Err(wrong) => return Ok(Err(wrong)),
        };
        self.proven = self.proven.max(header.durable_upto);
        if let Err(wrong) = self.mark.fits(&header) {
            return Ok(Err(wrong));
        }
        let log = window.log();
        let frame = match window.frame(self.mark.at)? {
            Ok(frame) => frame,
            Err(wrong) => return Ok(Err(wrong)),
        };
        // Whole, and chained to what is whole: no crash made this, and nothing here may cut it.
        self.mark.check_order(&frame.header).map_err(|wrong| log.corrupt(frame.offset, wrong))?;
        if let FrameKind::Later(kind) = frame.header.kind {
            let at = frame.offset;
            let what = format!("the frame at offset {at} is of kind {kind}, of a later format");
            return Err(NotADatabase::new(&log.path, what).into());
        }
        apply(&frame)?;
        self.mark = Mark {
            at: frame.end(),
            chain: frame.sum,
            tid: frame.header.tid,
            next_oid: self.mark.next_oid.max(frame.header.next_oid),
        };
        self.last = Some(frame.header.kind);
        Ok(Ok(()))
    }
}

impl Mark {
    /// Whether the frame of this header was written after the one before it.
    pub(super) fn fits(&self, header: &FrameHeader) -> Result<(), Malformed> {
        match header.chain == self.chain {
            true => Ok(()),
            false => Err("the frame does not follow the one before it".into()),
        }
    }

    /// Whether the header counts on from what precedes it.
    pub(super) fn check_order(&self, header: &FrameHeader) -> Result<(), Malformed> {
        let tid_fits = match header.kind {
            FrameKind::Commit => header.tid > self.tid,
            FrameKind::Later(_) => header.tid >= self.tid,
            _ => header.tid == self.tid,
        };
        // The next oid is no test: one that was given out and never stored stands in a snapshot
        // only, and the frames written since need not know of it.
        if !tid_fits {
            return Err("the transaction of the frame is out of order".into());
        }
        if header.next_oid.number() > Oid::MAX.number() + 1 {
            return Err("the frame gives out oids beyond the last one".into());
        }
        Ok(())
    }
}

/// How much of the file its headers behind the bad spot at `bad` claim to have been durable;
/// that much is `proven` already.
pub(super) fn witnesses(
    window: &mut Window<'_>,
    length: u64,
    bad: u64,
    mut proven: u64,
) -> Result<u64> {
    const STRETCH: u64 = 1 << 16;
    let mut at = bad;
    while at < length {
        let stretch = window.get(at, STRETCH as usize)?;
        let candidates: Vec<u64> = stretch
            .chunks(8)
            .zip((at..).step_by(8))
            .filter(|(bytes, _)| FrameHeader::looks_like(bytes))
            .map(|(_, offset)| offset)
            .collect();
        for offset in candidates {
            proven = proven.max(window.claim(offset)?.unwrap_or(0));
        }
        at = at.saturating_add(STRETCH);
    }
    Ok(proven)
}
