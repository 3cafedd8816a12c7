//! A generation: one file of the database with its index, as readers see it.
//!
//! Readers hold it for as long as they hold a snapshot; whoever publishes moves its marks. It
//! looks records up, follows histories, and never waits for anybody.
//!
//! # Invariants
//! - The published end is stored before the index entries that lie below it, and these before the
//!   last tid: who sees a tid finds all its records, who finds a record may read it.

use super::index::{Index, Slot};
use super::log::Log;
use super::window::Frames;
use crate::error::Result;
use crate::format::{Fields, FrameKind, Record};
use crate::id::{Oid, Tid};
use crate::storage::{Load, Place, Revision, Snapshot};
use crate::sync::atomic::{AtomicU64, Ordering};
use std::borrow::Cow;
use std::sync::Arc;

/// One file of the database.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) log: Log,
    pub(super) index: Index,
    /// What came before this transaction is not in the file.
    pub(super) history_from: Tid,
    published_end: AtomicU64,
    last_tid: AtomicU64,
}

impl Generation {
    pub(super) fn new(number: u64, log: Log, index: Index, history_from: Tid) -> Generation {
        let (published_end, last_tid) = Default::default();
        Generation { number, log, index, history_from, published_end, last_tid }
    }

    /// Readers may read below here.
    pub(super) fn published_end(&self) -> u64 {
        self.published_end.load(Ordering::Acquire)
    }

    /// The last published transaction.
    pub(super) fn last_tid(&self) -> Tid {
        Tid::new(self.last_tid.load(Ordering::Acquire))
    }

    /// Publishes the frame that ends at `end`: its records, then its transaction.
    pub(super) fn publish(&self, end: u64, tid: Tid, records: impl Iterator<Item = (Oid, u64)>) {
        self.published_end.store(end, Ordering::Release);
        for (oid, offset) in records {
            self.index.set(oid, offset);
        }
        self.last_tid.store(tid.number(), Ordering::Release);
    }

    /// Where the newest published record of `oid` stands; 0 where there is none.
    pub(super) fn offset_of(&self, oid: Oid) -> Result<u64> {
        loop {
            match self.index.get(oid) {
                Slot::At(offset) => return Ok(offset),
                Slot::Unchecked(page) => self.check_page(page)?,
            }
        }
    }

    fn check_page(&self, page: usize) -> Result<()> {
        self.index.check_page(page, |found| {
            // Who would publish a record of a bad page waits until that is mended.
            let end = self.published_end();
            let mut frames = Frames::new(&self.log, crate::format::FIRST_FRAME, end);
            while let Some(frame) = frames.next()? {
                if frame.header.kind != FrameKind::Commit {
                    continue;
                }
                for record in frame.records(&self.log.sums) {
                    let (at, record) =
                        record.map_err(|wrong| self.log.corrupt(frame.offset, wrong))?;
                    found(record.oid, at);
                }
            }
            Ok(())
        })
    }

    /// The record of `oid` at `offset`.
    pub(super) fn record(&self, oid: Oid, offset: u64) -> Result<Record<'_>> {
        self.log.record(oid, offset, self.published_end())
    }

    /// The newest record of `oid` that is not beyond `tid`, and where it stands.
    pub(super) fn record_as_of(&self, oid: Oid, tid: Tid) -> Result<Option<(u64, Record<'_>)>> {
        let mut offset = self.offset_of(oid)?;
        while offset != 0 {
            let record = self.record(oid, offset)?;
            if record.tid <= tid {
                return Ok(Some((offset, record)));
            }
            offset = self.earlier(offset, &record)?;
        }
        Ok(None)
    }

    /// Where the record before this one stands, which itself stands at `offset`; 0 for none.
    pub(super) fn earlier(&self, offset: u64, record: &Record<'_>) -> Result<u64> {
        if record.previous >= self.frame_of(offset, record)? {
            return Err(self.log.corrupt(offset, "a record before its previous one".into()));
        }
        Ok(record.previous)
    }

    /// What the transaction that stored this record says of itself.
    pub(super) fn fields_of(&self, offset: u64, record: &Record<'_>) -> Result<Fields> {
        self.log.fields(self.frame_of(offset, record)?, self.published_end())
    }

    /// Where the frame of the record at `offset` starts.
    pub(super) fn frame_of(&self, offset: u64, record: &Record<'_>) -> Result<u64> {
        let frame = offset.checked_sub(record.back);
        frame.ok_or_else(|| self.log.corrupt(offset, "a record before its frame".into()))
    }

    /// The place of the record at `offset`.
    pub(super) fn place(&self, offset: u64) -> Place {
        match offset {
            0 => Place::NONE,
            // Files are shorter than 2^48; what lies above tells the generations apart.
            _ => Place(self.number.wrapping_shl(48) ^ offset),
        }
    }

    /// The record at `offset` as a revision; `None` where it removed its object.
    pub(super) fn revision<'a>(&self, offset: u64, record: Record<'a>) -> Option<Revision<'a>> {
        record.content.map(|content| Revision {
            tid: record.tid,
            place: self.place(offset),
            pinned: record.pinned,
            type_id: content.type_id,
            references: content.references,
            data: content.data,
        })
    }
}

/// What a generation showed when the transaction `tid` was its last.
#[derive(Debug)]
pub(super) struct FileSnapshot {
    pub(super) generation: Arc<Generation>,
    pub(super) tid: Tid,
}

impl Snapshot for FileSnapshot {
    fn tid(&self) -> Tid {
        self.tid
    }

    fn place(&self, oid: Oid) -> Place {
        // A page that cannot be checked has no place: `load` will say why.
        self.generation.place(self.generation.offset_of(oid).unwrap_or(0))
    }

    fn load(&self, oid: Oid) -> Result<Load<'_>> {
        let Some((offset, record)) = self.generation.record_as_of(oid, self.tid)? else {
            return Ok(Load::Absent);
        };
        let tid = record.tid;
        Ok(match self.generation.revision(offset, record) {
            Some(revision) => Load::Found(revision),
            None => Load::Removed(tid),
        })
    }
}

/// The same revision, independent of the file.
pub(super) fn into_owned(revision: Revision<'_>) -> Revision<'static> {
    let Revision { tid, place, pinned, type_id, references, data } = revision;
    let (references, data) = (references.into_owned(), Cow::Owned(data.into_owned()));
    Revision { tid, place, pinned, type_id, references, data }
}
