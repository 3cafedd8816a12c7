//! Where the cache keeps its entries: [`Slots`].
//!
//! An oid has one slot: objects that were made together lie in slots of their own, side by side.
//! Others that share a slot with one hang on behind it. A slot is
//! one line of the processor's cache with a lock in it, so who reads one object never waits for,
//! nor slows down, who reads another.
//!
//! # Invariants
//! - An oid has at most one entry, in its own slot.
//! - No object is dropped under a slot's lock: what is taken out is returned.

use super::Cached;
use crate::id::{Oid, Tid};
use crate::object::kind::Object;
use crate::storage::Place;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{OnceLock, RwLock, RwLockWriteGuard};

/// Slots come into being in groups of so many: a small database needs few.
const GROUP: usize = 256;

/// More slots than this do not make a cache of any size faster.
const MOST: usize = 1 << 20;

/// Uses beyond these are not counted.
const MOST_USES: u8 = 3;

/// Entries by oid.
#[derive(Debug)]
pub(super) struct Slots {
    groups: Box<[OnceLock<Box<[Slot]>>]>,
    /// How many bits the number of a slot has.
    bits: u32,
}

/// The entries whose oids share a slot.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot(RwLock<Option<Entry>>);

const _: () =
    assert!(cfg!(shuttle) || size_of::<Slot>() == 64, "an entry and its lock fill one line");

/// What is remembered of one object: a [`Cached`], laid out so that it fits.
#[derive(Debug)]
struct Entry {
    oid: Oid,
    place: Place,
    tid: Tid,
    object: Object,
    length: u32,
    pinned: bool,
    /// Whether it is among the kept.
    kept: bool,
    uses: AtomicU8,
    next: Option<Box<Entry>>,
}

impl Slots {
    /// Room for `typical` entries, which may become more.
    pub fn new(typical: usize) -> Slots {
        let count = typical.clamp(GROUP, MOST).next_power_of_two();
        let groups = (0..count / GROUP).map(|_| OnceLock::new()).collect();
        Slots { groups, bits: count.ilog2() }
    }

    /// How many slots there are.
    pub fn count(&self) -> usize {
        1 << self.bits
    }

    /// What is remembered of `oid`, if it stands at `place` and is not beyond `tid`; this is a use
    /// of it.
    #[inline]
    pub fn find(&self, oid: Oid, place: Place, tid: Tid) -> Option<Cached> {
        let (group, within) = self.place(oid);
        let slot = self.groups[group].get()?[within].0.read();
        let mut entry = slot.as_ref()?;
        while entry.oid != oid {
            entry = entry.next.as_deref()?;
        }
        if entry.place != place || entry.tid > tid {
            return None;
        }
        entry.note_use();
        Some(entry.cached())
    }

    /// Puts `new` in the place of what is known of `oid`. Returns that, and whether it is among
    /// the kept; or `new`, where nothing is.
    pub fn replace(&self, oid: Oid, new: Cached) -> Result<(Cached, bool), Cached> {
        match entry_of(oid, &mut self.lock(oid)) {
            Some(entry) => Ok(entry.replace(new)),
            None => Err(new),
        }
    }

    /// Puts the entry of `oid` among the kept if it was used, at the price of one use. Returns its
    /// weight then.
    pub fn keep_used(&self, oid: Oid) -> Option<u64> {
        let mut slot = self.lock(oid);
        let entry = entry_of(oid, &mut slot)?;
        let uses = entry.uses.get_mut();
        *uses = uses.checked_sub(1)?;
        entry.kept = true;
        Some(entry.cached().weight())
    }

    /// Adds the entry of an oid that has none.
    pub fn add(&self, oid: Oid, new: Cached, kept: bool) {
        let mut slot = self.lock(oid);
        let next = slot.take().map(Box::new);
        let Cached { place, tid, pinned, length, object } = new;
        let uses = AtomicU8::new(0);
        *slot = Some(Entry { oid, place, tid, object, length, pinned, kept, uses, next });
    }

    /// Takes out the entry of `oid`.
    pub fn remove(&self, oid: Oid) -> Option<Cached> {
        let mut slot = self.lock(oid);
        let (mut rest, mut removed) = (slot.take(), None);
        while let Some(mut entry) = rest {
            rest = entry.next.take().map(|next| *next);
            if entry.oid == oid {
                removed = Some(entry.cached());
            } else {
                entry.next = slot.take().map(Box::new);
                *slot = Some(entry);
            }
        }
        removed
    }

    fn lock(&self, oid: Oid) -> RwLockWriteGuard<'_, Option<Entry>> {
        let (group, within) = self.place(oid);
        let group =
            self.groups[group].get_or_init(|| (0..GROUP).map(|_| Slot::default()).collect());
        group[within].0.write()
    }

    /// The number of the slot of `oid`.
    #[inline]
    pub fn number(&self, oid: Oid) -> usize {
        // Oids that lie a power of two apart differ in their high bits.
        let number = oid.number() as usize;
        (number ^ (number >> self.bits)) & (self.count() - 1)
    }

    /// The group of the slot of `oid`, and the place in it.
    #[inline]
    fn place(&self, oid: Oid) -> (usize, usize) {
        let number = self.number(oid);
        (number / GROUP, number % GROUP)
    }
}

impl Entry {
    #[inline]
    fn cached(&self) -> Cached {
        let Entry { place, tid, pinned, length, .. } = *self;
        Cached { place, tid, pinned, length, object: self.object.clone() }
    }

    /// What it was before, and whether it is among the kept.
    fn replace(&mut self, new: Cached) -> (Cached, bool) {
        let before = self.cached();
        (self.place, self.tid, self.pinned) = (new.place, new.tid, new.pinned);
        (self.length, self.object) = (new.length, new.object);
        (before, self.kept)
    }

    #[inline]
    fn note_use(&self) {
        // Relaxed, and two steps: of two uses at once, one may be lost.
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < MOST_USES {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }
}

fn entry_of(oid: Oid, slot: &mut Option<Entry>) -> Option<&mut Entry> {
    let mut entry = slot.as_mut()?;
    while entry.oid != oid {
        entry = entry.next.as_deref_mut()?;
    }
    Some(entry)
}
