//! What becomes of transactions that a crash left prepared: [`resolve`].
//!
//! # Invariants
//! - A prepared transaction is ended only by the answer of the database that decides about it.

use crate::name::{Name, PREFIX};
use crate::session::settle;
use perennial::{Database, Error, Fate, GlobalId, Result};
use postgres::Client;

/// What [`resolve`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Were decided, and are committed now.
    pub committed: Vec<GlobalId>,
    /// Were not decided, never will be, and are rolled back.
    pub rolled_back: Vec<GlobalId>,
    /// Stay prepared: the database has no answer, or is a copy older than the transaction.
    pub left: Vec<GlobalId>,
}

/// Asks the database `db` about every transaction that is prepared in this database of PostgreSQL
/// and that `db` decides about, and ends it accordingly.
///
/// To be called when a program starts, and whenever a commit was unknown or left something
/// unfinished. A transaction that is being committed at this moment, and is not decided yet, is
/// refused by the question: its commit fails, and can be tried again.
///
/// # Errors
/// Those of both databases. What was not reached is still prepared.
pub fn resolve(client: &mut Client, db: &Database) -> Result<Resolved> {
    // Read first: who takes part in a decision was prepared before it, and so what is in this list
    // and not in the next one is finished here.
    let decisions = db.open_decisions()?;
    let mut resolved = Resolved::default();
    for name in prepared(client)?.into_iter().filter(|name| name.database == db.id()) {
        // Of an older copy, the last decisions are missing: it does not know the tid.
        let list = match db.decision_since(name.gtid, name.last_tid)? {
            Fate::Committed(_) => {
                settle(client, "COMMIT", &name)?;
                &mut resolved.committed
            }
            Fate::Aborted => {
                settle(client, "ROLLBACK", &name)?;
                &mut resolved.rolled_back
            }
            Fate::Unknown => &mut resolved.left,
        };
        list.push(name.gtid);
    }
    let here = party(client)?;
    for decision in decisions {
        let ours = decision.participants.iter().all(|participant| participant.name == here);
        // Where others take part, who knows that all are done ends it.
        if ours && !resolved.left.contains(&decision.gtid) {
            db.end_decision(decision.gtid)?;
        }
    }
    Ok(resolved)
}

/// What this database of PostgreSQL is called among the participants of a transaction: the same
/// for all connections to it, and different from every other one.
pub(crate) fn party(client: &mut Client) -> Result<String> {
    let query = "SELECT system_identifier::text, current_database()::text FROM pg_control_system()";
    let row = client.query_one(query, &[]).map_err(Error::other)?;
    Ok(format!("postgres {} {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
}

/// Our transactions that are prepared in this database of PostgreSQL.
fn prepared(client: &mut Client) -> Result<Vec<Name>> {
    let query = "SELECT gid FROM pg_prepared_xacts \
                 WHERE database = current_database() AND starts_with(gid, $1) ORDER BY prepared";
    let rows = client.query(query, &[&PREFIX]).map_err(Error::other)?;
    Ok(rows.iter().filter_map(|row| Name::parse(row.get(0))).collect())
}
