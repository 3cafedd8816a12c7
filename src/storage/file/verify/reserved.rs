//! What is reserved for open promises, and for whom: [`Reserved`].
//!
//! # Invariants
//! - Who meets a promise finds it by the object: a file may have any number of promises and frames.
//! - A promise is met once; from then on nothing is reserved for it.

use crate::id::{GlobalId, Oid};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A promise as its Prepare says it.
#[derive(Debug)]
pub(in crate::storage::file) struct Promised {
    /// Where the Prepare stands.
    pub(in crate::storage::file) at: u64,
    /// The objects that it would store, and those that it relies on.
    pub(in crate::storage::file) writes: HashSet<Oid>,
    pub(in crate::storage::file) reads: HashSet<Oid>,
}

/// Open promises, by their transactions.
#[derive(Debug, Default)]
pub(in crate::storage::file) struct Reserved {
    open: BTreeMap<GlobalId, Promised>,
    writers: Holders,
    readers: Holders,
}

/// The transactions to which an object is promised.
type Holders = HashMap<Oid, BTreeSet<GlobalId>>;

impl Reserved {
    pub(in crate::storage::file) fn insert(&mut self, gtid: GlobalId, promised: Promised) {
        for (holders, oids) in
            [(&mut self.writers, &promised.writes), (&mut self.readers, &promised.reads)]
        {
            for &oid in oids {
                holders.entry(oid).or_default().insert(gtid);
            }
        }
        self.open.insert(gtid, promised);
    }

    pub(in crate::storage::file) fn remove(&mut self, gtid: GlobalId) -> Option<Promised> {
        self.release(gtid);
        self.open.remove(&gtid)
    }

    /// The open promises, by their transactions.
    pub(in crate::storage::file) fn open(&self) -> &BTreeMap<GlobalId, Promised> {
        &self.open
    }

    /// The promises to others than `own` that keep everybody from writing one of `writes`, or from
    /// relying on one of `reads`, each with such an object.
    pub(in crate::storage::file) fn meet(
        &mut self,
        own: Option<GlobalId>,
        writes: &HashSet<Oid>,
        reads: &HashSet<Oid>,
    ) -> BTreeMap<GlobalId, Oid> {
        let mut met = BTreeMap::new();
        if self.writers.is_empty() && self.readers.is_empty() {
            return met;
        }
        let pairs = [(&self.writers, writes), (&self.readers, writes), (&self.writers, reads)];
        for (holders, oids) in pairs {
            for oid in oids {
                let others = holders.get(oid).into_iter().flatten();
                met.extend(others.filter(|&&gtid| own != Some(gtid)).map(|&gtid| (gtid, *oid)));
            }
        }
        met.keys().for_each(|&gtid| self.release(gtid));
        met
    }

    fn release(&mut self, gtid: GlobalId) {
        let Some(promised) = self.open.get(&gtid) else { return };
        for (holders, oids) in
            [(&mut self.writers, &promised.writes), (&mut self.readers, &promised.reads)]
        {
            for oid in oids {
                if let Some(of) = holders.get_mut(oid) {
                    of.remove(&gtid);
                    if of.is_empty() {
                        holders.remove(oid);
                    }
                }
            }
        }
    }
}
