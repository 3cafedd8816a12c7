//! One writer at a time, and readers beside it.

use super::kit::{NAME, files, open, put, written};
use crate::support::layers::pass_on;
use perennial::file::{Access, AppendFile, Directory, DiskDirectory, MemoryDirectory};
use perennial::storage::file::Mode;
use perennial::storage::{Batch, Durability, FileStorage, Storage};
use perennial::{Error, Tid};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the other process is told what to open.
const OTHER: &str = "PERENNIAL_OTHER_PROCESS";

/// What another process gets that opens the database in `folder`.
fn another_process(folder: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", "corruption::locks::this_process_opens", "--nocapture"])
        .env(OTHER, folder)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

// The other process of the test below; alone it opens a database of its own.
#[test]
fn this_process_opens() {
    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(OTHER).unwrap_or_else(|| own.path().into());
    match open(Arc::new(DiskDirectory::new(folder)), Mode::OpenOrCreate) {
        Ok(storage) => {
            println!("it opened");
            storage.close().unwrap();
        }
        Err(Error::Locked(path)) => {
            assert!(path.ends_with(NAME));
            println!("it is locked");
        }
        Err(error) => panic!("{error}"),
    }
}

// R9
#[test]
fn a_second_writer_is_told_of_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let directory = || Arc::new(DiskDirectory::new(folder.path()));
    let storage = open(directory(), Mode::OpenOrCreate).unwrap();

    assert!(matches!(open(directory(), Mode::OpenOrCreate), Err(Error::Locked(_))));
    assert!(another_process(folder.path()).contains("it is locked"));

    drop(open(directory(), Mode::ReadOnly).unwrap());
    assert!(matches!(open(directory(), Mode::Existing), Err(Error::Locked(_))), "a reader left");
    storage.close().unwrap();
    assert!(another_process(folder.path()).contains("it opened"));
}

// R9: who reads only looks for a writer by taking the lock for an instant.
#[test]
fn a_glimpse_of_the_lock_does_not_keep_a_writer_out() {
    let directory = Arc::new(MemoryDirectory::new());
    drop(open(directory.clone(), Mode::CreateNew).unwrap());
    let glimpse = directory.open(NAME, Access::Read).unwrap();
    assert!(glimpse.try_lock().unwrap());

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| open(directory.clone(), Mode::Existing));
        drop(glimpse);
        assert!(writer.join().unwrap().is_ok());
    });
}

// R9
#[test]
fn a_reader_beside_a_writer_sees_a_prefix_and_changes_nothing() {
    let written = written();
    for left in [&written.open, &written.closed] {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in left {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let directory = Arc::new(DiskDirectory::new(folder.path()));
        let writer = open(directory.clone(), Mode::Existing).unwrap();
        let mut bases = BTreeMap::new();
        for stored in &written.stored {
            bases.extend(stored.data.keys().map(|&oid| (oid, stored.tid)));
        }
        let mut tids = vec![writer.last_tid()];
        for _ in 0..5 {
            tids.push(put(&writer, &written.stored[0].data, &mut bases));

            let before = files(&*directory);
            let reader = open(directory.clone(), Mode::ReadOnly).unwrap();
            assert!(tids.contains(&reader.last_tid()), "nothing durable is missing for long");
            let shown = reader.transactions(Tid::ZERO, Tid::MAX).unwrap();
            let shown: Vec<Tid> = shown.map(|it| it.unwrap().tid).collect();
            assert_eq!(shown.last(), Some(&reader.last_tid()));
            assert!(shown.len() + 1 >= 5 + tids.len() - 1, "only the last one may be unproven");
            reader.close().unwrap();
            assert!(files(&*directory) == before, "reading only changes nothing");
        }
    }
}

#[test]
fn what_only_reads_writes_nothing_when_asked_to() {
    let directory = super::kit::directory(&written().closed);
    let reader = open(directory.clone(), Mode::ReadOnly).unwrap();
    let before = files(&*directory);

    assert!(matches!(reader.tend(), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.write_index(), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.new_oid(), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.commit(&Arc::default()), Err(Error::ReadOnly(_))));
    reader.sync().unwrap();
    reader.close().unwrap();
    assert!(files(&*directory) == before);
}

/// A directory that can be told to open nothing more, as where a process has no descriptors left.
#[derive(Debug, Default)]
struct Exhaustible {
    directory: MemoryDirectory,
    exhausted: AtomicBool,
}

impl Directory for Exhaustible {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        match self.exhausted.load(Ordering::Relaxed) {
            true => Err(io::Error::other("too many open files")),
            false => self.directory.open(name, access),
        }
    }

    pass_on! { directory: rename_new, replace, remove, names, sync, path }
}

// R9: it once took who could not be found for absent, and showed what was not durable.
#[test]
fn a_reader_that_cannot_look_for_a_writer_shows_what_is_proven() {
    let directory = Arc::new(Exhaustible::default());
    let writer = open(directory.clone(), Mode::CreateNew).unwrap();
    let reader = open(directory.clone(), Mode::ReadOnly).unwrap();
    let mut lazy = removal(&writer);
    lazy.durability = Durability::Lazy;
    writer.commit(&Arc::new(lazy)).unwrap();

    directory.exhausted.store(true, Ordering::Relaxed);
    assert_eq!(reader.refresh().unwrap(), Tid::ZERO, "it is not durable");

    directory.exhausted.store(false, Ordering::Relaxed);
    writer.close().unwrap();
    assert_eq!(reader.refresh().unwrap(), writer.last_tid());
}

/// What can be committed anywhere.
fn removal(storage: &FileStorage) -> Batch {
    let mut batch = Batch::default();
    batch.remove(storage.new_oid().unwrap(), Tid::ZERO, false);
    batch
}
