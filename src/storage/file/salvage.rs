//! The records of frames that are damaged: some of them still prove themselves.
//!
//! # Invariants
//! - A record is taken only if its sum is good and it belongs to the frame, or, where no header
//!   tells of one, to a frame that began among the same bad bytes.

use super::window::Window;
use crate::error::Result;
use crate::format::{FrameHeader, Malformed, Reader, Record, Sums};
use crate::id::{Oid, Tid};
use std::ops::{Range, RangeInclusive};

/// Bytes of a record before its tid, and up to behind it.
const TID: Range<usize> = 4..12;

/// A part of a damaged frame's body.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A good record, which stands at this offset.
    Good(u64, Record<'a>),
    /// Something bad at these offsets; perhaps of this object.
    Bad(Range<u64>, Malformed, Option<Oid>),
}

/// How many bytes may yet be summed up where a record only might stand. Forged ones can claim at
/// every place to be one, up to the end: nobody has the time to try them all.
#[derive(Debug)]
struct Patience(usize);

impl Patience {
    /// For a search among so many bytes.
    fn with(bytes: usize) -> Patience {
        Patience(bytes.saturating_mul(16))
    }

    /// Whether it covers so many more.
    fn covers(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// The records in `frame`, whose header is good and which stands at `at`.
pub(super) fn pieces<'a>(
    sums: &Sums,
    at: u64,
    header: &FrameHeader,
    frame: &'a [u8],
) -> Vec<Piece<'a>> {
    let length = usize::try_from(header.body_len).unwrap_or(usize::MAX);
    let body = frame.get(FrameHeader::LEN..).unwrap_or_default();
    let body = body.get(..length).unwrap_or(body);
    let place = |start: usize| at + (FrameHeader::LEN + start) as u64;
    let mut start = header.fields_len as usize;
    let (mut pieces, mut patience) = (Vec::new(), Patience::with(body.len()));
    let mut try_at = |start: usize| {
        let rest = body.get(start..).unwrap_or_default();
        match Record::probe(rest) {
            Ok((length, _)) if length <= rest.len() && !patience.covers(length) => {
                Err("too many bytes that could be records".into())
            }
            _ => record_at(sums, at, header, body, start),
        }
    };
    while start < body.len() {
        match try_at(start) {
            Ok(record) => {
                let length = record.length;
                pieces.push(Piece::Good(place(start), record));
                start += length.max(1) as usize;
            }
            Err(wrong) => {
                let next = candidates(body, start + 1, header).find(|&next| try_at(next).is_ok());
                let next = next.unwrap_or(body.len());
                let claimed = Record::claim(body.get(start..).unwrap_or_default());
                let claimed = claimed.filter(|&oid| oid < header.next_oid);
                pieces.push(Piece::Bad(place(start)..place(next), wrong, claimed));
                start = next;
            }
        }
    }
    pieces
}

/// The record that starts at `start` of the body.
fn record_at<'a>(
    sums: &Sums,
    frame: u64,
    header: &FrameHeader,
    body: &'a [u8],
    start: usize,
) -> Result<Record<'a>, Malformed> {
    let rest = body.get(start..).unwrap_or_default();
    let at = frame + (FrameHeader::LEN + start) as u64;
    let record = Record::decode(sums, at, &mut Reader::new(rest))?;
    record.belongs_to(at, header, frame)?;
    Ok(record)
}

/// Where the frame's tid stands as it does in a record, from `from` on.
fn candidates<'a>(
    body: &'a [u8],
    from: usize,
    header: &FrameHeader,
) -> impl Iterator<Item = usize> + use<'a> {
    let tid = header.tid.number().to_le_bytes();
    let tids = body.get(from + TID.start..).unwrap_or_default().windows(TID.len());
    tids.enumerate().filter(move |(_, bytes)| **bytes == tid).map(move |(index, _)| from + index)
}

/// Hands `take` the records of these transactions that stand among the unreadable bytes `place`,
/// with their offsets.
pub(super) fn strays(
    window: &mut Window<'_>,
    place: Range<u64>,
    tids: RangeInclusive<Tid>,
    take: &mut dyn FnMut(u64, &Record<'_>),
) -> Result<()> {
    let sums = window.log().sums;
    let all = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
    let mut patience = Patience::with(all);
    let mut at = place.start;
    while at < place.end {
        let room = usize::try_from(place.end - at).unwrap_or(usize::MAX);
        let front = window.get(at, room.min(Record::MAX_HEAD))?;
        // Cheap, for it is asked of every byte: only what could be a record is summed up. Of bytes
        // without a meaning many look like the head of one, of any length, and few like its tid.
        if !tid_of(front).is_some_and(|tid| tids.contains(&tid)) {
            at += 1;
            continue;
        }
        let length = match Record::probe(front) {
            Ok((length, back))
                if length <= room && began(&place, at, back) && patience.covers(length) =>
            {
                length
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let bytes = window.get(at, length)?;
        match Record::decode(&sums, at, &mut Reader::new(bytes)) {
            Ok(record) => {
                take(at, &record);
                at += record.length.max(1);
            }
            Err(_) => at += 1,
        }
    }
    Ok(())
}

/// The transaction of the record whose front is in `bytes`, if it is one.
fn tid_of(bytes: &[u8]) -> Option<Tid> {
    let tid = bytes.get(TID)?.first_chunk()?;
    Some(Tid::new(u64::from_le_bytes(*tid)))
}

/// Whether a frame that starts `back` bytes before `at` could have begun among the bytes `place`.
fn began(place: &Range<u64>, at: u64, back: u64) -> bool {
    let frame = at.checked_sub(back).filter(|frame| *frame >= place.start);
    let placed = |frame: u64| frame.is_multiple_of(FrameHeader::ALIGNMENT);
    back >= FrameHeader::LEN as u64 && frame.is_some_and(placed)
}
