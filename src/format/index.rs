//! The index snapshot: a copy of the index, so that opening need not read the whole log.
//!
//! The file beside the database is a hint that proves itself: it names the database, the
//! generation and the part of the log it stands for, and every part of it has a sum. Where
//! anything is wrong with it, the index is made again from the log.
//!
//! # Invariants
//! - Deleting the file, or putting an older or foreign one in its place, never changes an answer.
//!
//! Format: docs/format.md, "Index snapshot".

use super::bytes::{Malformed, Reader, put_varint};
use super::fields::{put_type, take_type};
use super::sums::{Sums, plain_sum};
use super::types::{TypeDef, TypeId};
use crate::id::{DatabaseId, GlobalId, Oid, Tid};

/// The first bytes of an index snapshot.
pub const INDEX_MAGIC: [u8; 8] = *b"\x89PRNX\r\n\x1a";

/// The version of the snapshot's format.
pub const INDEX_VERSION: u32 = 1;

/// How many objects one page has room for.
pub const PAGE_SLOTS: usize = 512;

/// Bytes of one page: eight for every object.
pub const PAGE_LEN: usize = PAGE_SLOTS * 8;

/// Where the first page stands.
pub const PAGES_START: u64 = 4096;

/// The fixed front of an index snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexHeader {
    /// The database.
    pub database: DatabaseId,
    /// The generation of its file.
    pub generation: u64,
    /// The frames from here on may be missing from the pages.
    pub scan_from: u64,
    /// The log was durable up to here when the snapshot was written.
    pub valid_upto: u64,
    /// The sum of the frame before `scan_from`.
    pub chain: u64,
    /// The last transaction before `scan_from`.
    pub tid: Tid,
    /// Every oid below has been given out.
    pub next_oid: Oid,
    /// Decisions older than this transaction were forgotten.
    pub forgot_before: Tid,
    /// How many pages there are.
    pub pages: u64,
    /// Bytes of the tables, which follow the pages.
    pub tables_len: u64,
    /// Their sum.
    pub tables_sum: u64,
}

impl IndexHeader {
    /// Bytes of the header.
    pub const LEN: usize = 120;

    /// Its bytes, the sum last.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&INDEX_MAGIC);
        out.extend_from_slice(&INDEX_VERSION.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.database.bytes());
        for number in [
            self.generation,
            self.scan_from,
            self.valid_upto,
            self.chain,
            self.tid.number(),
            self.next_oid.number(),
            self.forgot_before.number(),
            self.pages,
            self.tables_len,
            self.tables_sum,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = plain_sum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.try_into().expect("an index header has its length by construction")
    }

    /// The header in `bytes`; its sum is checked.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<IndexHeader, Malformed> {
        let Some((covered, sum)) = bytes.split_last_chunk::<8>() else {
            return Err("no index header".into());
        };
        if !covered.starts_with(&INDEX_MAGIC) || plain_sum(covered) != u64::from_le_bytes(*sum) {
            return Err("the index header is no good".into());
        }
        let mut reader = Reader::new(covered);
        reader.take(INDEX_MAGIC.len())?;
        let (version, flags) = (reader.u32()?, reader.u32()?);
        if (version, flags) != (INDEX_VERSION, 0) {
            let what = format!("the index version {version}, flags {flags:#x}, is unknown");
            return Err(Malformed::new(what));
        }
        Ok(IndexHeader {
            database: DatabaseId::new(reader.array()?),
            generation: reader.u64()?,
            scan_from: reader.u64()?,
            valid_upto: reader.u64()?,
            chain: reader.u64()?,
            tid: Tid::new(reader.u64()?),
            next_oid: Oid::new(reader.u64()?),
            forgot_before: Tid::new(reader.u64()?),
            pages: reader.u64()?,
            tables_len: reader.u64()?,
            tables_sum: reader.u64()?,
        })
    }

    /// Where the tables stand; `None` where no file could be so long.
    pub fn tables_start(&self) -> Option<u64> {
        self.pages.checked_mul(PAGE_LEN as u64)?.checked_add(PAGES_START)
    }
}

const _: () = {
    assert!(IndexHeader::LEN == INDEX_MAGIC.len() + 4 + 4 + 16 + 10 * 8 + 8, "no byte is left");
    assert!(IndexHeader::LEN as u64 <= PAGES_START);
    assert!(PAGES_START.is_multiple_of(PAGE_LEN as u64), "pages are aligned, so that they map");
};

/// The sum of page number `page`, whose bytes are `bytes`.
pub fn page_sum(sums: &Sums, page: u64, bytes: &[u8]) -> u64 {
    sums.sum(page, bytes)
}

/// What an index snapshot knows beside the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexTables {
    /// The sum of every page.
    pub page_sums: Vec<u64>,
    /// The types that records name.
    pub types: Vec<(TypeId, TypeDef)>,
    /// The pinned objects that exist.
    pub pinned: Vec<Oid>,
    /// Global transactions decided here whose participants have not all finished, and where.
    pub decisions: Vec<(GlobalId, u64)>,
    /// Global transactions prepared here and not decided, and where.
    pub prepared: Vec<(GlobalId, u64)>,
}

impl IndexTables {
    /// Their bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.page_sums.len() * 8 + 1024);
        self.page_sums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        put_varint(&mut out, self.types.len() as u64);
        self.types.iter().for_each(|(id, definition)| put_type(&mut out, *id, definition));
        put_varint(&mut out, self.pinned.len() as u64);
        self.pinned.iter().for_each(|oid| put_varint(&mut out, oid.number()));
        for table in [&self.decisions, &self.prepared] {
            put_varint(&mut out, table.len() as u64);
            for (gtid, offset) in table {
                out.extend_from_slice(&gtid.bytes());
                put_varint(&mut out, *offset);
            }
        }
        out
    }

    /// The tables in `bytes`, of a snapshot with this many pages.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(pages: u64, bytes: &[u8]) -> Result<IndexTables, Malformed> {
        let mut reader = Reader::new(bytes);
        let page_sums = (0..pages).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        let count = reader.varint()?;
        let types = (0..count).map(|_| take_type(&mut reader)).collect::<Result<_, _>>()?;
        let count = reader.varint()?;
        let pinned = (0..count).map(|_| reader.varint().map(Oid::new)).collect::<Result<_, _>>()?;
        let mut pairs = || -> Result<Vec<(GlobalId, u64)>, Malformed> {
            let count = reader.varint()?;
            (0..count).map(|_| Ok((GlobalId::new(reader.array()?), reader.varint()?))).collect()
        };
        let (decisions, prepared) = (pairs()?, pairs()?);
        if !reader.is_done() {
            return Err("bytes after the tables of the index".into());
        }
        Ok(IndexTables { page_sums, types, pinned, decisions, prepared })
    }
}
