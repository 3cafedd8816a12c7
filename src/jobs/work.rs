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
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long a result that could not be written is kept from being tried again.
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
    let claimed = Cell::new(picked.claimed);
    let attempt = Attempt { engine, database, picked: &picked, claimed, head: Cell::default() };
    let result = attempt.run();
    let Picked { id, handler, flag, .. } = &picked;
    let (id, kind) = (*id, handler.kind);
    let (claimed, head) = (attempt.claimed.get(), attempt.head.take());
    if flag.is_late() {
        tracing::warn!(job = %id, kind, "a job ran beyond its timeout");
    }
    let end = match result {
        Ok(end) => end,
        Err(Error::ClaimLost { .. }) => End::Lost,
        // What the file says is for the next opening to find.
        Err(Error::Closed | Error::Halted(_) | Error::Unknown(_)) => End::Gone,
        Err(error) => {
            tracing::error!(job = %id, kind, %error, "the result of a job was not recorded");
            End::Unrecorded
        }
    };
    let late = flag.is_late();
    engine.ended(id, end.signal(), |Inner { board, ledger, .. }| {
        ledger.counts.late += u64::from(late);
        match (end, head) {
            (End::Done, Some(head)) => {
                ledger.counts.done += 1;
                ledger.remove(id, head.payload.len(), key(&head));
            }
            (End::Dead(_), Some(head)) => {
                ledger.counts.failed += 1;
                ledger.counts.dead += 1;
                ledger.vacate(id, key(&head));
            }
            (End::Waits { at, failed, .. }, Some(head)) => {
                ledger.counts.failed += u64::from(failed);
                let how = Waiting { claimed: false, suspect: head.crashes > 0 };
                board.put(id, &head.kind, at, how);
            }
            (End::Unrecorded, _) => {
                board.put(id, kind, after(MEND), Waiting { claimed, suspect: picked.suspect });
            }
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
    /// There is nothing to try, or nowhere to write.
    Gone,
    /// It is as it was: what became of it could not be written.
    Unrecorded,
}

impl End {
    fn signal(self) -> Signal {
        match self {
            End::Done => Signal::Up,
            End::Waits { signal, .. } | End::Dead(signal) => signal,
            End::Lost | End::Gone | End::Unrecorded => Signal::Silent,
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
        let ran = body.and_then(|body| self.picked.handler.run(&context, &head, &body));
        match ran {
            _ if context.completed.get() => Ok(End::Done),
            _ if context.lost.get() => Err(Error::ClaimLost { job: id }),
            Ok(Ok(())) => self.done(claim),
            Ok(Err(failure)) => self.failed(claim, failure),
            Err(error) => self.unreadable(claim, &error),
        }
    }

    /// T2, where the job still waits; whether it did. That of a job which was under way when a process died waits for the disk: if this one
    /// dies too, it must be known who was claimed.
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
            return self.change(claim, Signal::Silent, |head| {
                let due = head.due;
                head.release(due);
            });
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
            Failure::Snooze(delay) => self.change(claim, Signal::Silent, |head| {
                head.release(micros(SystemTime::now() + delay));
            }),
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

/// Gives back what this process claimed and did not start: T6, in one transaction.
pub(super) fn release(engine: &Engine, database: &Database, claimed: &[Oid]) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    write_to(database, Durability::Sync, |conn| {
        for &id in claimed {
            if Claim::of(conn, id, engine.boot).is_ok() {
                conn.modify(reference(id), |head| {
                    let due = head.due;
                    head.release(due);
                })?;
            }
        }
        Ok(())
    })
}
