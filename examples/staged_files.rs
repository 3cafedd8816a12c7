//! Files that appear when a transaction commits, and vanish when it aborts or the process dies.
//!
//! ```console
//! $ cargo run --example staged_files
//! ```
//!
//! It pays from an account, and writes a statement of it: both happen, or neither. To read it,
//! begin with `staged_files/files.rs`, the data manager; then `staged_files/intent.rs`, what
//! outlives a crash. docs/data-managers.md says why it is as it is.

#[path = "staged_files/files.rs"]
pub(crate) mod files;
#[path = "staged_files/folder.rs"]
mod folder;
#[path = "staged_files/intent.rs"]
mod intent;

use files::StagedFiles;
use perennial::{Database, Error, Persistent, Result, TransactionManager};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    cents: i64,
}

impl Persistent for Account {
    const NAME: &'static str = "bank.Account";
}

/// Pays three times, the second time more than there is.
pub fn main() -> Result<()> {
    let home = tempfile::tempdir().map_err(Error::other)?;
    let db = Database::open(home.path().join("bank.db"))?;
    let account = db.transact(|conn| conn.root_or_init("alice", |_| Ok(Account { cents: 100 })))?;

    let manager = TransactionManager::new();
    let (objects, files) = (db.connect(&manager), StagedFiles::open(home.path(), &manager)?);
    files.recover(&db)?; // here are those of a directory that is as old as the database

    let mut transaction = manager.begin()?;
    for cents in [30, 500, 20] {
        let here = transaction.savepoint()?;
        let left = objects.modify(account, |account| {
            account.cents -= cents;
            account.cents
        })?;
        files.write("alice.txt", format!("alice paid {cents}, and has {left}\n").as_bytes())?;
        if left < 0 {
            here.rollback()?; // neither the payment nor its statement
        }
    }
    assert_eq!(std::fs::exists(home.path().join("alice.txt")).ok(), Some(false), "not yet");
    transaction.commit()?;

    let statement = files.read("alice.txt")?.unwrap_or_default();
    print!("{}", String::from_utf8_lossy(&statement));
    assert_eq!(statement, b"alice paid 20, and has 50\n");
    assert_eq!(db.view(|view| Ok(view.get(account)?.cents))?, 50);
    db.close()
}
