//! A disk of which some bytes cannot be read, and that counts the others: [`Scratched`].

use super::layers::pass_on;
use perennial::file::{Access, AppendFile, Directory, FileIdentity, Map, MemoryDirectory, Slots};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory in memory; in its file `name`, reading these bytes fails.
#[derive(Debug, Default)]
pub struct Scratched {
    pub inner: MemoryDirectory,
    pub name: &'static str,
    pub bad: Range<u64>,
    /// How many bytes of that file were read.
    pub read: Arc<AtomicU64>,
    /// How often a map of any file was asked for, and there was none.
    pub maps: Arc<AtomicU64>,
}

#[derive(Debug)]
struct ScratchedFile {
    inner: Arc<dyn AppendFile>,
    bad: Range<u64>,
    read: Arc<AtomicU64>,
    maps: Arc<AtomicU64>,
}

impl Directory for Scratched {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        let inner = self.inner.open(name, access)?;
        let (bad, read) = match name == self.name {
            true => (self.bad.clone(), self.read.clone()),
            false => Default::default(),
        };
        let maps = self.maps.clone();
        Ok(Arc::new(ScratchedFile { inner, bad, read, maps }))
    }

    pass_on! { inner: rename_new, replace, remove, names, sync, path }
}

impl AppendFile for ScratchedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if offset < self.bad.end && self.bad.start < end {
            return Err(io::Error::other("input/output error"));
        }
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.inner.read_at(offset, buffer)
    }

    fn map(&self, _: u64, _: usize) -> Option<Map> {
        self.maps.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn map_slots(&self, _: u64, _: usize) -> Option<Slots> {
        self.maps.fetch_add(1, Ordering::Relaxed);
        None
    }

    pass_on! { inner: len, append, zero, rewrite, trim, sync, try_lock, identity }
}
