//! The limits: the same work done by hand, with nothing around it.
//!
//! A commit encodes, adds a CRC, and appends; a durable one is followed by `fdatasync`, which
//! threads that come together share: one of them writes and syncs for all. The file grows, or was
//! filled with zeros before, so that a sync has no new length to write. A read decodes out of a
//! map, at a place that an array knows. There are no transactions, no conflicts, no snapshots, no
//! recovery and no checks of what is read.

use super::{Contender, Peer, Role, See, Shared, Tuning, found};
use crate::object::{Keyed, Result};
use memmap2::{Mmap, MmapOptions};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};

pub const GROWING: Contender = Contender {
    name: super::GROWING,
    package: "",
    role: Role::Limit,
    syncs: true,
    settings: "encode, CRC, append, `fdatasync` shared by threads; decode from a map",
    open: |path, _| open(path, 0),
};

pub const ZEROED: Contender = Contender {
    name: super::ZEROED,
    package: "",
    role: Role::Limit,
    syncs: true,
    settings: "the same over 64 MiB of zeros that were written and synced before",
    open: |path, _: Tuning| open(path, 64 << 20),
};

/// How much of the file can be read: more than any workload writes.
const MAPPED: usize = 64 << 30;
/// The length, the CRC and the key before an object.
const HEADER: usize = 16;
const NOWHERE: u64 = u64::MAX;

struct ByHand {
    file: File,
    map: Mmap,
    /// Where each object is, by its key: eight bytes an object, and read as a whole to open.
    places: RwLock<Vec<u64>>,
    tail: Mutex<Tail>,
    written: Condvar,
}

#[derive(Default)]
struct Tail {
    pending: Vec<u8>,
    /// Where the pending bytes will end.
    end: u64,
    /// All before is written, and durable if somebody asked for it.
    done: u64,
    leading: bool,
}

fn open(path: &Path, zeros: usize) -> Result<Shared> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).open(path.join("log"))?;
    let known = std::fs::read(path.join("places")).unwrap_or_default();
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let places: Vec<u64> = known.chunks_exact(8).map(number).collect();
    let end = if places.is_empty() { 0 } else { file.metadata()?.len() };
    if end == 0 && zeros > 0 {
        file.write_all_at(&vec![0; zeros], 0)?;
        file.sync_all()?;
    }
    // SAFETY: the file belongs to this run; nothing is read that was not written before.
    let map = unsafe { MmapOptions::new().len(MAPPED).map(&file)? };
    let tail = Mutex::new(Tail { end, done: end, ..Tail::default() });
    let places = RwLock::new(places);
    Ok(Arc::new(ByHand { file, map, places, tail, written: Condvar::new() }))
}

impl ByHand {
    fn append(
        &self,
        keys: &[u64],
        mut bytes: Vec<u8>,
        ends: &[usize],
        durable: bool,
    ) -> Result<()> {
        let mut tail = self.tail.lock().expect("no panic");
        let start = tail.end;
        tail.end += bytes.len() as u64;
        let mine = tail.end;
        tail.pending.append(&mut bytes);
        while tail.done < mine {
            tail = match tail.leading {
                true => self.written.wait(tail).expect("no panic"),
                false => self.lead(tail, durable)?,
            };
        }
        drop(tail);
        let mut places = self.places.write().expect("no panic");
        let last = keys.iter().max().map_or(0, |&key| key as usize + 1);
        if places.len() < last {
            places.resize(last, NOWHERE);
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for (&key, offset) in keys.iter().zip(starts) {
            places[key as usize] = start + offset as u64;
        }
        Ok(())
    }

    /// Writes what is pending for all who wait.
    fn lead<'a>(
        &'a self,
        mut tail: MutexGuard<'a, Tail>,
        durable: bool,
    ) -> Result<MutexGuard<'a, Tail>> {
        let (bytes, end) = (std::mem::take(&mut tail.pending), tail.end);
        tail.leading = true;
        drop(tail);
        self.file.write_all_at(&bytes, end - bytes.len() as u64)?;
        if durable {
            self.file.sync_data()?;
        }
        let mut tail = self.tail.lock().expect("no panic");
        tail.leading = false;
        tail.done = end;
        self.written.notify_all();
        Ok(tail)
    }

    fn at(&self, place: u64) -> Result<Keyed> {
        let place = place as usize;
        let length = u32::from_le_bytes(self.map[place..place + 4].try_into()?) as usize;
        Keyed::decode(&self.map[place + HEADER..place + HEADER + length])
    }
}

fn record(into: &mut Vec<u8>, keyed: &Keyed) -> Result<()> {
    let start = into.len();
    into.extend_from_slice(&[0; HEADER]);
    bincode::serde::encode_into_std_write(keyed, into, bincode::config::standard())?;
    let length = (into.len() - start - HEADER) as u32;
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
    into[start + 8..start + 16].copy_from_slice(&keyed.item.key.to_le_bytes());
    let crc = crc32fast::hash(&into[start + 8..]);
    into[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

impl Peer for ByHand {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        let keys: Vec<u64> = keys.collect();
        let mut bytes = Vec::with_capacity(keys.len() * 128);
        let mut ends = Vec::with_capacity(keys.len());
        for &key in &keys {
            record(&mut bytes, &Keyed::new(key))?;
            ends.push(bytes.len());
        }
        self.append(&keys, bytes, &ends, durable)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        let mut bytes = Vec::with_capacity(keys.len() * 128);
        let mut ends = Vec::with_capacity(keys.len());
        for &key in keys {
            let place = self.places.read().expect("no panic")[key as usize];
            let mut keyed = self.at(place)?;
            keyed.item.changes += 1;
            record(&mut bytes, &keyed)?;
            ends.push(bytes.len());
        }
        self.append(keys, bytes, &ends, durable)
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let places = self.places.read().expect("no panic");
        for &key in keys {
            let place = places.get(key as usize).copied().filter(|&place| place != NOWHERE);
            see(key, &self.at(found(place, key)?)?.item);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn remember(&self, path: &Path) -> Result<()> {
        let places = self.places.read().expect("no panic");
        let bytes: Vec<u8> = places.iter().flat_map(|place| place.to_le_bytes()).collect();
        Ok(std::fs::write(path.join("places"), bytes)?)
    }
}
