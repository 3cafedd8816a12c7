//! Writing and reading the index snapshot, `X.index` beside the database `X`.
//!
//! Written in the background while commits go on, and when the database closes; read when it is
//! opened. The snapshot is a hint: whatever is wrong with it, it is passed over, and the log is
//! read from its start.
//!
//! # Invariants
//! - The log is durable up to `valid_upto` before a snapshot that says so gets its name.
//! - The marks are read in this order: the start of the replay, the pages, the end.
//!
//! Format: docs/format.md, "Index snapshot".

use super::core::{Core, tell};
use super::housekeeping::INTERVAL;
use super::index::{Index, Slot, page_bytes};
use super::log::Reads;
use crate::error::{Error, Result};
use crate::file::{Access, AppendFile, Directory, Slots};
use crate::format::{
    FILE_MAGIC, FIRST_FRAME, FileHeader, HEADER_COPY, INDEX_MAGIC, IndexHeader, IndexTables,
    Malformed, PAGE_LEN, PAGE_SLOTS, PAGES_START, Sums, TypeId, page_sum,
};
use crate::id::{Oid, Tid};
use crate::storage::TypeTable;
use crate::sync::atomic::Ordering;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

/// A snapshot no longer than this is always worth it.
const SHORT: u64 = 4 << 20;

/// Pages gathered into one write.
const GATHER_PAGES: usize = 256;

/// Removes the snapshot of the database `name`, durably.
pub(super) fn forget(directory: &dyn Directory, name: &str) -> std::io::Result<()> {
    match directory.remove(&name_of(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => directory.sync(),
    }
}

/// The name of the snapshot of the database `name`.
pub(super) fn name_of(name: &str) -> String {
    format!("{name}.index")
}

/// About how long a snapshot would be now.
pub(super) fn length(core: &Core) -> u64 {
    core.stored_below().number().saturating_mul(8)
}

/// Whether a snapshot would not be much longer than the log that it spares an opening. One of a
/// file with a single object, of a far oid, would fill the disk.
pub(super) fn is_worth_it(core: &Core) -> bool {
    length(core) <= core.generation.published_end().saturating_add(SHORT)
}

/// What a snapshot told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) header: IndexHeader,
    pub(super) tables: IndexTables,
    pub(super) types: TypeTable,
    pub(super) index: Index,
}

impl Told {
    /// The slots of page `page`: where the newest record of each object stands, 0 for none; `None`
    /// where the page is bad.
    pub(super) fn page(&self, page: u64) -> Result<Option<Vec<(Oid, u64)>>> {
        let number = usize::try_from(page).unwrap_or(usize::MAX);
        if !self.index.is_good(number) {
            return Ok(None);
        }
        // It is good: this lets its slots be read, and repairs nothing.
        self.index.check_page(number, |_| Ok(()))?;
        let first = page * PAGE_SLOTS as u64;
        let slots = (first..first + PAGE_SLOTS as u64).map(|number| {
            let oid = Oid::new(number);
            match self.index.get(oid) {
                Slot::At(offset) => Some((oid, offset)),
                Slot::Unchecked(_) => None,
            }
        });
        Ok(slots.collect())
    }
}

/// Writes a snapshot of what is published; `core.look` must be held.
pub(super) fn write(core: &Core) -> Result<()> {
    core.check_going()?;
    refuse_database(core)?;
    let temporary = format!("{}.tmp-index", core.name);
    let _ = core.directory.remove(&temporary);
    let written = write_through(core, &temporary);
    if written.is_err() && core.check_going().is_ok() {
        // A disk that is full stays so for as long as half a snapshot lies on it.
        let _ = core.directory.remove(&temporary);
    }
    written
}

/// Refuses to take the name away from another database, which may be in use.
fn refuse_database(core: &Core) -> Result<()> {
    if held_by(core) != Some(Holder::Database) {
        return Ok(());
    }
    let what = "another database has its name";
    let error = std::io::Error::new(ErrorKind::AlreadyExists, what);
    Err(Error::io("write", core.directory.path(&name_of(&core.name)), error))
}

/// Keeps what has the name and never was a snapshot: somebody may miss it.
fn keep_strange(core: &Core) -> Result<()> {
    if held_by(core) != Some(Holder::Stranger) {
        return Ok(());
    }
    let name = name_of(&core.name);
    for number in 1.. {
        let kept = format!("{name}.kept-{number}");
        match core.directory.rename_new(&name, &kept) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => {
                outcome.map_err(|error| Error::io("keep", core.directory.path(&name), error))?;
                tell(|| {
                    tracing::warn!(
                        name,
                        kept,
                        "it was no index snapshot, and has another name now"
                    );
                });
                break;
            }
        }
    }
    Ok(())
}

/// What has the name that the snapshot is to get.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// A snapshot, or what damage can make of one: it begins as one, but for a byte, or with zeros.
    Snapshot,
    Database,
    Stranger,
}

/// Who has the name now, if anything that can be read.
fn held_by(core: &Core) -> Option<Holder> {
    let file = core.directory.open(&name_of(&core.name), Access::Read).ok()?;
    let length = usize::try_from(file.len().ok()?).unwrap_or(usize::MAX).min(PAGE_LEN);
    let mut front = vec![0; length];
    file.read_at(0, &mut front).ok()?;
    let copy = front.get(HEADER_COPY as usize..).unwrap_or_default();
    if front.starts_with(&FILE_MAGIC) || copy.starts_with(&FILE_MAGIC) {
        return Some(Holder::Database);
    }
    let magic = front.iter().zip(&INDEX_MAGIC);
    let wrong = magic.filter(|(byte, good)| byte != good).count();
    let spared = usize::from(front.len() > INDEX_MAGIC.len());
    let strange = wrong > spared && front.iter().any(|&byte| byte != 0);
    Some(if strange { Holder::Stranger } else { Holder::Snapshot })
}

/// Writes the snapshot as the file `temporary`, and gives it its name.
fn write_through(core: &Core, temporary: &str) -> Result<()> {
    let name = name_of(&core.name);
    let failed = |error| Error::io("write", core.directory.path(&name), error);
    let start = core.published_mark();
    let file = core.directory.open(temporary, Access::CreateNew).map_err(failed)?;
    let page_sums = write_pages(core, &*file)?;
    // Read after the copy: no record that was copied lies at or beyond it.
    let valid_upto = core.generation.published_end();
    core.sync_upto(valid_upto)?;
    let pages = page_sums.len() as u64;
    let tables = IndexTables { page_sums, ..start.tables }.encode();
    let (scan_from, chain, tid) = (start.at, start.chain, start.tid);
    let header = IndexHeader {
        database: core.id(),
        generation: core.generation.number,
        scan_from,
        valid_upto,
        chain,
        tid,
        next_oid: start.next_oid,
        forgot_before: core.header.forgot_before,
        pages,
        tables_len: tables.len() as u64,
        tables_sum: core.generation.log.sums.sum(scan_from, &tables),
    };
    let tables_start = header.tables_start().unwrap_or(u64::MAX);
    file.append(tables_start, &tables).map_err(failed)?;
    file.append(0, &header.encode()).map_err(failed)?;
    file.sync().map_err(failed)?;
    // Beside another file it would speak of that one; and who is halted leaves the directory as it is.
    core.check_name()?;
    core.check_going()?;
    keep_strange(core)?;
    core.directory.replace(temporary, &name).map_err(failed)?;
    core.directory.sync().map_err(failed)?;
    core.snapshot_upto.store(scan_from, Ordering::Release);
    Ok(())
}

/// Copies the pages of all objects that were stored; their sums.
fn write_pages(core: &Core, file: &dyn AppendFile) -> Result<Vec<u64>> {
    let failed = |error| Error::io("write the index of", core.path(), error);
    let below = core.stored_below().number();
    let pages = usize::try_from(below).unwrap_or(usize::MAX).div_ceil(PAGE_SLOTS);
    let mut sums = Vec::new();
    let no_memory =
        |_| Error::Exhausted(format!("no memory for {pages} pages of the index").into());
    sums.try_reserve_exact(pages).map_err(no_memory)?;
    let mut synced = Instant::now();
    let mut buffer = Vec::with_capacity(GATHER_PAGES * PAGE_LEN);
    let mut start = PAGES_START;
    for page in 0..pages as u64 {
        let first = page * PAGE_SLOTS as u64;
        let mut offsets = Vec::with_capacity(PAGE_SLOTS);
        for oid in first..first + PAGE_SLOTS as u64 {
            offsets.push(core.generation.offset_of(Oid::new(oid))?);
        }
        let bytes = page_bytes(offsets.into_iter());
        sums.push(page_sum(&core.generation.log.sums, page, &bytes));
        buffer.extend_from_slice(&bytes);
        if buffer.len() >= GATHER_PAGES * PAGE_LEN {
            file.append(start, &buffer).map_err(failed)?;
            start += buffer.len() as u64;
            buffer.clear();
            if synced.elapsed() > INTERVAL {
                // Lazy commits go on, and whoever syncs them is here.
                core.sync()?;
                synced = Instant::now();
            }
        }
    }
    file.append(start, &buffer).map_err(failed)?;
    Ok(sums)
}

/// What the snapshot beside the database `name` tells, if it is one of this very file.
///
/// `None` where there is none, or anything is wrong with it: the log knows it all.
pub(super) fn read(
    directory: &dyn Directory,
    name: &str,
    reads: Reads,
    header: &FileHeader,
    sums: &Sums,
) -> Option<Told> {
    let file = directory.open(&name_of(name), Access::Read).ok()?;
    match read_file(&file, reads, header, sums) {
        Ok(told) => Some(told),
        Err(wrong) => {
            tracing::warn!(name, wrong = &*wrong.0, "the index snapshot is passed over");
            None
        }
    }
}

/// What is in the snapshot `file`, if it is one of this very database. By position, all of it is read
/// at once; its pages are mapped otherwise.
pub(super) fn read_file(
    file: &Arc<dyn AppendFile>,
    reads: Reads,
    database: &FileHeader,
    sums: &Sums,
) -> Result<Told, Malformed> {
    let unread = |error: std::io::Error| Malformed::new(error.to_string());
    let mut bytes = [0; IndexHeader::LEN];
    let length = file.len().map_err(unread)?;
    if length < bytes.len() as u64 {
        return Err("it ends within its header".into());
    }
    file.read_at(0, &mut bytes).map_err(unread)?;
    let header = IndexHeader::decode(&bytes)?;
    if (header.database, header.generation) != (database.database, database.generation) {
        return Err("it belongs to another file".into());
    }
    let start = header.tables_start().ok_or("the numbers of the index header are at odds")?;
    let end = start.checked_add(header.tables_len);
    let scanned = FIRST_FRAME..=header.valid_upto;
    if end != Some(length) || !scanned.contains(&header.scan_from) {
        return Err("the numbers of the index header are at odds".into());
    }
    let tables_len = usize::try_from(header.tables_len).map_err(|_| "tables without an end")?;
    let mut tables = Vec::new();
    // A file with holes may claim to be of any length.
    tables.try_reserve_exact(tables_len).map_err(|_| "no memory for the tables of the index")?;
    tables.resize(tables_len, 0);
    file.read_at(start, &mut tables).map_err(unread)?;
    if sums.sum(header.scan_from, &tables) != header.tables_sum {
        return Err("the sum of the index tables is wrong".into());
    }
    let tables = IndexTables::decode(header.pages, &tables)?;
    let types = TypeTable::default();
    for (id, definition) in &tables.types {
        types.learn(*id, definition.clone())?;
    }
    let count = usize::try_from(header.pages).map_err(|_| "more pages than memory")? * PAGE_SLOTS;
    let mapped = match reads {
        Reads::Map => file.map_slots(PAGES_START, count),
        Reads::Pread => None,
    };
    let slots = mapped.or_else(|| read_slots(file, count)).ok_or("no memory for the index")?;
    let index = Index::on(slots, tables.page_sums.clone(), *sums, header.valid_upto);
    Ok(Told { header, tables, types, index })
}

/// The slots, read into memory; `None` where there is none. A page that cannot be read is left as
/// zeros: its sum says that it is bad.
fn read_slots(file: &Arc<dyn AppendFile>, count: usize) -> Option<Slots> {
    let slots = Slots::zeroed(count)?;
    let mut page = vec![0; PAGE_LEN];
    for (number, chunk) in slots.chunks(PAGE_SLOTS).enumerate() {
        let offset = PAGES_START + (number * PAGE_LEN) as u64;
        if let Err(error) = file.read_at(offset, &mut page) {
            tracing::warn!(offset, %error, "a page of the index cannot be read");
            continue;
        }
        for (slot, bytes) in chunk.iter().zip(page.chunks_exact(8)) {
            let number = bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
            slot.store(number, Ordering::Relaxed);
        }
    }
    Some(slots)
}

/// Where a replay may start, and what must be known there.
struct Start {
    /// The end of what is published.
    at: u64,
    /// The sum of the last frame before.
    chain: u64,
    /// The last transaction before.
    tid: Tid,
    /// Every oid below has been given out.
    next_oid: Oid,
    /// What is known beside the pages, whose sums are not taken yet.
    tables: IndexTables,
}

impl Core {
    /// No object at or above was ever stored.
    pub(super) fn stored_below(&self) -> Oid {
        let next_oid = Oid::new(self.next_oid.load(Ordering::Acquire));
        next_oid.min(self.generation.index.reach())
    }

    /// The published end as the start of a replay.
    ///
    /// All that it tells is as of that place. What a later frame changed must not be in the
    /// tables: a power loss may take that frame away, and then nothing would change it back.
    fn published_mark(&self) -> Start {
        // The leader changes all of this together, and is the only one that does. A frame that
        // comes later has taken its own reservation of oids later, so it is no smaller than ours.
        let state = self.leader.lock();
        Start {
            next_oid: Oid::new(self.next_oid.load(Ordering::Acquire)),
            at: self.generation.published_end(),
            chain: state.chain,
            tid: self.generation.last_tid(),
            tables: self.tables(),
        }
    }

    fn tables(&self) -> IndexTables {
        // Only what the log defines: a type whose first commit failed was never stored. That a
        // frame still waiting may define one does no harm: after an opening, the first to use a
        // type defines it again.
        let defined: Vec<TypeId> = self.ordered.lock().defined.keys().copied().collect();
        let mut types: Vec<_> = defined
            .into_iter()
            .filter_map(|id| Some((id, (*self.types.get(id)?).clone())))
            .collect();
        types.sort_by_key(|&(id, _)| id);
        let mut pinned: Vec<Oid> = self.pinned.lock().iter().copied().collect();
        pinned.sort_unstable();
        let decisions = self.decisions.lock().iter().map(|(&gtid, &at)| (gtid, at)).collect();
        let prepared = self.prepared.lock().iter().map(|(&gtid, &at)| (gtid, at)).collect();
        IndexTables { page_sums: Vec::new(), types, pinned, decisions, prepared }
    }
}
