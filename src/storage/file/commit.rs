//! Committing a batch: from its bytes to its place in the log.
//!
//! What costs time, encoding and checksums, is done before the ordered section; in it, each base
//! is compared with the newest revision, published or not, and the frame gets its place. Then the
//! thread waits, as a leader (see `leader`) or for one.
//!
//! # Invariants
//! - The order of places is the order of tids and the order of publication.
//! - A base is compared with what is ordered, not only with what is published: two updates of one
//!   object in one group never both pass.
//! - What is promised to a global transaction is changed by nobody else.

use super::core::{Act, Core, Ordered, Placed, State, tell};
use super::generation::into_owned;
use super::housekeeping::LARGE_FRAME;
use super::pending::{Batches, Upcoming};
use crate::error::{Error, Result};
use crate::format::{
    FIRST_FRAME, Fields, FrameBuilder, FrameKind, MAX_VARINT, Malformed, RecordHead, TypeDef,
    TypeId,
};
use crate::id::{GlobalId, Oid, Tid};
use crate::storage::{
    Batch, Contender, Durability, Place, Receipt, Revision, Verdict, Write, exhausted,
};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A type is defined again where its last definition lies farther back than this, so that damage
/// to one place of a file does not leave the rest without names.
pub(super) const DEFINITION_REACH: u64 = 4 << 20;

/// Tids run ahead of the clock by a little where commits are faster than its ticks.
const TOLERANCE: Duration = Duration::from_secs(1);

/// How long a commit waits for an object that is promised to another transaction.
const BRIEFLY: Duration = Duration::from_millis(100);

/// Where the newest revisions stood that a batch is based on: of its writes, then of its reads.
pub(super) struct Bases {
    pub(super) writes: Vec<u64>,
    pub(super) reads: Vec<u64>,
}

/// What became of an attempt to take a place.
enum Attempt {
    Placed(Tid, u64),
    /// A base is no longer the newest revision.
    Overtaken,
}

impl Core {
    pub(super) fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict> {
        let until = self.admit(batch)?;
        loop {
            let bases = match self.bases(batch, until)? {
                Ok(bases) => bases,
                Err(contenders) => return Ok(Verdict::Conflicts(contenders)),
            };
            if batch.is_empty() && batch.decision.is_none() {
                match self.check_reads(batch, &bases)? {
                    Some(receipt) => return Ok(Verdict::Passed(receipt)),
                    None => continue,
                }
            }
            let types = self.undefined_types(batch)?;
            let fields = Fields::of_commit(batch.metadata.clone(), types, batch.decision.clone());
            let builder = build(FrameKind::Commit, &fields, batch, &bases.writes)?;
            let starts = builder.record_starts().to_vec();
            match self.order(batch, &bases, builder, &fields)? {
                Attempt::Overtaken => continue,
                Attempt::Placed(tid, offset) => {
                    self.await_published(tid)?;
                    return Ok(Verdict::Passed(self.receipt(tid, offset, &starts)));
                }
            }
        }
    }

    /// Refuses a batch that could not be stored, and makes room for its objects; until when it
    /// may wait for others.
    pub(super) fn admit(&self, batch: &Batch) -> Result<Instant> {
        batch.check()?;
        for write in batch.writes() {
            self.take_oid(write.oid)?;
        }
        Ok(Instant::now() + BRIEFLY)
    }

    /// What the batch became whose frame stands at `offset`, with records at `starts` in it.
    pub(super) fn receipt(&self, tid: Tid, offset: u64, starts: &[u64]) -> Receipt {
        let places = starts.iter().map(|start| self.generation.place(offset + start)).collect();
        Receipt { tid, places }
    }

    /// A batch that stores nothing only has to find what it relied on; `None` where a base is no
    /// longer the newest revision.
    fn check_reads(&self, batch: &Batch, bases: &Bases) -> Result<Option<Receipt>> {
        let ordered = self.ordered.lock();
        self.check_open(&ordered)?;
        if self.overtaken(&ordered, batch, bases)? {
            return Ok(None);
        }
        Ok(Some(Receipt { tid: self.generation.last_tid(), places: Vec::new() }))
    }

    /// Where the revisions stand that the batch is based on, if all are the newest ones and none
    /// is promised to another transaction for longer than `until`.
    pub(super) fn bases(
        &self,
        batch: &Batch,
        until: Instant,
    ) -> Result<Result<Bases, Vec<Contender>>> {
        let (mut bases, mut contenders) =
            (Bases { writes: Vec::with_capacity(batch.len()), reads: Vec::new() }, Vec::new());
        let mut ordered = self.ordered.lock();
        let promised = self.await_promises(&mut ordered, batch, until)?;
        let (pending, batches) = ordered.pending.of(named(batch).map(|(oid, _)| oid));
        drop(ordered);
        for (number, (oid, base)) in named(batch).enumerate() {
            let read = number >= batch.len();
            let current = match pending.get(number).copied().flatten() {
                Some(upcoming) => Current::Upcoming(upcoming),
                None => self.published((oid, base), batch.place(number))?,
            };
            let places = if read { &mut bases.reads } else { &mut bases.writes };
            places.push(current.offset());
            if let Some(&(_, gtid)) = promised.iter().find(|&&(of, _)| of == number) {
                let (revision, note) = Default::default();
                let (current, promised) = (current.tid(), Some(gtid));
                contenders.push(Contender { oid, read, base, current, revision, note, promised });
            } else if current.tid() != base {
                let named = (oid, read, base);
                contenders.push(self.contender(named, current, &batches)?);
            }
        }
        Ok(if contenders.is_empty() { Ok(bases) } else { Err(contenders) })
    }

    /// Waits until nothing of the batch is promised to others, at most until `until`; what still
    /// is, by its number, and to whom.
    fn await_promises(
        &self,
        ordered: &mut MutexGuard<'_, Ordered>,
        batch: &Batch,
        until: Instant,
    ) -> Result<Vec<(usize, GlobalId)>> {
        loop {
            self.check_open(ordered)?;
            if ordered.promises.is_empty() {
                return Ok(Vec::new());
            }
            let holders = named(batch).enumerate().filter_map(|(number, (oid, _))| {
                Some((number, ordered.promises.holder(oid, number >= batch.len())?))
            });
            let promised: Vec<_> = holders.collect();
            if promised.is_empty() || self.moved.wait_until(ordered, until).timed_out() {
                return Ok(promised);
            }
        }
    }

    /// The newest published revision of `oid`; where it stands where `base` was seen, it is that.
    fn published(&self, (oid, base): (Oid, Tid), seen: Option<Place>) -> Result<Current> {
        let offset = self.generation.offset_of(oid)?;
        if offset == 0 {
            return Ok(Current::Published(Tid::ZERO, 0));
        }
        if seen == Some(self.generation.place(offset)) {
            return Ok(Current::Published(base, offset));
        }
        let record = self.generation.record(oid, offset)?;
        Ok(Current::Published(record.tid, offset))
    }

    /// What stands against a batch: the newest revision of `oid`, which it is not based on.
    fn contender(
        &self,
        (oid, read, base): (Oid, bool, Tid),
        current: Current,
        batches: &Batches,
    ) -> Result<Contender> {
        let tid = current.tid();
        let (revision, note) = match current {
            Current::Upcoming(upcoming) => match batches.of(tid) {
                Some(batch) => {
                    let write = batch.write(upcoming.number);
                    (self.upcoming_revision(upcoming, &write), batch.metadata.note.clone())
                }
                None => (None, String::new()),
            },
            Current::Published(_, 0) => (None, String::new()),
            Current::Published(_, offset) => {
                let record = self.generation.record(oid, offset)?;
                let note = self.generation.fields_of(offset, &record)?.metadata.note;
                (self.generation.revision(offset, record).map(into_owned), note)
            }
        };
        Ok(Contender { oid, read, base, current: tid, revision, note, promised: None })
    }

    fn upcoming_revision(
        &self,
        upcoming: Upcoming,
        write: &Write<'_>,
    ) -> Option<Revision<'static>> {
        write.content.as_ref().map(|content| Revision {
            tid: upcoming.tid,
            place: self.generation.place(upcoming.offset),
            pinned: write.pinned,
            type_id: content.type_id,
            references: content.references.clone().into_owned(),
            data: content.data.to_vec().into(),
        })
    }

    /// The types of the batch that are not defined near the end of the log.
    pub(super) fn undefined_types(&self, batch: &Batch) -> Result<Vec<(TypeId, TypeDef)>> {
        let mut ids = types_of(batch);
        {
            let ordered = self.ordered.lock();
            // What only the index snapshot knows is nowhere: it may outlive the frame it is from.
            let near = ordered.end.saturating_sub(DEFINITION_REACH).max(FIRST_FRAME);
            ids.retain(|id| ordered.defined.get(id).is_none_or(|&offset| offset < near));
        }
        self.define(ids)
    }

    /// All types of the batch.
    pub(super) fn all_types(&self, batch: &Batch) -> Result<Vec<(TypeId, TypeDef)>> {
        self.define(types_of(batch))
    }

    /// Bytes that suffice for the definitions of all types of the batch.
    pub(super) fn definitions_len(&self, batch: &Batch) -> Result<u64> {
        const NUMBERS: usize = 6 * MAX_VARINT;
        let length = |id| {
            let TypeDef { name, shape, .. } = &*self.definition(id)?;
            Ok((NUMBERS + name.len() + shape.len()) as u64)
        };
        types_of(batch).into_iter().map(length).sum()
    }

    fn define(&self, ids: Vec<TypeId>) -> Result<Vec<(TypeId, TypeDef)>> {
        ids.into_iter().map(|id| Ok((id, (*self.definition(id)?).clone()))).collect()
    }

    fn definition(&self, id: TypeId) -> Result<Arc<TypeDef>> {
        let unknown = || Error::InvalidArgument(format!("type {} is unknown", id.0).into());
        self.types.get(id).ok_or_else(unknown)
    }

    /// The ordered section: compares the bases, gives the frame its tid and its place.
    fn order(
        &self,
        batch: &Arc<Batch>,
        bases: &Bases,
        builder: FrameBuilder,
        fields: &Fields,
    ) -> Result<Attempt> {
        let length = builder.length();
        let decides = batch.decision.as_ref().map(|decision| decision.gtid);
        let mut ordered = self.ordered.lock();
        let (tid, offset) = loop {
            self.check_open(&ordered)?;
            if let Some(gtid) = decides.filter(|&gtid| ordered.promises.refused.has(gtid)) {
                return Err(Error::Refused(Box::new(gtid).into()));
            }
            if self.overtaken(&ordered, batch, bases)? {
                return Ok(Attempt::Overtaken);
            }
            let tid = self.next_tid(&ordered)?;
            if let Some(offset) = self.take_place(&mut ordered, length, 0)? {
                break (tid, offset);
            }
        };
        if let Some(gtid) = decides {
            ordered.promises.deciding.insert(gtid);
        }
        let sync = batch.durability == Durability::Sync || decides.is_some();
        let end = ordered.end;
        let act = Act::Commit(batch.clone(), None);
        let placed = Placed { builder, offset, end, tid, sync, act };
        self.enqueue(ordered, placed, fields);
        Ok(Attempt::Placed(tid, offset))
    }

    /// Puts a frame that has its place in line for the leader.
    pub(super) fn enqueue(
        &self,
        mut ordered: MutexGuard<'_, Ordered>,
        placed: Placed,
        fields: &Fields,
    ) {
        let (tid, offset) = (placed.tid, placed.offset);
        let ran_back = ordered.notes_clock(tid);
        (ordered.last_tid, ordered.content_end) = (tid, placed.end);
        ordered.large_frames = placed.builder.length() >= LARGE_FRAME;
        ordered.pending.add(&placed);
        ordered.defined.extend(fields.types.iter().map(|&(id, _)| (id, offset)));
        ordered.queue.push(placed);
        drop(ordered);
        if ran_back {
            // Now that the lock is gone: who listens to events is foreign code.
            let tid = tid.number();
            tell(|| {
                let what = "the clock is behind the last transaction; tids count on from it";
                tracing::warn!(tid, "{what}");
            });
        }
        self.rest.wake();
    }

    /// Whether a base is no longer the newest revision, or is promised to somebody.
    pub(super) fn overtaken(
        &self,
        ordered: &Ordered,
        batch: &Batch,
        bases: &Bases,
    ) -> Result<bool> {
        let places = bases.writes.iter().chain(&bases.reads);
        for (number, ((oid, _), &place)) in named(batch).zip(places).enumerate() {
            if ordered.promises.holder(oid, number >= batch.len()).is_some() {
                return Ok(true);
            }
            let current = match ordered.pending.get(oid) {
                Some(upcoming) => upcoming.offset,
                None => self.generation.offset_of(oid)?,
            };
            if current != place {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn next_tid(&self, ordered: &Ordered) -> Result<Tid> {
        ordered.last_tid.next(SystemTime::now()).ok_or_else(exhausted::tids)
    }

    /// Waits until `tid` is published, leading where nobody else does.
    pub(super) fn await_published(&self, tid: Tid) -> Result<()> {
        let mut ordered = self.ordered.lock();
        loop {
            if self.generation.last_tid() >= tid {
                return Ok(());
            }
            if let State::Halted(unknown_upto, cause) = &ordered.state {
                return Err(match tid <= *unknown_upto {
                    true => Error::Unknown((**cause).into()),
                    false => {
                        Error::Halted(format!("{cause}; nothing of this commit was written").into())
                    }
                });
            }
            if ordered.leading {
                self.moved.wait(&mut ordered);
            } else {
                ordered = self.lead(ordered, false);
            }
        }
    }

    /// Makes sure that `oid` has room in the index and is not given out again.
    fn take_oid(&self, oid: Oid) -> Result<()> {
        if oid > Oid::MAX {
            let what = format!("object {oid} is beyond {}, the greatest oid", Oid::MAX);
            return Err(Error::Exhausted(what.into()));
        }
        self.generation.index.reserve(oid)?;
        self.next_oid.fetch_max(oid.number() + 1, Ordering::AcqRel);
        Ok(())
    }

    /// An oid that was never given out.
    pub(super) fn new_oid(&self) -> Result<Oid> {
        let next = self.next_oid.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (next <= Oid::MAX.number()).then(|| next + 1)
        });
        next.map(Oid::new).map_err(|_| exhausted::oids())
    }
}

impl Ordered {
    /// Whether the clock has fallen behind with `tid`, which then only counts on from the last
    /// one; true once, until it has caught up.
    fn notes_clock(&mut self, tid: Tid) -> bool {
        let ahead = tid.time().and_then(|time| time.duration_since(SystemTime::now()).ok());
        let behind = ahead.is_some_and(|ahead| ahead > TOLERANCE);
        let before = std::mem::replace(&mut self.clock_ran_back, behind);
        behind && !before
    }
}

/// The newest revision of an object.
enum Current {
    Upcoming(Upcoming),
    /// Its transaction and offset; 0 for no revision.
    Published(Tid, u64),
}

impl Current {
    fn tid(&self) -> Tid {
        match self {
            Current::Upcoming(upcoming) => upcoming.tid,
            Current::Published(tid, _) => *tid,
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Current::Upcoming(upcoming) => upcoming.offset,
            Current::Published(_, offset) => *offset,
        }
    }
}

/// Puts a frame together, but for its place: these fields, then the writes of the batch, with the
/// records at `bases` before them.
pub(super) fn build(
    kind: FrameKind,
    fields: &Fields,
    batch: &Batch,
    bases: &[u64],
) -> Result<FrameBuilder> {
    let mut bytes = Vec::new();
    fields.encode(&mut bytes);
    let wrong = |wrong: Malformed| Error::InvalidArgument(wrong.0.into());
    let mut builder = FrameBuilder::new(kind, &bytes).map_err(wrong)?;
    builder.reserve(batch.len(), batch.encoded_len() + 32 * batch.len());
    for (write, &previous) in batch.writes().zip(bases) {
        let head = RecordHead { oid: write.oid, pinned: write.pinned, previous, far: None };
        let content = write.content.as_ref();
        let content = content.map(|it| (it.type_id.0, it.references.bytes(), it.data));
        builder.push(&head, content);
    }
    Ok(builder)
}

/// The types that the batch names, each once.
fn types_of(batch: &Batch) -> Vec<TypeId> {
    let mut ids: Vec<TypeId> =
        batch.writes().filter_map(|write| Some(write.content?.type_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The objects a batch is based on, and their revisions: of its writes, then of its reads.
fn named(batch: &Batch) -> impl Iterator<Item = (Oid, Tid)> + '_ {
    let writes = batch.writes().map(|write| (write.oid, write.base));
    writes.chain(batch.reads.iter().copied())
}
