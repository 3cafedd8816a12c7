//! The database of a target, as a map of bytes and opened.

pub use crate::disk::files::{Files, directory, files};

use perennial::Result;
use perennial::file::Directory;
use perennial::storage::FileStorage;
use perennial::storage::file::{FileOptions, Mode, Reads};
use std::sync::Arc;

/// The name of the database in every target.
pub const NAME: &str = "f.db";

/// The name of its index snapshot.
pub const INDEX: &str = "f.db.index";

/// Opens the database of a directory, without a thread of its own, whatever is in doubt.
pub fn open(directory: Arc<dyn Directory>, mode: Mode, reads: Reads) -> Result<FileStorage> {
    let options = FileOptions { mode, reads, housekeeping: false, ..FileOptions::default() };
    FileStorage::open(directory, NAME, FileOptions { hold_in_doubt: true, ..options })
}
