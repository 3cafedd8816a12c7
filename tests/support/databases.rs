//! Databases of every kind of storage, and the objects that most laws keep in them.

use perennial::file::DiskDirectory;
use perennial::storage::file::FileOptions;
use perennial::storage::{FileStorage, MemoryStorage, Storage};
use perennial::{Connection, Database, Oid, Persistent, Ref, Settings, codec, decode_as};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tempfile::TempDir;

/// A new storage of each kind, and the directory that it lives in.
pub fn storages() -> Vec<(Arc<dyn Storage>, Option<TempDir>)> {
    let home = tempfile::tempdir().unwrap();
    let directory = Arc::new(DiskDirectory::new(home.path()));
    let file = FileStorage::open(directory, "laws.db", FileOptions::default()).unwrap();
    vec![(Arc::new(MemoryStorage::new().unwrap()), None), (Arc::new(file), Some(home))]
}

/// Holds the law against a new database of each kind.
pub fn everywhere(law: impl Fn(&Database)) {
    everywhere_with(&Settings::default(), law);
}

/// As [`everywhere`], with these settings.
pub fn everywhere_with(settings: &Settings, law: impl Fn(&Database)) {
    for (storage, _home) in storages() {
        law(&Database::with_storage(storage, settings));
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub owner: String,
    pub cents: i64,
}

impl Persistent for Account {
    const NAME: &'static str = "bank.Account";
}

/// A new account under the root "account".
pub fn account(db: &Database, cents: i64) -> Ref<Account> {
    let new = |_: &Connection| Ok(Account { owner: "alice".into(), cents });
    db.transact(|conn| conn.root_or_init("account", new)).unwrap()
}

/// A new account that only its reference leads to.
pub fn stray(db: &Database, cents: i64) -> Ref<Account> {
    db.transact(|conn| conn.add(Account { owner: "bob".into(), cents })).unwrap()
}

pub fn cents(db: &Database, account: Ref<Account>) -> i64 {
    db.view(|view| Ok(view.get(account)?.cents)).unwrap()
}

/// A number to which concurrent changes add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally(pub i64);

impl Persistent for Tally {
    const NAME: &'static str = "laws.Tally";

    fn resolve_conflict(original: &Tally, committed: &Tally, mine: &Tally) -> Option<Tally> {
        assert!(mine.0 != 666, "an unlucky number");
        (mine.0 != 13).then(|| Tally(committed.0 + mine.0 - original.0))
    }
}

/// A reference to this object that knows neither its database nor, perhaps, its type.
pub fn loose<T>(oid: Oid) -> Ref<T> {
    #[derive(Deserialize)]
    struct One<T>(#[serde(bound = "")] Ref<T>);
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    codec::encode("an oid", &oid.number(), 0, &mut bytes, &mut references).unwrap();
    decode_as::<One<T>>(&bytes).unwrap().0
}
