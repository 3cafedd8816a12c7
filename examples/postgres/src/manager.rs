//! PostgreSQL as a data manager: [`Postgres`], which its users hold, and what joins for it.
//!
//! # Invariants
//! - It joins before PostgreSQL is told to begin, and PostgreSQL is told to begin before the first
//!   statement: none is ever committed by itself.
//! - After it prepared, what is to be finished is known to PostgreSQL alone, under its name.

use crate::name::Name;
use crate::resolving::party;
use crate::session::Session;
use perennial::transaction::{DataManager, Decision, Info, ManagerId, Prepared, Saved};
use perennial::{Error, Result, Tid, TransactionManager};
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Row};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection to PostgreSQL that takes part in the transactions of a manager.
///
/// It is for one flow of control, as a connection to a database is. What it reads and writes is
/// one snapshot, taken at the first statement of each transaction.
pub struct Postgres {
    shared: Arc<Shared>,
    manager: TransactionManager,
}

struct Shared {
    id: ManagerId,
    party: String,
    session: Mutex<Session>,
}

impl Shared {
    fn session(&self) -> MutexGuard<'_, Session> {
        // Nothing is done under the lock that could be left half done by a panic of ours.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Postgres {
    /// Lets the connection, which must not be inside a transaction, take part in those of
    /// `manager`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where PostgreSQL is not set up for prepared transactions, and its
    /// errors.
    pub fn new(mut client: Client, manager: &TransactionManager) -> Result<Postgres> {
        let party = party(&mut client)?;
        let setting = client.query_one("SHOW max_prepared_transactions", &[]);
        if setting.map_err(Error::other)?.get::<_, &str>(0) == "0" {
            let what = "PostgreSQL prepares no transactions: set max_prepared_transactions";
            return Err(Error::Unsupported(what.into()));
        }
        let session = Mutex::new(Session::new(client));
        let shared = Arc::new(Shared { id: ManagerId::new(), party, session });
        Ok(Postgres { shared, manager: manager.clone() })
    }

    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    /// [`Error::NoTransaction`], and others where the transaction takes no work; those of
    /// PostgreSQL as [`Error::Other`], after which it takes nothing but a rollback, to a savepoint
    /// or of everything.
    pub fn execute(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.inside(|client| client.execute(statement, parameters))
    }

    /// Runs a statement; its rows.
    ///
    /// # Errors
    /// Those of [`execute`](Postgres::execute).
    pub fn query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.inside(|client| client.query(statement, parameters))
    }

    /// Runs several statements, none of which may begin or end a transaction.
    ///
    /// # Errors
    /// Those of [`execute`](Postgres::execute).
    pub fn batch_execute(&self, statements: &str) -> Result<()> {
        self.inside(|client| client.batch_execute(statements))
    }

    fn inside<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T> {
        self.manager.check_usable("use PostgreSQL")?;
        if !self.shared.session().is_open() {
            // Before anything else: if joining is refused, nothing has happened that nobody undoes.
            match self.manager.join(Handle(self.shared.clone())) {
                // As where PostgreSQL would not begin, the last time.
                Ok(()) | Err(Error::AlreadyJoined(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut session = self.shared.session();
        work(session.inside()?).map_err(Error::other)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({})", self.shared.party)
    }
}

/// What joins.
struct Handle(Arc<Shared>);

impl DataManager for Handle {
    fn identity(&self) -> ManagerId {
        self.0.id
    }

    fn sort_key(&self) -> String {
        self.0.party.clone()
    }

    fn prepare(&mut self, info: &Info) -> Result<Box<dyn Prepared>> {
        let Some(coordinator) = &info.coordinator else {
            // What is prepared outlives everything, and nobody could ever say what it is to become.
            let what = "PostgreSQL cannot be changed in one transaction with other data managers \
                        unless a database takes part, which decides and remembers";
            return Err(Error::Unsupported(what.into()));
        };
        let (database, last_tid) = (coordinator.database, coordinator.last_tid);
        let name = Name { gtid: info.id, database, last_tid };
        self.0.session().prepare(&name)?;
        Ok(Box::new(Promise { shared: self.0.clone(), name }))
    }

    fn commit_alone(&mut self, _: &Info, _: Option<&Decision>) -> Result<Option<Tid>> {
        self.0.session().commit()?;
        Ok(None)
    }

    fn abort(&mut self) -> Result<()> {
        self.0.session().roll_back()
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        let number = self.0.session().save()?;
        Ok(Box::new(Place { shared: self.0.clone(), number }))
    }

    fn is_retryable(&self, error: &Error) -> bool {
        let Error::Other(other) = error else { return error.is_retryable() };
        let code = other.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
        let lost = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        code.is_some_and(|code| lost.contains(code))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Where the transaction has ended in one of the ways above, nothing is open any more.
        drop(self.0.session().roll_back());
    }
}

/// A transaction that is prepared in PostgreSQL. To park it, or to drop it, is to leave it there:
/// its name says whom to ask.
struct Promise {
    shared: Arc<Shared>,
    name: Name,
}

impl Prepared for Promise {
    fn finish(self: Box<Self>) -> Result<Option<Tid>> {
        self.shared.session().commit_prepared(&self.name)?;
        Ok(None)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.shared.session().roll_back_prepared(&self.name)
    }

    fn park(self: Box<Self>) {}

    fn recovers(&self) -> bool {
        true
    }
}

/// A savepoint of PostgreSQL.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Saved for Place {
    fn rollback(&mut self) -> Result<()> {
        self.shared.session().return_to(self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.session().let_go(self.number);
    }
}
