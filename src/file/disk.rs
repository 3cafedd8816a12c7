//! Files of the operating system: [`DiskDirectory`].
//!
//! The directory that a database on disk lives in. It calls std, tempfile (for the one rename that
//! std lacks) and the maps beside it; it keeps no state but a path, so that every answer is the
//! system's. It exists on Unix only: positional reads and writes, inodes and synced directories
//! are what the log's safety is built from.
//!
//! # Invariants
//! - Nothing is opened that could block or that is not a regular file.
//! - `rename_new` never takes a name from another file.

#[cfg(not(unix))]
compile_error!(
    "perennial stores files on Unix only: it needs inodes, positional writes and directories \
     that can be synced"
);

use super::{Access, AppendFile, Directory, FileIdentity, Map, Process, Slots};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempPath;

/// A `DiskDirectory` is a directory of the file system. It exists on Unix only.
///
/// Symlinks are followed when an existing file is opened, and never when one is created. What is
/// no regular file is noticed before it is opened; only a FIFO that somebody puts under the name
/// at that very moment can still block.
///
/// ```
/// use perennial::file::{Access, Directory, DiskDirectory};
/// # fn main() -> std::io::Result<()> {
/// # let temporary = tempfile::tempdir()?;
/// # let path = temporary.path();
/// let directory = DiskDirectory::new(path);
/// let file = directory.open("log", Access::CreateNew)?;
/// file.append(0, b"first")?;
/// file.sync()?; // the content is safe
/// directory.sync()?; // and so is the name
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DiskDirectory {
    path: PathBuf,
}

impl DiskDirectory {
    /// The directory at `path`; nothing is looked at before the first call. The empty path, which
    /// is what std calls the parent of a bare file name, is the current directory.
    pub fn new(path: impl Into<PathBuf>) -> DiskDirectory {
        let path = path.into();
        let empty = path.as_os_str().is_empty();
        DiskDirectory { path: if empty { PathBuf::from(".") } else { path } }
    }

    /// The path of a plain name.
    fn entry(&self, name: &str) -> io::Result<PathBuf> {
        super::check_name(name)?;
        Ok(self.path.join(name))
    }
}

impl Directory for DiskDirectory {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        let path = self.entry(name)?;
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => refuse_special(&fs::metadata(&path)?)?,
            Access::Write => {
                refuse_special(&fs::metadata(&path)?)?;
                options.write(true);
            }
            Access::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        let file = options.open(&path)?;
        // Looked at again: somebody may have put another thing under the name in between.
        refuse_special(&file.metadata()?)?;
        Ok(Arc::new(DiskFile { file, locked_by: OnceLock::new() }))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.entry(from)?, self.entry(to)?);
        // A TempPath removes its file when dropped; here it is never meant to, so that what
        // could not be renamed is kept.
        let from = TempPath::try_from_path(from)?;
        from.persist_noclobber(to).map_err(|refused| {
            let error = refused.error;
            match refused.path.keep() {
                Ok(_) => error,
                Err(not_kept) => not_kept.error,
            }
        })
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.entry(from)?, self.entry(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.entry(name)?)
    }

    /// Names that are not UTF-8 are left out: none of ours is.
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        identity_at(&self.entry(name)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.path).join(name)
    }
}

/// Refuses what is not a regular file: opening a FIFO would wait for its other end.
fn refuse_special(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"))
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Which file `path` leads to, and nothing else of it: where somebody asks for the time of a file's
/// last change, newer Linux gives the next change a time of its own, and a sync after it takes half
/// as long again.
#[cfg(target_os = "linux")]
fn identity_at(path: &Path) -> io::Result<FileIdentity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => {
            let device = makedev(found.stx_dev_major, found.stx_dev_minor);
            Ok(FileIdentity { device, inode: found.stx_ino })
        }
        Err(rustix::io::Errno::NOSYS) => Ok(identity_of(&fs::metadata(path)?)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn identity_at(path: &Path) -> io::Result<FileIdentity> {
    Ok(identity_of(&fs::metadata(path)?))
}

fn identity_of(metadata: &fs::Metadata) -> FileIdentity {
    FileIdentity { device: metadata.dev(), inode: metadata.ino() }
}

/// An open file of the system.
#[derive(Debug)]
struct DiskFile {
    file: File,
    /// Who has locked it through this handle.
    locked_by: OnceLock<Process>,
}

/// What is written where zeros are: one block for the whole process.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl AppendFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        // Not by its metadata (see `identity_at`). Nobody reads or writes at the position it leaves.
        (&self.file).seek(SeekFrom::End(0))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = super::end_of(offset, length)?;
        let mut at = offset;
        while at < end {
            // The rest is cut to the block first, so that it fits any usize.
            let step = (end - at).min(ZEROS.len() as u64);
            self.file.write_all_at(&ZEROS[..step as usize], at)?;
            at += step;
        }
        Ok(())
    }

    fn rewrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn trim(&self, length: u64) -> io::Result<()> {
        super::refuse_growth(self.len()?, length)?;
        self.file.set_len(length)
    }

    /// `fdatasync`: it leaves out only what is not needed to read the data back, such as the time
    /// of the change; the length is needed, and is written with it.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => {
                self.locked_by.get_or_init(Process::this);
                Ok(true)
            }
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(identity_of(&self.file.metadata()?))
    }

    fn map(&self, offset: u64, length: usize) -> Option<Map> {
        Map::of(&self.file, offset, length)
    }

    fn map_slots(&self, offset: u64, count: usize) -> Option<Slots> {
        Slots::of(&self.file, offset, count)
    }
}

impl Drop for DiskFile {
    /// The system lets a lock go when all copies of the handle are closed, and a fork has one: so
    /// whoever locked the file says that it is done with it, and nobody else does.
    fn drop(&mut self) {
        if self.locked_by.get().is_some_and(|process| process.is_this()) {
            let _ = self.file.unlock();
        }
    }
}
