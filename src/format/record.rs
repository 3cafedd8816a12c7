//! Records: one object's bytes as of one transaction.
//!
//! A record is read alone: by its offset, without its frame, and proves that it is what was
//! looked for by carrying oid and tid under its own sum.
//!
//! # Invariants
//! - What is known only late, the tid and the sum, has fixed places at the record's start.
//!
//! Format: docs/format.md, "Records".

use super::bytes::{Malformed, Reader, put_varint};
use super::frame::FrameHeader;
use super::sums::Sums;
use super::types::{References, TypeId};
use crate::id::{Oid, Tid};
use std::borrow::Cow;

const TOMBSTONE: u8 = 1;
const PINNED: u8 = 2;
const FAR: u8 = 4;
const KNOWN_FLAGS: u8 = TOMBSTONE | PINNED | FAR;

/// Bytes before a record's flags: the sum and the tid.
const FRONT: usize = 12;

/// What a record says beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// The object.
    pub oid: Oid,
    /// Whether it is a root of its own.
    pub pinned: bool,
    /// Where the object's previous record stands; 0 where it has none.
    pub previous: u64,
    /// An older record of the object, before the previous one: a short cut through its history.
    pub far: Option<u64>,
}

/// A record whose sum was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The object.
    pub oid: Oid,
    /// The transaction that stored it.
    pub tid: Tid,
    /// Whether the object is a root of its own.
    pub pinned: bool,
    /// How far before the record its frame starts.
    pub back: u64,
    /// Bytes of the whole record.
    pub length: u64,
    /// Where the object's previous record stands; 0 where it has none.
    pub previous: u64,
    /// An older record of the object, before the previous one: a short cut through its history.
    pub far: Option<u64>,
    /// The object; `None` where the transaction removed it.
    pub content: Option<RecordContent<'a>>,
}

/// What an object was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordContent<'a> {
    /// The type of the data.
    pub type_id: TypeId,
    /// The objects that the data refer to.
    pub references: References<'a>,
    /// The encoded object.
    pub data: Cow<'a, [u8]>,
}

impl RecordHead {
    /// Appends a record without its place: the sum's room holds the CRC, the tid's is empty.
    ///
    /// `start` is the record's distance from its frame's start; the content is the type's number,
    /// the references' encoding, and the data.
    #[expect(clippy::indexing_slicing, reason = "these are our own bytes, pushed here")]
    pub(super) fn encode(
        &self,
        start: u64,
        content: Option<(u32, &[u8], &[u8])>,
        out: &mut Vec<u8>,
    ) {
        let front = out.len();
        out.resize(front + FRONT, 0);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(content.is_none(), TOMBSTONE) | flag(self.pinned, PINNED);
        out.push(flags | flag(self.far.is_some(), FAR));
        put_varint(out, self.oid.number());
        put_varint(out, start);
        put_varint(out, self.previous);
        self.far.iter().for_each(|&far| put_varint(out, far));
        if let Some((type_id, references, data)) = content {
            put_varint(out, u64::from(type_id));
            put_varint(out, references.len() as u64);
            put_varint(out, data.len() as u64);
            out.extend_from_slice(references);
            out.extend_from_slice(data);
        }
        let crc = crc32fast::hash(&out[front + FRONT..]);
        out[front..front + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Fills in what was left open of the record in `bytes`, which stands at `offset`.
    pub(super) fn place(sums: &Sums, offset: u64, tid: Tid, bytes: &mut [u8]) {
        let Some(front) = bytes.first_chunk_mut::<FRONT>() else { return };
        let (sum, rest) = front.split_at_mut(4);
        let crc = sum.iter().rev().fold(0, |crc, &byte| crc << 8 | u32::from(byte));
        sum.copy_from_slice(&sums.record(offset, tid, crc).to_le_bytes());
        rest.copy_from_slice(&tid.number().to_le_bytes());
    }
}

impl<'a> Record<'a> {
    /// The longest that a record is before its references.
    pub const MAX_HEAD: usize = FRONT + 1 + 7 * super::bytes::MAX_VARINT;

    /// The next record of `reader`, which stands at `offset`; its sum is checked.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(
        sums: &Sums,
        offset: u64,
        reader: &mut Reader<'a>,
    ) -> Result<Record<'a>, Malformed> {
        let sum = reader.u32()?;
        let tid = Tid::new(reader.u64()?);
        let covered = reader.rest();
        let mut record = Record::decode_covered(reader)?;
        let length = covered.len() - reader.rest().len();
        let crc = crc32fast::hash(covered.get(..length).unwrap_or_default());
        if sums.record(offset, tid, crc) != sum {
            return Err("the sum of the record is wrong".into());
        }
        (record.tid, record.length) = (tid, (FRONT + length) as u64);
        Ok(record)
    }

    fn decode_covered(reader: &mut Reader<'a>) -> Result<Record<'a>, Malformed> {
        let head = Head::decode(reader)?;
        let content = match head.lengths {
            None => None,
            Some((type_id, references, data)) => Some(RecordContent {
                type_id,
                references: References::of(reader.take(references)?),
                data: Cow::Borrowed(reader.take(data)?),
            }),
        };
        let Head { oid, pinned, back, previous, far, .. } = head;
        let (tid, length) = (Tid::ZERO, 0);
        Ok(Record { oid, tid, pinned, back, length, previous, far, content })
    }

    /// The same, independent of where it was read.
    pub fn into_owned(self) -> Record<'static> {
        let content = self.content.map(|content| RecordContent {
            type_id: content.type_id,
            references: content.references.into_owned(),
            data: Cow::Owned(content.data.into_owned()),
        });
        Record { content, ..self }
    }

    /// Bytes of the whole record whose front is in `bytes`, and how far before it its frame
    /// starts: no sum was checked, so it is good for asking for these bytes only.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn probe(bytes: &[u8]) -> Result<(usize, u64), Malformed> {
        let mut reader = Reader::new(bytes);
        reader.take(FRONT)?;
        let head = Head::decode(&mut reader)?;
        let front = bytes.len() - reader.rest().len();
        let (references, data) = head.lengths.map_or((0, 0), |(_, first, second)| (first, second));
        Ok((front.saturating_add(references).saturating_add(data), head.back))
    }

    /// Which object the bytes of a record claim to be of; for messages about bad ones only.
    pub fn claim(bytes: &[u8]) -> Option<Oid> {
        let mut reader = Reader::new(bytes.get(FRONT..)?);
        Head::decode(&mut reader).ok().map(|head| head.oid)
    }

    /// Checks that the record, which stands at `at`, belongs to the frame at `frame`.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn belongs_to(&self, at: u64, header: &FrameHeader, frame: u64) -> Result<(), Malformed> {
        if self.tid != header.tid || at.checked_sub(self.back) != Some(frame) {
            return Err("a record of another frame".into());
        }
        if self.oid >= header.next_oid {
            return Err("a record of an object that was never given out".into());
        }
        if self.previous >= frame || self.far.is_some_and(|far| far >= self.previous) {
            return Err("a record that comes before its previous one".into());
        }
        Ok(())
    }
}

/// A record up to its references.
struct Head {
    oid: Oid,
    pinned: bool,
    back: u64,
    previous: u64,
    far: Option<u64>,
    lengths: Option<(TypeId, usize, usize)>,
}

impl Head {
    fn decode(reader: &mut Reader<'_>) -> Result<Head, Malformed> {
        let flags = reader.u8()?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(Malformed::new(format!(
                "the record flags {flags:#04x} say what only a later version could mean"
            )));
        }
        let oid = Oid::new(reader.varint()?);
        if oid > Oid::MAX {
            return Err(Malformed::new(format!("object {oid} is beyond the last oid")));
        }
        let (back, previous) = (reader.varint()?, reader.varint()?);
        let far = if flags & FAR != 0 { Some(reader.varint()?) } else { None };
        let lengths = if flags & TOMBSTONE != 0 {
            None
        } else {
            let type_id = TypeId(reader.varint32()?);
            let mut length = || reader.varint().map(|it| usize::try_from(it).unwrap_or(usize::MAX));
            Some((type_id, length()?, length()?))
        };
        Ok(Head { oid, pinned: flags & PINNED != 0, back, previous, far, lengths })
    }
}
