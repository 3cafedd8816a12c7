//! One attempt at a job, from its claim to what becomes of it: [`run`].
//!
//! Workers, inline hooks and `run_due` call it with a job that the board gave them. Every step is
//! a transaction of its own; that of a terminal step checks the claim.
//!
//! # Invariants
//! - A result is applied only under the claim that the attempt began with.
//! - Whatever happens, the board learns that the attempt is over.

use super::board::{Picked, Waiting};
use super::context::{Claim, Context};
use super::engine::{Engine, Inner, after};
use super::job::Failure;
use super::ledger::key;
use super::policy::Signal;
use super::record::{Head, State, micros, reference, remove};
use super::runner::RunMode;
use crate::error::{Error, Result};
use crate::id::Oid;
use crate::object::{Connection, Database};
use crate::storage::Durability;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long a job waits whose claim could not be written.
const MEND: Duration = Duration::from_secs(1);

thread_local! {
    /// The engines whose jobs this thread is running, inline.
    static INLINE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// A commit handed over a job: somebody has to run it.
pub(super) fn handed_over(engine: &Arc<Engine>) {
    let mode = engine.lock().board.mode;
    if mode != Some(RunMode::Inline) {
        return engine.wake_one();
    }
    // What a job enqueues runs after it, not within it: the stack stays as it is.
    if INLINE.with_borrow(|running| running.contains(&engine.boot)) {
        return;
    }
    if let Some(database) = engine.database.upgrade() {
        INLINE.with_borrow_mut(|running| running.push(engine.boot));
        run_due(engine, &database);
        INLINE.with_borrow_mut(|running| running.retain(|&boot| boot != engine.boot));
    }
}

/// Runs jobs in this thread until none is due; how many.
pub(super) fn run_due(engine: &Arc<Engine>, database: &Database) -> usize {
    let mut count = 0;
    while let Some(picked) = engine.next_due(Instant::now()) {
        run(engine, database, picked);
        count += 1;
    }
    count
}

/// What a worker's thread does.
pub(super) fn work(engine: &Arc<Engine>, generation: u64) {
    while let Some(picked) = engine.next(generation) {
        let Some(database) = engine.database.upgrade() else { return };
        run(engine, &database, picked);
    }
}

/// Runs a job, and applies what comes of it.
pub(super) fn run(engine: &Arc<Engine>, database: &Database, picked: Picked) {
    let (id, kind, claimed) = (picked.id, picked.handler.kind, Cell::new(picked.claimed));
    let attempt = Attempt { engine, database, picked: &picked, claimed, head: Cell::default() };
    // Errors are foreign code, too: they say what they are when they are written down.
    let result = catch_unwind(AssertUnwindSafe(|| attempt.run()))
        .unwrap_or_else(|_| Err(Error::Panicked("an error panicked while it was read".into())));
    let (claimed, head) = (attempt.claimed.get(), attempt.head.take());
    let end = result.unwrap_or_else(|error| match error {
        Error::ClaimLost { .. } => End::Lost,
        // What the file says is for the next opening to find.
        Error::Closed | Error::Halted(_) => End::Gone,
        error => {
            tracing::error!(job = %id, kind, claimed, %error, "what became of a job is not written");
            if claimed { End::Unwritten } else { End::Unclaimed }
        }
    });
    let late = picked.flag.is_late();
    if late {
        tracing::warn!(job = %id, kind, "a job ran beyond its timeout");
    }
    engine.ended(id, end.signal(), |Inner { board, ledger, .. }| {
        ledger.counts.late += u64::from(late);
        match (end, head) {
            (End::Done, Some(head)) => {
                ledger.counts.done += 1;
                ledger.remove(id, head.payload.len(), key(&head));
            }
            (End::Dead(_), Some(head)) => {
                ledger.counts.failed += 1;
                ledger.died(id, &head);
            }
            (End::Waits { at, failed, .. }, Some(head)) => {
                ledger.counts.failed += u64::from(failed);
                let how = Waiting { claimed: false, suspect: head.crashes > 0 };
                board.put(id, &head.kind, at, how);
            }
            (End::Unclaimed, _) => {
                board.put(id, kind, after(MEND), Waiting { claimed, suspect: picked.suspect });
            }
            (End::Unwritten, _) => drop(board.strays.insert(id)),
            (end, _) => {
                ledger.counts.lost += u64::from(matches!(end, End::Lost));
                ledger.forget(id);
            }
        }
    });
}

/// What became of a job.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Waits {
        at: Instant,
        failed: bool,
        signal: Signal,
    },
    Dead(Signal),
    /// While it was tried, it became somebody else's, or nobody's.
    Lost,
    /// There is nothing to try, or no database that takes anything.
    Gone,
    /// It is as it was: the claim could not be written.
    Unclaimed,
    /// It stays claimed: the handler ran, and what came of it could not be written. The next start
    /// gives it back. Trying it again before would repeat its effects for as long as the disk is
    /// full.
    Unwritten,
}

impl End {
    fn signal(self) -> Signal {
        match self {
            End::Done => Signal::Up,
            End::Waits { signal, .. } | End::Dead(signal) => signal,
            // A database that cannot be written to shall not be asked for every job.
            End::Unclaimed | End::Unwritten => Signal::Down,
            End::Lost | End::Gone => Signal::Silent,
        }
    }
}

struct Attempt<'a> {
    engine: &'a Arc<Engine>,
    database: &'a Database,
    picked: &'a Picked,
    claimed: Cell<bool>,
    /// The job as it was claimed.
    head: Cell<Option<Arc<Head>>>,
}

impl Attempt<'_> {
    fn run(&self) -> Result<End> {
        if !self.claimed.get() && !self.claim()? {
            return Ok(End::Gone);
        }
        self.claimed.set(true);
        let (id, boot) = (self.picked.id, self.engine.boot);
        let (claim, head, body) = self.database.view(|view| {
            let (claim, head) = Claim::of(view, id, boot)?;
            let body = head.payload.load(view);
            Ok((claim, head, body))
        })?;
        self.head.set(Some(head.clone()));
        let context = Context {
            database: self.database,
            engine: self.engine,
            id,
            claim,
            flag: &self.picked.flag,
            completed: Cell::new(false),
            lost: Cell::new(false),
        };
        let body = match body {
            Err(error @ (Error::Io(_) | Error::Closed)) => return Err(error),
            body => body,
        };
        let ran = body.and_then(|body| self.picked.handler.run(&context, &head, &body));
        match ran {
            _ if context.completed.get() => Ok(End::Done),
            _ if context.lost.get() => Err(Error::ClaimLost { job: id }),
            Ok(Ok(())) => self.done(claim),
            Ok(Err(failure)) => self.failed(claim, failure),
            Err(error) => self.unreadable(claim, &error),
        }
    }

    /// T2, if the job still waits; whether it did.
    ///
    /// The claim of a job that was under way when a process died waits for the disk: should this
    /// process die too, it must be known which one it was.
    fn claim(&self) -> Result<bool> {
        let boot = self.engine.boot;
        let durability = if self.picked.suspect { Durability::Sync } else { Durability::Lazy };
        self.write(durability, |conn| {
            let job = reference(self.picked.id);
            let ready = match conn.get(job) {
                Err(Error::NotFound(_)) => false,
                other => other?.is_ready(),
            };
            if ready {
                conn.modify(job, |head| head.claim(boot))?;
            }
            Ok(ready)
        })
    }

    /// T3.
    fn done(&self, claim: Claim) -> Result<End> {
        let durable = self.picked.handler.policy.durable_completion;
        let durability = if durable { Durability::Sync } else { Durability::Lazy };
        self.settle(durability, claim, |conn| remove(conn, reference(self.picked.id)))?;
        Ok(End::Done)
    }

    /// T4, T5 or T6, as the handler wants.
    fn failed(&self, claim: Claim, failure: Failure) -> Result<End> {
        let (policy, kind) = (&self.picked.handler.policy, self.picked.handler.kind);
        tracing::info!(job = %self.picked.id, kind, attempt = claim.attempt, ?failure, "failed");
        if self.picked.flag.is_stopped() && !matches!(failure, Failure::Permanent(_)) {
            return self.change(claim, Signal::Silent, Head::release);
        }
        match failure {
            Failure::Retry(error) => {
                self.change(claim, Signal::Down, |head| head.fail(policy, &error, None))
            }
            Failure::RetryAfter(delay, error) => {
                self.change(claim, Signal::Down, |head| head.fail(policy, &error, Some(delay)))
            }
            Failure::Permanent(error) => {
                self.change(claim, Signal::Up, |head| head.give_up(&error))
            }
            Failure::Snooze(delay) => {
                self.change(claim, Signal::Silent, |head| head.postpone(delay))
            }
        }
    }

    fn unreadable(&self, claim: Claim, error: &Error) -> Result<End> {
        tracing::error!(job = %self.picked.id, %error, "a job cannot be read");
        self.change(claim, Signal::Silent, |head| head.give_up(error))
    }

    /// Lets the head wait again, or be dead.
    fn change(&self, claim: Claim, signal: Signal, change: impl Fn(&mut Head)) -> Result<End> {
        let job = reference(self.picked.id);
        let (state, due, failed) = self.settle(Durability::Lazy, claim, |conn| {
            conn.modify(job, |head| {
                let before = head.failures;
                change(head);
                (head.state, head.due, head.failures > before)
            })
        })?;
        if state == State::Dead {
            return Ok(End::Dead(signal));
        }
        let delay = Duration::from_micros(due.saturating_sub(micros(SystemTime::now())));
        Ok(End::Waits { at: after(delay), failed, signal })
    }

    /// Writes what became of the job, if the claim still is the one that the attempt began with.
    fn settle<T>(
        &self,
        durability: Durability,
        claim: Claim,
        write: impl Fn(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.write(durability, |conn| {
            claim.check(conn, self.picked.id, self.engine.boot)?;
            write(conn)
        })
    }

    fn write<T>(
        &self,
        durability: Durability,
        write: impl Fn(&Connection) -> Result<T>,
    ) -> Result<T> {
        write_to(self.database, durability, write)
    }
}

/// Runs `write` in a transaction of the queue's own.
pub(super) fn write_to<T>(
    database: &Database,
    durability: Durability,
    write: impl Fn(&Connection) -> Result<T>,
) -> Result<T> {
    database.transact(|conn| {
        conn.set_durability(durability)?;
        write(conn)
    })
}

/// Gives back what this process claimed and did not start: T6, in one transaction. Where that fails,
/// it is left to the next start.
pub(super) fn release(engine: &Engine, database: &Database, claimed: &[Oid]) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let released = write_to(database, Durability::Sync, |conn| {
        for &id in claimed {
            match Claim::of(conn, id, engine.boot) {
                Ok(_) => conn.modify(reference(id), Head::release)?,
                // It was discarded meanwhile.
                Err(Error::ClaimLost { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    released.inspect_err(|_| engine.lock().board.strays.extend(claimed))
}
