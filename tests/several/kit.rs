//! Two or three databases on one disk, each with one number, which change together.

use crate::support::databases::Tally;
use crate::support::sim::SimDisk;
use perennial::storage::FileStorage;
use perennial::storage::file::FileOptions;
use perennial::{
    Connection, Database, Options, Ref, Report, Result, Settings, Transaction, TransactionManager,
};
use std::sync::Arc;

/// The files.
pub const NAMES: [&str; 3] = ["a.db", "b.db", "c.db"];

/// A database and its number.
#[derive(Clone)]
pub struct Side {
    pub db: Database,
    pub number: Ref<Tally>,
}

impl Side {
    /// The number that is kept in `db`, made where there is none.
    pub fn of(db: Database) -> Result<Side> {
        let number = db.transact(|conn| conn.root_or_init("number", |_| Ok(Tally(0))))?;
        Ok(Side { db, number })
    }

    pub fn value(&self) -> i64 {
        self.db.view(|view| Ok(view.get(self.number)?.0)).unwrap()
    }
}

/// Opens a file of `disk` without a thread that works beside: the same run does the same.
pub fn quiet(disk: &SimDisk, name: &str) -> Result<Database> {
    let options =
        FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    let storage = FileStorage::open(Arc::new(disk.clone()), name, options)?;
    Ok(Database::with_storage(Arc::new(storage), &Settings::default()))
}

/// Opens a file of `disk` as an application does.
pub fn open(disk: &SimDisk, name: &str) -> Result<Database> {
    options(disk).open(name)
}

pub fn options(disk: &SimDisk) -> Options {
    Database::options().directory(Arc::new(disk.clone()))
}

/// The first `count` databases of `disk`.
pub fn sides(disk: &SimDisk, count: usize) -> Vec<Side> {
    NAMES[..count].iter().map(|name| Side::of(quiet(disk, name).unwrap()).unwrap()).collect()
}

/// The side that decides for all, and the others.
pub fn decider(sides: &[Side]) -> (&Side, Vec<&Side>) {
    let mut sorted: Vec<&Side> = sides.iter().collect();
    sorted.sort_by_key(|side| side.db.id());
    (sorted[0], sorted[1..].to_vec())
}

/// A transaction that has changed the number of each side to `value`.
pub fn begin(sides: &[Side], value: i64) -> (TransactionManager, Vec<Connection>, Transaction) {
    let manager = TransactionManager::new();
    let connections: Vec<_> = sides.iter().map(|side| side.db.connect(&manager)).collect();
    let transaction = manager.begin().unwrap();
    for (side, conn) in sides.iter().zip(&connections) {
        conn.modify(side.number, |number| number.0 = value).unwrap();
    }
    (manager, connections, transaction)
}

/// Changes the number of each side to `value`, in one transaction.
pub fn set(sides: &[Side], value: i64) -> Result<Report> {
    let (_manager, _connections, mut transaction) = begin(sides, value);
    transaction.commit()
}
