//! The index: where the newest record of every object stands.
//!
//! An array with eight bytes for every oid, in memory; the part that an index snapshot knew is a
//! private map of that file, checked page by page when it is first touched. Looking up is
//! lock-free. The index says nothing about visibility: what it finds may be newer than a snapshot.
//!
//! # Invariants
//! - A page of the snapshot is read, and stored into, only after its sum was checked.
//! - Only the one who publishes stores.

use crate::error::{Error, Result};
use crate::file::Slots;
use crate::format::{PAGE_SLOTS, Sums, page_sum};
use crate::id::Oid;
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Slots of the first chunk; each further one doubles what there is.
const FIRST_CHUNK: u64 = 1 << 16;

/// Oid → offset of the newest published record; 0 where there is none.
#[derive(Debug)]
pub(super) struct Index {
    base: Option<Base>,
    chunks: [OnceLock<Slots>; 40],
}

/// The part that stands in an index snapshot.
#[derive(Debug)]
struct Base {
    slots: Slots,
    sums: Vec<u64>,
    checked: Vec<AtomicU64>,
    checking: Mutex<()>,
    /// A page was bad and made anew.
    repaired: AtomicBool,
    seal: Sums,
    /// No record of the snapshot can stand here or beyond.
    end: u64,
}

/// What the index has in an object's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The offset; 0 for none.
    At(u64),
    /// The page was not checked yet.
    Unchecked(usize),
}

impl Index {
    pub(super) fn empty() -> Index {
        Index { base: None, chunks: [const { OnceLock::new() }; 40] }
    }

    /// The index that begins as the pages of a snapshot, with these sums; every record it knows
    /// must stand below `end`.
    pub(super) fn on(slots: Slots, sums: Vec<u64>, seal: Sums, end: u64) -> Index {
        let checked = (0..sums.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let base = Base {
            slots,
            sums,
            checked,
            checking: Mutex::new(()),
            repaired: AtomicBool::new(false),
            seal,
            end,
        };
        Index { base: Some(base), ..Index::empty() }
    }

    /// What is known of `oid`.
    pub(super) fn get(&self, oid: Oid) -> Slot {
        let mut number = oid.number();
        if let Some(base) = &self.base {
            let covered = base.slots.len() as u64;
            if number < covered {
                let page = number as usize / PAGE_SLOTS;
                return match base.slots.get(number as usize) {
                    Some(slot) if base.is_checked(page) => Slot::At(slot.load(Ordering::Acquire)),
                    _ => Slot::Unchecked(page),
                };
            }
            number -= covered;
        }
        let (chunk, within, _) = chunk_of(number);
        let slot = self.chunks.get(chunk).and_then(OnceLock::get).and_then(|it| it.get(within));
        Slot::At(slot.map_or(0, |slot| slot.load(Ordering::Acquire)))
    }

    /// Makes room for `oid`, so that [`set`](Index::set) will succeed.
    pub(super) fn reserve(&self, oid: Oid) -> Result<()> {
        match self.slot(oid) {
            Some(_) => Ok(()),
            None => {
                let what = format!("no memory for the index of object {oid}");
                Err(Error::Exhausted(what.into()))
            }
        }
    }

    /// Publishes that the newest record of `oid` stands at `offset`.
    pub(super) fn set(&self, oid: Oid, offset: u64) {
        if let Some(slot) = self.slot(oid) {
            slot.store(offset, Ordering::Release);
        }
    }

    fn slot(&self, oid: Oid) -> Option<&AtomicU64> {
        let mut number = oid.number();
        if let Some(base) = &self.base {
            let covered = base.slots.len() as u64;
            if number < covered {
                return base.slots.get(number as usize);
            }
            number -= covered;
        }
        let (chunk, within, length) = chunk_of(number);
        let cell = self.chunks.get(chunk)?;
        if cell.get().is_none() {
            let fresh = Slots::zeroed(usize::try_from(length).ok()?)?;
            // Somebody else may have been first; then theirs is as good.
            let _ = cell.set(fresh);
        }
        cell.get()?.get(within)
    }

    /// Checks page `page`, and lets `repair` fill it anew where it is bad.
    ///
    /// `repair` gets the first oid of the page; it calls back with what the log says.
    pub(super) fn check_page(
        &self,
        page: usize,
        repair: impl FnOnce(Oid, &mut dyn FnMut(Oid, u64)) -> Result<()>,
    ) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let _checking = base.checking.lock();
        if base.is_checked(page) {
            return Ok(());
        }
        let slots = base.page(page);
        if !base.is_good(page, slots) {
            base.repaired.store(true, Ordering::Relaxed);
            tracing::warn!(page, "a page of the index snapshot is bad; it is made from the log");
            slots.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            let first = (page * PAGE_SLOTS) as u64;
            repair(Oid::new(first), &mut |oid, offset| {
                let within =
                    oid.number().checked_sub(first).and_then(|it| usize::try_from(it).ok());
                if let Some(slot) = within.and_then(|within| slots.get(within)) {
                    slot.store(offset, Ordering::Relaxed);
                }
            })?;
        }
        base.mark_checked(page);
        Ok(())
    }

    /// Whether the snapshot it began as had a bad page, and should be written again.
    pub(super) fn was_repaired(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.repaired.load(Ordering::Relaxed))
    }
}

impl Base {
    fn is_checked(&self, page: usize) -> bool {
        let word = self.checked.get(page / 64).map_or(0, |word| word.load(Ordering::Acquire));
        word & (1 << (page % 64)) != 0
    }

    fn mark_checked(&self, page: usize) {
        if let Some(word) = self.checked.get(page / 64) {
            word.fetch_or(1 << (page % 64), Ordering::Release);
        }
    }

    fn page(&self, page: usize) -> &[AtomicU64] {
        let start = page * PAGE_SLOTS;
        self.slots.get(start..start + PAGE_SLOTS).unwrap_or_default()
    }

    fn is_good(&self, page: usize, slots: &[AtomicU64]) -> bool {
        let bytes = page_bytes(slots.iter().map(|slot| slot.load(Ordering::Relaxed)));
        let all_below = slots.iter().all(|slot| slot.load(Ordering::Relaxed) < self.end);
        all_below && self.sums.get(page) == Some(&page_sum(&self.seal, page as u64, &bytes))
    }
}

/// The bytes of a page that holds these offsets.
pub(super) fn page_bytes(slots: impl Iterator<Item = u64>) -> Vec<u8> {
    slots.flat_map(u64::to_le_bytes).collect()
}

/// The chunk of the slot with this number, the place in it, and how many slots it has.
fn chunk_of(number: u64) -> (usize, usize, u64) {
    let unit = number / FIRST_CHUNK;
    let chunk = 64 - unit.leading_zeros();
    match chunk.checked_sub(1) {
        None => (0, number as usize, FIRST_CHUNK),
        Some(power) => {
            let start = FIRST_CHUNK << power;
            (chunk as usize, (number - start) as usize, start)
        }
    }
}
