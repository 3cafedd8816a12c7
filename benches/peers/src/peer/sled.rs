//! sled 0.34, the last release that is not an alpha.
//!
//! Defaults: a cache of 1 GiB, a background flush every 500 ms. Durable is `flush` after the
//! batch, as its docs advise; threads that flush together share one. But on
//! Linux this calls `sync_file_range`, which does not make a disk write what it keeps in memory,
//! nor the file's length: its commits are not durable as those of the others. What reads and writes is
//! a `transaction`, which sled begins again itself.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, bytes, found, number};
use crate::object::{Failure, Keyed, Result};
use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{Batch, Db, Tree};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub const CONTENDER: Contender = Contender {
    name: "sled",
    package: "sled",
    role: Role::Peer,
    syncs: false,
    settings: "defaults (1 GiB cache, flushed every 500 ms); `flush` after each commit where durable",
    open,
};

struct Sled {
    db: Db,
    objects: Tree,
    map: Tree,
}

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    let db = sled::Config::new().path(path).open()?;
    let (objects, map) = (db.open_tree("objects")?, db.open_tree("map")?);
    Ok(Arc::new(Sled { db, objects, map }))
}

impl Sled {
    fn end(&self, durable: bool) -> Result<()> {
        if durable {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Peer for Sled {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let mut batch = Batch::default();
        for key in keys {
            batch.insert(&bytes(key), Keyed::new(key).encode()?);
        }
        self.objects.apply_batch(batch)?;
        self.end(durable)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        let stop = |error: Failure| ConflictableTransactionError::Abort(error);
        let done = self.objects.transaction(|tree| {
            for &key in keys {
                let before = found(tree.get(bytes(key))?, key).map_err(stop)?;
                tree.insert(&bytes(key), Keyed::changed(&before).map_err(stop)?)?;
            }
            Ok(())
        });
        match done {
            Ok(()) => self.end(durable),
            Err(TransactionError::Abort(error)) => Err(error),
            Err(TransactionError::Storage(error)) => Err(error.into()),
        }
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        for &key in keys {
            see(key, &Keyed::decode(&found(self.objects.get(bytes(key))?, key)?)?.item);
        }
        Ok(())
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let mut batch = Batch::default();
        for &(key, value) in entries {
            batch.insert(&bytes(key), &bytes(value));
        }
        Ok(self.map.apply_batch(batch)?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        for &key in keys {
            see(key, number(&found(self.map.get(bytes(key))?, key)?)?);
        }
        Ok(())
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        for &start in starts {
            for entry in self.map.range(bytes(start)..).take(count) {
                let (key, value) = entry?;
                see(number(&key)?, number(&value)?);
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.end(true)
    }
}
