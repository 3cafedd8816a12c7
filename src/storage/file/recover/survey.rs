//! The first reading of a damaged file: what of it will be copied, and what is lost: [`Survey`].
//!
//! Every whole frame is held against those before it, as an opening does, so that what is copied
//! can be opened. Whatever else is known of the bytes in between goes into the books: that is how
//! objects are named whose newest revision is gone.
//!
//! # Invariants
//! - Memory grows with the number of objects, of losses and with the longest frame, not with the
//!   file.
//! - Both readings come to the same verdict on every frame: this one notes those to be left out.

use super::loss::{Loss, LossKind};
use super::lost::Lost;
use super::reading::Reading;
use super::source::Source;
use super::unsettled::Unsettled;
use crate::error::Result;
use crate::format::{
    FIRST_FRAME, Fields, FileHeader, Frame, FrameHeader, FrameKind, Malformed, Record, TypeDef,
    TypeId,
};
use crate::id::{GlobalId, Oid, Tid};
use crate::storage::TypeTable;
use crate::storage::file::gaps::Gaps;
use crate::storage::file::index::Slot;
use crate::storage::file::log::Log;
use crate::storage::file::passage::{Damaged, Passage, Spot};
use crate::storage::file::salvage;
use crate::storage::file::walk::Mark;
use crate::storage::file::window::Window;
use crate::tables::OidArray;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// What a survey came to.
#[derive(Debug)]
pub(super) struct Plan {
    /// The header of the new file.
    pub(super) header: FileHeader,
    pub(super) types: TypeTable,
    /// Whole frames that are left out.
    pub(super) skip: HashSet<u64>,
    /// Transactions to which promises are in doubt.
    pub(super) in_doubt: Vec<GlobalId>,
    pub(super) losses: Vec<Loss>,
    pub(super) any_frame: bool,
    pub(super) reading: Reading,
}

/// A survey under way.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    source: &'a Source,
    /// Where the newest good record of every object stands; 0 where it has none.
    newest: OidArray<u64>,
    types: TypeTable,
    /// The types that records name, and where the first one does.
    named: BTreeMap<TypeId, u64>,
    unsettled: Unsettled,
    skip: HashSet<u64>,
    losses: Vec<Loss>,
    lost: Lost,
    /// Where frames were that are not copied, in order.
    gaps: Gaps,
    last_tid: Tid,
    /// The last transaction of which anything was seen, and where its frame stands.
    seen: (Tid, u64),
    next_oid: Oid,
    /// The greatest oid that a good record refers to.
    referred: Oid,
    forgot_before: Tid,
    /// A decision may be lost that is older than the next good frame.
    undated: bool,
    any_frame: bool,
    reading: Reading,
}

/// The way through the log of `source`, for each of the two readings.
pub(super) fn passage(source: &Source) -> Passage<'_> {
    let Source { log, length, header, .. } = source;
    let proven = source.told.as_ref().map_or(FIRST_FRAME, |told| told.header.valid_upto);
    let mark = Mark::start(header, header.sum());
    let passage = Passage::new(log, *length, mark, proven, false);
    if source.guessed { passage.behind_a_gap() } else { passage }
}

impl<'a> Survey<'a> {
    pub(super) fn new(source: &'a Source) -> Survey<'a> {
        let FileHeader { last_tid, next_oid, forgot_before, .. } = source.header;
        let (newest, types, named, unsettled, skip, losses) = Default::default();
        Survey {
            source,
            newest,
            types,
            named,
            unsettled,
            skip,
            losses,
            lost: Lost::default(),
            gaps: Gaps::default(),
            last_tid,
            seen: (last_tid, 0),
            next_oid,
            referred: Oid::new(0),
            forgot_before,
            undated: false,
            any_frame: false,
            reading: Reading::default(),
        }
    }

    /// Reads the file; `progress` is told where it is.
    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64)) -> Result<Plan> {
        let Source { log, length, damage, .. } = self.source;
        if let Some(damage) = damage {
            let loss = Loss::new(LossKind::Mended, damage.offset, &*damage.what);
            self.losses.push(loss.of(FileHeader::LEN as u64, None));
        }
        let mut passage = passage(self.source);
        // Records are looked for among bad bytes while the passage holds its own window.
        let mut window = Window::new(log, *length);
        while passage.is_under_way() {
            progress(passage.mark().0.at);
            passage.step(&mut |spot| self.meet(spot, &mut window))?;
        }
        let (at, proven) = (passage.mark().0.at, passage.proven());
        if at < proven && *length < proven {
            let what = format!("the file ends, while all below offset {proven} was durable");
            self.lose(LossKind::Frame, *length..proven, what, None);
        }
        self.finish()
    }

    fn meet(&mut self, spot: Spot<'_>, window: &mut Window<'_>) -> Result<()> {
        match spot {
            Spot::Frame(frame, wrong) => self.take(&frame, wrong),
            Spot::Damaged(damaged) => self.take_damaged(damaged),
            Spot::Misfit(at, header, wrong) => {
                let what = format!("{}; it is copied, if it is good", wrong.0);
                self.lose(LossKind::Frame, at..at, what, Some(header.tid));
                Ok(())
            }
            Spot::Unreadable(place, wrong) => {
                let what = format!("{}; no frame was found up to offset {}", wrong.0, place.end);
                self.lose(LossKind::Frame, place.clone(), what, None);
                let next = window.header(place.end)?.map_or(Tid::MAX, |header| header.tid);
                salvage::strays(window, place, self.seen.0..=next, &mut |at, record| {
                    let frame = (record.tid, at.saturating_sub(record.back));
                    // A promise repeats the tid of the transaction before it, and is none.
                    if record.tid > self.seen.0 || frame == self.seen {
                        self.seen = frame;
                        self.lost.stray(at, record);
                    }
                })
            }
            Spot::Tail(place, wrong, tid) => {
                let what = format!("nothing proves it to have been durable: {}", wrong.0);
                let length = place.end - place.start;
                self.losses.push(Loss::new(LossKind::Tail, place.start, what).of(length, tid));
                Ok(())
            }
        }
    }

    /// Notes that frames are lost here.
    fn lose(&mut self, kind: LossKind, place: Range<u64>, what: String, tid: Option<Tid>) {
        match tid {
            Some(tid) => self.forgot_before = self.forgot_before.max(tid),
            None => self.undated = true,
        }
        let length = place.end - place.start;
        self.losses.push(Loss::new(kind, place.start, what).of(length, tid));
        self.gaps.push(place);
    }

    /// A good header says which transaction it is at.
    fn date(&mut self, at: u64, header: &FrameHeader) {
        self.seen = self.seen.max((header.tid, at));
        if std::mem::take(&mut self.undated) {
            self.forgot_before = self.forgot_before.max(header.tid);
        }
        let sane = header.next_oid.number() <= Oid::MAX.number() + 1;
        self.next_oid = self.next_oid.max(if sane { header.next_oid } else { Oid::new(0) });
    }

    fn take(&mut self, frame: &Frame<'_>, wrong: Option<Malformed>) -> Result<()> {
        self.reading.note(frame);
        self.date(frame.offset, &frame.header);
        let checked = wrong.map_or(Ok(()), Err).and_then(|()| self.check(frame));
        let (fields, records) = match checked {
            Ok(content) => content,
            Err(wrong) => {
                self.refuse(frame, &wrong);
                return Ok(());
            }
        };
        let (at, kind) = (frame.offset, frame.header.kind);
        (self.last_tid, self.any_frame) = (frame.header.tid, true);
        let writes = records.iter().map(|(_, record)| record.oid).collect();
        for refuted in self.unsettled.take(at, kind, &fields, &writes) {
            self.skip.insert(refuted);
            let what = "what settled the promise is lost: nobody knows whether it was kept";
            self.losses.push(Loss::new(LossKind::Promise, refuted, what));
        }
        for (place, record) in &records {
            self.take_record(*place, record, kind)?;
        }
        Ok(())
    }

    /// Holds a whole frame against the rules that an opening knows.
    fn check<'f>(
        &mut self,
        frame: &Frame<'f>,
    ) -> Result<(Fields, Vec<(u64, Record<'f>)>), Malformed> {
        let FrameHeader { kind, tid, .. } = frame.header;
        let mark = Mark { at: frame.offset, chain: 0, tid: self.last_tid, next_oid: self.next_oid };
        // Of what stands behind a gap, others than commits may have seen transactions that are lost.
        let is_commit = kind == FrameKind::Commit;
        let header =
            if is_commit { frame.header } else { FrameHeader { tid: mark.tid, ..frame.header } };
        mark.check_order(&header)?;
        if !is_commit && tid < mark.tid {
            return Err("the transaction of the frame is out of order".into());
        }
        let fields = Fields::decode(frame.fields())?;
        if kind.needs_gtid() && fields.gtid.is_none() {
            return Err("the frame names no global transaction".into());
        }
        let records: Vec<_> = frame.records(&self.source.log.sums).collect::<Result<_, _>>()?;
        let mut oids = HashSet::with_capacity(records.len());
        if !records.iter().all(|(_, record)| oids.insert(record.oid)) {
            return Err("it stores an object twice".into());
        }
        if kind == FrameKind::Prepare {
            // An opening that takes the promise up reads them.
            let contents = records.iter().filter_map(|(_, record)| record.content.as_ref());
            contents
                .flat_map(|content| content.references.iter())
                .try_for_each(|it| it.map(drop))?;
        }
        for (id, definition) in &fields.types {
            self.types.learn(*id, definition.clone())?;
        }
        Ok((fields, records))
    }

    /// Leaves out a whole frame that breaks a rule.
    fn refuse(&mut self, frame: &Frame<'_>, wrong: &Malformed) {
        self.skip.insert(frame.offset);
        let FrameHeader { kind, tid, .. } = frame.header;
        let what = format!("the frame, a {kind:?}, breaks a rule: {}", wrong.0);
        self.lose(LossKind::Frame, frame.offset..frame.end(), what, Some(tid));
        for (at, record) in frame.records(&self.source.log.sums).map_while(Result::ok) {
            if kind == FrameKind::Commit {
                self.lost.whole(at, &record);
            }
        }
    }

    fn take_record(&mut self, at: u64, record: &Record<'_>, kind: FrameKind) -> Result<()> {
        let oid = record.oid;
        if let Some(content) = &record.content {
            self.named.entry(content.type_id).or_insert(at);
            let references = content.references.iter().map_while(Result::ok);
            let greatest = references.filter(|oid| *oid <= Oid::MAX).max();
            self.referred = self.referred.max(greatest.unwrap_or(Oid::new(0)));
        }
        let known = self.newest.get(oid);
        if record.previous > known && self.gaps.contain(record.previous) {
            self.lost.gone(&self.source.log, record.previous, oid, self.source.length)?;
        }
        if kind == FrameKind::Commit {
            self.newest.put(oid, at);
        }
        Ok(())
    }

    fn take_damaged(&mut self, damaged: Damaged<'_>) -> Result<()> {
        let Damaged { at, header, bytes, wrong, vouched } = damaged;
        self.date(at, &header);
        let place = at..at.saturating_add(bytes.len() as u64);
        if let Some(frame) = vouch(&self.source.log, at, bytes, vouched, &mut Vec::new()) {
            let what = format!("{}; the frame behind it vouches for its content", wrong.0);
            self.mend(place, what, header.tid);
            return self.take(&frame, None);
        }
        let (kind, tid) = (header.kind, header.tid);
        let what = match kind {
            FrameKind::Commit => {
                let count = header.record_count;
                let records = if count == 1 { "record" } else { "records" };
                format!("{}; the transaction, of {count} {records}, is lost", wrong.0)
            }
            FrameKind::Seal => {
                self.mend(place, format!("{}; a Seal, which says nothing", wrong.0), tid);
                return Ok(());
            }
            _ => format!("{}; a frame of kind {kind:?} is lost", wrong.0),
        };
        let loss = if kind == FrameKind::Prepare { LossKind::Promise } else { LossKind::Frame };
        self.lose(loss, place, what, Some(tid));
        if kind != FrameKind::Commit {
            return Ok(());
        }
        for piece in salvage::pieces(&self.source.log.sums, at, &header, bytes) {
            match piece {
                salvage::Piece::Good(at, record) => self.lost.whole(at, &record),
                salvage::Piece::Bad(place, _, Some(oid)) => {
                    self.lost.bad(place.start, place.end - place.start, oid, tid);
                }
                salvage::Piece::Bad(..) => {}
            }
        }
        Ok(())
    }

    /// Notes bad bytes that the new file does not need.
    fn mend(&mut self, place: Range<u64>, what: String, tid: Tid) {
        let loss = Loss::new(LossKind::Mended, place.start, what);
        self.losses.push(loss.of(place.end - place.start, tid));
    }
}

/// The end of a survey.
impl Survey<'_> {
    fn finish(mut self) -> Result<Plan> {
        let Source { log, length, header, told, .. } = self.source;
        if !self.gaps.is_empty() {
            self.ask_index()?;
        }
        if let Some(told) = told {
            self.next_oid = self.next_oid.max(told.header.next_oid);
            for (id, definition) in told.types.all() {
                // What contradicts the log is not believed.
                let _ = self.types.learn(id, (*definition).clone());
            }
        }
        self.name_types();
        if !self.gaps.is_empty() {
            let last = self.lost.last_oid().unwrap_or(Oid::new(0)).max(self.referred);
            self.next_oid = self.next_oid.max(Oid::new(last.number() + 1));
        }
        if self.undated {
            let beyond = Tid::new(self.last_tid.number().saturating_add(1));
            self.forgot_before = self.forgot_before.max(beyond);
        }
        let revisions = self.lost.losses(log, &self.newest, &self.types, *length)?;
        self.losses.extend(revisions);
        self.losses.sort_by_key(|loss| loss.offset);
        let header = FileHeader {
            generation: header.generation.saturating_add(1),
            next_oid: self.next_oid,
            forgot_before: self.forgot_before,
            ..*header
        };
        let in_doubt = self.unsettled.in_doubt();
        let Survey { types, skip, losses, any_frame, reading, .. } = self;
        Ok(Plan { header, types, skip, in_doubt, losses, any_frame, reading })
    }

    /// The index snapshot knows where the newest records were, as of its time.
    fn ask_index(&mut self) -> Result<()> {
        let Some(told) = &self.source.told else { return Ok(()) };
        let length = self.source.length;
        for page in 0..told.header.pages {
            for (oid, slot) in told.page(page)?.unwrap_or_default() {
                let known = self.newest.get(oid);
                if slot > known && (self.gaps.contain(slot) || slot >= length) {
                    self.lost.gone(&self.source.log, slot, oid, length)?;
                }
            }
        }
        let slot = |oid| match told.index.get(oid) {
            Slot::At(slot) => Some(slot),
            Slot::Unchecked(_) => None,
        };
        let knows = |at| at < told.header.scan_from;
        self.lost.doubt(|oid, at| slot(oid).filter(|_| knows(at)));
        Ok(())
    }

    /// Gives a name to types that nothing defines any more. Else a new type could get the number,
    /// and the old objects be taken for its own.
    fn name_types(&mut self) {
        for (id, at) in std::mem::take(&mut self.named) {
            if self.types.get(id).is_some() {
                continue;
            }
            let name = format!("lost type {}", id.0);
            let what = format!("type number {} is defined nowhere any more", id.0);
            let loss = Loss::new(LossKind::Type, at, what);
            self.losses.push(Loss { type_name: Some(name.as_str().into()), ..loss });
            let stand_in = TypeDef { name: name.into(), version: 0, shape: "opaque".into() };
            let _ = self.types.learn(id, stand_in);
        }
    }
}

/// The frame whose note of its own sum or length is bad, and that the next frame vouches for, put
/// right in `room`.
pub(super) fn vouch<'r>(
    log: &Log,
    at: u64,
    bytes: &[u8],
    vouched: Option<u64>,
    room: &'r mut Vec<u8>,
) -> Option<Frame<'r>> {
    let sum = vouched?;
    let (covered, _) = bytes.split_last_chunk::<{ FrameHeader::TRAILER_LEN }>()?;
    room.extend_from_slice(covered);
    room.extend_from_slice(&sum.to_le_bytes());
    room.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    Frame::decode(&log.sums, at, room).ok()
}
