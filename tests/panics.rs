//! A directory that somebody else wrote panics while a thread writes for all: nobody waits for
//! ever, and nothing more is written.

use crate::support::child::{self, Child};
use crate::support::errors::panicking_at;
use crate::support::layers::pass_on;
use crate::support::sim::{Failure, Kind, SimDisk, Times};
use perennial::file::{Access, AppendFile, Directory, FileIdentity, Map, MemoryDirectory, Slots};
use perennial::format::TypeDef;
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, FileStorage, Storage, Verdict};
use perennial::{Error, Oid, Result, Tid};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tracing::Level;

const NAME: &str = "panics.db";

/// A directory in memory whose files panic at a sync, once they are told to.
#[derive(Debug, Clone)]
struct Mined {
    directory: MemoryDirectory,
    armed: Arc<AtomicBool>,
    /// A sync that will panic waits for a word.
    word: Arc<Mutex<Receiver<()>>>,
}

#[derive(Debug)]
struct MinedFile {
    file: Arc<dyn AppendFile>,
    mine: Mined,
}

impl Directory for Mined {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        let file = self.directory.open(name, access)?;
        Ok(Arc::new(MinedFile { file, mine: self.clone() }))
    }

    pass_on! { directory: rename_new, replace, remove, names, sync, path }
}

impl AppendFile for MinedFile {
    fn sync(&self) -> io::Result<()> {
        if self.mine.armed.swap(false, Ordering::SeqCst) {
            self.mine.word.lock().unwrap().recv().unwrap();
            // Without a message on the terminal.
            resume_unwind(Box::new("the sync panics"));
        }
        self.file.sync()
    }

    fn map(&self, offset: u64, length: usize) -> Option<Map> {
        self.file.map(offset, length)
    }

    fn map_slots(&self, offset: u64, count: usize) -> Option<Slots> {
        self.file.map_slots(offset, count)
    }

    pass_on! { file: len, read_at, append, zero, rewrite, trim, try_lock, identity }
}

fn open(directory: Arc<dyn Directory>) -> FileStorage {
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    FileStorage::open(directory, NAME, options).unwrap()
}

/// Stores a new object.
fn store(storage: &FileStorage, oid: Oid) -> Result<Tid> {
    let definition = TypeDef { name: "panics.Text".into(), version: 1, shape: "str".into() };
    let type_id = storage.intern(&definition)?;
    let mut batch = Batch::default();
    batch.put((oid, Tid::ZERO, false), type_id, &[], b"text");
    match storage.commit(&Arc::new(batch))? {
        Verdict::Passed(receipt) => Ok(receipt.tid),
        Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
    }
}

// R10
#[test]
fn a_panic_of_who_writes_for_all_halts_the_storage_and_leaves_nobody_waiting() {
    let (say, word) = channel();
    let armed = Arc::new(AtomicBool::new(false));
    let directory = MemoryDirectory::new();
    let word = Arc::new(Mutex::new(word));
    let mined = Mined { directory: directory.clone(), armed: armed.clone(), word };
    let storage = open(Arc::new(mined));
    let oids: Vec<Oid> = (0..4).map(|_| storage.new_oid().unwrap()).collect();
    let kept = store(&storage, oids[0]).unwrap();

    armed.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            let commit = catch_unwind(AssertUnwindSafe(|| store(&storage, oids[1])));
            assert!(commit.is_err(), "the panic goes on in the thread that it came from");
        });
        while armed.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let waiting = scope.spawn(|| store(&storage, oids[2]));
        thread::sleep(Duration::from_millis(50));
        say.send(()).unwrap();
        leader.join().unwrap();
        let outcome = waiting.join().unwrap();
        assert!(matches!(outcome, Err(Error::Halted(_) | Error::Unknown(_))), "{outcome:?}");
    });

    assert!(matches!(store(&storage, oids[3]), Err(Error::Halted(_))));
    assert!(matches!(storage.wait_published(Tid::MAX, Duration::MAX), Err(Error::Halted(_))));
    assert_eq!(storage.last_tid(), kept, "what was published can be read");
    drop(storage);
    let storage = open(Arc::new(directory));
    let found = storage.transactions(Tid::ZERO, Tid::MAX).unwrap();
    let tids: Vec<Tid> = found.map(|found| found.unwrap().tid).collect();
    assert!(tids[0] == kept && tids.len() <= 2, "one commit was kept, and one is not known");
}

// R10: in a process of its own, which a panic within a panic would end.
#[test]
fn who_panics_at_being_told_of_the_halt_changes_no_answer() {
    let home = tempfile::tempdir().unwrap();
    Child::new("panics::child_that_halts_beside_somebody_who_panics", home.path()).run();
}

#[test]
#[ignore = "run by who_panics_at_being_told_of_the_halt_changes_no_answer"]
fn child_that_halts_beside_somebody_who_panics() {
    if child::home().is_none() {
        return;
    }
    let disk = SimDisk::new();
    let storage = open(Arc::new(disk.clone()));
    let oids: Vec<Oid> = (0..2).map(|_| storage.new_oid().unwrap()).collect();
    disk.fail(Kind::Sync, 0, Failure::Io, Times::Once);

    let [first, second] =
        [oids[0], oids[1]].map(|oid| panicking_at(Level::ERROR, || store(&storage, oid)));

    assert!(matches!(first, Err(Error::Unknown(_))), "{first:?}");
    assert!(matches!(second, Err(Error::Halted(_))), "{second:?}");
}
