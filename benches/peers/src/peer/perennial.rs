//! Perennial.
//!
//! All is as by default: a cache of 64 MiB of encoded objects, mapped reads, one file. Objects are
//! added as they are and read by `Ref`; the application keeps the references in an array, where it
//! would have fields. Not synced means `Durability::Lazy`, for one transaction at a time. The map
//! is a `BTree<u64, u64>` under a root.

use super::{Contender, Peer, Role, See, SeeEntry, Shared, Tuning, found};
use crate::object::{Item, Linked, Result};
use perennial::collections::BTree;
use perennial::{Connection, Database, Durability, Persistent, Ref, RetryPolicy};
use serde::de::{IntoDeserializer, value::Error as Invalid};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

pub const CONTENDER: Contender = Contender {
    name: "Perennial",
    package: "perennial",
    role: Role::Ours,
    syncs: true,
    settings: "defaults (64 MiB of objects cached, mapped reads); `Durability::Lazy` where not \
               synced; `BTree<u64, u64>`; uncached: `cache_bytes(0)`",
    open,
};

#[derive(Clone, Serialize, Deserialize)]
struct Home {
    map: BTree<u64, u64>,
}

impl Persistent for Home {
    const NAME: &'static str = "peers.Home";
}

struct Perennial {
    db: Database,
    /// By key: where an application would have fields.
    refs: RwLock<Vec<Option<Ref<Linked>>>>,
    map: OnceLock<BTree<u64, u64>>,
}

fn open(path: &Path, tuning: Tuning) -> Result<Shared> {
    let options = match tuning {
        Tuning::Usual => Database::options(),
        Tuning::Uncached => Database::options().cache_bytes(0),
    };
    let db = options.open(path.join("objects.db"))?;
    Ok(Arc::new(Perennial { db, refs: RwLock::default(), map: OnceLock::new() }))
}

impl Perennial {
    fn map(&self) -> Result<BTree<u64, u64>> {
        if let Some(map) = self.map.get() {
            return Ok(*map);
        }
        let home = |conn: &Connection| {
            let home = conn.root_or_init("home", |c| Ok(Home { map: BTree::create(c)? }))?;
            Ok(conn.get(home)?.map)
        };
        Ok(*self.map.get_or_init(|| self.db.transact(home).expect("a root can be made")))
    }

    fn refs_of(&self, keys: &[u64]) -> Result<Vec<Ref<Linked>>> {
        let refs = self.refs.read().expect("no panic");
        keys.iter().map(|&key| found(refs.get(key as usize).copied().flatten(), key)).collect()
    }
}

fn set(conn: &Connection, durable: bool) -> perennial::Result<()> {
    conn.set_durability(if durable { Durability::Sync } else { Durability::Lazy })
}

fn file_of_oids(path: &Path) -> PathBuf {
    path.with_extension("oids")
}

impl Peer for Perennial {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let made = self.db.transact(|conn| {
            set(conn, durable)?;
            let mut made = Vec::with_capacity((keys.end - keys.start) as usize);
            for key in keys.clone() {
                let item = Item::new(key);
                made.push(Some(conn.add(Linked { item, next: made.last().copied().flatten() })?));
            }
            Ok(made)
        })?;
        let mut refs = self.refs.write().expect("no panic");
        let (start, end) = (keys.start as usize, keys.end as usize);
        if refs.len() < end {
            refs.resize(end, None);
        }
        refs[start..end].copy_from_slice(&made);
        Ok(())
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        let refs = self.refs_of(keys)?;
        let policy =
            RetryPolicy::new(10_000).backoff(Duration::from_micros(50), Duration::from_millis(2));
        self.db.transact_with(&policy, |conn| {
            set(conn, durable)?;
            refs.iter().try_for_each(|&r| conn.modify(r, |linked| linked.item.changes += 1))
        })?;
        Ok(())
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let refs = self.refs.read().expect("no panic");
        self.db.try_view(|view| {
            for &key in keys {
                see(key, &view.get(found(refs[key as usize], key)?)?.item);
            }
            Ok(())
        })
    }

    fn map_put(&self, entries: &[(u64, u64)]) -> Result<()> {
        let map = self.map()?;
        Ok(self.db.transact(|conn| {
            set(conn, false)?;
            entries.iter().try_for_each(|&(key, value)| map.insert(conn, key, value).map(drop))
        })?)
    }

    fn map_load(&self, entries: &[(u64, u64)]) -> Result<()> {
        let map = self.map()?;
        Ok(self.db.transact(|conn| {
            set(conn, false)?;
            map.extend(conn, entries.iter().copied())
        })?)
    }

    fn map_get(&self, keys: &[u64], see: SeeEntry) -> Result<()> {
        let map = self.map()?;
        self.db.try_view(|view| {
            for key in keys {
                see(*key, found(map.get(view, key)?, *key)?);
            }
            Ok(())
        })
    }

    fn map_scan(&self, starts: &[u64], count: usize, see: SeeEntry) -> Result<()> {
        let map = self.map()?;
        self.db.try_view(|view| {
            for &start in starts {
                for entry in map.range(view, start..).take(count) {
                    let (key, value) = entry?;
                    see(key, value);
                }
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn remember(&self, path: &Path) -> Result<()> {
        let refs = self.refs.read().expect("no panic");
        let oid = |r: &Option<Ref<Linked>>| r.map_or(0, |r| r.oid().number()).to_le_bytes();
        Ok(std::fs::write(file_of_oids(path), refs.iter().flat_map(oid).collect::<Vec<_>>())?)
    }

    fn recall(&self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(file_of_oids(path))?;
        let loose = |oid: &[u8]| {
            let oid = u64::from_le_bytes(oid.try_into().expect("eight bytes"));
            let oid = IntoDeserializer::<Invalid>::into_deserializer(oid);
            Ok(Some(Ref::<Linked>::deserialize(oid)?))
        };
        *self.refs.write().expect("no panic") =
            bytes.chunks_exact(8).map(loose).collect::<Result<_>>()?;
        Ok(())
    }
}
