//! fjall.
//!
//! A database with optimistic transactions. What only writes is a `WriteBatch`, as its docs
//! advise; what reads and writes is a transaction, begun again after a conflict. Durable is
//! `PersistMode::SyncAll`, which its docs name for that; not synced is its default, the buffers of
//! the system. Keys are big-endian, as advised. Point reads are told that keys exist.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, bytes, found, number};
use crate::object::{Keyed, Result};
use fjall::Readable;
use fjall::{KeyspaceCreateOptions, OptimisticTxDatabase, OptimisticTxKeyspace, PersistMode};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub const CONTENDER: Contender = Contender {
    name: "fjall",
    package: "fjall",
    role: Role::Peer,
    syncs: true,
    settings: "`OptimisticTxDatabase`, 256 MiB cache, `expect_point_read_hits`; batches for blind \
               writes; `PersistMode::SyncAll` where durable, else the default",
    open,
};

struct Fjall {
    db: OptimisticTxDatabase,
    objects: OptimisticTxKeyspace,
    map: OptimisticTxKeyspace,
}

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    let db = OptimisticTxDatabase::builder(path).cache_size(256 << 20).open()?;
    let options = || KeyspaceCreateOptions::default().expect_point_read_hits(true);
    let objects = db.keyspace("objects", options)?;
    let map = db.keyspace("map", options)?;
    Ok(Arc::new(Fjall { db, objects, map }))
}

fn mode(durable: bool) -> Option<PersistMode> {
    durable.then_some(PersistMode::SyncAll)
}

impl Peer for Fjall {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let mut batch = self.db.inner().batch().durability(mode(durable));
        for key in keys {
            batch.insert(self.objects.inner(), bytes(key), Keyed::new(key).encode()?);
        }
        Ok(batch.commit()?)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        loop {
            let mut transaction = self.db.write_tx()?.durability(mode(durable));
            for &key in keys {
                let before = found(transaction.get(&self.objects, bytes(key))?, key)?;
                transaction.insert(&self.objects, bytes(key), Keyed::changed(&before)?);
            }
            if transaction.commit()?.is_ok() {
                return Ok(());
            }
        }
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let snapshot = self.db.read_tx();
        for &key in keys {
            let value = found(snapshot.get(&self.objects, bytes(key))?, key)?;
            see(key, &Keyed::decode(&value)?.item);
        }
        Ok(())
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut batch = self.db.inner().batch();
        for &(key, value) in entries {
            batch.insert(self.map.inner(), bytes(key), bytes(value));
        }
        Ok(batch.commit()?)
    }

    fn map_load(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut ingestion = self.map.inner().start_ingestion()?;
        for &(key, value) in entries {
            ingestion.write(bytes(key), bytes(value))?;
        }
        Ok(ingestion.finish()?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        let snapshot = self.db.read_tx();
        for &key in keys {
            see(key, number(&found(snapshot.get(&self.map, bytes(key))?, key)?)?);
        }
        Ok(())
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        let snapshot = self.db.read_tx();
        for &start in starts {
            for entry in snapshot.range(&self.map, bytes(start)..).take(count) {
                let (key, value) = entry.into_inner()?;
                see(number(&key)?, number(&value)?);
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}
