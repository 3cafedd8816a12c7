//! What a handler knows of the job at hand, and can do with the database: [`Context`].
//!
//! `work` makes one for each attempt. Its verbs are transactions and views of their own.
//!
//! # Invariants
//! - What `complete` writes is committed together with the removal of the job, or not at all.

use super::board::Flag;
use super::engine::Engine;
use super::record::{Head, State, reference, remove};
use crate::error::{Error, Result};
use crate::id::{Oid, Tid};
use crate::object::{Connection, Database, View};
use crate::transaction::RetryPolicy;
use std::cell::Cell;
use std::fmt;

/// How often `complete` is tried when its work conflicts.
const TRIES: u32 = 4;

/// A `Context` is one attempt at one job, for its handler.
pub struct Context<'a> {
    pub(super) database: &'a Database,
    pub(super) engine: &'a Engine,
    pub(super) id: Oid,
    pub(super) claim: Claim,
    pub(super) flag: &'a Flag,
    pub(super) completed: Cell<bool>,
    pub(super) lost: Cell<bool>,
}

/// What this process holds of a job while it runs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// The transaction that wrote the job as it is claimed: where another one has written it
    /// since, the claim is lost.
    pub token: Tid,
    pub attempt: u32,
    pub crashes: u32,
}

impl Context<'_> {
    /// The id of the job.
    pub fn id(&self) -> Oid {
        self.id
    }

    /// The number of this attempt, from 1 on.
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    /// In how many attempts the process died.
    pub fn crashes(&self) -> u32 {
        self.claim.crashes
    }

    /// Names this job everywhere and for ever: the same at every attempt, of whichever process.
    /// Sent along with its effect, it lets the receiver notice a repetition.
    pub fn idempotency_key(&self) -> String {
        format!("{}{:016x}", self.database.id(), self.id.number())
    }

    /// Whether the handler should return: it has had its time, the runner stops, or the job was
    /// discarded. A handler that fails because of a stop is not charged for it.
    pub fn is_cancelled(&self) -> bool {
        self.flag.is_raised()
    }

    /// The database. A handler that keeps a clone of it beyond its return keeps it open.
    pub fn database(&self) -> &Database {
        self.database
    }

    /// Reads in the last committed state.
    ///
    /// # Errors
    /// Those of [`Database::view`].
    pub fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        self.database.view(read)
    }

    /// Does the job's own writing, and removes the job, in one transaction: these effects happen
    /// exactly once. Where it conflicts, `work` is run again, up to three times.
    ///
    /// What the handler returns after this has succeeded changes nothing any more.
    ///
    /// # Errors
    /// Those of [`Database::transact`]; [`Error::ClaimLost`] where somebody discarded the job
    /// meanwhile, [`Error::InvalidArgument`] where it was completed already.
    pub fn complete<T>(&self, mut work: impl FnMut(&Connection) -> Result<T>) -> Result<T> {
        if self.completed.get() {
            let what = format!("job {} was completed already", self.id);
            return Err(Error::InvalidArgument(what.into()));
        }
        let done = self.database.transact_with(&RetryPolicy::new(TRIES), |conn| {
            self.claim.check(conn, self.id, self.engine.boot)?;
            let result = work(conn)?;
            remove(conn, reference(self.id))?;
            Ok(result)
        });
        self.completed.set(done.is_ok());
        self.lost.set(matches!(done, Err(Error::ClaimLost { .. })));
        done
    }
}

impl Claim {
    /// The claim of the process `boot` on a job, as it is now.
    ///
    /// # Errors
    /// [`Error::ClaimLost`] where the job is gone, or is not claimed so.
    pub fn of(view: &View, id: Oid, boot: u64) -> Result<(Claim, std::sync::Arc<Head>)> {
        let head = match view.get(reference(id)) {
            Err(Error::NotFound(_)) => Err(Error::ClaimLost { job: id }),
            other => other,
        }?;
        if head.state != State::Claimed(boot) {
            return Err(Error::ClaimLost { job: id });
        }
        let token = view.stored_by(reference(id))?;
        Ok((Claim { token, attempt: head.attempts, crashes: head.crashes }, head))
    }

    /// Refuses to go on where the claim is not this one any more. What happens later than the
    /// transaction's snapshot is a conflict at its commit.
    ///
    /// # Errors
    /// [`Error::ClaimLost`].
    pub fn check(&self, conn: &Connection, id: Oid, boot: u64) -> Result<()> {
        let (now, _) = Claim::of(conn, id, boot)?;
        if now.token == self.token { Ok(()) } else { Err(Error::ClaimLost { job: id }) }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("id", &self.id).field("attempt", &self.attempt()).finish()
    }
}
