//! Files as maps of bytes.

use perennial::Result;
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::storage::FileStorage;
use perennial::storage::file::{FileOptions, Mode, Reads};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the database in every target.
pub const NAME: &str = "f.db";

/// The name of its index snapshot.
pub const INDEX: &str = "f.db.index";

/// The files of a directory.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A directory in memory with these files.
pub fn directory(files: &Files) -> Arc<MemoryDirectory> {
    let directory = MemoryDirectory::new();
    for (name, bytes) in files {
        let file = directory.open(name, Access::CreateNew).expect("the name is free");
        file.append(0, bytes).expect("there is memory");
    }
    Arc::new(directory)
}

/// All files of a directory.
pub fn files(directory: &dyn Directory) -> Files {
    let read = |name: String| {
        let file = directory.open(&name, Access::Read).expect("it is there");
        let mut bytes = vec![0; file.len().expect("a length") as usize];
        file.read_at(0, &mut bytes).expect("all of it");
        (name, bytes)
    };
    directory.names().expect("names").into_iter().map(read).collect()
}

/// Opens the database of a directory, without a thread of its own, whatever is in doubt.
pub fn open(directory: Arc<dyn Directory>, mode: Mode, reads: Reads) -> Result<FileStorage> {
    let options = FileOptions { mode, reads, housekeeping: false, ..FileOptions::default() };
    FileStorage::open(directory, NAME, FileOptions { hold_in_doubt: true, ..options })
}
