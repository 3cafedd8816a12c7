//! The course of a verification: through the log, by the index snapshot, to the end: [`Scan`].
//!
//! The way over bad spots is that of every reading of a damaged log (`passage`).

use super::Verification;
use super::finding::{Finding, FindingKind};
use super::graph::{Examiner, explore};
use super::snapshot::Compared;
use super::tally::Tally;
use crate::error::Result;
use crate::format::FileHeader;
use crate::storage::file::log::Log;
use crate::storage::file::passage::Passage;
use crate::storage::file::walk::Mark;

/// A verification on its way.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    passage: Passage<'a>,
    tally: Tally<'a>,
    snapshot: Option<Compared>,
}

impl<'a> Scan<'a> {
    /// The scan of `log`, whose findings go into `report`; `living` says that somebody writes it.
    pub(super) fn new(
        log: &'a Log,
        header: &FileHeader,
        report: Verification,
        living: bool,
        snapshot: Option<Compared>,
    ) -> Scan<'a> {
        let proven = report.proven.max(snapshot.as_ref().map_or(0, Compared::proven));
        let mark = Mark::start(header, header.sum());
        let passage = Passage::new(log, report.length, mark, proven, living);
        Scan { passage, tally: Tally::new(log, report), snapshot }
    }

    /// Goes through the log to its end.
    pub(super) fn run(
        mut self,
        examiner: &mut dyn Examiner,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Verification> {
        let length = self.tally.report.length;
        // Half of the way is the scan, and half the visit of all that exists.
        let all = length.saturating_mul(2);
        while self.passage.is_under_way() {
            progress(self.passage.mark().0.at, all);
            self.pass_snapshot()?;
            let tally = &mut self.tally;
            self.passage.step(&mut |spot| tally.meet(spot))?;
        }
        self.pass_snapshot()?;
        progress(length, all);
        let Scan { mut tally, passage, snapshot } = self;
        if let Some(snapshot) = snapshot {
            snapshot.finish(&mut tally)?;
        }
        let proven = passage.proven();
        tally.report.proven = proven;
        if passage.mark().0.at < proven && length < proven {
            let what = format!("the file ends, while all below offset {proven} was durable");
            tally.find(Finding::new(FindingKind::Frame, length, what));
        }
        tally.report.objects = tally.objects.count();
        let objects = u128::from(tally.report.objects.max(1));
        explore(&mut tally, examiner, &mut |seen| {
            let part = (u128::from(length) * u128::from(seen) / objects) as u64;
            progress(length.saturating_add(part.min(length)), all);
        })?;
        progress(all, all);
        let mut report = tally.report;
        report.garbage_bytes = tally.objects.bytes.saturating_sub(report.live_bytes);
        report.in_doubt = tally.promises.open().into_iter().map(|(gtid, _)| gtid).collect();
        report.open_decisions = tally.promises.decisions().len() as u64;
        report.unproven_bytes += report.log_end.saturating_sub(proven);
        Ok(report)
    }

    fn pass_snapshot(&mut self) -> Result<()> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let (mark, continued) = self.passage.mark();
        snapshot.pass(&mark, continued, &mut self.tally)
    }
}
