//! What there is of jobs, counted: [`Ledger`]; and which keys are taken.
//!
//! `enqueue` asks it before a job is written, and says when its transaction ended; `work` and
//! `bucket` say when one is gone. It lies in memory, and begins with what the file holds when the
//! database is opened: one process writes it, so nobody else can know better. Keys need no object
//! in the file therefore, and no two jobs share one that they could conflict on.
//!
//! # Invariants
//! - What a transaction reserved that does not commit is given back.

use super::record::{Head, State};
use crate::error::{Conflict, Error, Result};
use crate::id::{GlobalId, Oid, Tid};
use std::collections::HashMap;

/// How many jobs there may be.
///
/// ```
/// use perennial::{Database, JobLimits};
/// let db = Database::in_memory()?;
/// db.jobs().set_limits(JobLimits { hard: 10_000, ..JobLimits::default() })?;
/// # Ok::<(), perennial::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// From this number on the log warns, again whenever it has doubled.
    pub soft: u64,
    /// With this number, no further job can be enqueued.
    pub hard: u64,
    /// Nor beyond this many bytes of payload.
    pub bytes: u64,
}

impl Default for JobLimits {
    fn default() -> JobLimits {
        JobLimits { soft: 1_000, hard: 100_000, bytes: 256 << 20 }
    }
}

/// What happened since the database was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobCounts {
    /// Jobs done.
    pub done: u64,
    /// Attempts that failed, panics included.
    pub failed: u64,
    /// Jobs that became dead.
    pub dead: u64,
    /// Attempts whose claim was lost: what they brought was not applied.
    pub lost: u64,
    /// Attempts that ended, or noticed, beyond their timeout.
    pub late: u64,
    /// Jobs found at a start as a dead process had left them.
    pub recovered: u64,
}

/// A kind and a key of its jobs.
pub(super) type Key = (String, Vec<u8>);

/// The jobs of a database, counted.
#[derive(Default)]
pub(super) struct Ledger {
    pub limits: JobLimits,
    pub counts: JobCounts,
    jobs: u64,
    bytes: u64,
    /// The number at which to warn next; 0: the soft limit.
    warn: u64,
    keys: HashMap<Key, Holder>,
}

/// Who has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    id: Oid,
    /// The transaction that has yet to commit.
    transaction: Option<GlobalId>,
}

impl Ledger {
    /// A job that is in the file already.
    pub fn found(&mut self, id: Oid, head: &Head) {
        self.jobs += 1;
        self.bytes += head.payload.len();
        if let Some(key) = key(head).filter(|_| head.state != State::Dead) {
            self.keys.insert(key, Holder { id, transaction: None });
        }
    }

    /// A job is to be written.
    ///
    /// # Errors
    /// [`Error::JobsFull`].
    pub fn admit(&mut self, bytes: u64) -> Result<()> {
        let JobLimits { soft, hard, bytes: most } = self.limits;
        if self.jobs >= hard {
            let what = format!("{} jobs are pending, and the limit is {hard}", self.jobs);
            return Err(Error::JobsFull(what.into()));
        }
        if self.bytes + bytes > most {
            let what = format!("{} bytes are pending, and the limit is {most}", self.bytes);
            return Err(Error::JobsFull(what.into()));
        }
        (self.jobs, self.bytes) = (self.jobs + 1, self.bytes + bytes);
        if self.jobs >= self.warn.max(soft) {
            tracing::warn!(jobs = self.jobs, bytes = self.bytes, "many jobs are pending");
            self.warn = self.jobs.saturating_mul(2);
        }
        Ok(())
    }

    /// A job is gone, or was never written.
    pub fn remove(&mut self, id: Oid, bytes: u64, key: Option<Key>) {
        self.jobs = self.jobs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.jobs < self.limits.soft {
            self.warn = 0;
        }
        self.vacate(id, key);
    }

    /// The job keeps others of its key away no longer.
    fn vacate(&mut self, id: Oid, key: Option<Key>) {
        let Some(key) = key else { return };
        if self.keys.get(&key).is_some_and(|holder| holder.id == id) {
            self.keys.remove(&key);
        }
    }

    /// As [`vacate`](Ledger::vacate), where the key is not known. Takes time for each key.
    pub fn forget(&mut self, id: Oid) {
        self.keys.retain(|_, holder| holder.id != id);
    }

    /// The job that has this key, as `transaction` may know.
    ///
    /// # Errors
    /// [`Error::Conflict`] where that depends on a transaction that is still running.
    pub fn holder(&self, key: &Key, transaction: GlobalId) -> Result<Option<Oid>> {
        let Some(&Holder { id, transaction: other }) = self.keys.get(key) else { return Ok(None) };
        if other.is_none_or(|other| other == transaction) {
            return Ok(Some(id));
        }
        let mut conflict = Conflict::new(id, Tid::ZERO, Tid::ZERO);
        conflict.type_name = Some(key.0.as_str().into());
        conflict.theirs = "it enqueues a job with the same key".into();
        Err(conflict.into())
    }

    /// The key is this job's, which `transaction` has yet to commit.
    pub fn hold(&mut self, key: Key, id: Oid, transaction: GlobalId) {
        self.keys.insert(key, Holder { id, transaction: Some(transaction) });
    }

    /// That transaction is committed. The job may be done since, and another have its key.
    pub fn settle(&mut self, key: &Key, id: Oid) {
        if let Some(holder) = self.keys.get_mut(key).filter(|holder| holder.id == id) {
            holder.transaction = None;
        }
    }

    /// A job was given up.
    pub fn died(&mut self, id: Oid, head: &Head) {
        self.counts.dead += 1;
        self.vacate(id, key(head));
    }

    /// A job that was dead waits again. Another one that has its key since keeps it.
    pub fn revived(&mut self, id: Oid, head: &Head) {
        if let Some(key) = key(head) {
            self.keys.entry(key).or_insert(Holder { id, transaction: None });
        }
    }
}

/// The key of a job.
pub(super) fn key(head: &Head) -> Option<Key> {
    Some((head.kind.clone(), head.key.clone()?))
}
