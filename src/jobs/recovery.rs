//! What a start finds in the file, and makes of it: [`recover`].
//!
//! # Invariants
//! - All that a dead process left is given back in one transaction, or nothing is: a crash in
//!   between charges nobody twice.
//! - Where there is nothing to give back, nothing is written.

use super::board::Waiting;
use super::engine::{Engine, after};
use super::enqueue::Permit;
use super::record::{Head, State};
use super::work::write_to;
use crate::error::Result;
use crate::id::Oid;
use crate::object::{Connection, Database, Ref};
use crate::storage::Durability;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Gives back what dead processes had claimed, and puts all jobs that wait on the board.
pub(super) fn recover(engine: &Engine, database: &Database) -> Result<()> {
    let strays = engine.lock().board.strays.clone();
    let orphans = write_to(database, Durability::Sync, |conn| give_back(engine, conn, &strays))?;
    // Only now: where nothing could be written, the next start has to know of them.
    engine.lock().board.strays.retain(|id| !strays.contains(id));
    if !orphans.is_empty() {
        tracing::warn!(orphans = orphans.len(), "jobs were under way when a process died");
        let ledger = &mut engine.lock().ledger;
        ledger.counts.recovered += orphans.len() as u64;
        let dead = orphans.iter().filter(|(_, head)| head.state == State::Dead);
        dead.for_each(|(id, head)| ledger.died(*id, head));
    }
    database.view(|view| {
        for job in view.pinned::<Head>()? {
            let head = view.get(job)?;
            if head.is_ready() {
                let at = after(head.wait(view.stored_by(job)?, SystemTime::now()));
                let how = Waiting { claimed: false, suspect: head.crashes > 0 };
                let board = &mut engine.lock().board;
                if !board.knows(job.oid()) {
                    board.put(job.oid(), &head.kind, at, how);
                }
            }
        }
        Ok(())
    })
}

/// Promises in doubt may have been settled: hands over the jobs of those that are committed now,
/// and forgets those of the others. What a dead process had promised is for the runner that is
/// there, as at its start.
pub(super) fn settled(engine: &Arc<Engine>) {
    let Some(database) = engine.database.upgrade() else { return };
    if let Err(error) = look_again(engine, &database) {
        tracing::warn!(%error, "jobs of a transaction in doubt wait for the next start");
    }
}

fn look_again(engine: &Engine, database: &Database) -> Result<()> {
    let doubts = database.in_doubt()?;
    let in_doubt = |permit: &Permit| doubts.iter().any(|doubt| doubt.gtid == permit.transaction);
    let is_over = |permit: &mut Permit| !in_doubt(permit);
    // After the doubts, which become jobs, and before anything is let go of.
    let there: HashSet<Oid> =
        database.view(|view| Ok(view.pinned::<Head>()?.into_iter().map(Ref::oid).collect()))?;
    let over: Vec<_> = engine.lock().in_doubt.extract_if(.., is_over).collect();
    over.into_iter().filter(|permit| there.contains(&permit.id)).for_each(Permit::hand_over);
    let runs = engine.lock().board.mode.is_some();
    if runs { recover(engine, database) } else { Ok(()) }
}

/// T7, and T6 for what this process has claimed and lost sight of; which ones were T7.
fn give_back(
    engine: &Engine,
    conn: &Connection,
    strays: &HashSet<Oid>,
) -> Result<Vec<(Oid, Arc<Head>)>> {
    let mut orphans = Vec::new();
    for job in conn.pinned::<Head>()? {
        let head = conn.get(job)?;
        let State::Claimed(boot) = head.state else { continue };
        if boot != engine.boot {
            let policy = engine.lock().board.policy(&head.kind);
            conn.modify(job, |head| head.orphan(&policy))?;
            orphans.push((job.oid(), conn.get(job)?));
        } else if strays.contains(&job.oid()) {
            conn.modify(job, Head::release)?;
        }
    }
    Ok(orphans)
}
