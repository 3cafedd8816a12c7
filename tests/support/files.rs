//! Files as maps of bytes: read out of a directory, changed at will, and put into another one.

use perennial::file::{Access, Directory, MemoryDirectory};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The files of a directory, by their names.
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
    let names = directory.names().expect("names").into_iter();
    names.map(|name| (name.clone(), content(directory, &name).expect("it is there"))).collect()
}

/// What the file `name` holds; `None` where there is none.
pub fn content(directory: &dyn Directory, name: &str) -> Option<Vec<u8>> {
    let file = directory.open(name, Access::Read).ok()?;
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    Some(bytes)
}
