//! A disk of which some bytes cannot be read: [`Scratched`].

use super::layers::pass_on;
use perennial::file::{Access, AppendFile, Directory, FileIdentity, Map, MemoryDirectory, Slots};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A directory in memory; in its file `name`, reading these bytes fails.
#[derive(Debug)]
pub struct Scratched {
    pub inner: MemoryDirectory,
    pub name: &'static str,
    pub bad: Range<u64>,
}

#[derive(Debug)]
struct ScratchedFile {
    inner: Arc<dyn AppendFile>,
    bad: Range<u64>,
}

impl Directory for Scratched {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        let inner = self.inner.open(name, access)?;
        let bad = if name == self.name { self.bad.clone() } else { 0..0 };
        Ok(Arc::new(ScratchedFile { inner, bad }))
    }

    pass_on! { inner: rename_new, replace, remove, names, sync, path }
}

impl AppendFile for ScratchedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if offset < self.bad.end && self.bad.start < end {
            return Err(io::Error::other("input/output error"));
        }
        self.inner.read_at(offset, buffer)
    }

    fn map(&self, _: u64, _: usize) -> Option<Map> {
        None
    }

    fn map_slots(&self, _: u64, _: usize) -> Option<Slots> {
        None
    }

    pass_on! { inner: len, append, zero, rewrite, trim, sync, try_lock, identity }
}
