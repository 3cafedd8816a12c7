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

use super::core::{Core, Ordered, Pending, Placed, State};
use super::generation::into_owned;
use super::housekeeping::LARGE_FRAME;
use crate::error::{Error, Result};
use crate::format::{
    FIRST_FRAME, Fields, FrameBuilder, FrameKind, Malformed, RecordHead, TypeDef, TypeId,
};
use crate::id::{Oid, Tid};
use crate::storage::{Batch, Contender, Durability, Receipt, Revision, Verdict, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// A type is defined again where its last definition lies farther back than this, so that damage
/// to one place of a file does not leave the rest without names.
const DEFINITION_REACH: u64 = 4 << 20;

/// Tids run ahead of the clock by a little where commits are faster than its ticks.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Where the newest revisions stood that a batch is based on: of its writes, then of its reads.
struct Bases {
    writes: Vec<u64>,
    reads: Vec<u64>,
}

/// What became of an attempt to take a place.
enum Attempt {
    Placed(Tid, u64),
    /// A base is no longer the newest revision.
    Overtaken,
}

impl Core {
    pub(super) fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict> {
        batch.check()?;
        for write in batch.writes() {
            self.take_oid(write.oid)?;
        }
        loop {
            let bases = match self.bases(batch)? {
                Ok(bases) => bases,
                Err(contenders) => return Ok(Verdict::Conflicts(contenders)),
            };
            if batch.is_empty() && batch.decision.is_none() {
                match self.check_reads(batch, &bases)? {
                    Some(receipt) => return Ok(Verdict::Committed(receipt)),
                    None => continue,
                }
            }
            let (builder, defines) = self.build(batch, &bases)?;
            let starts = builder.record_starts().to_vec();
            match self.order(batch, &bases, builder, &defines)? {
                Attempt::Overtaken => continue,
                Attempt::Placed(tid, offset) => {
                    self.await_published(tid)?;
                    let places =
                        starts.iter().map(|start| self.generation.place(offset + start)).collect();
                    return Ok(Verdict::Committed(Receipt { tid, places }));
                }
            }
        }
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

    /// Where the revisions stand that the batch is based on, if all are the newest ones.
    fn bases(&self, batch: &Batch) -> Result<Result<Bases, Vec<Contender>>> {
        let (mut bases, mut contenders) =
            (Bases { writes: Vec::with_capacity(batch.len()), reads: Vec::new() }, Vec::new());
        let pending: Vec<Option<Pending>> = {
            let ordered = self.ordered.lock();
            self.check_open(&ordered)?;
            match ordered.pending.is_empty() {
                true => Vec::new(),
                false => named(batch).map(|(oid, _)| ordered.pending.get(&oid).cloned()).collect(),
            }
        };
        for (number, (oid, base)) in named(batch).enumerate() {
            let read = number >= batch.len();
            let current = match pending.get(number).cloned().flatten() {
                Some(pending) => Current::Pending(pending),
                None => self.published(oid)?,
            };
            let places = if read { &mut bases.reads } else { &mut bases.writes };
            places.push(current.offset());
            if current.tid() != base {
                contenders.push(self.contender(oid, read, base, current)?);
            }
        }
        Ok(if contenders.is_empty() { Ok(bases) } else { Err(contenders) })
    }

    fn published(&self, oid: Oid) -> Result<Current> {
        let offset = self.generation.offset_of(oid)?;
        if offset == 0 {
            return Ok(Current::Published(Tid::ZERO, 0));
        }
        let record = self.generation.record(oid, offset)?;
        Ok(Current::Published(record.tid, offset))
    }

    /// What stands against a batch: the newest revision of `oid`, which it is not based on.
    fn contender(&self, oid: Oid, read: bool, base: Tid, current: Current) -> Result<Contender> {
        let tid = current.tid();
        let (revision, note) = match current {
            Current::Pending(pending) => {
                let write = pending.batch.write(pending.number);
                (self.pending_revision(&pending, &write), pending.batch.metadata.note.clone())
            }
            Current::Published(_, 0) => (None, String::new()),
            Current::Published(_, offset) => {
                let record = self.generation.record(oid, offset)?;
                let note = self.generation.fields_of(offset, &record)?.metadata.note;
                (self.generation.revision(offset, record).map(into_owned), note)
            }
        };
        Ok(Contender { oid, read, base, current: tid, revision, note })
    }

    fn pending_revision(&self, pending: &Pending, write: &Write<'_>) -> Option<Revision<'static>> {
        write.content.as_ref().map(|content| Revision {
            tid: pending.tid,
            place: self.generation.place(pending.offset),
            pinned: write.pinned,
            type_id: content.type_id,
            references: content.references.clone().into_owned(),
            data: content.data.to_vec().into(),
        })
    }

    /// Puts the frame together, but for its place; and which types it defines.
    fn build(&self, batch: &Batch, bases: &Bases) -> Result<(FrameBuilder, Vec<TypeId>)> {
        let types = self.undefined_types(batch)?;
        let defines = types.iter().map(|&(id, _)| id).collect();
        let fields = Fields::of_commit(batch.metadata.clone(), types, batch.decision.clone());
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        let wrong = |wrong: Malformed| Error::InvalidArgument(wrong.0.into());
        let mut builder = FrameBuilder::new(FrameKind::Commit, &bytes).map_err(wrong)?;
        builder.reserve(batch.len(), batch.encoded_len() + 32 * batch.len());
        for (write, &previous) in batch.writes().zip(&bases.writes) {
            let head = RecordHead { oid: write.oid, pinned: write.pinned, previous, far: None };
            let content = write.content.as_ref();
            let content = content.map(|it| (it.type_id.0, it.references.bytes(), it.data));
            builder.push(&head, content);
        }
        Ok((builder, defines))
    }

    /// The types of the batch that are not defined near the end of the log.
    fn undefined_types(&self, batch: &Batch) -> Result<Vec<(TypeId, TypeDef)>> {
        let mut ids: Vec<TypeId> =
            batch.writes().filter_map(|write| Some(write.content?.type_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        {
            let ordered = self.ordered.lock();
            // What only the index snapshot knows is nowhere: it may outlive the frame it is from.
            let near = ordered.end.saturating_sub(DEFINITION_REACH).max(FIRST_FRAME);
            ids.retain(|id| ordered.defined.get(id).is_none_or(|&offset| offset < near));
        }
        let unknown =
            |id: TypeId| Error::InvalidArgument(format!("type {} is unknown", id.0).into());
        ids.into_iter()
            .map(|id| Ok((id, (*self.types.get(id).ok_or_else(|| unknown(id))?).clone())))
            .collect()
    }

    /// The ordered section: compares the bases, gives the frame its tid and its place.
    fn order(
        &self,
        batch: &Arc<Batch>,
        bases: &Bases,
        builder: FrameBuilder,
        defines: &[TypeId],
    ) -> Result<Attempt> {
        let length = builder.length();
        let mut ordered = self.ordered.lock();
        let (tid, offset) = loop {
            self.check_open(&ordered)?;
            if self.overtaken(&ordered, batch, bases)? {
                return Ok(Attempt::Overtaken);
            }
            let tid = self.next_tid(&ordered)?;
            if let Some(offset) = self.take_place(&mut ordered, length)? {
                break (tid, offset);
            }
        };
        let ran_back = ordered.notes_clock(tid);
        (ordered.last_tid, ordered.content_end) = (tid, ordered.end);
        ordered.large_frames = length >= LARGE_FRAME;
        for (number, (write, start)) in batch.writes().zip(builder.record_starts()).enumerate() {
            let batch = batch.clone();
            let pending = Pending { tid, offset: offset + start, batch, number };
            ordered.pending.insert(write.oid, pending);
        }
        ordered.defined.extend(defines.iter().map(|&id| (id, offset)));
        let sync = batch.durability == Durability::Sync;
        let end = ordered.end;
        ordered.queue.push(Placed { builder, offset, end, tid, sync, batch: Some(batch.clone()) });
        drop(ordered);
        if ran_back {
            // Now that the lock is gone: who listens to events is foreign code.
            let tid = tid.number();
            tracing::warn!(tid, "the clock is behind the last transaction; tids count on from it");
        }
        self.rest.wake();
        Ok(Attempt::Placed(tid, offset))
    }

    /// Whether a base is no longer the newest revision.
    fn overtaken(&self, ordered: &Ordered, batch: &Batch, bases: &Bases) -> Result<bool> {
        let places = bases.writes.iter().chain(&bases.reads);
        for ((oid, _), &place) in named(batch).zip(places) {
            let current = match ordered.pending.get(&oid) {
                Some(pending) => pending.offset,
                None => self.generation.offset_of(oid)?,
            };
            if current != place {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next_tid(&self, ordered: &Ordered) -> Result<Tid> {
        let exhausted = || Error::Exhausted("no transaction can follow the greatest tid".into());
        ordered.last_tid.next(SystemTime::now()).ok_or_else(exhausted)
    }

    /// Waits until `tid` is published, leading where nobody else does.
    fn await_published(&self, tid: Tid) -> Result<()> {
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
            return Err(Error::Exhausted(format!("object {oid} is beyond the last oid").into()));
        }
        self.generation.index.reserve(oid)?;
        self.next_oid.fetch_max(oid.number() + 1, Ordering::AcqRel);
        Ok(())
    }

    /// An oid that was never given out.
    pub(super) fn new_oid(&self) -> Result<Oid> {
        let next = self.next_oid.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (next <= Oid::MAX.number()).then_some(next + 1)
        });
        next.map(Oid::new).map_err(|_| Error::Exhausted("oids exhausted".into()))
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
    Pending(Pending),
    /// Its transaction and offset; 0 for no revision.
    Published(Tid, u64),
}

impl Current {
    fn tid(&self) -> Tid {
        match self {
            Current::Pending(pending) => pending.tid,
            Current::Published(tid, _) => *tid,
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Current::Pending(pending) => pending.offset,
            Current::Published(_, offset) => *offset,
        }
    }
}

/// The objects a batch is based on, and their revisions: of its writes, then of its reads.
fn named(batch: &Batch) -> impl Iterator<Item = (Oid, Tid)> + '_ {
    let writes = batch.writes().map(|write| (write.oid, write.base));
    writes.chain(batch.reads.iter().copied())
}
