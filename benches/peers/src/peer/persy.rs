//! persy.
//!
//! Objects are records of a segment; an index from `u64` to the record's id, which is how its docs
//! look records up by a key. The cache is 256 MiB instead of 32. Conflicts are found by
//! `VersionOnRead`, and the transaction begun again. Not synced is `set_background_sync`.
//!
//! Transactions that add to the index at once have been seen to wait for each other for ever, which
//! ends after a day unless told otherwise: after a second they are begun again.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, found};
use crate::object::{Keyed, Result};
use persy::{Config, Persy, PersyId, Transaction, TransactionConfig, TxStrategy, ValueMode};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const CONTENDER: Contender = Contender {
    name: "persy",
    package: "persy",
    role: Role::Peer,
    syncs: true,
    settings: "records and an index of their keys, 256 MiB cache, `VersionOnRead`, locks for a second; \
               `set_background_sync` where not synced",
    open,
};

const OBJECTS: &str = "objects";
const KEYS: &str = "keys";
const MAP: &str = "map";

struct Records(Persy);

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    let mut config = Config::new();
    config.change_cache_size(256 << 20);
    config.change_transaction_lock_timeout(Duration::from_secs(1));
    let persy = Persy::open_or_create_with(path.join("objects.persy"), config, |persy| {
        let mut transaction = persy.begin()?;
        transaction.create_segment(OBJECTS)?;
        transaction.create_index::<u64, PersyId>(KEYS, ValueMode::Replace)?;
        transaction.create_index::<u64, u64>(MAP, ValueMode::Replace)?;
        transaction.prepare()?.commit()?;
        Ok(())
    })?;
    Ok(Arc::new(Records(persy)))
}

impl Records {
    fn begin(&self, durable: bool) -> Result<Transaction> {
        let config = TransactionConfig::new().set_strategy(TxStrategy::VersionOnRead);
        Ok(self.0.begin_with(config.set_background_sync(!durable))?)
    }
}

impl Peer for Records {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        loop {
            let mut transaction = self.begin(durable)?;
            for key in keys.clone() {
                let id = transaction.insert(OBJECTS, &Keyed::new(key).encode()?)?;
                transaction.put(KEYS, key, id)?;
            }
            if let Ok(ready) = transaction.prepare() {
                return Ok(ready.commit()?);
            }
        }
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        loop {
            let mut transaction = self.begin(durable)?;
            for key in keys {
                let id = found(self.0.one::<u64, PersyId>(KEYS, key)?, *key)?;
                let before = found(transaction.read(OBJECTS, &id)?, *key)?;
                transaction.update(OBJECTS, &id, &Keyed::changed(&before)?)?;
            }
            if let Ok(ready) = transaction.prepare() {
                return Ok(ready.commit()?);
            }
        }
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let snapshot = self.0.snapshot()?;
        for key in keys {
            let id = found(snapshot.one::<u64, PersyId>(KEYS, key)?, *key)?;
            see(*key, &Keyed::decode(&found(snapshot.read(OBJECTS, &id)?, *key)?)?.item);
        }
        Ok(())
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut transaction = self.begin(false)?;
        for &(key, value) in entries {
            transaction.put(MAP, key, value)?;
        }
        Ok(transaction.prepare()?.commit()?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        let snapshot = self.0.snapshot()?;
        for key in keys {
            see(*key, found(snapshot.one::<u64, u64>(MAP, key)?, *key)?);
        }
        Ok(())
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        let snapshot = self.0.snapshot()?;
        for &start in starts {
            for (key, values) in snapshot.range::<u64, u64, _>(MAP, start..)?.take(count) {
                values.into_iter().for_each(|value| see(key, value));
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        // A transaction that syncs has all before it synced too.
        let mut transaction = self.begin(true)?;
        transaction.put(MAP, u64::MAX, 0_u64)?;
        Ok(transaction.prepare()?.commit()?)
    }
}
