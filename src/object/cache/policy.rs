//! What the cache forgets when it is full: [`Policy`].
//!
//! Entries wait in two queues. A new one joins the *young*. Where it comes to the head and was used
//! meanwhile, it moves to the *kept*, and else is forgotten, as all of a scan is. At the head of
//! the kept, one that was used since goes round again. Of what was forgotten young the oid is known
//! for a while: an object that comes back by then is used more often than the young queue can see,
//! and joins the kept.
//!
//! # Invariants
//! - Every entry is in one queue, once, in the one that its mark says.
//! - The weight of a queue is the sum of the weights of its entries.

use super::Cached;
use super::slots::Slots;
use crate::id::Oid;
use std::collections::VecDeque;

/// The young may fill all room that is left, but have a right to a tenth of the whole only.
const YOUNG: u64 = 10;

/// The queues of a cache.
#[derive(Debug)]
pub(super) struct Policy {
    bound: u64,
    young: Queue,
    kept: Queue,
    /// By the numbers of their slots, oids of what was forgotten young, and what `clock` was then.
    forgotten: Vec<(u64, u64)>,
    /// Counts what was forgotten young.
    clock: u64,
}

/// The oids of entries, the oldest first.
#[derive(Debug, Default)]
struct Queue {
    oids: VecDeque<Oid>,
    weight: u64,
}

impl Queue {
    fn push(&mut self, oid: Oid, weight: u64) {
        self.oids.push_back(oid);
        self.weight += weight;
    }
}

impl Policy {
    /// The policy of a cache of this weight, and of so many slots.
    pub fn new(bound: u64, slots: usize) -> Policy {
        let (young, kept) = Default::default();
        // Zeros that nobody has touched cost nothing.
        Policy { bound, young, kept, forgotten: vec![(0, 0); slots], clock: 0 }
    }

    /// Puts an entry in, in the place of the one before; `gently`, only where there is one or there
    /// is room. Returns what is to be dropped: that one, or the new one, and what had to go.
    pub fn admit(
        &mut self,
        slots: &Slots,
        oid: Oid,
        new: Cached,
        gently: bool,
    ) -> (Option<Cached>, Vec<Cached>) {
        let weight = new.weight();
        if weight > self.bound {
            return (Some(new), Vec::new());
        }
        let before = match slots.replace(oid, new) {
            Ok((before, kept)) => {
                let queue = self.queue(kept);
                queue.weight = queue.weight - before.weight() + weight;
                Some(before)
            }
            Err(new) if gently && self.weight() + weight > self.bound => Some(new),
            Err(new) => {
                let kept = self.comes_back(slots.number(oid), oid);
                self.queue(kept).push(oid, weight);
                slots.add(oid, new, kept);
                None
            }
        };
        (before, self.make_room(slots))
    }

    fn make_room(&mut self, slots: &Slots) -> Vec<Cached> {
        let mut gone = Vec::new();
        while self.weight() > self.bound {
            let kept = self.young.weight <= self.bound / YOUNG && !self.kept.oids.is_empty();
            let Some(oid) = self.queue(kept).oids.pop_front() else { break };
            gone.extend(self.judge(slots, oid, kept));
        }
        gone
    }

    /// Keeps the entry at the head of a queue, or takes it out.
    fn judge(&mut self, slots: &Slots, oid: Oid, kept: bool) -> Option<Cached> {
        if let Some(weight) = slots.keep_used(oid) {
            self.queue(kept).weight -= weight;
            self.kept.push(oid, weight);
            return None;
        }
        let gone = slots.remove(oid)?;
        self.queue(kept).weight -= gone.weight();
        if !kept {
            self.clock += 1;
            self.forgotten[slots.number(oid)] = (oid.number(), self.clock);
        }
        Some(gone)
    }

    /// Whether `oid`, of the slot `slot`, was forgotten young, and since then fewer than are cached
    /// now: what fits into the cache is in it when it is read for the third time, whatever was
    /// kept before.
    fn comes_back(&self, slot: usize, oid: Oid) -> bool {
        let (number, at) = self.forgotten[slot];
        let cached = self.young.oids.len() + self.kept.oids.len();
        at > 0 && number == oid.number() && self.clock - at < cached as u64
    }

    fn weight(&self) -> u64 {
        self.young.weight + self.kept.weight
    }

    fn queue(&mut self, kept: bool) -> &mut Queue {
        if kept { &mut self.kept } else { &mut self.young }
    }
}
