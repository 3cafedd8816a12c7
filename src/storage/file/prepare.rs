//! Promising to commit a batch, and settling the promise.
//!
//! A promise is a Prepare in the log, synced before it is given: what it will take to keep it, and
//! who decides. What it writes and relies on is reserved in the ordered section, and the room for
//! the frame that keeps it exists before it is given, so that neither another commit nor a full
//! disk breaks it. Keeping it is a Commit like others, taking it back an Abort.
//!
//! # Invariants
//! - A reservation begins in the section that gives the Prepare its place, and ends in the one
//!   that gives the Commit or Abort its place.
//! - Nobody settles a promise but who holds it; one in doubt is held by these books.
//!
//! Format: docs/format.md, "Several databases".

use super::Mode;
use super::commit::{Bases, build};
use super::core::{Act, Core, Placed};
use super::generation::Generation;
use super::promises::Letter;
use super::window::Window;
use crate::error::{Error, Result};
use crate::format::{Fields, FrameKind, MAX_VARINT, Malformed, Record};
use crate::id::{GlobalId, Tid};
use crate::storage::{Batch, Doubt, Intent, Promise, Receipt, Verdict};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// A promise that was given by a file.
#[derive(Debug)]
pub(super) struct FilePromise {
    core: Arc<Core>,
    /// Gone when it was settled or parked.
    letter: Option<Letter>,
}

/// Giving a promise.
impl Core {
    pub(super) fn prepare(
        self: &Arc<Self>,
        batch: &Arc<Batch>,
        intent: &Intent,
    ) -> Result<Verdict<Box<dyn Promise>>> {
        let until = self.admit(batch)?;
        loop {
            let bases = match self.bases(batch, until)? {
                Ok(bases) => bases,
                Err(contenders) => return Ok(Verdict::Conflicts(contenders)),
            };
            if let Some((letter, end)) = self.order_prepare(batch, bases, intent)? {
                self.await_end(end)?;
                let (core, letter) = (self.clone(), Some(letter));
                return Ok(Verdict::Passed(Box::new(FilePromise { core, letter })));
            }
        }
    }

    /// How much of the file is kept free for the frame that keeps a promise, where that of the
    /// Prepare is of this length.
    fn room(&self, batch: &Batch, prepared: u64) -> Result<u64> {
        if batch.is_empty() {
            return Ok(0);
        }
        // The definitions push the records on, and the number grows that leads back from each. A
        // little more, for the frames without records that ask nobody.
        let numbers = (MAX_VARINT * batch.len()) as u64;
        Ok(prepared + self.definitions_len(batch)? + numbers + 1024)
    }

    /// What the frame says that keeps a promise. It names all its types: by then, where they are
    /// defined now may lie far back.
    fn finishing(&self, batch: &Batch, gtid: GlobalId) -> Result<Fields> {
        let (metadata, types) = (batch.metadata.clone(), self.all_types(batch)?);
        Ok(Fields { metadata, types, gtid: Some(gtid), ..Fields::default() })
    }

    /// The ordered section: the promise, and where its Prepare ends; `None` where a base was
    /// overtaken.
    fn order_prepare(
        &self,
        batch: &Arc<Batch>,
        bases: Bases,
        intent: &Intent,
    ) -> Result<Option<(Letter, u64)>> {
        let Intent { gtid, coordinator } = intent.clone();
        let fields = Fields {
            types: self.undefined_types(batch)?,
            coordinator,
            reads: batch.reads.clone(),
            ..self.finishing(batch, gtid)?
        };
        let builder = build(FrameKind::Prepare, &fields, batch, &bases.writes)?;
        let room = self.room(batch, builder.length())?;
        let mut ordered = self.ordered.lock();
        let offset = loop {
            self.check_open(&ordered)?;
            if self.overtaken(&ordered, batch, &bases)? {
                return Ok(None);
            }
            if !ordered.promises.reserve(gtid, batch, room) {
                let what = format!("something is promised to the transaction {gtid} already");
                return Err(Error::InvalidArgument(what.into()));
            }
            if batch.is_empty() {
                // Nothing to bring back after a crash: the reservation is all.
                break 0;
            }
            let placed = self.take_place(&mut ordered, builder.length(), 0);
            match placed {
                Ok(Some(offset)) => break offset,
                // The section was left: others may have been faster, or wait for what is free again.
                _ => ordered.promises.release(gtid),
            }
            self.moved.notify_all();
            placed?;
        };
        let (batch, bases) = (batch.clone(), bases.writes);
        let letter = Letter { gtid, offset, batch, bases, room };
        if offset == 0 {
            return Ok(Some((letter, 0)));
        }
        let (tid, end, act) = (ordered.last_tid, ordered.end, Act::Prepare(gtid));
        self.enqueue(ordered, Placed { builder, offset, end, tid, sync: true, act }, &fields);
        Ok(Some((letter, end)))
    }
}

/// Settling one.
impl Core {
    /// Ends the reservation of a batch that stores nothing, of which there is nothing to keep or
    /// to take back; whether it is one.
    fn let_go(&self, letter: &Letter) -> bool {
        if letter.batch.is_empty() {
            self.ordered.lock().promises.release(letter.gtid);
            self.moved.notify_all();
        }
        letter.batch.is_empty()
    }

    /// Commits what was promised; the reservation ends.
    fn keep(&self, letter: &Letter, sync: bool) -> Result<Receipt> {
        if self.let_go(letter) {
            return Ok(Receipt { tid: self.generation.last_tid(), places: Vec::new() });
        }
        let batch = &letter.batch;
        let fields = self.finishing(batch, letter.gtid)?;
        let builder = build(FrameKind::Commit, &fields, batch, &letter.bases)?;
        let starts = builder.record_starts().to_vec();
        let mut ordered = self.ordered.lock();
        let (tid, offset) = loop {
            self.check_open(&ordered)?;
            let tid = self.next_tid(&ordered)?;
            if let Some(offset) = self.take_place(&mut ordered, builder.length(), letter.room)? {
                break (tid, offset);
            }
        };
        ordered.promises.release(letter.gtid);
        let (end, act) = (ordered.end, Act::Commit(batch.clone(), Some(letter.gtid)));
        self.enqueue(ordered, Placed { builder, offset, end, tid, sync, act }, &fields);
        self.await_published(tid)?;
        Ok(self.receipt(tid, offset, &starts))
    }

    /// Takes a promise back; the reservation ends.
    fn take_back(&self, letter: &Letter) -> Result<()> {
        if self.let_go(letter) {
            return Ok(());
        }
        let end = self.note(letter.gtid, FrameKind::Abort, Act::Abort(letter.gtid))?;
        self.await_end(end)
    }

    /// Puts a frame without records in line, which is about a global transaction; its end.
    pub(super) fn note(&self, gtid: GlobalId, kind: FrameKind, act: Act) -> Result<u64> {
        let fields = Fields { gtid: Some(gtid), ..Fields::default() };
        let builder = build(kind, &fields, &Batch::default(), &[])?;
        let mut ordered = self.ordered.lock();
        let offset = loop {
            self.check_open(&ordered)?;
            // What settles a promise asks nobody for room; what nobody waits for takes none away.
            let own = if kind == FrameKind::Abort { ordered.promises.room } else { 0 };
            if let Some(offset) = self.take_place(&mut ordered, builder.length(), own)? {
                break offset;
            }
        };
        if kind == FrameKind::Abort {
            ordered.promises.release(gtid);
        }
        let (tid, end) = (ordered.last_tid, ordered.end);
        self.enqueue(ordered, Placed { builder, offset, end, tid, sync: false, act }, &fields);
        Ok(end)
    }

    fn park(&self, letter: Letter) {
        self.ordered.lock().promises.park(letter);
        self.moved.notify_all();
    }

    /// Settles a promise that is in doubt, durably.
    pub(super) fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()> {
        let letter = {
            let mut ordered = self.ordered.lock();
            self.check_open(&ordered)?;
            ordered.promises.take_parked(gtid)
        };
        let Some(letter) = letter else { return Ok(()) };
        let settled = match committed {
            true => self.keep(&letter, true).map(drop),
            false => self.take_back(&letter),
        };
        tracing::info!(%gtid, committed, path = %self.path().display(), "a promise was in doubt");
        settled.inspect_err(|_| self.park(letter))
    }

    /// The promises that are in doubt. Who only reads tells those that a writer may yet keep, too.
    pub(super) fn in_doubt(&self) -> Result<Vec<Doubt>> {
        let reads_only = self.options.mode == Mode::ReadOnly;
        let prepared: Vec<_> = match reads_only {
            true => self.prepared.lock().iter().map(|(&gtid, &at)| (gtid, at)).collect(),
            false => {
                let ordered = self.ordered.lock();
                ordered.promises.parked().map(|letter| (letter.gtid, letter.offset)).collect()
            }
        };
        let (log, end) = (&self.generation.log, self.generation.published_end());
        let doubt = |(gtid, offset)| {
            let fields = log.fields(offset, end)?;
            check_promise(gtid, log.header(offset, end)?.kind, &fields)
                .map_err(|wrong| log.corrupt(offset, wrong))?;
            let Fields { coordinator, metadata, .. } = fields;
            Ok(Doubt { gtid, coordinator, note: metadata.note, offset })
        };
        prepared.into_iter().map(doubt).collect()
    }

    /// Reserves again what these Prepares had reserved when the file was open before.
    pub(super) fn take_up(&self, prepared: &BTreeMap<GlobalId, u64>) -> Result<()> {
        let mut window = Window::new(&self.generation.log, self.generation.published_end());
        let mut places: Vec<_> = prepared.iter().map(|(&gtid, &offset)| (offset, gtid)).collect();
        // As they stand, so that the window moves over the file once.
        places.sort_unstable();
        places
            .into_iter()
            .try_for_each(|(offset, gtid)| self.take_up_one(&mut window, gtid, offset))
    }

    fn take_up_one(&self, window: &mut Window<'_>, gtid: GlobalId, offset: u64) -> Result<()> {
        let generation = &self.generation;
        let wrong = |wrong| generation.log.corrupt(offset, wrong);
        let frame = window.frame(offset)?.map_err(wrong)?;
        let fields = Fields::decode(frame.fields()).map_err(wrong)?;
        check_promise(gtid, frame.header.kind, &fields).map_err(wrong)?;
        let Fields { metadata, mut reads, .. } = fields;
        // Each revision is read once, however often it is named.
        reads.sort_unstable();
        reads.dedup();
        let mut batch = Batch::default();
        (batch.metadata, batch.reads) = (metadata, reads);
        let mut written = HashSet::new();
        for record in frame.records(&generation.log.sums) {
            let (at, record) = record.map_err(wrong)?;
            if !written.insert(record.oid) {
                return Err(wrong("it stores an object twice".into()));
            }
            add(&mut batch, generation, at, &record)?;
        }
        let batch = Arc::new(batch);
        // What could not have been promised is not the application's fault, but the file's.
        let at_fault = |error| match error {
            Error::InvalidArgument(what) => wrong(Malformed::new(&*what)),
            other => other,
        };
        self.admit(&batch).map_err(at_fault)?;
        let Ok(bases) = self.bases(&batch, Instant::now())? else {
            let what = "the promise is about what was changed since, or promised to another";
            return Err(wrong(what.into()));
        };
        let room = self.room(&batch, frame.length()).map_err(at_fault)?;
        let mut ordered = self.ordered.lock();
        ordered.promises.reserve(gtid, &batch, room);
        let bases = bases.writes;
        ordered.promises.park(Letter { gtid, offset, batch, bases, room });
        Ok(())
    }
}

/// Checks that a frame is the promise to `gtid` that the books say it is: they may be those of an
/// index snapshot, and the log knows better.
fn check_promise(gtid: GlobalId, kind: FrameKind, fields: &Fields) -> Result<(), Malformed> {
    match kind == FrameKind::Prepare && fields.gtid == Some(gtid) {
        true => Ok(()),
        false => {
            Err(Malformed::new(format!("the frame promises nothing to the transaction {gtid}")))
        }
    }
}

/// Adds to a batch what the record at `at` stores.
fn add(batch: &mut Batch, generation: &Generation, at: u64, record: &Record<'_>) -> Result<()> {
    let base = match record.previous {
        0 => Tid::ZERO,
        previous => generation.record(record.oid, previous)?.tid,
    };
    match &record.content {
        None => batch.remove(record.oid, base, record.pinned),
        Some(content) => {
            let references: Result<Vec<_>, _> = content.references.iter().collect();
            let references = references.map_err(|wrong| generation.log.corrupt(at, wrong))?;
            let named = (record.oid, base, record.pinned);
            batch.put(named, content.type_id, &references, &content.data);
        }
    }
    Ok(())
}

impl Promise for FilePromise {
    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        self.core.check_process()?;
        let letter = self.letter.take().ok_or(Error::Closed)?;
        self.core.keep(&letter, false).inspect_err(|_| self.core.park(letter))
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.core.check_process()?;
        let letter = self.letter.take().ok_or(Error::Closed)?;
        self.core.take_back(&letter).inspect_err(|_| self.core.park(letter))
    }

    fn park(self: Box<Self>) {
        // Dropping it does.
    }
}

impl Drop for FilePromise {
    fn drop(&mut self) {
        let Some(letter) = self.letter.take() else { return };
        if self.core.check_process().is_err() {
            return;
        }
        if !self.core.let_go(&letter) {
            self.core.park(letter);
        }
    }
}
