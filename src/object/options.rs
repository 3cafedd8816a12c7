//! Opening a database by its path: [`Options`], [`Database::open`].
//!
//! Here a path becomes a directory and a name, a file storage is opened in it, and the database is
//! entered among those open in this process, so that a file and its copy are not mixed up.
//!
//! # Invariants
//! - A symbolic link is followed once, here: the lock, and the files beside the database, are
//!   where the file is.

use super::database::{Database, Settings};
use super::doubts::{OnDoubt, RESOLVING, Search};
use super::isolation::Isolation;
use super::registry::Registered;
use crate::error::{Error, InDoubt, NotADatabase, Result};
use crate::file::{Directory, DiskDirectory};
use crate::storage::file::{FileOptions, Mode, Reads};
use crate::storage::{Durability, FileStorage};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a database is opened.
///
/// ```
/// use perennial::{Database, Durability};
/// # let directory = tempfile::tempdir().expect("a directory");
/// # let path = directory.path().join("bank.db");
/// let db = Database::options().durability(Durability::Lazy).cache_bytes(1 << 20).open(&path)?;
/// db.close()?;
/// let db = Database::options().read_only().open(&path)?;
/// # Ok::<(), perennial::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is opened before `open` is called"]
pub struct Options {
    settings: Settings,
    file: FileOptions,
    directory: Option<Arc<dyn Directory>>,
    on_doubt: OnDoubt,
    coordinators: Vec<PathBuf>,
}

impl Options {
    /// Reads only: nothing in the directory is changed, also while another process writes; what
    /// that one commits is shown after a [`refresh`](Database::refresh).
    pub fn read_only(mut self) -> Options {
        self.file.mode = Mode::ReadOnly;
        self
    }

    /// The file must not exist yet.
    pub fn create_new(mut self) -> Options {
        self.file.mode = Mode::CreateNew;
        self
    }

    /// The file must exist already.
    pub fn existing(mut self) -> Options {
        self.file.mode = Mode::Existing;
        self
    }

    /// What commits wait for that do not say otherwise: for the disk ([`Durability::Sync`]) unless
    /// told.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.settings.durability = durability;
        self
    }

    /// What transactions see of each other: [`Isolation::Snapshot`] unless told.
    pub fn isolation(mut self, isolation: Isolation) -> Options {
        self.settings.isolation = isolation;
        self
    }

    /// How many bytes of objects are kept decoded, counted by the length of their encoding: 64
    /// MiB unless told.
    pub fn cache_bytes(mut self, bytes: u64) -> Options {
        self.settings.cache_bytes = bytes;
        self
    }

    /// How the file is read: through memory maps ([`Reads::Map`]) unless told.
    pub fn reads(mut self, reads: Reads) -> Options {
        self.file.reads = reads;
        self
    }

    /// Opens a file that lost its end, and takes what is missing for lost.
    ///
    /// Without it, a file that is shorter than its index proves it to have been is refused.
    pub fn accept_shorter(mut self) -> Options {
        self.file.accept_shorter = true;
        self
    }

    /// What is done with a file that holds a part of a transaction of several databases whose
    /// outcome cannot be found out.
    pub fn in_doubt(mut self, on_doubt: OnDoubt) -> Options {
        self.on_doubt = on_doubt;
        self
    }

    /// Where the database may be now that decides what is in doubt in this one, should it have
    /// been moved. May be said more than once.
    pub fn coordinator(mut self, path: impl Into<PathBuf>) -> Options {
        self.coordinators.push(path.into());
        self
    }

    /// Where the files are; the path given to [`open`](Options::open) is then a name in it.
    pub fn directory(mut self, directory: Arc<dyn Directory>) -> Options {
        self.directory = Some(directory);
        self
    }

    /// Opens the database at `path`, or creates it, recovering what a crash left.
    ///
    /// When this returns, a new database survives a power loss. Its directory must exist; a file
    /// that is there and empty is no database, and is not made one. A file that holds a part of a
    /// transaction of several databases is settled first: the database that decided it is asked,
    /// and for that opened for a moment where it is not.
    ///
    /// # Errors
    /// [`Error::Locked`] where another handle writes it; [`Error::AlreadyOpen`] where a copy of it
    /// is open in this process; [`Error::NotADatabase`]; [`Error::Damaged`], with the file left as
    /// it was; [`Error::InDoubt`], naming who must be asked; [`Error::Corrupt`]; [`Error::Io`], and
    /// [`Error::Halted`] where the disk refuses the last write of a recovery.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        let on_disk = self.directory.is_none();
        let (directory, name) = match self.directory {
            Some(directory) => (directory, name_of(path.as_ref())?),
            None => resolve(path.as_ref())?,
        };
        let path = directory.path(&name);
        let file = FileOptions { hold_in_doubt: true, ..self.file };
        let opening = RESOLVING.read();
        let storage = FileStorage::open(directory.clone(), &name, file)?;
        // Before others can find it: a copy must not answer for the one that is open.
        let registered = Registered::enter(&storage, path.clone())?;
        let search = Search { directory: Some(directory), on_disk, given: self.coordinators };
        let database = Database::searching(Arc::new(storage), &self.settings, search);
        *database.core.registered.lock() = Some(registered);
        drop(opening);
        if self.file.mode != Mode::ReadOnly {
            let open = database.core.search.resolve(&*database.core.storage)?;
            if let Some((doubt, why)) = open.into_iter().next() {
                tracing::warn!(gtid = %doubt.gtid, path = %path.display(), why, "in doubt");
                if self.on_doubt == OnDoubt::Refuse {
                    let refusal = InDoubt::new(path, doubt.gtid, doubt.offset, why);
                    return Err(Error::InDoubt(Box::new(refusal).into()));
                }
            }
        }
        Ok(database)
    }
}

impl Database {
    /// Opens the database at `path`, or creates it, recovering what a crash left.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Options::default().open(path)
    }

    /// What can be said before opening.
    pub fn options() -> Options {
        Options::default()
    }
}

/// The directory and the name of the file that `path` leads to.
pub(super) fn resolve(path: &Path) -> Result<(Arc<dyn Directory>, String)> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => new_path(path)?,
        Err(error) => return Err(Error::io("open", path, error)),
    };
    let name = name_of(&path)?;
    let parent = path.parent().unwrap_or(&path);
    Ok((Arc::new(DiskDirectory::new(parent)), name))
}

/// The path of a file that is not there, in a directory that is.
fn new_path(path: &Path) -> Result<PathBuf> {
    if path.is_symlink() {
        return Err(NotADatabase::new(path, "it is a symbolic link to nothing").into());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent
        .canonicalize()
        .map_err(|error| Error::io("find the directory of the database", parent, error))?;
    Ok(parent.join(name_of(path)?))
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| {
        let what = match path.file_name() {
            Some(_) => "its name is not UTF-8",
            None => "the path ends in no file name",
        };
        NotADatabase::new(path, what).into()
    })
}
