//! Places to return to inside a transaction: [`Savepoint`].
//!
//! A savepoint is a number; what the managers gave for it lies under that number in the
//! transaction's state, so that a rollback and the transaction's end can take away what they make
//! invalid. Managers see a stack: whatever is later than the point rolled back to is dropped,
//! newest first, before anybody is rolled back.
//!
//! # Invariants
//! - A point holds one answer of each manager that had joined when it was taken, and of no other.

use super::contain::discard;
use super::data_manager::{ManagerId, Saved};
use super::log::{Log, Phase};
use super::member::Member;
use super::state::{Cause, Stage, State, Work};
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// A `Savepoint` is a place to return to inside a transaction.
///
/// It costs O(1) to take and, to return to, what was touched since. Returning undoes every change
/// since: of objects, of other managers' data, of hooks. A manager that joined since is aborted,
/// and leaves; it may join again. Dropping the savepoint lets go of what it remembers.
///
/// ```
/// # use perennial::{Error, transaction::TransactionManager};
/// let manager = TransactionManager::new();
/// let mut transaction = manager.begin()?;
/// let here = transaction.savepoint()?;
/// transaction.before_commit(|| Err(Error::other("not after the rollback")))?;
/// here.rollback()?;
/// transaction.commit()?;
/// assert!(!here.can_rollback());
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a savepoint is released when it is dropped"]
pub struct Savepoint {
    state: Arc<State>,
    number: u64,
}

/// What is needed to return to a savepoint.
pub(super) struct Point {
    hooks: u64,
    saved: Vec<Memory>,
}

/// What one manager gave for a savepoint; nothing where it supports none.
struct Memory {
    id: ManagerId,
    manager: Arc<str>,
    saved: Option<Box<dyn Saved>>,
}

impl Savepoint {
    /// Takes a savepoint; where it is `optimistic`, also of managers that support none.
    pub(super) fn take(state: &Arc<State>, optimistic: bool) -> Result<Savepoint> {
        let (mut members, stage) = state.lock().take_members("take a savepoint")?;
        let saved = match ask(&mut members, &state.log, optimistic) {
            Ok(saved) => saved,
            Err(error) => {
                let cause = Cause::new(&error, members.iter());
                state.fail(members, stage, cause);
                return Err(error);
            }
        };
        let mut work = state.lock();
        work.return_members(members, stage);
        work.next_point += 1;
        let (number, hooks) = (work.next_point, work.hooks.mark());
        work.points.insert(number, Point { hooks, saved });
        Ok(Savepoint { state: state.clone(), number })
    }

    /// Returns to this place. It may be returned to again; later savepoints may not.
    ///
    /// # Errors
    /// [`Error::InvalidSavepoint`] after the transaction's end, or when an earlier savepoint was
    /// returned to. [`Error::Unsupported`] where a manager supports no savepoints, and errors of
    /// managers: these fail the transaction, since it holds work that was to be undone.
    pub fn rollback(&self) -> Result<()> {
        let (mut members, stage, mut point, later, hooks) = {
            let mut work = self.state.lock();
            self.check(&work)?;
            let (members, stage) = work.take_members("roll back to a savepoint")?;
            let mut later = work.points.split_off(&self.number);
            let (_, point) = later.pop_first().expect("the check has just found it");
            let hooks = work.hooks.split_off(point.hooks);
            (members, stage, point, later, hooks)
        };
        later.into_values().rev().for_each(discard);
        discard(hooks);
        let mut left = Vec::new();
        let result = point.restore(&mut members, &mut left, &self.state.log);
        let cause = result.as_ref().err().map(|error| Cause::new(error, members.iter()));
        let spare = {
            let mut work = self.state.lock();
            left.iter().for_each(|member| work.vacate(member.seat.id));
            work.return_members(members, stage);
            work.points.insert(self.number, point);
            cause.and_then(|cause| work.fail(cause))
        };
        discard((left, spare));
        result
    }

    /// Whether [`rollback`](Savepoint::rollback) would be tried: this savepoint is valid, its
    /// transaction has not failed, and every manager it covers supports savepoints.
    pub fn can_rollback(&self) -> bool {
        let work = self.state.lock();
        self.check(&work).is_ok() && work.points[&self.number].is_whole()
    }

    fn check(&self, work: &Work) -> Result<()> {
        if work.stage == Stage::Over {
            return Err(Error::InvalidSavepoint("its transaction is over"));
        }
        work.check_points("roll back to a savepoint")?;
        if work.points.contains_key(&self.number) {
            return Ok(());
        }
        Err(Error::InvalidSavepoint("an earlier one was rolled back to"))
    }
}

impl Drop for Savepoint {
    fn drop(&mut self) {
        let released = {
            let mut work = self.state.lock();
            work.points.remove(&self.number)
        };
        discard(released);
    }
}

impl fmt::Debug for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Savepoint({} of transaction {})", self.number, self.state.id)
    }
}

/// Asks every member to remember its state.
fn ask(members: &mut [Member], log: &Log, optimistic: bool) -> Result<Vec<Memory>> {
    let mut all = Vec::with_capacity(members.len());
    for member in members {
        let saved = member.call(Phase::Savepoint, log, |manager| match manager.savepoint() {
            Err(Error::Unsupported(_)) if optimistic => Ok(None),
            saved => saved.map(Some),
        });
        let (id, manager) = (member.seat.id, member.seat.name.clone());
        match saved {
            Ok(saved) => all.push(Memory { id, manager, saved }),
            Err(error) => {
                discard(all);
                return Err(error);
            }
        }
    }
    Ok(all)
}

impl Point {
    /// Whether every manager gave something.
    fn is_whole(&self) -> bool {
        self.saved.iter().all(|memory| memory.saved.is_some())
    }

    /// Rolls back every member that it covers. The others are aborted and moved to `left`: their
    /// changes are all later than this place, so they must not be in the transaction, and join
    /// again at their next change.
    fn restore(
        &mut self,
        members: &mut Vec<Member>,
        left: &mut Vec<Member>,
        log: &Log,
    ) -> Result<()> {
        if let Some(memory) = self.saved.iter().find(|memory| memory.saved.is_none()) {
            let what = format!("the data manager {} cannot be rolled back", memory.manager);
            return Err(Error::Unsupported(what.into()));
        }
        let mut next = 0;
        while next < members.len() {
            let seat = &members[next].seat;
            let memory = self.saved.iter_mut().find(|memory| memory.id == seat.id);
            if let Some(saved) = memory.and_then(|memory| memory.saved.as_mut()) {
                log.call(&seat.name, Phase::Rollback, || saved.rollback())?;
                next += 1;
            } else {
                left.push(members.remove(next));
                let late = left.last_mut().expect("it was pushed in the line before");
                late.call(Phase::Abort, log, |manager| manager.abort())?;
            }
        }
        Ok(())
    }
}
