//! An open database: [`Database`].
//!
//! The door of the crate: it gives out views to read in and connections to change objects with,
//! and runs closures in transactions of their own. What it is made of lies in the core that it
//! shares with them.
//!
//! # Invariants
//! - The database stays open for as long as a handle, a view or a connection of it lives.

use super::connection::Connection;
use super::core::Core;
use super::doubts::Search;
use super::isolation::Isolation;
use super::reference::Ref;
use super::registry;
use super::turn::Turn;
use super::view::View;
use crate::error::{Error, Result};
use crate::id::{DatabaseId, Tid};
use crate::storage::{Change, Durability, MemoryStorage, Storage};
use crate::transaction::{RetryPolicy, TransactionManager};
use std::sync::Arc;

/// A `Database` keeps objects. It is a handle: clones are the same database, in any thread.
///
/// ```
/// use perennial::{Database, Persistent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Account { cents: i64 }
/// impl Persistent for Account { const NAME: &'static str = "bank.Account"; }
///
/// let db = Database::in_memory()?;
/// let account = db.transact(|conn| conn.root_or_init("alice", |_| Ok(Account { cents: 100 })))?;
/// db.transact(|conn| conn.modify(account, |account| account.cents -= 30))?;
/// assert_eq!(db.view(|view| Ok(view.get(account)?.cents))?, 70);
/// # Ok::<(), perennial::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) core: Arc<Core>,
}

/// How a database is used, whatever keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// What commits wait for that do not say otherwise.
    pub durability: Durability,
    /// What transactions see of each other.
    pub isolation: Isolation,
    /// How many bytes of objects are kept decoded, counted by the length of their encoding: 64 MiB
    /// unless told.
    pub cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        let (durability, isolation) = Default::default();
        Settings { durability, isolation, cache_bytes: 64 << 20 }
    }
}

impl Database {
    /// A new database that lasts as long as it is used: for tests, and for trying things.
    ///
    /// # Errors
    /// [`Error::Io`] where the system has no random numbers to give.
    pub fn in_memory() -> Result<Database> {
        Ok(Database::with_storage(Arc::new(MemoryStorage::new()?), &Settings::default()))
    }

    /// The database that this storage keeps. A storage is for one `Database` and its clones.
    pub fn with_storage(storage: Arc<dyn Storage>, settings: &Settings) -> Database {
        Database::searching(storage, settings, Search::default())
    }

    pub(super) fn searching(
        storage: Arc<dyn Storage>,
        settings: &Settings,
        search: Search,
    ) -> Database {
        let core = Arc::new(Core::new(storage, settings, search));
        registry::announce(&core);
        Database { core }
    }

    /// A connection that takes part in the transactions of `manager`.
    ///
    /// It sees the database as of the begin of each transaction; where one is running, as of now.
    pub fn connect(&self, manager: &TransactionManager) -> Connection {
        Connection::new(self.core.clone(), manager)
    }

    /// The id of the database: drawn when it was created, and kept by copies.
    pub fn id(&self) -> DatabaseId {
        self.core.storage.id()
    }

    /// The last transaction that was committed; [`Tid::ZERO`] where there is none.
    pub fn last_tid(&self) -> Tid {
        self.core.storage.last_tid()
    }

    /// Shows what has been committed since, to a database that was opened for reading only while
    /// another process writes it; the last transaction that is shown. Views and transactions that
    /// are running go on as they began.
    ///
    /// Shown is what is durable: what was just committed may take about a tenth of a second. A
    /// database that writes shows all at once, and this does nothing.
    ///
    /// ```
    /// # use perennial::Database;
    /// # let home = tempfile::tempdir().expect("a directory");
    /// # let path = home.path().join("bank.db");
    /// # let writer = Database::open(&path)?;
    /// let reader = Database::options().read_only().open(&path)?;
    /// # let last = reader.last_tid();
    /// // … and later, when somebody else has committed:
    /// assert!(reader.refresh()? >= last);
    /// # Ok::<(), perennial::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where the file was moved, replaced, cut or written over: then open it again;
    /// [`Error::Damaged`], [`Error::Corrupt`], [`Error::Closed`]. What was shown stays shown.
    pub fn refresh(&self) -> Result<Tid> {
        self.core.storage.refresh()
    }

    /// Returns when everything that was committed before the call is durable.
    ///
    /// # Errors
    /// [`Error::Unknown`] where it may not be; [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        self.core.storage.sync()
    }

    /// Makes everything durable, and lets the files go. Transactions that are running can still
    /// read; whatever else is asked of the database, or of its connections, is an error.
    ///
    /// # Errors
    /// Those of [`sync`](Database::sync). A second call does nothing.
    pub fn close(&self) -> Result<()> {
        self.core.end_decisions_now();
        let closed = self.core.storage.close();
        self.core.registered.lock().take();
        closed
    }

    /// All changes of an object, newest first.
    ///
    /// # Errors
    /// [`Error::ForeignRef`], [`Error::Closed`], and those of reading.
    pub fn history<T>(&self, r: Ref<T>) -> Result<Vec<Change>> {
        self.core.storage.history(self.core.own(r)?)
    }
}

/// Closures in transactions of their own.
impl Database {
    /// Runs `work` in a transaction, and commits it. Where another transaction was faster, runs it
    /// again in a new one: up to ten times, after short waits.
    ///
    /// An error of the closure aborts the transaction, and so does a panic, which goes on.
    ///
    /// # Errors
    /// The last try's. [`Error::AlreadyInTransaction`] inside the closure of another `transact` of
    /// this database, whose changes the inner one could neither see nor wait for.
    pub fn transact<T>(&self, work: impl FnMut(&Connection) -> Result<T>) -> Result<T> {
        self.transact_with(&RetryPolicy::default(), work)
    }

    /// As [`transact`](Database::transact), retrying as `policy` says.
    ///
    /// # Errors
    /// As for [`transact`](Database::transact); [`Error::InvalidArgument`] where the policy allows
    /// no try.
    pub fn transact_with<T>(
        &self,
        policy: &RetryPolicy,
        mut work: impl FnMut(&Connection) -> Result<T>,
    ) -> Result<T> {
        let manager = TransactionManager::new();
        let conn = self.connect(&manager);
        manager.run(policy, |_| {
            let _turn = Turn::take(self.core.tag)?;
            work(&conn)
        })
    }

    /// As [`transact`](Database::transact), for closures with errors of their own. Such an error
    /// ends the work; it is tried again where the *transaction* had failed for a reason that
    /// allows it, or where the commit does.
    ///
    /// # Errors
    /// As for [`transact`](Database::transact).
    pub fn try_transact<T, E: From<Error>>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.try_transact_with(&RetryPolicy::default(), work)
    }

    /// As [`try_transact`](Database::try_transact), retrying as `policy` says.
    ///
    /// # Errors
    /// As for [`transact_with`](Database::transact_with).
    pub fn try_transact_with<T, E: From<Error>>(
        &self,
        policy: &RetryPolicy,
        mut work: impl FnMut(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let manager = TransactionManager::new();
        let conn = self.connect(&manager);
        manager.try_run(policy, |_| {
            let _turn = Turn::take(self.core.tag)?;
            work(&conn)
        })
    }

    /// Reads in one state of the database: the last one committed.
    ///
    /// # Errors
    /// The closure's; [`Error::Closed`].
    pub fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        self.try_view(read)
    }

    /// As [`view`](Database::view), for closures with errors of their own.
    ///
    /// # Errors
    /// As for [`view`](Database::view).
    pub fn try_view<T, E: From<Error>>(
        &self,
        read: impl FnOnce(&View) -> Result<T, E>,
    ) -> Result<T, E> {
        let snapshot = self.core.storage.snapshot()?;
        read(&View::fixed(self.core.clone(), snapshot))
    }

    /// Reads in the state that the transactions up to `tid` had left.
    ///
    /// # Errors
    /// The closure's; [`Error::InvalidArgument`] where `tid` is in the future, or before what was
    /// kept; [`Error::Closed`].
    pub fn view_at<T>(&self, tid: Tid, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let snapshot = self.core.storage.snapshot_at(tid)?;
        read(&View::fixed(self.core.clone(), snapshot))
    }
}
