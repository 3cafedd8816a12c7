//! What is said to PostgreSQL: [`Session`].
//!
//! `manager` calls it, and knows why; here stand the statements, and what can be known after one
//! failed.
//!
//! # Invariants
//! - A statement of the application is sent inside a transaction of PostgreSQL, or not at all.

use crate::name::Name;
use crate::savepoints::Savepoints;
use perennial::{Error, Result};
use postgres::Client;
use postgres::error::{DbError, Severity, SqlState};

/// A connection, and how far its transaction has come.
pub(crate) struct Session {
    client: Client,
    /// Whether PostgreSQL has a transaction open for ours.
    open: bool,
    savepoints: Savepoints,
}

/// The transaction of PostgreSQL, from its beginning to its end.
impl Session {
    pub(crate) fn new(client: Client) -> Session {
        Session { client, open: false, savepoints: Savepoints::default() }
    }

    /// Whether there is something to commit or roll back.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The connection, inside a transaction.
    pub(crate) fn inside(&mut self) -> Result<&mut Client> {
        if !self.open {
            // As a connection to a database of ours: one state of the rows, for the whole time.
            self.say("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
            self.open = true;
        }
        Ok(&mut self.client)
    }

    /// Commits, as the only data manager or the last one.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.check()?;
        if let Err(error) = self.client.batch_execute("COMMIT") {
            return Err(if is_answer(&error) {
                Error::other(error)
            } else {
                Error::Unknown(format!("PostgreSQL: {error}").into())
            });
        }
        self.close();
        Ok(())
    }

    /// Puts the transaction aside under this name, where it outlives the connection, and a crash
    /// of PostgreSQL.
    pub(crate) fn prepare(&mut self, name: &Name) -> Result<()> {
        self.check()?;
        self.say(&format!("PREPARE TRANSACTION '{name}'"))?;
        self.close();
        Ok(())
    }

    /// Forgets everything since the beginning.
    pub(crate) fn roll_back(&mut self) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        self.close();
        match self.client.batch_execute("ROLLBACK") {
            // The connection is lost, and PostgreSQL has rolled back what was begun on it.
            Err(error) if !is_answer(&error) => Ok(()),
            said => said.map_err(Error::other),
        }
    }

    /// Where a statement failed, PostgreSQL takes `COMMIT` and `PREPARE TRANSACTION` for a
    /// `ROLLBACK`, and calls that a success. This one it refuses then, and outside a transaction.
    fn check(&mut self) -> Result<()> {
        self.inside()?.batch_execute("SAVEPOINT perennial_check").map_err(Error::other)
    }

    fn close(&mut self) {
        self.open = false;
        self.savepoints.clear();
    }

    fn say(&mut self, statement: &str) -> Result<()> {
        self.client.batch_execute(statement).map_err(Error::other)
    }
}

/// Whether PostgreSQL refused a statement, which then has not happened. All else is the end of a
/// connection, and says nothing: also what is told in the name of an administrator.
fn is_answer(error: &postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    severity == Some(Severity::Error)
}

/// The second phase.
impl Session {
    pub(crate) fn commit_prepared(&mut self, name: &Name) -> Result<()> {
        settle(&mut self.client, "COMMIT", name)
    }

    pub(crate) fn roll_back_prepared(&mut self, name: &Name) -> Result<()> {
        settle(&mut self.client, "ROLLBACK", name)
    }
}

/// Ends what was prepared under this name, with `COMMIT` or `ROLLBACK`.
pub(crate) fn settle(client: &mut Client, end: &str, name: &Name) -> Result<()> {
    match client.batch_execute(&format!("{end} PREPARED '{name}'")) {
        // Somebody who resolves was faster, and was given the same answer.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => Ok(()),
        ended => ended.map_err(Error::other),
    }
}

/// Savepoints.
impl Session {
    /// Takes one; its number.
    pub(crate) fn save(&mut self) -> Result<u64> {
        self.inside()?;
        let spent = self.savepoints.trim();
        let release =
            spent.map(|number| format!("RELEASE perennial_{number};")).unwrap_or_default();
        let number = self.savepoints.push();
        self.say(&format!("{release} SAVEPOINT perennial_{number}"))?;
        Ok(number)
    }

    /// Returns to it; it stays.
    pub(crate) fn return_to(&mut self, number: u64) -> Result<()> {
        self.savepoints.return_to(number);
        self.say(&format!("ROLLBACK TO perennial_{number}"))
    }

    /// Nobody will return to it. Says nothing to PostgreSQL: at the end of a transaction, which is
    /// when most are dropped, there is nothing to say.
    pub(crate) fn let_go(&mut self, number: u64) {
        self.savepoints.mark(number);
    }
}
