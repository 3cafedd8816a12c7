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
use crate::storage::places::Places;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashSet;

/// Oid → offset of the newest published record; 0 where there is none.
#[derive(Debug)]
pub(super) struct Index {
    base: Option<Base>,
    rest: Places,
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
        Index { base: None, rest: Places::new() }
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
        Slot::At(self.rest.get(number))
    }

    /// No record is known of an object at or above.
    pub(super) fn reach(&self) -> Oid {
        let base = self.base.as_ref().map_or(0, |base| base.slots.len() as u64);
        Oid::new(base + self.rest.reach())
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
        self.rest.slot(number)
    }

    /// Checks page `page`. Where it is bad, so may be others: all that are, and that nobody has
    /// used yet, are made anew by `repair`, which calls back with every record of the log.
    pub(super) fn check_page(
        &self,
        page: usize,
        repair: impl FnOnce(&mut dyn FnMut(Oid, u64)) -> Result<()>,
    ) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let checking = base.checking.lock();
        if base.is_checked(page) {
            return Ok(());
        }
        if base.is_good(page) {
            base.mark_checked(page);
            return Ok(());
        }
        let bad = base.bad_pages();
        base.repaired.store(true, Ordering::Relaxed);
        for &page in &bad {
            base.page(page).iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        }
        repair(&mut |oid, offset| {
            let number = usize::try_from(oid.number()).unwrap_or(usize::MAX);
            if bad.contains(&(number / PAGE_SLOTS))
                && let Some(slot) = base.slots.get(number)
            {
                slot.store(offset, Ordering::Relaxed);
            }
        })?;
        bad.iter().for_each(|&page| base.mark_checked(page));
        drop(checking);
        tracing::warn!(page, pages = bad.len(), "bad pages of the index were made from the log");
        Ok(())
    }

    /// Whether page `page` of the snapshot it began as is what was written.
    pub(super) fn is_good(&self, page: usize) -> bool {
        self.base.as_ref().is_none_or(|base| base.is_good(page))
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

    /// The pages that are bad, of those that were not checked.
    fn bad_pages(&self) -> HashSet<usize> {
        let pages = 0..self.sums.len();
        pages.filter(|&page| !self.is_checked(page) && !self.is_good(page)).collect()
    }

    fn is_good(&self, page: usize) -> bool {
        let slots = self.page(page);
        let bytes = page_bytes(slots.iter().map(|slot| slot.load(Ordering::Relaxed)));
        let all_below = slots.iter().all(|slot| slot.load(Ordering::Relaxed) < self.end);
        all_below && self.sums.get(page) == Some(&page_sum(&self.seal, page as u64, &bytes))
    }
}

/// The bytes of a page that holds these offsets.
pub(super) fn page_bytes(slots: impl Iterator<Item = u64>) -> Vec<u8> {
    slots.flat_map(u64::to_le_bytes).collect()
}
