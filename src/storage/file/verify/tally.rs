//! What a verification has read so far: [`Tally`].
//!
//! The scan hands it every good frame, and every good record of a damaged one; it holds each
//! against those before it.
//!
//! # Invariants
//! - A place that could not be read is told once, whoever points there.

use super::Verification;
use super::finding::{Finding, FindingKind};
use super::objects::Objects;
use super::promises::Promises;
use crate::error::{Error, Result};
use crate::format::{Fields, Frame, FrameHeader, FrameKind, Malformed, Record, TypeId};
use crate::id::{Oid, Tid};
use crate::storage::TypeTable;
use crate::storage::file::gaps::Gaps;
use crate::storage::file::log::Log;
use crate::storage::file::passage::{Damaged, Spot};
use crate::storage::file::salvage;
use std::collections::HashSet;
use std::ops::Range;

/// What was read, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    pub(super) log: &'a Log,
    pub(super) report: Verification,
    pub(super) objects: Objects,
    pub(super) types: TypeTable,
    pub(super) promises: Promises,
    undefined: HashSet<TypeId>,
    /// Whether a frame was lost that may have said something of promises.
    pub(super) is_doubtful: bool,
    /// Where the log could not be read in order.
    gaps: Gaps,
    /// The offsets of findings about records.
    told: HashSet<u64>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(log: &'a Log, report: Verification) -> Tally<'a> {
        let (objects, types, promises, undefined) = Default::default();
        let (is_doubtful, gaps, told) = Default::default();
        Tally { log, report, objects, types, promises, undefined, is_doubtful, gaps, told }
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if finding.kind == FindingKind::Record {
            self.told.insert(finding.offset);
        }
        self.report.findings.push(finding);
    }

    /// Notes that nothing could be read in order here.
    pub(super) fn lose(&mut self, stretch: Range<u64>) {
        self.gaps.push(stretch);
    }

    pub(super) fn is_lost(&self, offset: u64) -> bool {
        self.gaps.contain(offset)
    }

    pub(super) fn has_losses(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Takes in what was met on the way.
    pub(super) fn meet(&mut self, spot: Spot<'_>) -> Result<()> {
        match spot {
            Spot::Frame(frame, wrong) => {
                self.find_at(frame.offset, frame.header.tid, wrong);
                self.take(&frame)?;
            }
            Spot::Damaged(damaged) => self.take_damaged(damaged)?,
            Spot::Misfit(at, header, wrong) => self.find_at(at, header.tid, Some(wrong)),
            Spot::Unreadable(place, wrong) => {
                let what = format!("{}; unreadable up to offset {}", wrong.0, place.end);
                self.find(Finding::new(FindingKind::Frame, place.start, what));
                self.is_doubtful = true;
                self.lose(place);
            }
            Spot::Tail(place, wrong, tid) => {
                let bytes = place.end - place.start;
                let what =
                    format!("{bytes} written bytes that nothing proves durable: {}", wrong.0);
                self.find(Finding::new(FindingKind::Tail, place.start, what).of(None, tid));
                self.report.unproven_bytes = bytes;
            }
        }
        Ok(())
    }

    /// Notes what is wrong with a frame.
    fn find_at(&mut self, at: u64, tid: Tid, wrong: Option<Malformed>) {
        let finding = wrong.map(|wrong| Finding::new(FindingKind::Frame, at, wrong.0));
        self.report.findings.extend(finding.map(|finding| finding.of(None, tid)));
    }

    /// Takes a good frame.
    fn take(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.report.frames.count(frame.header.kind);
        self.report.log_end = frame.end();
        self.report.last_tid = frame.header.tid;
        let fields = self.take_fields(frame);
        let mut writes = HashSet::new();
        for record in frame.records(&self.log.sums) {
            match record {
                Ok((at, record)) => {
                    let is_new = writes.insert(record.oid);
                    if !is_new {
                        self.find_in(at, &record, "the object is stored twice in one transaction");
                    }
                    match frame.header.kind {
                        FrameKind::Prepare => self.check_record(at, &record, is_new)?,
                        _ => self.take_record(at, &record, is_new)?,
                    }
                }
                Err(wrong) => {
                    let finding = Finding::new(FindingKind::Record, frame.offset, wrong.0);
                    self.find(finding.of(None, frame.header.tid));
                }
            }
        }
        self.check_promises(frame, &fields, writes)
    }

    /// Holds what a frame says of transactions of several databases against those before it.
    fn check_promises(
        &mut self,
        frame: &Frame<'_>,
        fields: &Fields,
        writes: HashSet<Oid>,
    ) -> Result<()> {
        let (at, FrameHeader { kind, tid, .. }) = (frame.offset, frame.header);
        let doubtful = self.is_doubtful;
        for what in self.promises.take(at, kind, fields, writes, doubtful) {
            self.find(Finding::new(FindingKind::Promise, at, what).of(None, tid));
        }
        for &(oid, said) in fields.reads.iter().filter(|_| !doubtful) {
            let is = match self.objects.newest(oid) {
                0 => Tid::ZERO,
                newest => self.look_up(oid, newest)?.map_or(said, |record| record.tid),
            };
            if said != is {
                let what = format!(
                    "it relies on tid {} where tid {} is the newest",
                    said.number(),
                    is.number()
                );
                self.find(Finding::new(FindingKind::Promise, at, what).of(oid, tid));
            }
        }
        Ok(())
    }

    fn take_fields(&mut self, frame: &Frame<'_>) -> Fields {
        let (at, tid) = (frame.offset, frame.header.tid);
        let mut fields = Fields::decode(frame.fields()).unwrap_or_else(|wrong| {
            self.find(Finding::new(FindingKind::Frame, at, wrong.0).of(None, tid));
            Fields::default()
        });
        for (id, definition) in std::mem::take(&mut fields.types) {
            let name = definition.name.clone();
            if let Err(wrong) = self.types.learn(id, definition) {
                let finding = Finding::new(FindingKind::Type, at, wrong.0);
                self.find(Finding { type_name: Some(name), ..finding.of(None, tid) });
            }
        }
        fields
    }

    /// Takes what proves itself of a frame whose sum is wrong, and tells what does not.
    fn take_damaged(&mut self, damaged: Damaged<'_>) -> Result<()> {
        let Damaged { at, header, bytes, wrong, .. } = damaged;
        self.find_at(at, header.tid, Some(wrong));
        self.is_doubtful |= header.kind != FrameKind::Seal;
        if header.kind != FrameKind::Commit {
            return Ok(());
        }
        for piece in salvage::pieces(&self.log.sums, at, &header, bytes) {
            match piece {
                salvage::Piece::Good(place, record) => {
                    let is_new = self.objects.newest(record.oid) < at;
                    self.take_record(place, &record, is_new)?;
                }
                salvage::Piece::Bad(place, wrong, oid) => {
                    let finding = Finding::new(FindingKind::Record, place.start, wrong.0);
                    self.find(finding.of(oid, header.tid));
                    self.lose(place);
                }
            }
        }
        Ok(())
    }

    /// Takes a good record, which stands at `at`; `is_new`: the first of its object in its frame.
    fn take_record(&mut self, at: u64, record: &Record<'_>, is_new: bool) -> Result<()> {
        self.report.records += 1;
        self.check_record(at, record, is_new)?;
        self.objects.put(at, record);
        Ok(())
    }

    /// Holds a good record against those before it.
    fn check_record(&mut self, at: u64, record: &Record<'_>, is_new: bool) -> Result<()> {
        let known = self.objects.newest(record.oid);
        if is_new && record.previous != known {
            self.check_previous(at, record, known)?;
        }
        if let Some(content) = &record.content {
            if self.types.get(content.type_id).is_none() && self.undefined.insert(content.type_id) {
                let what = format!("type number {} is defined nowhere before", content.type_id.0);
                let finding = Finding::new(FindingKind::Type, at, what);
                self.find(finding.of(record.oid, record.tid));
            }
            if let Some(wrong) = content.references.iter().find_map(Result::err) {
                self.find_in(at, record, format!("the references are bad: {}", wrong.0));
            }
        }
        Ok(())
    }

    /// The record at `at` does not lead to the newest one known, which stands at `known`.
    fn check_previous(&mut self, at: u64, record: &Record<'_>, known: u64) -> Result<()> {
        if self.is_lost(record.previous) {
            return self.look_up(record.oid, record.previous).map(drop);
        }
        let place = |offset: u64| match offset {
            0 => "no record".to_owned(),
            _ => format!("the record at offset {offset}"),
        };
        let (says, is) = (place(record.previous), place(known));
        self.find_in(at, record, format!("it says that {says} precedes it, where {is} does"));
        Ok(())
    }

    /// Reads a record that stands where the log could not be read in order; tells where that
    /// fails.
    pub(super) fn look_up(&mut self, oid: Oid, at: u64) -> Result<Option<Record<'a>>> {
        match self.log.record(oid, at, self.report.length) {
            Ok(record) => Ok(Some(record)),
            Err(Error::Corrupt(corruption)) => {
                if !self.told.contains(&at) {
                    let what = format!("a record is lost: {}", corruption.what);
                    self.find(Finding::new(FindingKind::Record, at, what).of(oid, None));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn find_in(&mut self, at: u64, record: &Record<'_>, what: impl Into<Box<str>>) {
        let type_id = record.content.as_ref().map(|content| content.type_id);
        let type_name = type_id.and_then(|id| self.types.get(id)).map(|it| it.name.clone());
        let finding = Finding::new(FindingKind::Record, at, what).of(record.oid, record.tid);
        self.find(Finding { type_name, ..finding });
    }
}
