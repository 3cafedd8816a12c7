//! The pending jobs, for people and programs that look after them: [`JobBucket`].
//!
//! It reads what is in the file and on the board, and makes the transitions that only an operator
//! makes. Nothing here runs a job.
//!
//! # Invariants
//! - What it changes is committed before the board hears of it.

use super::board::Waiting;
use super::engine::Engine;
use super::handler::{contained, decode};
use super::job::Job;
use super::ledger::{JobCounts, JobLimits, key};
use super::record::{Head, State, reference, remove};
use super::work::write_to;
use crate::error::{Error, Result, SchemaMismatch};
use crate::id::Oid;
use crate::object::{Database, View};
use crate::storage::Durability;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The jobs of a database that are not done yet. Made by [`Database::jobs`].
#[derive(Debug, Clone)]
pub struct JobBucket {
    database: Database,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It waits until it is due, or for a runner.
    Ready,
    /// It is under way, or was when a process died.
    Claimed,
    /// It was given up, and waits for a person.
    Dead,
}

/// What there is to know of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: Oid,
    /// Its kind.
    pub kind: String,
    /// How it stands.
    pub state: JobState,
    /// When it may be started.
    pub due: SystemTime,
    /// How often it was started.
    pub attempts: u32,
    /// How many attempts failed.
    pub failures: u32,
    /// In how many the process died.
    pub crashes: u32,
    /// Its first error.
    pub first_error: Option<String>,
    /// Its last error.
    pub last_error: Option<String>,
    /// The size of its payload in bytes.
    pub size: u64,
}

/// How many jobs there are, and what happened since the database was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStats {
    /// Jobs that wait.
    pub ready: u64,
    /// Jobs that are under way.
    pub claimed: u64,
    /// Jobs that were given up.
    pub dead: u64,
    /// The size of all payloads in bytes.
    pub bytes: u64,
    /// Handlers that are running.
    pub running: u64,
    /// Handlers that are running beyond their timeout.
    pub stuck: u64,
    /// What happened.
    pub counts: JobCounts,
}

impl Database {
    /// The jobs that are pending, and those that are dead.
    pub fn jobs(&self) -> JobBucket {
        JobBucket { database: self.clone() }
    }
}

/// Looking.
impl JobBucket {
    /// All jobs, in the order they were enqueued in, about. Takes time for each.
    ///
    /// # Errors
    /// Those of reading.
    pub fn list(&self) -> Result<Vec<JobInfo>> {
        self.database.view(|view| {
            let jobs = view.pinned::<Head>()?.into_iter();
            jobs.map(|job| Ok(info(job.oid(), &*view.get(job)?))).collect()
        })
    }

    /// The job of this id; `None` where it is done, or was discarded.
    ///
    /// # Errors
    /// [`Error::Schema`] where the id is that of another object; those of reading.
    pub fn get(&self, id: Oid) -> Result<Option<JobInfo>> {
        self.database.view(|view| Ok(find(view, id)?.map(|head| info(id, &head))))
    }

    /// The job of this id itself, as its handler would get it; `None` where it is done, or was
    /// discarded.
    ///
    /// # Errors
    /// [`Error::Schema`] where the job is of another kind, or the id that of another object;
    /// [`Error::Codec`] where its bytes are not those of a `J`; those of reading.
    pub fn read<J: Job>(&self, id: Oid) -> Result<Option<J>> {
        self.database.view(|view| {
            let Some(head) = find(view, id)? else { return Ok(None) };
            if head.kind != J::KIND && !J::ALIASES.contains(&&*head.kind) {
                let (stored, asked) = (head.kind.as_str().into(), J::KIND.into());
                return Err(SchemaMismatch::WrongType { oid: id, stored, asked }.into());
            }
            let body = head.payload.load(view)?;
            contained(|| decode(self.database.tag(), &head, &body)).map(Some)
        })
    }

    /// Counts the jobs. Takes time for each.
    ///
    /// # Errors
    /// Those of reading.
    pub fn stats(&self) -> Result<JobStats> {
        let engine = Engine::of(&self.database)?;
        let mut stats = JobStats::default();
        for job in self.list()? {
            let count = match job.state {
                JobState::Ready => &mut stats.ready,
                JobState::Claimed => &mut stats.claimed,
                JobState::Dead => &mut stats.dead,
            };
            *count += 1;
            stats.bytes += job.size;
        }
        let inner = engine.lock();
        stats.running = inner.board.running() as u64;
        stats.stuck = inner.board.stuck() as u64;
        stats.counts = inner.ledger.counts;
        Ok(stats)
    }
}

/// Changing.
impl JobBucket {
    /// Gives a job that waits or is dead all its chances again, now; whether there is one. It
    /// keeps its idempotency key. Nothing happens to a job that is under way.
    ///
    /// # Errors
    /// Those of [`Database::transact`], inside which it cannot be called.
    pub fn retry(&self, id: Oid) -> Result<bool> {
        let engine = Engine::of(&self.database)?;
        let revived = write_to(&self.database, Durability::Sync, |conn| {
            let resting = |head: &Arc<Head>| !matches!(head.state, State::Claimed(_));
            if find(conn, id)?.filter(resting).is_none() {
                return Ok(None);
            }
            conn.modify(reference(id), Head::revive)?;
            Ok(Some(conn.get(reference(id))?))
        })?;
        let Some(head) = revived else { return Ok(false) };
        let mut inner = engine.lock();
        inner.ledger.revived(id, &head);
        let how = Waiting { claimed: false, suspect: false };
        inner.board.put(id, &head.kind, Instant::now(), how);
        drop(inner);
        engine.wake();
        Ok(true)
    }

    /// Removes a job, whatever its state; whether there was one. A handler that has it is
    /// cancelled, and what it returns is not applied.
    ///
    /// # Errors
    /// Those of [`Database::transact`], inside which it cannot be called.
    pub fn discard(&self, id: Oid) -> Result<bool> {
        let engine = Engine::of(&self.database)?;
        let removed = write_to(&self.database, Durability::Sync, |conn| {
            let Some(head) = find(conn, id)? else { return Ok(None) };
            remove(conn, reference(id))?;
            Ok(Some(head))
        })?;
        let Some(head) = removed else { return Ok(false) };
        let mut inner = engine.lock();
        inner.ledger.remove(id, head.payload.len(), key(&head));
        inner.board.forget(id);
        drop(inner);
        engine.wake();
        Ok(true)
    }

    /// Lets no job of this kind start, until [`resume`](JobBucket::resume) or until the database
    /// is closed. Can be called before a runner is started.
    ///
    /// # Errors
    /// Those of reading the jobs that are there.
    pub fn pause(&self, kind: &str) -> Result<()> {
        Engine::of(&self.database)?.lock().board.paused.insert(kind.into());
        Ok(())
    }

    /// Lets jobs of this kind start again.
    ///
    /// # Errors
    /// Those of reading the jobs that are there.
    pub fn resume(&self, kind: &str) -> Result<()> {
        let engine = Engine::of(&self.database)?;
        engine.lock().board.paused.remove(kind);
        engine.wake();
        Ok(())
    }

    /// Sets how many jobs there may be, until the database is closed.
    ///
    /// # Errors
    /// Those of reading the jobs that are there.
    pub fn set_limits(&self, limits: JobLimits) -> Result<()> {
        Engine::of(&self.database)?.lock().ledger.limits = limits;
        Ok(())
    }
}

fn find(view: &View, id: Oid) -> Result<Option<Arc<Head>>> {
    match view.get(reference(id)) {
        Ok(head) => Ok(Some(head)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn info(id: Oid, head: &Head) -> JobInfo {
    JobInfo {
        id,
        kind: head.kind.clone(),
        state: match head.state {
            State::Ready => JobState::Ready,
            State::Claimed(_) => JobState::Claimed,
            State::Dead => JobState::Dead,
        },
        due: UNIX_EPOCH.checked_add(Duration::from_micros(head.due)).unwrap_or(UNIX_EPOCH),
        attempts: head.attempts,
        failures: head.failures,
        crashes: head.crashes,
        first_error: head.first_error.clone(),
        last_error: head.last_error.clone(),
        size: head.payload.len(),
    }
}
