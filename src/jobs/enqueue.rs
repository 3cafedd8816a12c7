//! How a transaction asks for a job: [`Connection::enqueue`].
//!
//! The job is one pinned object, written by the transaction's own commit, which waits for the
//! disk whatever was asked of it; a hook then hands it over. A [`Permit`] lies in the hook, and
//! gives back what was reserved when the hook goes: with a rollback, an abort, a conflict.
//!
//! # Invariants
//! - After the commit, handing over cannot fail: its place was reserved before.
//! - Producers share no object, so that they never conflict over their jobs.

use super::board::Waiting;
use super::engine::{Engine, Inner, after};
use super::handler::fingerprint;
use super::job::{Enqueued, Job};
use super::ledger::Key;
use super::record::{Body, Head, PAYLOAD_LIMIT, Payload, State, micros};
use super::{recovery, work};
use crate::error::{Error, Result};
use crate::id::{GlobalId, Oid};
use crate::object::{Connection, Ref};
use crate::transaction::Outcome;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

impl Connection {
    /// Asks for a job: it will be run after the transaction commits, and only then. Order is
    /// best effort.
    ///
    /// The commit waits for the disk. Where a runner is started that knows the kind, the job runs
    /// at once; otherwise it is kept until one does.
    ///
    /// # Errors
    /// [`Error::NoTransaction`]; [`Error::Codec`], and [`Error::InvalidArgument`] beyond 64 KiB;
    /// [`Error::JobsFull`], after which the transaction can still commit other work;
    /// [`Error::Conflict`] where another transaction that is still running enqueued a job with the
    /// same [key](Job::dedupe_key).
    pub fn enqueue<J: Job>(&self, job: &J) -> Result<Enqueued> {
        self.enqueue_due(job, None)
    }

    /// Asks for a job that is not run before `when`, by the system's clock.
    ///
    /// # Errors
    /// Those of [`enqueue`](Connection::enqueue).
    pub fn enqueue_at<J: Job>(&self, job: &J, when: SystemTime) -> Result<Enqueued> {
        self.enqueue_due(job, Some(when))
    }

    fn enqueue_due<J: Job>(&self, job: &J, when: Option<SystemTime>) -> Result<Enqueued> {
        let (current, database) = (self.transaction()?, self.database());
        let engine = Engine::of(&database)?;
        let body = encode(&engine, job, database.tag())?;
        let now = SystemTime::now();
        let delay = when.and_then(|when| when.duration_since(now).ok()).unwrap_or_default();
        let mut permit = Permit {
            engine,
            id: Oid::ROOT,
            kind: J::KIND,
            delay,
            bytes: body.bytes.len() as u64,
            key: job.dedupe_key().map(|key| (J::KIND.to_owned(), key)),
            claimed: false,
            live: false,
            transaction: current.id(),
        };
        if let Some(id) = permit.reserve()? {
            return Ok(Enqueued::Duplicate(id));
        }
        let due = micros(now + delay);
        let boot = permit.engine.boot;
        let head = Head {
            kind: J::KIND.into(),
            version: J::VERSION,
            shape: fingerprint::<J>()?,
            state: if permit.claimed { State::Claimed(boot) } else { State::Ready },
            due,
            since: due,
            attempts: u32::from(permit.claimed),
            failures: 0,
            crashes: 0,
            first_error: None,
            last_error: None,
            key: permit.key.as_ref().map(|(_, key)| key.clone()),
            payload: Payload::store(self, body)?,
        };
        permit.id = self.add_pinned(head)?.oid();
        permit.hold();
        let id = permit.id;
        current.after_commit(move |outcome| match outcome {
            Outcome::Committed { unfinished, .. } if unfinished.is_empty() => {
                permit.hand_over();
            }
            // Whether this database followed, or will, its file says: now or later.
            Outcome::Committed { .. } | Outcome::Mixed(_) | Outcome::Unknown(_) => {
                permit.leave_in_doubt();
            }
            _ => {}
        })?;
        Ok(Enqueued::New(id))
    }
}

fn encode<J: Job>(engine: &Engine, job: &J, tag: u32) -> Result<Body> {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    engine.round_trips.encode(J::KIND, job, tag, &mut bytes, &mut references)?;
    if bytes.len() > PAYLOAD_LIMIT {
        let (length, kind) = (bytes.len(), J::KIND);
        let what = format!("a job {kind} of {length} bytes; the limit is {PAYLOAD_LIMIT}");
        return Err(Error::InvalidArgument(what.into()));
    }
    let references = references.into_iter().map(|oid| Ref::new(oid, 0)).collect();
    Ok(Body { bytes, references })
}

/// What is reserved for a job whose transaction runs.
pub(super) struct Permit {
    engine: Arc<Engine>,
    pub transaction: GlobalId,
    /// [`Oid::ROOT`] until the job has one.
    pub id: Oid,
    kind: &'static str,
    delay: Duration,
    bytes: u64,
    key: Option<Key>,
    /// Whether the job is born claimed, and has a place to be handed over in.
    claimed: bool,
    /// Whether there is something to give back.
    live: bool,
}

impl Permit {
    /// Reserves what the job needs; or returns the one that has its key.
    fn reserve(&mut self) -> Result<Option<Oid>> {
        let transaction = self.transaction;
        let Inner { ledger, board, .. } = &mut *self.engine.lock();
        if let Some(key) = &self.key
            && let Some(id) = ledger.holder(key, transaction)?
        {
            return Ok(Some(id));
        }
        ledger.admit(self.bytes)?;
        self.live = true;
        self.claimed = self.delay.is_zero() && board.reserve(self.kind);
        if let Some(key) = &self.key {
            ledger.hold(key.clone(), self.id, transaction);
        }
        Ok(None)
    }

    /// The key is the job's, which now has an id.
    fn hold(&self) {
        if let Some(key) = &self.key {
            self.engine.lock().ledger.hold(key.clone(), self.id, self.transaction);
        }
    }

    /// The transaction may be committed, or may yet be: the job waits until the file says so.
    fn leave_in_doubt(self) {
        let engine = self.engine.clone();
        engine.lock().in_doubt.push(self);
        recovery::settled(&engine);
    }

    /// The transaction is committed: the job waits for a worker, or runs here.
    pub fn hand_over(mut self) {
        self.live = false;
        let mut inner = self.engine.lock();
        if let Some(key) = &self.key {
            inner.ledger.settle(key, self.id);
        }
        if self.claimed {
            inner.board.free();
        }
        // A runner that started since the commit has found it in the file.
        if !inner.board.knows(self.id) {
            let how = Waiting { claimed: self.claimed, suspect: false };
            inner.board.put(self.id, self.kind, after(self.delay), how);
        }
        drop(inner);
        work::handed_over(&self.engine);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.live {
            return;
        }
        let mut inner = self.engine.lock();
        if self.claimed {
            inner.board.free();
        }
        inner.ledger.remove(self.id, self.bytes, self.key.take());
    }
}
