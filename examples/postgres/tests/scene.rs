//! A bank whose balances are objects and whose ledger is a table: [`Scene`].

use crate::cluster::{Cluster, connect};
use perennial::{Connection, Database, Persistent, Ref, Result, Transaction, TransactionManager};
use perennial_postgres::Postgres;
use postgres::{Client, Config};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// What a balance is booked with. An entry refers to a kind, which is looked for at the commit.
const TABLES: &str = "
    CREATE TABLE kind (name text PRIMARY KEY);
    INSERT INTO kind VALUES ('payment');
    CREATE TABLE entry (
        id serial PRIMARY KEY,
        cents bigint NOT NULL CHECK (cents <> 0),
        kind text REFERENCES kind DEFERRABLE INITIALLY DEFERRED
    );";

#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    pub cents: i64,
}

impl Persistent for Account {
    const NAME: &'static str = "bank.Account";
}

/// A database of objects and one of rows.
pub struct Scene {
    pub home: TempDir,
    pub db: Database,
    pub config: Config,
}

impl Scene {
    /// A new one; nothing where there is no PostgreSQL.
    pub fn new() -> Option<Scene> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::get()?;
        let name = format!("bank{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut admin = connect(&cluster.config("postgres"));
        admin.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let home = tempfile::tempdir().unwrap();
        let (db, config) = (open(home.path()), cluster.config(&name));
        connect(&config).batch_execute(TABLES).unwrap();
        Some(Scene { home, db, config })
    }

    /// A connection past all transactions of ours.
    pub fn client(&self) -> Client {
        connect(&self.config)
    }

    pub fn teller(&self) -> Teller {
        Teller::new(&self.db, &self.config)
    }

    pub fn balance(&self) -> i64 {
        let account = account(&self.db);
        self.db.view(|view| Ok(view.get(account)?.cents)).unwrap()
    }

    /// What is in the ledger.
    pub fn entries(&self) -> Vec<i64> {
        let rows = self.client().query("SELECT cents FROM entry ORDER BY id", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many transactions are prepared, and wait for an answer.
    pub fn prepared(&self) -> i64 {
        let count = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        self.client().query_one(count, &[]).unwrap().get(0)
    }

    /// Balance and ledger are this, and nothing is left prepared.
    #[track_caller]
    pub fn assert_holds(&self, entries: &[i64]) {
        assert_eq!(self.entries(), entries);
        assert_eq!(self.balance(), entries.iter().sum::<i64>());
        assert_eq!(self.prepared(), 0);
    }
}

/// The database in this directory, with its account.
pub fn open(home: &Path) -> Database {
    let db = Database::open(home.join("bank.db")).unwrap();
    account(&db);
    db
}

pub fn account(db: &Database) -> Ref<Account> {
    db.transact(|conn| conn.root_or_init("account", |_| Ok(Account { cents: 0 }))).unwrap()
}

/// Who works with both.
pub struct Teller {
    pub manager: TransactionManager,
    pub objects: Connection,
    pub rows: Postgres,
    pub account: Ref<Account>,
}

impl Teller {
    pub fn new(db: &Database, config: &Config) -> Teller {
        let manager = TransactionManager::new();
        let rows = Postgres::new(connect(config), &manager).unwrap();
        Teller { objects: db.connect(&manager), rows, account: account(db), manager }
    }

    /// An entry of this kind, and the balance that follows from it.
    pub fn book(&self, cents: i64, kind: &str) -> Result<()> {
        self.enter(cents, kind)?;
        self.objects.modify(self.account, |account| account.cents += cents)
    }

    /// An entry only.
    pub fn enter(&self, cents: i64, kind: &str) -> Result<()> {
        let insert = "INSERT INTO entry (cents, kind) VALUES ($1, $2)";
        self.rows.execute(insert, &[&cents, &kind]).map(drop)
    }

    /// A transaction in which a payment was booked.
    pub fn paying(&self, cents: i64) -> Transaction {
        let transaction = self.manager.begin().unwrap();
        self.book(cents, "payment").unwrap();
        transaction
    }
}
