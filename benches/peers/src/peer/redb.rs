//! redb.
//!
//! Typed tables of `u64`, the default cache of 1 GiB. It has one writer at a time and no group
//! commit; threads wait for each other in `begin_write`. Not synced means `Durability::None`,
//! which keeps a commit in memory until a durable one follows; `settle` makes one.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, found};
use crate::object::{Keyed, Result};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub const CONTENDER: Contender = Contender {
    name: "redb",
    package: "redb",
    role: Role::Peer,
    syncs: true,
    settings: "defaults (1 GiB cache); `Durability::None` where not synced",
    open,
};

const OBJECTS: TableDefinition<u64, &[u8]> = TableDefinition::new("objects");
const MAP: TableDefinition<u64, u64> = TableDefinition::new("map");

struct Redb(Database);

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    Ok(Arc::new(Redb(Database::create(path.join("objects.redb"))?)))
}

impl Redb {
    fn begin(&self, durable: bool) -> Result<WriteTransaction> {
        let mut transaction = self.0.begin_write()?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability)?;
        Ok(transaction)
    }
}

impl Peer for Redb {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let transaction = self.begin(durable)?;
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for key in keys {
                table.insert(key, Keyed::new(key).encode()?.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        let transaction = self.begin(durable)?;
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for &key in keys {
                let changed = Keyed::changed(found(table.get(key)?, key)?.value())?;
                table.insert(key, changed.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let table = self.0.begin_read()?.open_table(OBJECTS)?;
        for &key in keys {
            see(key, &Keyed::decode(found(table.get(key)?, key)?.value())?.item);
        }
        Ok(())
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let transaction = self.begin(false)?;
        {
            let mut table = transaction.open_table(MAP)?;
            for &(key, value) in entries {
                table.insert(key, value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        let table = self.0.begin_read()?.open_table(MAP)?;
        for &key in keys {
            see(key, found(table.get(key)?, key)?.value());
        }
        Ok(())
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        let table = self.0.begin_read()?.open_table(MAP)?;
        for &start in starts {
            for entry in table.range(start..)?.take(count) {
                let (key, value) = entry?;
                see(key.value(), value.value());
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.begin(true)?.commit()?)
    }
}
