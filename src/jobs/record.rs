//! How a job lies in the file: [`Head`], and the [`Body`] of one that is large.
//!
//! A head is a pinned object, and the job; what changes while it is tried stands here, so that a
//! claim or a failure rewrites some eighty bytes, however large the payload is. The transitions
//! between the stored states are functions of a head; `enqueue`, `work`, `recovery` and `bucket`
//! call them, each in a transaction.
//!
//! # Invariants
//! - A job is ready, claimed or dead; one that is done is absent.
//! - Failures and crashes are counted apart.

use super::policy::Policy;
use crate::error::Result;
use crate::id::{Oid, Tid};
use crate::object::{Connection, Persistent, Ref, View};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most bytes that a job's value may take.
pub(super) const PAYLOAD_LIMIT: usize = 64 << 10;

/// Payloads longer than this lie in an object of their own.
const INLINE_LIMIT: usize = 512;

/// The most bytes that are kept of an error.
const ERROR_LIMIT: usize = 240;

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub kind: String,
    pub version: u32,
    /// What the kind's shape was: a hash of its text.
    pub shape: u64,
    pub state: State,
    /// Not to be started before, in microseconds since 1970.
    pub due: u64,
    /// When its time began: it was first due then, or an operator gave it another chance.
    pub since: u64,
    /// How often it was claimed.
    pub attempts: u32,
    pub failures: u32,
    pub crashes: u32,
    pub first_error: Option<String>,
    pub last_error: Option<String>,
    pub key: Option<Vec<u8>>,
    pub payload: Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Ready,
    /// By the process with this boot id.
    Claimed(u64),
    Dead,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Payload {
    Inline(Body),
    Apart { length: u32, body: Ref<Body> },
}

/// The value of a job, encoded, and what it refers to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub bytes: Vec<u8>,
    /// Listed for the storage, which keeps what is referred to.
    pub references: Vec<Ref<Anything>>,
}

/// What a payload refers to: its type knows.
#[derive(Debug)]
pub(super) struct Anything;

impl Persistent for Head {
    const NAME: &'static str = "perennial.Job";
}

impl Persistent for Body {
    const NAME: &'static str = "perennial.JobBody";
}

impl Payload {
    /// Keeps `body` in the head, or apart where it is large.
    pub fn store(conn: &Connection, body: Body) -> Result<Payload> {
        if body.bytes.len() <= INLINE_LIMIT {
            return Ok(Payload::Inline(body));
        }
        let length = u32::try_from(body.bytes.len()).unwrap_or(u32::MAX);
        Ok(Payload::Apart { length, body: conn.add_pinned(body)? })
    }

    pub fn len(&self) -> u64 {
        match self {
            Payload::Inline(body) => body.bytes.len() as u64,
            Payload::Apart { length, .. } => u64::from(*length),
        }
    }

    pub fn load(&self, view: &View) -> Result<Arc<Body>> {
        match self {
            Payload::Inline(body) => Ok(Arc::new(body.clone())),
            Payload::Apart { body, .. } => view.get(*body),
        }
    }
}

/// The transitions.
impl Head {
    /// Another attempt begins.
    pub fn claim(&mut self, boot: u64) {
        self.state = State::Claimed(boot);
        self.attempts = self.attempts.saturating_add(1);
    }

    /// It waits again, until it is due as it was, and nothing is counted.
    pub fn release(&mut self) {
        self.state = State::Ready;
    }

    /// It waits again, for this long, and nothing is counted.
    pub fn postpone(&mut self, delay: Duration) {
        self.due = micros(SystemTime::now()).saturating_add(in_micros(delay));
        self.release();
    }

    /// It failed. Waits as long as the policy says, or `delay`; or is dead.
    pub fn fail(&mut self, policy: &Policy, error: impl Display, delay: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.note(error);
        let age = micros(SystemTime::now()).saturating_sub(self.since);
        if policy.gives_up(self.failures, Duration::from_micros(age)) {
            self.state = State::Dead;
        } else {
            self.postpone(delay.unwrap_or_else(|| policy.delay(self.failures)));
        }
    }

    /// No retry would help.
    pub fn give_up(&mut self, error: impl Display) {
        self.failures = self.failures.saturating_add(1);
        self.note(error);
        self.state = State::Dead;
    }

    /// The process that had claimed it is dead.
    pub fn orphan(&mut self, policy: &Policy) {
        self.crashes = self.crashes.saturating_add(1);
        self.state = State::Ready;
        if self.crashes >= policy.max_crashes {
            self.note(format!("the process died {} times while it was claimed", self.crashes));
            self.state = State::Dead;
        }
    }

    /// It gets all its chances again.
    pub fn revive(&mut self) {
        self.postpone(Duration::ZERO);
        (self.since, self.failures, self.crashes) = (self.due, 0, 0);
    }

    fn note(&mut self, error: impl Display) {
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(ERROR_LIMIT));
        if self.first_error.is_none() {
            self.first_error = Some(text.clone());
        }
        self.last_error = Some(text);
    }

    /// How long it still has to wait at `now`, where `stored` is when that was written.
    ///
    /// Where the clock was set back since, the wait is as long as was meant when it was written.
    pub fn wait(&self, stored: Tid, now: SystemTime) -> Duration {
        let (now, stored) = (micros(now), stored.number());
        let from = if stored <= self.due { now.max(stored) } else { now };
        Duration::from_micros(self.due.saturating_sub(from))
    }

    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }
}

/// Takes the job away, and its body.
pub(super) fn remove(conn: &Connection, job: Ref<Head>) -> Result<()> {
    let head = conn.get(job)?;
    if let Payload::Apart { body, .. } = head.payload {
        conn.remove_pinned(body)?;
    }
    conn.remove_pinned(job)
}

/// The reference to the job of this id. Loose: it belongs to the database it is used with.
pub(super) fn reference(id: Oid) -> Ref<Head> {
    Ref::new(id, 0)
}

/// Microseconds since 1970.
pub(super) fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, in_micros)
}

fn in_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
