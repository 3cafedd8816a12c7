//! Rows of PostgreSQL and objects of Perennial in one transaction.
//!
//! [`Postgres`] is a data manager: a connection to PostgreSQL that joins the current transaction
//! at its first statement. A Perennial database that takes part decides; PostgreSQL prepares before
//! that, with `PREPARE TRANSACTION`, and commits what it prepared after it. What a crash leaves
//! prepared is named after the database that decides and the transaction, so that [`resolve`] can
//! ask. To read it, begin with `manager`, the contract; then `session`, the statements; then
//! `resolving`, what happens after a crash.
//!
//! ```no_run
//! use perennial::{Database, TransactionManager};
//! use perennial_postgres::{Postgres, resolve};
//! use postgres::{Client, NoTls};
//!
//! let connect = || Client::connect("host=/run/postgresql user=bank dbname=bank", NoTls);
//! let db = Database::open("bank.db")?;
//! resolve(&mut connect()?, &db)?; // what a crash left in doubt
//!
//! let manager = TransactionManager::new();
//! let rows = Postgres::new(connect()?, &manager)?;
//! let objects = db.connect(&manager);
//!
//! let mut transaction = manager.begin()?;
//! rows.execute("UPDATE account SET cents = cents - 30 WHERE owner = 'alice'", &[])?;
//! objects.root_or_init("paid", |_| Ok(Paid { cents: 30 }))?;
//! transaction.commit()?; // both, or neither
//! # #[derive(Clone, serde::Serialize, serde::Deserialize)]
//! # struct Paid { cents: i64 }
//! # impl perennial::Persistent for Paid { const NAME: &'static str = "bank.Paid"; }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod manager;
mod name;
mod resolving;
mod savepoints;
mod session;

pub use manager::Postgres;
pub use resolving::{Resolved, resolve};
