//! The log as readers see it: bytes at an offset, below a bound.
//!
//! Reads go through memory maps where there are any, and by position otherwise: the answers are
//! the same. It takes frames and records apart with `format` and says where what is wrong stands.
//!
//! # Invariants
//! - Nothing at or above the bound that the caller gives is looked at.
//! - Maps are added and never moved: what was borrowed from one stays good.

use crate::error::{Corruption, Error, Result};
use crate::file::{AppendFile, Map};
use crate::format::{Fields, FrameHeader, Malformed, Reader, Record, Sums};
use crate::id::Oid;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// How a database file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reads {
    /// Through memory maps: fastest. A disk that fails under a map ends the process with a signal,
    /// and so does a read of what another program has cut off, until the next commit notices that.
    #[default]
    Map,
    /// By position, with one system call or two for each object that is not cached: every
    /// failure is an [`Error`]. Of the index snapshot all pages are read when the file is opened,
    /// eight bytes for each object, and stay in memory.
    Pread,
}

/// Bytes of the first map; each further one doubles what is covered.
const FIRST_MAP: u64 = 64 << 20;

/// How much is read for a record whose length is not known yet.
const PROBE: usize = 512;

/// The log of one generation, for reading.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) file: Arc<dyn AppendFile>,
    pub(super) path: PathBuf,
    pub(super) sums: Sums,
    reads: Reads,
    /// Somebody cut the file: no map is looked at any more.
    cut: AtomicBool,
    maps: [OnceLock<Option<Map>>; 40],
}

impl Log {
    pub(super) fn new(file: Arc<dyn AppendFile>, path: PathBuf, sums: Sums, reads: Reads) -> Log {
        let (cut, maps) = (AtomicBool::new(false), [const { OnceLock::new() }; 40]);
        Log { file, path, sums, reads, cut, maps }
    }

    /// The record at `offset`, which must be one of `oid`.
    pub(super) fn record(&self, oid: Oid, offset: u64, bound: u64) -> Result<Record<'_>> {
        let record = self.any_record(offset, bound).map_err(|error| match error {
            Error::Corrupt(mut corruption) => {
                corruption.oid = Some(oid);
                Error::Corrupt(corruption)
            }
            other => other,
        })?;
        if record.oid != oid {
            let what = format!("a record of object {} where one of {oid} was", record.oid);
            return Err(self.corrupt(offset, Malformed::new(what)));
        }
        Ok(record)
    }

    fn any_record(&self, offset: u64, bound: u64) -> Result<Record<'_>> {
        if let Some(window) = self.mapped_from(offset, bound) {
            match Record::decode(&self.sums, offset, &mut Reader::new(window)) {
                Ok(record) => return Ok(record),
                // The record may go on in the next map.
                Err(_) if offset + (window.len() as u64) < bound => {}
                Err(wrong) => return Err(self.corrupt(offset, wrong)),
            }
        }
        let bytes = self.record_bytes(offset, bound)?;
        match Record::decode(&self.sums, offset, &mut Reader::new(&bytes)) {
            Ok(record) => Ok(record.into_owned()),
            Err(wrong) => Err(self.corrupt(offset, wrong)),
        }
    }

    fn record_bytes(&self, offset: u64, bound: u64) -> Result<Vec<u8>> {
        let room = usize::try_from(bound.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = self.read(offset, room.min(PROBE))?;
        let wrong = |wrong| self.corrupt(offset, wrong);
        let (length, back) = Record::probe(&bytes).map_err(wrong)?;
        if length > bytes.len() {
            // No sum vouches for this length yet. One vouches for that of the frame.
            let frame = offset.checked_sub(back);
            let frame = frame.ok_or_else(|| wrong("a record before its frame".into()))?;
            let end = self.header(frame, bound)?.frame_len().and_then(|it| frame.checked_add(it));
            let end = end.unwrap_or(u64::MAX).min(bound);
            if (length as u64) > end.saturating_sub(offset) {
                return Err(wrong("the record ends beyond its frame".into()));
            }
            bytes = self.read(offset, length)?;
        }
        Ok(bytes)
    }

    /// The fields of the frame that starts at `offset`.
    pub(super) fn fields(&self, offset: u64, bound: u64) -> Result<Fields> {
        let header = self.header(offset, bound)?;
        let start = offset + FrameHeader::LEN as u64;
        let bytes = self.bytes(start, u64::from(header.fields_len), bound)?;
        Fields::decode(&bytes).map_err(|wrong| self.corrupt(offset, wrong))
    }

    /// The header of the frame that starts at `offset`.
    pub(super) fn header(&self, offset: u64, bound: u64) -> Result<FrameHeader> {
        let bytes = self.bytes(offset, FrameHeader::LEN as u64, bound)?;
        bytes
            .first_chunk()
            .ok_or_else(|| Malformed::from("the frame ends within its header"))
            .and_then(|bytes| FrameHeader::decode(&self.sums, offset, bytes))
            .map_err(|wrong| self.corrupt(offset, wrong))
    }

    /// What should be the sum of the frame that ends at `end`, unchecked; `None` where none can.
    pub(super) fn sum_before(&self, end: u64) -> Result<Option<u64>> {
        let trailer = FrameHeader::TRAILER_LEN;
        let Some(start) = end.checked_sub(trailer as u64) else { return Ok(None) };
        let bytes = self.read(start, trailer)?;
        Ok(bytes.first_chunk().map(|sum| u64::from_le_bytes(*sum)))
    }

    /// `length` bytes at `offset`.
    pub(super) fn bytes(&self, offset: u64, length: u64, bound: u64) -> Result<Cow<'_, [u8]>> {
        if offset.checked_add(length).is_none_or(|end| end > bound) {
            return Err(self.corrupt(offset, "it ends beyond the log".into()));
        }
        let length = usize::try_from(length)
            .map_err(|_| self.corrupt(offset, "it is beyond the address space".into()))?;
        match self.mapped_from(offset, bound).and_then(|window| window.get(..length)) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.read(offset, length).map(Cow::Owned),
        }
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, offset, length)?;
        Ok(bytes)
    }

    /// Fills `bytes` with the `length` bytes at `offset`; empties it where that fails.
    pub(super) fn read_into(&self, bytes: &mut Vec<u8>, offset: u64, length: usize) -> Result<()> {
        bytes.clear();
        bytes.try_reserve_exact(length).map_err(|_| {
            Error::Exhausted(format!("no memory for {length} bytes at offset {offset}").into())
        })?;
        bytes.resize(length, 0);
        self.file.read_at(offset, bytes).map_err(|error| {
            bytes.clear();
            Error::io("read", &self.path, error)
        })
    }

    /// From now on reads go by position: behind the end of a file that was cut, what was mapped
    /// would end the process.
    pub(super) fn leave_maps(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// All that one map has from `offset` to the bound.
    fn mapped_from(&self, offset: u64, bound: u64) -> Option<&[u8]> {
        if self.reads == Reads::Pread || offset >= bound || self.cut.load(Ordering::Relaxed) {
            return None;
        }
        let (number, start, length) = map_of(offset);
        let map = self
            .maps
            .get(number)?
            .get_or_init(|| self.file.map(start, usize::try_from(length).ok()?));
        let map = map.as_ref()?;
        let end = bound.min(start + length);
        let within = usize::try_from(offset - start).ok()?;
        map.bytes(within, usize::try_from(end - offset).ok()?, usize::try_from(end - start).ok()?)
    }

    /// The error that `offset` breaks a rule.
    pub(super) fn corrupt(&self, offset: u64, wrong: Malformed) -> Error {
        Corruption::new(&self.path, offset, wrong.0).into()
    }
}

/// The number, start and length of the map that `offset` lies in.
fn map_of(offset: u64) -> (usize, u64, u64) {
    let unit = offset / FIRST_MAP;
    let number = 64 - unit.leading_zeros();
    match number.checked_sub(1) {
        None => (0, 0, FIRST_MAP),
        Some(power) => (number as usize, FIRST_MAP << power, FIRST_MAP << power),
    }
}
