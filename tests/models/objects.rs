//! The cache of objects that all connections share.

use super::{explore_storages, together};
use crate::support::databases::Account;
use perennial::storage::Storage;
use perennial::{Connection, Database, Error, Ref, Settings, TransactionManager};
use std::sync::Arc;

/// A cache with room for two accounts only, so that something is forgotten all the time.
const TIGHT: u64 = 300;

fn database(storage: Arc<dyn Storage>, cache_bytes: u64) -> Database {
    let mut settings = Settings::default();
    settings.cache_bytes = cache_bytes;
    Database::with_storage(storage, &settings)
}

/// One transaction of this connection; whether it committed.
///
/// `transact` is not for models: to it, all threads of a checker are one.
fn transact(manager: &TransactionManager, work: impl FnOnce() -> Result<(), Error>) -> bool {
    let mut transaction = manager.begin().unwrap();
    work().unwrap();
    match transaction.commit() {
        Ok(_) => true,
        Err(Error::Conflict(_)) => {
            // The winner may not be visible yet.
            shuttle::thread::yield_now();
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn connect(db: &Database) -> (TransactionManager, Connection) {
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    (manager, conn)
}

fn accounts(db: &Database, count: usize) -> Vec<Ref<Account>> {
    let (manager, conn) = connect(db);
    let mut made = Vec::new();
    transact(&manager, || {
        for _ in 0..count {
            made.push(conn.add(Account { owner: "alice".into(), cents: 0 })?);
        }
        Ok(())
    });
    made
}

/// Adds one to the first two accounts, until it has done so twice.
fn write(db: &Database, all: &[Ref<Account>]) {
    let (manager, conn) = connect(db);
    for _ in 0..2 {
        while !transact(&manager, || {
            all[..2].iter().try_for_each(|&it| conn.modify(it, |account| account.cents += 1))
        }) {}
    }
}

/// Reads all of them twice in one view, the other way round the second time.
fn read(db: &Database, all: &[Ref<Account>]) {
    for _ in 0..2 {
        db.view(|view| {
            let cents = |it: &Ref<Account>| Ok(view.get(*it)?.cents);
            let seen: Vec<i64> = all.iter().map(cents).collect::<Result<_, Error>>()?;
            let mut again: Vec<i64> = all.iter().rev().map(cents).collect::<Result<_, Error>>()?;
            again.reverse();
            assert_eq!(seen, again, "two reads of one object differ");
            assert_eq!(seen[0], seen[1], "half of a transaction is seen");
            assert!(seen[2..].iter().all(|&cents| cents == 0), "one object for another");
            Ok(())
        })
        .unwrap();
    }
}

fn race(storage: Arc<dyn Storage>, cache_bytes: u64) {
    let db = database(storage, cache_bytes);
    let all = accounts(&db, 3);
    let program = |act: fn(&Database, &[Ref<Account>])| -> Box<dyn FnOnce() + Send> {
        let (db, all) = (db.clone(), all.clone());
        Box::new(move || act(&db, &all))
    };
    together(vec![program(write), program(write), program(read), program(read)]);
    db.view(|view| Ok(assert_eq!(view.get(all[0])?.cents, 4, "a change is lost"))).unwrap();
}

// C2, M2, M3
#[test]
fn what_is_cached_is_seen_only_by_those_whose_snapshot_it_is_in() {
    explore_storages("a cache for all", |storage| race(storage, 1 << 20));
    explore_storages("a cache too small for all", |storage| race(storage, TIGHT));
}
