//! SQLite, by rusqlite with SQLite bundled.
//!
//! Write-ahead log; `synchronous=FULL` where durable, `NORMAL` (no sync at a commit) where not; a
//! page cache of 256 MiB and mapped reads, since the defaults are for small devices. Each thread
//! takes a connection of its own, as advised; statements are prepared once; a writer begins with
//! `BEGIN IMMEDIATE` and waits for its turn.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning};
use crate::object::{Keyed, Result};
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const CONTENDER: Contender = Contender {
    name: "SQLite",
    package: "rusqlite",
    role: Role::Peer,
    syncs: true,
    settings: "bundled, WAL, `synchronous=FULL` (`NORMAL` where not synced), 256 MiB cache, 1 GiB \
               mapped, a connection for each thread",
    open,
};

const OPENING: &str = "PRAGMA journal_mode=WAL; PRAGMA cache_size=-262144;
    PRAGMA mmap_size=1073741824; PRAGMA synchronous=FULL;
    CREATE TABLE IF NOT EXISTS objects (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS map (key INTEGER PRIMARY KEY, value INTEGER NOT NULL);";
const GET: &str = "SELECT bytes FROM objects WHERE key = ?";
const PUT: &str = "INSERT OR REPLACE INTO objects VALUES (?, ?)";
const MAP_GET: &str = "SELECT value FROM map WHERE key = ?";
const MAP_PUT: &str = "INSERT OR REPLACE INTO map VALUES (?, ?)";
const SCAN: &str = "SELECT key, value FROM map WHERE key >= ? ORDER BY key LIMIT ?";

struct Sqlite {
    path: PathBuf,
    /// Those that nobody uses now, and whether they sync.
    idle: Mutex<Vec<(Connection, bool)>>,
}

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    let sqlite = Sqlite { path: path.join("objects.sqlite"), idle: Mutex::default() };
    sqlite.with(true, |_| Ok(()))?;
    Ok(Arc::new(sqlite))
}

impl Sqlite {
    fn connect(&self) -> Result<(Connection, bool)> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.execute_batch(OPENING)?;
        Ok((connection, true))
    }

    fn with<T>(&self, durable: bool, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().expect("no panic").pop();
        let (mut connection, syncs) = idle.map_or_else(|| self.connect(), Ok)?;
        if syncs != durable {
            connection.pragma_update(
                None,
                "synchronous",
                if durable { "FULL" } else { "NORMAL" },
            )?;
        }
        let result = work(&mut connection);
        self.idle.lock().expect("no panic").push((connection, durable));
        result
    }
}

fn signed(key: u64) -> i64 {
    key as i64
}

fn bytes_of(statement: &mut CachedStatement<'_>, key: u64) -> Result<Keyed> {
    let decode = |row: &rusqlite::Row<'_>| Ok(Keyed::decode(row.get_ref(0)?.as_blob()?));
    statement.query_row([signed(key)], decode)?
}

impl Peer for Sqlite {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        self.with(durable, |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut put = transaction.prepare_cached(PUT)?;
                for key in keys {
                    put.execute(params![signed(key), Keyed::new(key).encode()?])?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        self.with(durable, |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut get = transaction.prepare_cached(GET)?;
                let mut put = transaction.prepare_cached(PUT)?;
                for &key in keys {
                    let mut keyed = bytes_of(&mut get, key)?;
                    keyed.item.changes += 1;
                    put.execute(params![signed(key), keyed.encode()?])?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        self.with(true, |connection| {
            let transaction = connection.transaction()?;
            let mut get = transaction.prepare_cached(GET)?;
            for &key in keys {
                see(key, &bytes_of(&mut get, key)?.item);
            }
            Ok(())
        })
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        self.with(false, |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut put = transaction.prepare_cached(MAP_PUT)?;
                for &(key, value) in entries {
                    put.execute([signed(key), signed(value)])?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        self.with(true, |connection| {
            let transaction = connection.transaction()?;
            let mut get = transaction.prepare_cached(MAP_GET)?;
            for &key in keys {
                let value: i64 = get.query_row([signed(key)], |row| row.get(0))?;
                see(key, value as u64);
            }
            Ok(())
        })
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        self.with(true, |connection| {
            let transaction = connection.transaction()?;
            let mut scan = transaction.prepare_cached(SCAN)?;
            for &start in starts {
                let mut rows = scan.query([signed(start), count as i64])?;
                while let Some(row) = rows.next()? {
                    see(row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
                }
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        self.with(true, |connection| {
            Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
        })
    }
}
