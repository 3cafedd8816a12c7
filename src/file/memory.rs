//! Files that nobody needs to keep: [`MemoryDirectory`].
//!
//! The directory of a database in memory, and of tests that want a file without a disk. It
//! behaves like [`DiskDirectory`](super::DiskDirectory), except that syncing does nothing, because
//! nothing outlives the process, and that files cannot be mapped.
//!
//! # Invariants
//! - A file lives as long as a name or a handle does, as on Unix.
//! - Locks belong to the file and are held by one handle at most.

use super::{Access, AppendFile, Directory, FileIdentity, Map, Slots};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A `MemoryDirectory` keeps its files in memory; its clones are the same directory.
///
/// ```
/// use perennial::file::{Access, Directory, MemoryDirectory};
/// # fn main() -> std::io::Result<()> {
/// let directory = MemoryDirectory::new();
/// directory.open("log", Access::CreateNew)?.append(0, b"first")?;
/// assert_eq!(directory.clone().names()?, ["log"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDirectory {
    files: Arc<RwLock<BTreeMap<String, Arc<Content>>>>,
}

impl MemoryDirectory {
    /// An empty directory.
    pub fn new() -> MemoryDirectory {
        MemoryDirectory::default()
    }
}

/// What stands behind a name: the file itself.
#[derive(Debug)]
struct Content {
    bytes: RwLock<Vec<u8>>,
    locked: AtomicBool,
    inode: u64,
}

impl Content {
    fn new() -> Content {
        // One count for all directories: two files never look like one.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let inode = NEXT.fetch_add(1, Ordering::Relaxed);
        Content { bytes: RwLock::default(), locked: AtomicBool::new(false), inode }
    }
}

impl Directory for MemoryDirectory {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        super::check_name(name)?;
        let mut files = self.files.write();
        let content = match (files.get(name), access) {
            (Some(_), Access::CreateNew) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(content), _) => content.clone(),
            (None, Access::CreateNew) => {
                let content = Arc::new(Content::new());
                files.insert(name.into(), content.clone());
                content
            }
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        let writable = access != Access::Read;
        Ok(Arc::new(MemoryFile { content, writable, holds: AtomicBool::new(false) }))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        super::check_name(to)?;
        let mut files = self.files.write();
        if !files.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        if files.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        rename(&mut files, from, to)
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        super::check_name(to)?;
        rename(&mut self.files.write(), from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.files.write().remove(name);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.read().keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("memory:").join(name)
    }
}

fn rename(files: &mut BTreeMap<String, Arc<Content>>, from: &str, to: &str) -> io::Result<()> {
    let content = files.remove(from).ok_or(ErrorKind::NotFound)?;
    files.insert(to.into(), content);
    Ok(())
}

/// One handle on a file.
#[derive(Debug)]
struct MemoryFile {
    content: Arc<Content>,
    writable: bool,
    holds: AtomicBool,
}

impl MemoryFile {
    /// Puts `length` bytes, made by `fill`, at `offset`; zeros stand between the end and them.
    fn write(&self, offset: u64, length: u64, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.check_writable()?;
        let end = super::end_of(offset, length)?;
        let (start, end) = (in_memory(offset)?, in_memory(end)?);
        if start == end {
            return Ok(());
        }
        let mut bytes = self.content.bytes.write();
        if let Some(missing) = end.checked_sub(bytes.len()) {
            bytes.try_reserve(missing).map_err(|_| ErrorKind::StorageFull)?;
            bytes.resize(end, 0);
        }
        bytes.get_mut(start..end).map(fill).ok_or_else(|| ErrorKind::InvalidInput.into())
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }
}

/// An offset as an index; an offset beyond the address space is beyond what there is room for.
fn in_memory(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| ErrorKind::StorageFull.into())
}

impl AppendFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.bytes.read().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.content.bytes.read();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(buffer.len());
        buffer.copy_from_slice(bytes.get(range).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes.len() as u64, |place| place.copy_from_slice(bytes))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write(offset, length, |place| place.fill(0))
    }

    fn rewrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.append(offset, bytes)
    }

    fn trim(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut bytes = self.content.bytes.write();
        super::refuse_growth(bytes.len() as u64, length)?;
        bytes.truncate(in_memory(length)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let free = !self.content.locked.swap(true, Ordering::AcqRel);
        if free {
            self.holds.store(true, Ordering::Release);
        }
        Ok(self.holds.load(Ordering::Acquire))
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity { device: 0, inode: self.content.inode })
    }

    fn map(&self, _offset: u64, _length: usize) -> Option<Map> {
        None
    }

    fn map_slots(&self, _offset: u64, _count: usize) -> Option<Slots> {
        None
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if *self.holds.get_mut() {
            self.content.locked.store(false, Ordering::Release);
        }
    }
}
