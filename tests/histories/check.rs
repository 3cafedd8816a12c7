//! The checker: from what transactions saw and did to whether they may have.
//!
//! Every value was stored once, so that who reads one tells which revision it is.

use perennial::{Isolation, Tid};
use std::collections::{BTreeMap, HashMap};

/// What threads recorded, in any order.
#[derive(Debug)]
pub struct History {
    pub isolation: Isolation,
    pub transactions: Vec<Transaction>,
}

/// One transaction, as its thread saw it; objects are numbered.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub snapshot: Tid,
    /// A commit that had been acknowledged to some thread before this one began.
    pub floor: Tid,
    pub ended: Ended,
    /// What others had stored of the objects that it read.
    pub reads: Vec<(usize, u64)>,
    /// What it stored last of each.
    pub writes: Vec<(usize, u64)>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Committed(Tid),
    ReadOnly,
    Aborted,
    /// It lost to this transaction over this object.
    Conflict {
        with: Tid,
        object: usize,
    },
}

/// How much was checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    pub transactions: usize,
    pub committed: usize,
    pub conflicts: usize,
    pub reads: usize,
    /// Which transaction had to come before which.
    pub dependencies: usize,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.transactions += other.transactions;
        self.committed += other.committed;
        self.conflicts += other.conflicts;
        self.reads += other.reads;
        self.dependencies += other.dependencies;
    }
}

/// The revisions of an object, oldest first: who stored which value.
type Revisions = Vec<(Tid, u64)>;

impl History {
    /// How much there was; or what is wrong with it.
    pub fn check(&self) -> Result<Counts, String> {
        let mut counts = Counts { transactions: self.transactions.len(), ..Counts::default() };
        let committed = self.committed()?;
        let objects = self.objects();
        for transaction in &self.transactions {
            transaction.check_snapshot(&committed)?;
            transaction.check_reads(&objects)?;
            counts.reads += transaction.reads.len();
        }
        if self.isolation == Isolation::Serializable {
            counts.dependencies = self.check_order(&objects)?;
        }
        for transaction in &self.transactions {
            transaction.check_end(&objects, self.isolation)?;
            counts.conflicts += usize::from(matches!(transaction.ended, Ended::Conflict { .. }));
        }
        counts.committed = committed.len();
        Ok(counts)
    }

    fn committed(&self) -> Result<BTreeMap<Tid, usize>, String> {
        let mut committed = BTreeMap::new();
        for (number, transaction) in self.transactions.iter().enumerate() {
            let Some(tid) = transaction.tid() else { continue };
            if committed.insert(tid, number).is_some() {
                return Err(format!("two transactions have the tid {tid:?}"));
            }
            if tid <= transaction.snapshot {
                return Err(format!("{transaction:?} was committed before it began"));
            }
        }
        Ok(committed)
    }

    pub fn objects(&self) -> HashMap<usize, Revisions> {
        let mut objects: HashMap<usize, Revisions> = HashMap::new();
        for transaction in &self.transactions {
            let Some(tid) = transaction.tid() else { continue };
            for &(object, value) in &transaction.writes {
                objects.entry(object).or_default().push((tid, value));
            }
        }
        objects.values_mut().for_each(|revisions| revisions.sort());
        objects
    }

    /// Whether there is an order of all that committed or only read in which each would have seen
    /// and done the same, one after the other: the graph of who had to precede whom has no cycle.
    fn check_order(&self, objects: &HashMap<usize, Revisions>) -> Result<usize, String> {
        let mut writers: HashMap<Tid, usize> = HashMap::new();
        for (number, transaction) in self.transactions.iter().enumerate() {
            writers.extend(transaction.tid().map(|tid| (tid, number)));
        }
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.transactions.len()];
        let mut precedes = |first: usize, second: usize| {
            if first != second {
                after[first].push(second);
            }
        };
        for revisions in objects.values() {
            revisions
                .windows(2)
                .for_each(|pair| precedes(writers[&pair[0].0], writers[&pair[1].0]));
        }
        for (reader, transaction) in self.transactions.iter().enumerate() {
            if !matches!(transaction.ended, Ended::Committed(_) | Ended::ReadOnly) {
                continue;
            }
            for &(object, _) in &transaction.reads {
                let revisions = &objects[&object];
                let next = revisions.partition_point(|&(tid, _)| tid <= transaction.snapshot);
                precedes(writers[&revisions[next - 1].0], reader);
                if let Some((tid, _)) = revisions.get(next) {
                    precedes(reader, writers[tid]);
                }
            }
        }
        let dependencies = after.iter().map(Vec::len).sum();
        match on_a_cycle(&after) {
            0 => Ok(dependencies),
            many => Err(format!("{many} transactions cannot have run one after the other")),
        }
    }
}

impl Transaction {
    fn tid(&self) -> Option<Tid> {
        match self.ended {
            Ended::Committed(tid) => Some(tid),
            _ => None,
        }
    }

    fn check_snapshot(&self, committed: &BTreeMap<Tid, usize>) -> Result<(), String> {
        if self.snapshot != Tid::ZERO && !committed.contains_key(&self.snapshot) {
            return Err(format!("no transaction is the last that {self:?} sees"));
        }
        if self.snapshot < self.floor {
            return Err(format!("{self:?} does not see what was acknowledged before it began"));
        }
        Ok(())
    }

    /// Each read is the newest revision in the snapshot.
    fn check_reads(&self, objects: &HashMap<usize, Revisions>) -> Result<(), String> {
        for &(object, value) in &self.reads {
            let revisions = objects.get(&object).map_or(&[][..], Vec::as_slice);
            let seen = revisions.partition_point(|&(tid, _)| tid <= self.snapshot);
            let newest = seen.checked_sub(1).map(|newest| revisions[newest].1);
            if newest != Some(value) {
                return Err(format!(
                    "read {value} of object {object}, of which the snapshot has {newest:?}: {self:?}"
                ));
            }
        }
        Ok(())
    }

    /// Who committed lost no update of others, nor, where that is promised, relied on what others
    /// had changed meanwhile; who lost, lost to somebody.
    fn check_end(
        &self,
        objects: &HashMap<usize, Revisions>,
        isolation: Isolation,
    ) -> Result<(), String> {
        let changed = |object, before: Tid| {
            let revisions = &objects[&object];
            let next = revisions.partition_point(|&(tid, _)| tid <= self.snapshot);
            revisions.get(next).filter(|&&(tid, _)| tid < before)
        };
        let reads = match isolation {
            Isolation::Serializable => &self.reads[..],
            Isolation::Snapshot => &[],
        };
        match self.ended {
            Ended::Committed(tid) => {
                if let Some(lost) = self.writes.iter().find_map(|&(it, _)| changed(it, tid)) {
                    return Err(format!("the update {lost:?} is lost: {self:?}"));
                }
                match reads.iter().find_map(|&(it, _)| changed(it, tid)) {
                    Some(change) => Err(format!("relied on what {change:?} changed: {self:?}")),
                    None => Ok(()),
                }
            }
            Ended::Conflict { with, object } => {
                let concerned = self.writes.iter().chain(reads).any(|&(it, _)| it == object);
                let won = objects[&object].iter().any(|&(tid, _)| tid == with);
                match concerned && won && with > self.snapshot {
                    true => Ok(()),
                    false => Err(format!("a conflict with nobody: {self:?}")),
                }
            }
            Ended::ReadOnly | Ended::Aborted => Ok(()),
        }
    }
}

/// How many are on a cycle, or behind one.
fn on_a_cycle(after: &[Vec<usize>]) -> usize {
    let mut before = vec![0; after.len()];
    after.iter().flatten().for_each(|&second| before[second] += 1);
    let mut free: Vec<usize> = (0..after.len()).filter(|&number| before[number] == 0).collect();
    let mut left = after.len();
    while let Some(number) = free.pop() {
        left -= 1;
        for &second in &after[number] {
            before[second] -= 1;
            if before[second] == 0 {
                free.push(second);
            }
        }
    }
    left
}
