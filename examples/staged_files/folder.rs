//! A directory, as the data manager uses it: [`Folder`]. Every error names its file.

use perennial::{Error, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What all names begin with that are not for others.
pub const STAGED: &str = ".staged-";

/// A directory; its names are without slashes.
pub struct Folder(PathBuf);

impl Folder {
    /// The directory at this path, which must exist.
    pub fn open(path: &Path) -> Result<Folder> {
        let path = path.canonicalize().map_err(|error| Error::io("find", path, error))?;
        Ok(Folder(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a new file, and waits until the disk has its bytes; its name may still be lost.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || {
            let mut file = File::create_new(self.path(name))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| Error::io("write", self.path(name), error))
    }

    /// The content of a file, where there is one.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", self.path(name), error)),
        }
    }

    /// Gives a file another name; does nothing where that was done.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        unless_gone(fs::rename(self.path(from), self.path(to)))
            .map_err(|error| Error::io("rename", self.path(from), error))
    }

    /// Removes a file; does nothing where that was done.
    pub fn remove(&self, name: &str) -> Result<()> {
        unless_gone(fs::remove_file(self.path(name)))
            .map_err(|error| Error::io("remove", self.path(name), error))
    }

    /// Waits until the disk has the names.
    pub fn sync(&self) -> Result<()> {
        let synced = File::open(&self.0).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Error::io("sync", &self.0, error))
    }

    /// The names of ours, sorted.
    pub fn staged(&self) -> Result<Vec<String>> {
        let list = || -> std::io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.0)?.collect::<std::io::Result<Vec<_>>>()?;
            Ok(entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        };
        let mut names = list().map_err(|error| Error::io("list", &self.0, error))?;
        names.retain(|name| name.starts_with(STAGED));
        names.sort();
        Ok(names)
    }
}

fn unless_gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
