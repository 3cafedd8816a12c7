//! canopydb.
//!
//! With its write-ahead log, the default. Writers are concurrent transactions, begun again after
//! a conflict, as its docs advise for several threads; durable ones wait for a sync of the log,
//! which they share. Not synced is its default: the log is synced once a second. A checkpoint is
//! made when the store is closed, so that the next opening has nothing to replay.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, bytes, found, number};
use crate::object::{Keyed, Result};
use canopydb::{Database, DbOptions, EnvOptions, Error, Tree};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub const CONTENDER: Contender = Contender {
    name: "canopydb",
    package: "canopydb",
    role: Role::Peer,
    syncs: true,
    settings: "defaults (WAL, 1 GB page cache) and a checkpoint at the end; \
               `begin_write_concurrent`, `commit_with(sync)`",
    open,
};

const OBJECTS: &[u8] = b"objects";
const MAP: &[u8] = b"map";

struct Canopy(Database);

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    Ok(Arc::new(Canopy(Database::with_options(EnvOptions::new(path), DbOptions::new())?)))
}

impl Drop for Canopy {
    fn drop(&mut self) {
        // Without it the next opening reads the log: slower, and no harm.
        let _ = self.0.checkpoint();
    }
}

impl Canopy {
    /// Does `work` in a transaction, again where another one was faster.
    fn write(
        &self,
        name: &[u8],
        sync: bool,
        work: impl Fn(&mut Tree<'_>) -> Result<()>,
    ) -> Result<()> {
        loop {
            let transaction = self.0.begin_write_concurrent()?;
            let mut tree = transaction.get_or_create_tree(name)?;
            work(&mut tree)?;
            drop(tree);
            match transaction.commit_with(sync) {
                Ok(_) => return Ok(()),
                Err(Error::WriteConflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn see(&self, name: &[u8], work: impl FnOnce(&Tree<'_>) -> Result<()>) -> Result<()> {
        let transaction = self.0.begin_read()?;
        let tree = transaction.get_tree(name)?.ok_or("the tree is not there")?;
        work(&tree)
    }
}

impl Peer for Canopy {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        self.write(OBJECTS, durable, |tree| {
            for key in keys.clone() {
                tree.insert(&bytes(key), &Keyed::new(key).encode()?)?;
            }
            Ok(())
        })
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        self.write(OBJECTS, durable, |tree| {
            for &key in keys {
                let changed = Keyed::changed(&found(tree.get(&bytes(key))?, key)?)?;
                tree.insert(&bytes(key), &changed)?;
            }
            Ok(())
        })
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        self.see(OBJECTS, |tree| {
            for &key in keys {
                see(key, &Keyed::decode(&found(tree.get(&bytes(key))?, key)?)?.item);
            }
            Ok(())
        })
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        self.write(MAP, false, |tree| {
            for &(key, value) in entries {
                tree.insert(&bytes(key), &bytes(value))?;
            }
            Ok(())
        })
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        self.see(MAP, |tree| {
            for &key in keys {
                see(key, number(&found(tree.get(&bytes(key))?, key)?)?);
            }
            Ok(())
        })
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        self.see(MAP, |tree| {
            for &start in starts {
                for entry in tree.range(bytes(start)..)?.take(count) {
                    let (key, value) = entry?;
                    see(number(&key)?, number(&value)?);
                }
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        Ok(self.0.sync()?)
    }
}
