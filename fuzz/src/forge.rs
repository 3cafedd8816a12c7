//! Sums that are right over bytes that are not: what gets a fuzzer past the checks.
//!
//! The layouts are those of docs/format.md.

use crate::story::Story;
use perennial::Tid;
use perennial::format::{
    FIRST_FRAME, FRAME_MAGIC, FileHeader, FrameHeader, HEADER_COPY, INDEX_MAGIC, IndexHeader,
    PAGE_LEN, PAGES_START, Record, Sums, page_sum, plain_sum,
};

/// Where forged bytes give out more oids, they give out so many: time and memory grow with the
/// oids that were given out, which nobody but a forger does without storing anything.
const OIDS: u64 = 1 << 14;

/// Makes the sums and the chain of a whole database file right, as far as its frames hang together.
pub fn file(file: &mut [u8]) {
    for start in [0, HEADER_COPY as usize] {
        if let Some(copy) = file.get_mut(start..start + FileHeader::LEN) {
            clamp(copy, 64);
            let end = FileHeader::LEN - 8;
            let sum = plain_sum(&copy[..end]);
            copy[end..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let header = file.first_chunk().and_then(|bytes| FileHeader::decode(bytes).ok());
    let Some(header) = header else { return };
    let sums = Sums::new(header.database, header.generation);
    let (mut at, mut chain) = (FIRST_FRAME as usize, header.sum());
    while let Some((length, sum)) = file.get_mut(at..).and_then(|it| frame(&sums, at, chain, it)) {
        (at, chain) = (at + length, sum);
    }
}

/// Makes the frame at the start of `bytes`, which stand at `at`, right; its length and sum.
fn frame(sums: &Sums, at: usize, chain: u64, bytes: &mut [u8]) -> Option<(usize, u64)> {
    let room = bytes.len();
    let front = bytes.get_mut(..FrameHeader::LEN)?;
    if !front.starts_with(&FRAME_MAGIC) {
        return None;
    }
    clamp(front, 40);
    front[32..40].copy_from_slice(&chain.to_le_bytes());
    let sum = sums.sum(at as u64, &front[..56]);
    front[56..].copy_from_slice(&sum.to_le_bytes());
    let header = FrameHeader::decode(sums, at as u64, bytes.first_chunk()?).ok()?;
    let length = usize::try_from(header.frame_len()?).ok().filter(|&length| length <= room)?;
    let start = FrameHeader::LEN + header.fields_len as usize;
    let body = bytes.get_mut(..FrameHeader::LEN + header.body_len as usize)?;
    records(sums, at, start, header.record_count, body);
    let covered = length - FrameHeader::TRAILER_LEN;
    let sum = sums.sum(at as u64, &bytes[..covered]);
    bytes[covered..covered + 8].copy_from_slice(&sum.to_le_bytes());
    bytes[covered + 8..length].copy_from_slice(&(length as u64).to_le_bytes());
    Some((length, sum))
}

/// Makes the records of a frame right that stand in `body` from `start` on.
pub fn records(sums: &Sums, at: usize, mut start: usize, count: u32, body: &mut [u8]) {
    for _ in 0..count {
        let Some(rest) = body.get_mut(start..) else { return };
        let Ok((length, _)) = Record::probe(rest) else { return };
        let Some(record) = rest.get_mut(..length) else { return };
        let tid = record[4..12].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let crc = crc(&record[12..]);
        let sum = sums.record((at + start) as u64, Tid::new(tid), crc);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        start += length;
    }
}

/// The CRC-32 of some bytes, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let fold = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| fold(crc)))
}

fn clamp(bytes: &mut [u8], at: usize) {
    if let Some(number) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        *number = u64::from_le_bytes(*number).min(OIDS).to_le_bytes();
    }
}

/// Makes the sums of an index snapshot of the story right.
pub fn index(story: &Story, index: &mut [u8]) {
    let sums = story.sums();
    let Some(front) = index.get_mut(..IndexHeader::LEN) else { return };
    if !front.starts_with(&INDEX_MAGIC) {
        return;
    }
    clamp(front, 72);
    seal_header(front);
    let header = front.first_chunk().and_then(|bytes| IndexHeader::decode(bytes).ok());
    let Some(header) = header else { return };
    let tables = header.tables_start().and_then(|start| usize::try_from(start).ok());
    let Some(tables) = tables.filter(|&start| start <= index.len()) else { return };
    for page in 0..header.pages {
        let (start, place) =
            (PAGES_START as usize + page as usize * PAGE_LEN, tables + page as usize * 8);
        let sum = page_sum(&sums, page, &index[start..start + PAGE_LEN]);
        let Some(room) = index.get_mut(place..place + 8) else { return };
        room.copy_from_slice(&sum.to_le_bytes());
    }
    let sum = sums.sum(header.scan_from, &index[tables..]);
    index[104..112].copy_from_slice(&sum.to_le_bytes());
    seal_header(&mut index[..IndexHeader::LEN]);
}

fn seal_header(front: &mut [u8]) {
    let sum = plain_sum(&front[..112]);
    front[112..].copy_from_slice(&sum.to_le_bytes());
}
