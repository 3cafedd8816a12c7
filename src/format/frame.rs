//! Frames: what the log is made of.
//!
//! [`FrameHeader`] is the fixed front of every frame, with a sum of its own, so that a flipped
//! length does not lose the way; [`FrameBuilder`] puts a frame together in three steps, in the
//! order in which its parts become known: content, place, chain.
//!
//! # Invariants
//! - A header is read as far as its sum vouches for it: what it says may be of a later version,
//!   and is then no reason to take the frame for torn.
//! - Frames start at multiples of 8 and fill their length: header, body, padding, trailer.
//!
//! Format: docs/format.md, "Frames".

use super::bytes::{Malformed, Reader};
use super::record::{Record, RecordHead};
use super::sums::Sums;
use crate::id::{Oid, Tid};

/// The first four bytes of every frame.
pub const FRAME_MAGIC: [u8; 4] = *b"PFrm";

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A transaction.
    Commit,
    /// The letter of intent of a participant in a global transaction.
    Prepare,
    /// A global transaction was given up.
    Abort,
    /// All participants of a decision made here have finished durably.
    End,
    /// Nothing: the witness that everything before it was durable.
    Seal,
    /// Something that a later version of the format says with this number: no reason to take
    /// the frame for torn, and none to go on.
    Later(u32),
}

impl FrameKind {
    /// The kind of this number.
    pub const fn new(number: u32) -> FrameKind {
        match number {
            1 => FrameKind::Commit,
            2 => FrameKind::Prepare,
            3 => FrameKind::Abort,
            4 => FrameKind::End,
            5 => FrameKind::Seal,
            _ => FrameKind::Later(number),
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        match self {
            FrameKind::Commit => 1,
            FrameKind::Prepare => 2,
            FrameKind::Abort => 3,
            FrameKind::End => 4,
            FrameKind::Seal => 5,
            FrameKind::Later(number) => number,
        }
    }

    /// Whether a frame of this kind is about one global transaction, which it must name.
    pub const fn needs_gtid(self) -> bool {
        matches!(self, FrameKind::Prepare | FrameKind::Abort | FrameKind::End)
    }
}

/// The fixed front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Bytes of its body, without padding.
    pub body_len: u64,
    /// The transaction it commits; of other kinds: the last one before it.
    pub tid: Tid,
    /// Everything below was durable when the frame was written.
    pub durable_upto: u64,
    /// The sum of the frame before it; of the first: the sum of the file header.
    pub chain: u64,
    /// Every oid below has been given out.
    pub next_oid: Oid,
    /// How many records the body holds.
    pub record_count: u32,
    /// Bytes of the body before its first record.
    pub fields_len: u32,
}

impl FrameHeader {
    /// Bytes of a frame header.
    pub const LEN: usize = 64;

    /// Bytes after the body: the frame's sum and its length.
    pub const TRAILER_LEN: usize = 16;

    /// Bytes of the shortest frame.
    pub const MIN_FRAME: u64 = (Self::LEN + Self::TRAILER_LEN) as u64;

    /// What every frame's start and length are multiples of.
    pub const ALIGNMENT: u64 = 8;

    /// Bytes of the whole frame; `None` where no file could hold it.
    pub fn frame_len(&self) -> Option<u64> {
        self.body_len.checked_next_multiple_of(Self::ALIGNMENT)?.checked_add(Self::MIN_FRAME)
    }

    /// Its bytes when the frame stands at `offset`.
    pub fn encode(&self, sums: &Sums, offset: u64) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&self.kind.number().to_le_bytes());
        for number in [
            self.body_len,
            self.tid.number(),
            self.durable_upto,
            self.chain,
            self.next_oid.number(),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.record_count.to_le_bytes());
        out.extend_from_slice(&self.fields_len.to_le_bytes());
        let sum = sums.sum(offset, &out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.try_into().expect("a frame header has its length by construction")
    }

    /// Whether these bytes may be the front of a frame: cheap, for the search after a bad spot.
    pub fn looks_like(bytes: &[u8]) -> bool {
        bytes.starts_with(&FRAME_MAGIC)
    }

    /// The header in `bytes`, read at `offset`; its sum is checked.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(
        sums: &Sums,
        offset: u64,
        bytes: &[u8; Self::LEN],
    ) -> Result<FrameHeader, Malformed> {
        let Some((covered, sum)) = bytes.split_last_chunk::<8>() else {
            return Err("no frame header".into());
        };
        if !covered.starts_with(&FRAME_MAGIC) {
            return Err("no frame starts here".into());
        }
        if sums.sum(offset, covered) != u64::from_le_bytes(*sum) {
            return Err("the sum of the frame header is wrong".into());
        }
        let mut reader = Reader::new(covered);
        reader.take(FRAME_MAGIC.len())?;
        let header = FrameHeader {
            kind: FrameKind::new(reader.u32()?),
            body_len: reader.u64()?,
            tid: Tid::new(reader.u64()?),
            durable_upto: reader.u64()?,
            chain: reader.u64()?,
            next_oid: Oid::new(reader.u64()?),
            record_count: reader.u32()?,
            fields_len: reader.u32()?,
        };
        if u64::from(header.fields_len) > header.body_len || header.durable_upto > offset {
            return Err("the numbers of the frame header are at odds".into());
        }
        Ok(header)
    }
}

const _: () = {
    assert!(FrameHeader::LEN == 4 + 4 + 5 * 8 + 2 * 4 + 8, "the fields fill the header");
    assert!(FrameHeader::TRAILER_LEN == 2 * 8);
    assert!(FrameHeader::MIN_FRAME.is_multiple_of(FrameHeader::ALIGNMENT));
};

/// A whole frame whose sums were checked.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Where it stands.
    pub offset: u64,
    /// Its front.
    pub header: FrameHeader,
    /// Its sum, to which the next frame is chained.
    pub sum: u64,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame in `bytes`, which are all of it; header and frame sum are checked.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(sums: &Sums, offset: u64, bytes: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        let front = bytes.first_chunk().ok_or("the frame ends within its header")?;
        let header = FrameHeader::decode(sums, offset, front)?;
        if header.frame_len() != Some(bytes.len() as u64) {
            return Err("the length of the frame is wrong".into());
        }
        let (covered, trailer) = bytes
            .split_last_chunk::<{ FrameHeader::TRAILER_LEN }>()
            .ok_or("the frame ends within its trailer")?;
        let mut reader = Reader::new(trailer);
        let (sum, length) = (reader.u64()?, reader.u64()?);
        if length != bytes.len() as u64 {
            return Err("the two lengths of the frame differ".into());
        }
        if sums.sum(offset, covered) != sum {
            return Err("the sum of the frame is wrong".into());
        }
        let rest = covered.get(FrameHeader::LEN..).unwrap_or_default();
        let body_len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
        let body = rest.get(..body_len).ok_or("the frame ends within its body")?;
        Ok(Frame { offset, header, sum, body })
    }

    /// Bytes of the whole frame.
    pub fn length(&self) -> u64 {
        self.header.frame_len().unwrap_or(u64::MAX)
    }

    /// Where the next frame stands.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length())
    }

    /// The part of the body before the records.
    pub fn fields(&self) -> &'a [u8] {
        self.body.get(..self.header.fields_len as usize).unwrap_or_default()
    }

    /// The records, each with its offset; their own sums are checked too.
    ///
    /// An item is an error where a record breaks a rule, or where the body goes on after the last
    /// one; it is then the last.
    pub fn records(
        &self,
        sums: &Sums,
    ) -> impl Iterator<Item = Result<(u64, Record<'a>), Malformed>> + use<'a> {
        let (sums, frame) = (*sums, *self);
        let mut left = self.header.record_count;
        let mut reader =
            Reader::new(self.body.get(self.header.fields_len as usize..).unwrap_or_default());
        std::iter::from_fn(move || {
            if left == 0 {
                let over = std::mem::replace(&mut reader, Reader::new(&[]));
                return (!over.is_done()).then(|| Err("bytes after the last record".into()));
            }
            left -= 1;
            let at = frame.offset
                + FrameHeader::LEN as u64
                + (frame.body.len() - reader.rest().len()) as u64;
            let record = Record::decode(&sums, at, &mut reader).and_then(|record| {
                record.belongs_to(at, &frame.header, frame.offset).map(|()| (at, record))
            });
            if record.is_err() {
                (left, reader) = (0, Reader::new(&[]));
            }
            Some(record)
        })
    }
}

/// Puts a frame together.
///
/// First its content, while nobody waits; then [`place`](FrameBuilder::place), once the log has
/// told where it stands and which tid it has; then [`finish`](FrameBuilder::finish), once the
/// frame before it is known.
#[derive(Debug, Clone)]
pub struct FrameBuilder {
    header: FrameHeader,
    bytes: Vec<u8>,
    /// Where the records start, from the frame's start.
    records: Vec<u64>,
    offset: u64,
}

impl FrameBuilder {
    /// A frame of this kind, with these fields.
    ///
    /// # Errors
    /// Where the fields exceed 4 GiB.
    pub fn new(kind: FrameKind, fields: &[u8]) -> Result<FrameBuilder, Malformed> {
        let fields_len = u32::try_from(fields.len()).map_err(|_| "metadata beyond 4 GiB")?;
        let header = FrameHeader {
            kind,
            body_len: 0,
            tid: Tid::ZERO,
            durable_upto: 0,
            chain: 0,
            next_oid: Oid::new(0),
            record_count: 0,
            fields_len,
        };
        let mut bytes = vec![0; FrameHeader::LEN];
        bytes.extend_from_slice(fields);
        Ok(FrameBuilder { header, bytes, records: Vec::new(), offset: 0 })
    }

    /// Makes room for `records` records of `bytes` bytes in all.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.records.reserve(records);
        self.bytes.reserve(bytes);
    }

    /// Appends a record; its place and tid are left open.
    pub fn push(&mut self, head: &RecordHead, content: Option<(u32, &[u8], &[u8])>) {
        let start = self.bytes.len() as u64;
        head.encode(start, content, &mut self.bytes);
        self.records.push(start);
    }

    /// Bytes of the whole frame.
    pub fn length(&self) -> u64 {
        let body_len = (self.bytes.len() - FrameHeader::LEN) as u64;
        body_len.next_multiple_of(FrameHeader::ALIGNMENT) + FrameHeader::MIN_FRAME
    }

    /// Where the records start, counted from the frame's start.
    pub fn record_starts(&self) -> &[u64] {
        &self.records
    }

    /// Tells the frame where it stands and which transaction it is.
    ///
    /// # Errors
    /// Where it holds more records than a frame can.
    #[expect(clippy::indexing_slicing, reason = "these are our own bytes, of `push`")]
    pub fn place(&mut self, sums: &Sums, offset: u64, tid: Tid) -> Result<(), Malformed> {
        self.header.record_count =
            u32::try_from(self.records.len()).map_err(|_| "more than 2^32 records in one frame")?;
        self.header.body_len = (self.bytes.len() - FrameHeader::LEN) as u64;
        self.header.tid = tid;
        self.offset = offset;
        for &start in &self.records {
            RecordHead::place(sums, offset + start, tid, &mut self.bytes[start as usize..]);
        }
        Ok(())
    }

    /// Chains the frame to the one before it and seals it; its sum, for the next one.
    #[expect(clippy::indexing_slicing, reason = "these are our own bytes, of `new`")]
    pub fn finish(&mut self, sums: &Sums, chain: u64, durable_upto: u64, next_oid: Oid) -> u64 {
        let header = FrameHeader { chain, durable_upto, next_oid, ..self.header };
        self.bytes[..FrameHeader::LEN].copy_from_slice(&header.encode(sums, self.offset));
        let padded = self.bytes.len().next_multiple_of(FrameHeader::ALIGNMENT as usize);
        self.bytes.resize(padded, 0);
        let sum = sums.sum(self.offset, &self.bytes);
        let length = self.bytes.len() + FrameHeader::TRAILER_LEN;
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
        sum
    }

    /// The finished frame's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
