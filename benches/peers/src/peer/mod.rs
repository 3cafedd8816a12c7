//! What a contender must be able to do: [`Peer`]; and the list of them.
//!
//! A workload knows contenders by this trait only. Each has a file of its own, which says how it
//! is used and why so.

mod array;
mod by_hand;
mod canopydb;
mod fjall;
mod heed;
mod native_db;
mod perennial;
mod persy;
mod redb;
mod rusqlite;
mod sled;

use crate::object::{Item, NotOffered, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub type Shared = Arc<dyn Peer>;

/// Sees each object that was read, in the order of the keys.
pub type See<'a> = &'a mut dyn FnMut(u64, &Item);

/// Sees each entry of a map that was read.
pub type SeeEntry<'a> = &'a mut dyn FnMut(u64, u64);

/// An open store, used by several threads.
pub trait Peer: Send + Sync {
    /// Adds the objects of these keys in one transaction; `durable`: returns when no power loss
    /// can take them away.
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()>;

    /// Reads, changes and stores these objects in one transaction, which is begun again where
    /// others were faster.
    fn update(&self, keys: &[u64], durable: bool) -> Result<()>;

    /// Reads and decodes these objects in one snapshot.
    fn read(&self, keys: &[u64], see: See) -> Result<()>;

    /// Puts entries into the ordered map in one transaction that is not synced.
    fn map_put(&self, _entries: &[(u64, u64)]) -> Result<()> {
        Err(NotOffered.into())
    }

    /// Puts many entries, sorted, into the map, which is empty, in the way that is fastest.
    fn map_load(&self, entries: &[(u64, u64)]) -> Result<()> {
        self.map_put(entries)
    }

    /// Looks these keys up in one snapshot.
    fn map_get(&self, _keys: &[u64], _see: SeeEntry) -> Result<()> {
        Err(NotOffered.into())
    }

    /// From each of these keys on, the next `count` entries.
    fn map_scan(&self, _starts: &[u64], _count: usize, _see: SeeEntry) -> Result<()> {
        Err(NotOffered.into())
    }

    /// Waits until all is on the disk.
    fn settle(&self) -> Result<()>;

    /// Writes beside the store what the application must know to read in another process.
    fn remember(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// Reads it again; never in the time that is measured.
    fn recall(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq)]
pub enum Tuning {
    /// As an application would.
    Usual,
    /// Without a cache of decoded objects, where there is one.
    Uncached,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    Ours,
    Peer,
    /// The same work by hand.
    Limit,
}

pub struct Contender {
    pub name: &'static str,
    /// The crate whose version is printed; none for the limits.
    pub package: &'static str,
    pub role: Role,
    /// Its durable commits reach the disk: as was seen by tracing its system calls.
    pub syncs: bool,
    /// What the table says of how it is used.
    pub settings: &'static str,
    /// Opens what is in this directory, or begins there.
    pub open: fn(&Path, Tuning) -> Result<Shared>,
}

impl Contender {
    pub fn open(&self, path: &Path, tuning: Tuning) -> Result<Shared> {
        std::fs::create_dir_all(path)?;
        (self.open)(path, tuning)
    }
}

pub const GROWING: &str = "by hand, growing";
pub const ZEROED: &str = "by hand, zeroed";
pub const ARRAY: &str = "array of Arc";

pub const ALL: &[&Contender] = &[
    &perennial::CONTENDER,
    &by_hand::GROWING,
    &by_hand::ZEROED,
    &array::CONTENDER,
    &redb::CONTENDER,
    &fjall::CONTENDER,
    &heed::CONTENDER,
    &sled::CONTENDER,
    &rusqlite::CONTENDER,
    &canopydb::CONTENDER,
    &persy::CONTENDER,
    &native_db::CONTENDER,
];

/// For peers whose keys are bytes in order.
fn bytes(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

fn number(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into()?))
}

/// What a lookup of a key that must be there answered.
fn found<T>(value: Option<T>, key: u64) -> Result<T> {
    value.ok_or_else(|| format!("key {key} is not there").into())
}
