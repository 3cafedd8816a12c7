//! The way of a verification through the log, over bad spots: [`Scan`].
//!
//! Like the walk of an opening it goes from frame to frame. At a bad spot it first asks what the
//! rest of the file proves: below that the spot is damage, and the scan goes on at the next good
//! header; above, a crash or a running writer may have left it, and the scan ends.
//!
//! # Invariants
//! - It only moves forward.
//! - Beside a running writer a bad spot is looked at again before it is called damage: the bytes
//!   may have been read while they were written.

use super::Verification;
use super::finding::{Finding, FindingKind};
use super::snapshot::Compared;
use super::tally::Tally;
use crate::error::{NotADatabase, Result};
use crate::format::{FileHeader, FrameHeader, FrameKind, Malformed};
use crate::storage::file::log::Log;
use crate::storage::file::tail::last_written;
use crate::storage::file::walk::{Mark, witnesses};
use crate::storage::file::window::Window;

/// How often a place is looked at beside a running writer before it is called bad.
const TRIES: u32 = 3;

/// How much is searched at once.
const STRETCH: u64 = 1 << 16;

/// A verification on its way.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    window: Window<'a>,
    tally: Tally<'a>,
    mark: Mark,
    /// Whether what precedes the mark is known, so that the next frame must continue it.
    continued: bool,
    snapshot: Option<Compared>,
    living: bool,
    tried: u32,
    searched: bool,
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

impl<'a> Scan<'a> {
    /// The scan of `log`, whose findings go into `report`; `living` says that somebody writes it.
    pub(super) fn new(
        log: &'a Log,
        header: &FileHeader,
        mut report: Verification,
        living: bool,
        snapshot: Option<Compared>,
    ) -> Scan<'a> {
        report.proven = report.proven.max(snapshot.as_ref().map_or(0, Compared::proven));
        Scan {
            window: Window::new(log, report.length),
            tally: Tally::new(log, report),
            mark: Mark::start(header, header.sum()),
            continued: true,
            snapshot,
            living,
            tried: 0,
            searched: false,
        }
    }

    /// Goes through the log to its end.
    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification> {
        let length = self.tally.report.length;
        let mut going = true;
        while going && self.mark.at < length {
            progress(self.mark.at, length);
            self.pass_snapshot()?;
            going = self.step()?;
        }
        self.pass_snapshot()?;
        progress(length, length);
        let Scan { mut tally, mark, snapshot, .. } = self;
        if let Some(snapshot) = snapshot {
            snapshot.finish(&mut tally)?;
        }
        let Verification { proven, length, .. } = tally.report;
        if mark.at < proven && length < proven {
            let what = format!("the file ends, while all below offset {proven} was durable");
            tally.find(Finding::new(FindingKind::Frame, length, what));
        }
        let log = tally.log;
        let dangling = tally.objects.dangling(log, length, |id| tally.types.get(id))?;
        let mut report = tally.report;
        report.findings.extend(dangling);
        (report.objects, report.live_bytes, report.garbage_bytes) = tally.objects.totals();
        report.unproven_bytes += report.log_end.saturating_sub(proven);
        Ok(report)
    }

    fn pass_snapshot(&mut self) -> Result<()> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        if snapshot.pass(&self.mark, self.continued, &mut self.tally)? {
            // An opening goes on from here with what the snapshot says was given out.
            self.mark.next_oid = self.mark.next_oid.max(snapshot.next_oid());
        }
        Ok(())
    }

    /// Takes the frame at the mark, or passes over what is bad there; whether to go on.
    fn step(&mut self) -> Result<bool> {
        let at = self.mark.at;
        let bad = match self.window.header(at)? {
            Err(wrong) => Bad::Header(wrong),
            Ok(header) => {
                let report = &mut self.tally.report;
                report.proven = report.proven.max(header.durable_upto);
                match (self.fits(&header), self.window.frame(at)?) {
                    (Err(wrong), _) => Bad::Misfit(header, wrong),
                    (_, Err(wrong)) => Bad::Frame(header, wrong),
                    (Ok(()), Ok(frame)) => {
                        // Whole, and chained to what is whole: no crash made this.
                        if let (true, Err(wrong)) = (self.continued, self.mark.check_order(&header))
                        {
                            let finding = Finding::new(FindingKind::Frame, at, wrong.0);
                            self.tally.find(finding.of(None, header.tid));
                        }
                        if let FrameKind::Later(kind) = header.kind {
                            let what = format!(
                                "the frame at offset {at} is of kind {kind}, of a later format"
                            );
                            return Err(NotADatabase::new(&self.tally.log.path, what).into());
                        }
                        self.tally.take(&frame)?;
                        let (end, sum) = (frame.end(), frame.sum);
                        self.advance(&header, end, sum, true);
                        return Ok(true);
                    }
                }
            }
        };
        self.meet(at, bad)
    }

    fn fits(&self, header: &FrameHeader) -> Result<(), Malformed> {
        match self.continued {
            true => self.mark.fits(header),
            false if header.tid < self.mark.tid => {
                Err("the transaction of the frame is out of order".into())
            }
            false => Ok(()),
        }
    }

    fn advance(&mut self, header: &FrameHeader, end: u64, chain: u64, continued: bool) {
        self.mark = Mark { at: end, chain, tid: header.tid, next_oid: header.next_oid };
        (self.continued, self.tried) = (continued, 0);
    }

    /// Decides what a bad spot is.
    fn meet(&mut self, at: u64, bad: Bad) -> Result<bool> {
        let Verification { length, proven, .. } = self.tally.report;
        if !self.searched || self.living {
            self.tally.report.proven = witnesses(&mut self.window, length, at, proven)?;
            self.searched = true;
        }
        if at >= self.tally.report.proven {
            self.end_at_tail(at, bad)?;
            return Ok(false);
        }
        if self.living && self.tried < TRIES {
            self.tried += 1;
            self.window.forget();
            return Ok(true);
        }
        match bad {
            Bad::Header(wrong) => self.pass_over(at, wrong)?,
            Bad::Misfit(_, wrong) if !self.continued => self.pass_over(at, wrong)?,
            Bad::Misfit(header, wrong) => {
                self.continued = false;
                let finding = Finding::new(FindingKind::Frame, at, wrong.0);
                self.tally.find(finding.of(None, header.tid));
            }
            Bad::Frame(header, wrong) => {
                let length = header.frame_len().unwrap_or(u64::MAX);
                let asked = usize::try_from(length).unwrap_or(usize::MAX);
                let bytes = self.window.get(at, asked)?;
                self.tally.take_damaged(at, &header, bytes, wrong)?;
                self.advance(&header, at.saturating_add(length), 0, false);
            }
        }
        Ok(true)
    }

    /// Goes on at the next good header after `at`, or at the file's end.
    fn pass_over(&mut self, at: u64, wrong: Malformed) -> Result<()> {
        let length = self.tally.report.length;
        let next = self.next_header(at + 8)?.unwrap_or(length);
        let what = format!("{}; unreadable up to offset {next}", wrong.0);
        self.tally.find(Finding::new(FindingKind::Frame, at, what));
        self.tally.lose(at..next);
        self.mark.at = next;
        (self.continued, self.tried) = (false, 0);
        Ok(())
    }

    /// Where the next good header stands, from `from` on.
    fn next_header(&mut self, from: u64) -> Result<Option<u64>> {
        let length = self.tally.report.length;
        let mut at = from;
        while at < length {
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
    fn end_at_tail(&mut self, at: u64, bad: Bad) -> Result<()> {
        let length = self.tally.report.length;
        let end = last_written(self.tally.log, at, length)?;
        if end == at {
            return Ok(());
        }
        let (wrong, tid) = match bad {
            Bad::Header(wrong) => (wrong, None),
            Bad::Misfit(header, wrong) | Bad::Frame(header, wrong) => {
                (wrong, (header.kind == FrameKind::Commit).then_some(header.tid))
            }
        };
        let what = format!("{} written bytes that nothing proves durable: {}", end - at, wrong.0);
        self.tally.find(Finding::new(FindingKind::Tail, at, what).of(None, tid));
        self.tally.report.unproven_bytes = end - at;
        Ok(())
    }
}
