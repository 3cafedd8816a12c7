//! Files as a log needs them: a [`Directory`] of [`AppendFile`]s.
//!
//! The lowest public traits. The storage calls them; tests put the world's worst disk behind
//! them. They know neither frames nor objects, and they never buffer: when a method returns, the
//! system has been told.
//!
//! # Invariants
//! - Nothing written is safe before `sync` returned, and no name before `Directory::sync` did.
//! - No method changes the value of a byte that the caller has declared durable: `append` and
//!   `zero` are only called above it, `rewrite` writes what is there already.

mod disk;
mod memory;
mod mmap;
mod process;

pub use disk::DiskDirectory;
pub use memory::MemoryDirectory;
pub use mmap::{Map, Slots};
pub(crate) use process::Process;

use std::fmt::Debug;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new, empty file, for reading and writing; an error where the name is taken.
    CreateNew,
}

/// A `Directory` names files and keeps the names.
///
/// Names are plain file names, without separators. A name that was created, renamed or removed
/// survives a power loss once [`sync`](Directory::sync) has returned.
pub trait Directory: Send + Sync + Debug {
    /// Opens or creates the file `name`.
    ///
    /// Opening never blocks: what is not a regular file is refused with
    /// [`io::ErrorKind::InvalidInput`] (a directory: [`io::ErrorKind::IsADirectory`]).
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::AlreadyExists`], and what else the system says.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>>;

    /// Gives the file `from` the name `to`, unless that name is taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where it is, and then nothing was changed.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives the file `from` the name `to`, atomically taking it from the file that had it.
    ///
    /// # Errors
    /// What the system says; then both names are what they were.
    fn replace(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name; open files stay readable.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], and what else the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names in the directory, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes every change of names durable.
    ///
    /// # Errors
    /// What the system says; the changes may then be lost by a power loss.
    fn sync(&self) -> io::Result<()>;

    /// Which file the name leads to now.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], and what else the system says.
    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        self.open(name, Access::Read)?.identity()
    }

    /// Where the file `name` is, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// What tells one file from another, also under two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device, or what stands for it.
    pub device: u64,
    /// The file's number on it.
    pub inode: u64,
}

/// An `AppendFile` grows at its end and is read anywhere.
///
/// Reading and writing are positional and may be done from several threads at once. Writes loop
/// over short writes and interruptions: they are done as a whole, or fail.
pub trait AppendFile: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As [`len`](AppendFile::len).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the file ends before, and what else the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes new bytes at `offset`, above everything durable, growing the file where needed.
    ///
    /// # Errors
    /// What the system says; the bytes above `offset` are then undefined.
    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes zeros, as bytes and not as a hole, over `length` bytes from `offset` on.
    ///
    /// # Errors
    /// As [`append`](AppendFile::append).
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Writes again what is at `offset` already.
    ///
    /// After a failed sync Linux calls the lost pages clean; only writing makes them dirty again.
    ///
    /// # Errors
    /// As [`append`](AppendFile::append); the bytes are then the same, or undefined above what is durable.
    fn rewrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `length`, which nothing mapped or durable lies above.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] where the file is shorter than that; what else the system
    /// says: the length is then the old or the new one.
    fn trim(&self, length: u64) -> io::Result<()>;

    /// Makes all that was written, and the length, durable.
    ///
    /// # Errors
    /// What the system says; what was written since the last sync is then undefined, and a second
    /// sync proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Takes the file for one writer, for as long as the file is open; whether it could be had.
    ///
    /// Two handles exclude each other also within one process, under two names of one file too.
    /// A fork of the process has no share in the lock: it does not keep it, and does not let it go.
    /// Where the process is killed while a fork lives on, the system frees the lock with the fork.
    ///
    /// # Errors
    /// What the system says where it knows no locks.
    fn try_lock(&self) -> io::Result<bool>;

    /// Which file this is.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<FileIdentity>;

    /// Maps `length` bytes from `offset` (a multiple of 64 KiB) for reading, also beyond the end;
    /// `None` where the file cannot be mapped, and [`read_at`](AppendFile::read_at) must do.
    fn map(&self, offset: u64, length: usize) -> Option<Map>;

    /// Maps `count` numbers of eight bytes from `offset` (a multiple of 4 KiB), privately: what is
    /// stored into them never reaches the file. `None` where the file cannot be mapped.
    fn map_slots(&self, offset: u64, count: usize) -> Option<Slots>;
}

/// Refuses a name that would leave the directory.
fn check_name(name: &str) -> io::Result<()> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file name")),
    }
}

/// Where `length` bytes from `offset` end.
fn end_of(offset: u64, length: u64) -> io::Result<u64> {
    let beyond = || io::Error::new(io::ErrorKind::InvalidInput, "it ends beyond every file");
    offset.checked_add(length).ok_or_else(beyond)
}

/// Refuses to trim a file of `current` bytes to more.
fn refuse_growth(current: u64, length: u64) -> io::Result<()> {
    if length <= current {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "trimming does not make a file longer"))
}
