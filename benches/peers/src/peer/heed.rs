//! heed, that is LMDB.
//!
//! Keys are big-endian numbers, the map of the file is 64 GiB wide, and readers are not tied to
//! threads. One writer at a time, two syncs a commit. Not synced is `NO_SYNC`, set while it is
//! asked for: LMDB's docs warn that a power loss may then damage the file. Read-ahead stays on,
//! since the data fit into memory.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, found};
use crate::object::{Keyed, Result};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, PutFlags, RwTxn, WithoutTls};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const CONTENDER: Contender = Contender {
    name: "heed (LMDB)",
    package: "heed",
    role: Role::Peer,
    syncs: true,
    settings: "64 GiB map, `read_txn_without_tls`; `NO_SYNC` where not synced; `APPEND` for the \
               bulk load",
    open,
};

type Key = U64<BigEndian>;

struct Heed {
    env: Env<WithoutTls>,
    objects: Database<Key, Bytes>,
    map: Database<Key, Key>,
    durable: AtomicBool,
}

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(64 << 30).max_dbs(2);
    // SAFETY: the directory belongs to this run, and nobody else changes its files.
    let env = unsafe { options.open(path)? };
    let mut transaction = env.write_txn()?;
    let objects = env.create_database(&mut transaction, Some("objects"))?;
    let map = env.create_database(&mut transaction, Some("map"))?;
    transaction.commit()?;
    Ok(Arc::new(Heed { env, objects, map, durable: AtomicBool::new(true) }))
}

impl Heed {
    fn begin(&self, durable: bool) -> Result<RwTxn<'_>> {
        if self.durable.swap(durable, Ordering::Relaxed) != durable {
            let mode = if durable { FlagSetMode::Disable } else { FlagSetMode::Enable };
            // SAFETY: no workload mixes the two at one time, so no writer is under way.
            unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode)? };
        }
        Ok(self.env.write_txn()?)
    }
}

impl Peer for Heed {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let mut transaction = self.begin(durable)?;
        for key in keys {
            self.objects.put(&mut transaction, &key, &Keyed::new(key).encode()?)?;
        }
        Ok(transaction.commit()?)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        let mut transaction = self.begin(durable)?;
        for key in keys {
            let changed = Keyed::changed(found(self.objects.get(&transaction, key)?, *key)?)?;
            self.objects.put(&mut transaction, key, &changed)?;
        }
        Ok(transaction.commit()?)
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for key in keys {
            let value = found(self.objects.get(&transaction, key)?, *key)?;
            see(*key, &Keyed::decode(value)?.item);
        }
        Ok(())
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut transaction = self.begin(false)?;
        for (key, value) in entries {
            self.map.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn map_load(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut transaction = self.begin(false)?;
        for (key, value) in entries {
            self.map.put_with_flags(&mut transaction, PutFlags::APPEND, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for key in keys {
            see(*key, found(self.map.get(&transaction, key)?, *key)?);
        }
        Ok(())
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for &start in starts {
            for entry in self.map.range(&transaction, &(start..))?.take(count) {
                let (key, value) = entry?;
                see(key, value);
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }
}
