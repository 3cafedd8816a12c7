//! The second reading of a damaged file: what is good of it, written into a new one: [`Copier`].
//!
//! A frame keeps its tid, its objects, their types and data, and all that it says; what is new is
//! its place, and with it all sums and the way to each object's record before.
//!
//! # Invariants
//! - Nothing is decoded but frames and records.
//! - Memory grows with the number of objects and the longest frame.

use super::reading::Reading;
use super::survey::{Plan, vouch};
use crate::error::{Error, Result};
use crate::file::AppendFile;
use crate::format::{
    FIRST_FRAME, Fields, FileHeader, Frame, FrameBuilder, FrameKind, Malformed, Record, RecordHead,
    Sums, TypeId,
};
use crate::id::{Oid, Tid};
use crate::storage::file::FrameCounts;
use crate::storage::file::commit::DEFINITION_REACH;
use crate::storage::file::log::Log;
use crate::storage::file::passage::{Damaged, Spot};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// How much is written at once.
const STRETCH: usize = 1 << 20;

/// A new log that grows.
pub(super) struct Copier<'a> {
    plan: &'a Plan,
    source: &'a Log,
    file: Arc<dyn AppendFile>,
    path: &'a Path,
    sums: Sums,
    chain: u64,
    last_tid: Tid,
    /// Where the next frame will stand.
    at: u64,
    /// What is not written yet; it ends at `at`.
    buffer: Vec<u8>,
    /// The newest record of every object: where it stands, and its transaction.
    places: HashMap<Oid, (u64, Tid)>,
    /// Where types were defined last.
    defined: HashMap<TypeId, u64>,
    pub(super) frames: FrameCounts,
    pub(super) records: u64,
    pub(super) reading: Reading,
}

impl<'a> Copier<'a> {
    /// Begins the new file.
    pub(super) fn begin(
        plan: &'a Plan,
        source: &'a Log,
        file: Arc<dyn AppendFile>,
        path: &'a Path,
    ) -> Result<Copier<'a>> {
        let header = &plan.header;
        let copier = Copier {
            plan,
            source,
            file,
            path,
            sums: Sums::new(header.database, header.generation),
            chain: header.sum(),
            last_tid: header.last_tid,
            at: FIRST_FRAME,
            buffer: Vec::new(),
            places: HashMap::new(),
            defined: HashMap::new(),
            frames: FrameCounts::default(),
            records: 0,
            reading: Reading::default(),
        };
        copier.file.append(0, &header.encode_file()).map_err(|error| copier.failed(error))?;
        Ok(copier)
    }

    /// Copies what was met, if it is good.
    pub(super) fn meet(&mut self, spot: Spot<'_>) -> Result<()> {
        match spot {
            Spot::Frame(frame, _) => self.take(&frame),
            Spot::Damaged(Damaged { at, bytes, vouched, .. }) => {
                match vouch(self.source, at, bytes, vouched, &mut Vec::new()) {
                    Some(frame) => self.take(&frame),
                    None => Ok(()),
                }
            }
            Spot::Misfit(..) | Spot::Unreadable(..) | Spot::Tail(..) => Ok(()),
        }
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.reading.note(frame);
        // A Seal claims what was durable in the old file.
        if self.plan.skip.contains(&frame.offset) || frame.header.kind == FrameKind::Seal {
            return Ok(());
        }
        let wrong = |wrong| self.source.corrupt(frame.offset, wrong);
        let records: Result<Vec<_>, _> = frame.records(&self.source.sums).collect();
        let records: Vec<Record<'_>> =
            records.map_err(wrong)?.into_iter().map(|(_, record)| record).collect();
        let fields = self.fields(frame, &records).map_err(wrong)?;
        let mut builder = FrameBuilder::new(frame.header.kind, &fields).map_err(wrong)?;
        for record in &records {
            let previous = self.places.get(&record.oid).map_or(0, |&(place, _)| place);
            let head = RecordHead { oid: record.oid, pinned: record.pinned, previous, far: None };
            let content = record.content.as_ref();
            builder.push(&head, content.map(|it| (it.type_id.0, it.references.bytes(), &*it.data)));
        }
        let kind = frame.header.kind;
        let starts = builder.record_starts().to_vec();
        let place = self.at;
        if kind == FrameKind::Commit {
            self.last_tid = frame.header.tid;
            self.records += records.len() as u64;
            for (record, start) in records.iter().zip(starts) {
                self.places.insert(record.oid, (place + start, self.last_tid));
            }
        }
        self.frames.count(kind);
        self.add(builder, FIRST_FRAME, frame.header.next_oid)
    }

    /// What the frame says, with the types that its records name, where their definitions are lost
    /// or far away.
    fn fields(&mut self, frame: &Frame<'_>, records: &[Record<'_>]) -> Result<Vec<u8>, Malformed> {
        let mut fields = Fields::decode(frame.fields())?;
        self.defined.extend(fields.types.iter().map(|&(id, _)| (id, self.at)));
        let near = self.at.saturating_sub(DEFINITION_REACH).max(FIRST_FRAME);
        let mut changed = false;
        for id in records.iter().filter_map(|record| Some(record.content.as_ref()?.type_id)) {
            if self.defined.get(&id).is_some_and(|&at| at >= near) {
                continue;
            }
            if let Some(definition) = self.plan.types.get(id) {
                fields.types.push((id, (*definition).clone()));
                changed = true;
            }
            self.defined.insert(id, self.at);
        }
        for (oid, tid) in &mut fields.reads {
            // What it relies on may be lost: then it is what stands.
            let stands = self.places.get(oid).map_or(Tid::ZERO, |&(_, tid)| tid);
            changed |= *tid != stands;
            *tid = stands;
        }
        if !changed {
            return Ok(frame.fields().to_vec());
        }
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        bytes.extend_from_slice(Fields::unknown(frame.fields())?);
        Ok(bytes)
    }

    fn add(&mut self, mut builder: FrameBuilder, durable: u64, next_oid: Oid) -> Result<()> {
        let wrong = |wrong: Malformed| Error::Exhausted(wrong.0.into());
        builder.place(&self.sums, self.at, self.last_tid).map_err(wrong)?;
        self.chain = builder.finish(&self.sums, self.chain, durable, next_oid);
        self.buffer.extend_from_slice(builder.bytes());
        self.at += builder.bytes().len() as u64;
        if self.buffer.len() >= STRETCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let start = self.at - self.buffer.len() as u64;
        self.file.append(start, &self.buffer).map_err(|error| self.failed(error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all of it durable, and seals it; its length.
    pub(super) fn end(&mut self) -> Result<u64> {
        self.write()?;
        self.file.sync().map_err(|error| self.failed(error))?;
        if self.at > FIRST_FRAME {
            let wrong = |wrong: Malformed| Error::Exhausted(wrong.0.into());
            let seal = FrameBuilder::new(FrameKind::Seal, &[]).map_err(wrong)?;
            let (end, FileHeader { next_oid, .. }) = (self.at, self.plan.header);
            self.add(seal, end, next_oid)?;
            self.write()?;
            self.file.sync().map_err(|error| self.failed(error))?;
        }
        Ok(self.at)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io("write", self.path, error)
    }
}
