//! The storage that lasts: one append-only log of checksummed frames, and an index of it.
//!
//! `core` is what its parts share; `create` and `opening` bring it to life, with `walk` for the
//! verdict on the log's end and `tail` for mending it; `commit` and `leader` write, while `beneath`
//! looks whether the file is still there; `following` shows what others write; `prepare`,
//! `promises` and `decisions` do what it takes to commit together with others; `generation`,
//! `log`, `window` and `index` read; `history` lists; `housekeeping` and `index_file` do what nobody
//! should wait for; `verify` looks at a whole file from outside, and `recover` copies what is good
//! of it, both led over bad spots by `passage`, with `gaps` and `salvage`.
//! Nothing here decodes an object, and no offset leaves this folder.
//!
//! # Invariants
//! - log order = tid order = publication order.
//! - No byte below the durable mark ever changes its value.
//!
//! Format: docs/format.md.

mod beneath;
mod commit;
mod core;
mod create;
mod decisions;
mod following;
mod gaps;
mod generation;
mod history;
mod housekeeping;
mod index;
mod index_file;
mod leader;
mod log;
mod opening;
mod passage;
mod pending;
mod prepare;
mod promises;
mod recover;
mod salvage;
mod tail;
mod verify;
mod walk;
mod window;

pub use log::Reads;
pub use recover::{Loss, LossKind, Recovery, recover};
pub use verify::{
    Examined, Examiner, Finding, FindingKind, FrameCounts, Verification, verify, verify_with,
};

use self::core::Core;
use super::{
    Batch, Change, Doubt, DurableMark, Fate, Intent, OpenDecision, Promise, Snapshot, Storage,
    Transactions, TwoPhase, Verdict,
};
use crate::error::{Error, Result};
use crate::file::Directory;
use crate::format::{Coordinator, TypeDef, TypeId};
use crate::id::{DatabaseId, GlobalId, Oid, Tid};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use generation::{FileSnapshot, Generation};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is done with the file when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It is created where there is none.
    #[default]
    OpenOrCreate,
    /// It must exist.
    Existing,
    /// It must not exist.
    CreateNew,
    /// It must exist; nothing in its directory is changed, also where another process writes it.
    ReadOnly,
}

/// How a [`FileStorage`] is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOptions {
    /// Whether it may be created, must be, or is only read.
    pub mode: Mode,
    /// How the file is read.
    pub reads: Reads,
    /// Whether a thread of its own looks after lazy commits, zeros and snapshots. Without one,
    /// call [`FileStorage::tend`] now and then.
    pub housekeeping: bool,
    /// Open a file that is shorter than its index snapshot proves it to have been, and take what
    /// is missing for lost.
    pub accept_shorter: bool,
    /// Open a file for writing that has promises in doubt: what they reserved stays reserved.
    /// Without it, such a file is refused.
    pub hold_in_doubt: bool,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        let (mode, reads) = Default::default();
        FileOptions { mode, reads, housekeeping: true, accept_shorter: false, hold_in_doubt: false }
    }
}

/// A `FileStorage` keeps revisions in a file.
///
/// ```
/// use perennial::file::MemoryDirectory;
/// use perennial::storage::file::FileOptions;
/// use perennial::storage::{FileStorage, Storage};
/// use std::sync::Arc;
///
/// # fn main() -> perennial::Result<()> {
/// let directory = Arc::new(MemoryDirectory::default());
/// let storage = FileStorage::open(directory, "bank.db", FileOptions::default())?;
/// assert_eq!(storage.last_tid(), perennial::Tid::ZERO);
/// storage.close()
/// # }
/// ```
pub struct FileStorage {
    core: Arc<Core>,
    housekeeper: Mutex<Option<JoinHandle<()>>>,
}

/// What a database file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// The format's version.
    pub format: u16,
    /// Counts the files this database was rewritten into.
    pub generation: u64,
    /// Where the last frame that is shown ends, in bytes.
    pub log_end: u64,
    /// Up to where the log is known to be durable, in bytes. It lies beyond `log_end` where a
    /// damaged file was opened for reading.
    pub durable: u64,
    /// Where an opening begins to read the log, in bytes: the index snapshot knows what precedes.
    pub replay_from: u64,
    /// The oid that would be given out next.
    pub next_oid: Oid,
    /// No object at or above was ever stored: those up to `next_oid` were given out, and not used.
    pub stored_below: Oid,
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("FileStorage");
        told.field("path", &self.core.path()).field("database", &self.core.id());
        told.finish_non_exhaustive()
    }
}

impl FileStorage {
    /// Opens the file `name` of `directory`, recovering what a crash left.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotADatabase`], [`Error::Damaged`] with the file left as it
    /// was, [`Error::InDoubt`], [`Error::Corrupt`], [`Error::Io`]; [`Error::Halted`] where the disk
    /// refuses the Seal that an opening writes behind what it recovered.
    pub fn open(
        directory: Arc<dyn Directory>,
        name: &str,
        options: FileOptions,
    ) -> Result<FileStorage> {
        let core = opening::open(directory, name, options)?;
        let wanted = options.housekeeping && options.mode != Mode::ReadOnly;
        let housekeeper = if wanted { Some(housekeeping::start(&core)?) } else { None };
        Ok(FileStorage { core, housekeeper: Mutex::new(housekeeper) })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.core.path()
    }

    /// What the file says of itself.
    pub fn facts(&self) -> FileFacts {
        FileFacts {
            format: crate::format::FORMAT_VERSION,
            generation: self.core.header.generation,
            log_end: self.core.generation.published_end(),
            durable: self.core.durable(),
            replay_from: self.core.snapshot_upto.load(Ordering::Acquire),
            next_oid: Oid::new(self.core.next_oid.load(Ordering::Acquire)),
            stored_below: self.core.stored_below(),
        }
    }

    /// Whether somebody, this handle or another, has the file open for writing.
    pub fn has_writer(&self) -> bool {
        let core = &self.core;
        core.options.mode != Mode::ReadOnly || opening::has_writer(&*core.directory, &core.name)
    }

    /// All types that objects were stored as.
    pub fn types(&self) -> Vec<(TypeId, Arc<TypeDef>)> {
        self.core.types.all()
    }

    /// One round of housekeeping, for those who opened the storage without a thread for it;
    /// whether another should follow soon.
    ///
    /// # Errors
    /// [`Error::Halted`], [`Error::Io`]; nothing is lost.
    pub fn tend(&self) -> Result<bool> {
        self.check_may_write("tend the file")?;
        self.core.tend()
    }

    /// Writes the index snapshot now, so that the next opening need not replay the log.
    ///
    /// # Errors
    /// [`Error::Halted`], [`Error::Closed`], [`Error::Io`]; the snapshot is then the one of before.
    pub fn write_index(&self) -> Result<()> {
        self.check_may_write("write the index")?;
        let _look = self.core.look.lock();
        self.core.check_open(&self.core.ordered.lock())?;
        index_file::write(&self.core)
    }

    /// What is published, while the storage is not closed.
    fn generation(&self) -> Result<&Arc<Generation>> {
        self.core.check_process()?;
        match self.core.is_closed() {
            true => Err(Error::Closed),
            false => Ok(&self.core.generation),
        }
    }

    /// Refuses what a reader cannot do, and what a fork must not.
    fn check_may_write(&self, action: &'static str) -> Result<()> {
        self.check_writable(action)?;
        self.core.check_process()
    }

    /// Seal, sync, trim, snapshot: so that the next opening has nothing to replay.
    fn close_cleanly(&self) -> Result<()> {
        let core = &*self.core;
        core.sync()?;
        core.check_name()?;
        core.check_length()?;
        core.seal()?;
        let end = core.generation.published_end();
        core.sync_upto(end)?;
        // What is in doubt keeps its room: else another file could take it meanwhile.
        if core.ordered.lock().promises.room == 0 {
            let failed = |error| Error::io("trim", core.path(), error);
            core.generation.log.file.trim(end).map_err(failed)?;
        }
        let failed = |error| Error::io("sync", core.path(), error);
        core.generation.log.file.sync().map_err(failed)?;
        let outdated = core.tail() > 0 || core.generation.index.was_repaired();
        let wanted = outdated && index_file::is_worth_it(core);
        if wanted && let Err(error) = index_file::write(core) {
            core.check_going()?;
            // Nobody misses it but the next opening, which has to read more of the log.
            tracing::warn!(%error, path = %core.path().display(), "no index snapshot");
        }
        Ok(())
    }
}

impl Storage for FileStorage {
    fn id(&self) -> DatabaseId {
        self.core.id()
    }

    fn last_tid(&self) -> Tid {
        self.core.generation.last_tid()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let generation = self.generation()?.clone();
        let tid = generation.last_tid();
        Ok(Arc::new(FileSnapshot { generation, tid }))
    }

    fn snapshot_at(&self, tid: Tid) -> Result<Arc<dyn Snapshot>> {
        let generation = self.generation()?.clone();
        let (first, last) = (generation.history_from, generation.last_tid());
        if tid > last || tid < first {
            let what = match tid > last {
                true => format!("tid {} lies in the future of tid {}", tid.number(), last.number()),
                false => format!("what was before tid {} is not kept", first.number()),
            };
            return Err(Error::InvalidArgument(what.into()));
        }
        Ok(Arc::new(FileSnapshot { generation, tid }))
    }

    fn check_writable(&self, action: &'static str) -> Result<()> {
        match self.core.options.mode {
            Mode::ReadOnly => Err(Error::ReadOnly(action)),
            _ => Ok(()),
        }
    }

    fn refresh(&self) -> Result<Tid> {
        self.generation()?;
        match self.core.options.mode {
            Mode::ReadOnly => self.core.follow(),
            _ => Ok(self.last_tid()),
        }
    }

    fn new_oid(&self) -> Result<Oid> {
        self.check_writable("add an object")?;
        // Not asking for the process, which would cost more than the oid: to commit, one must.
        match self.core.is_closed() {
            true => Err(Error::Closed),
            false => self.core.new_oid(),
        }
    }

    fn intern(&self, definition: &TypeDef) -> Result<TypeId> {
        self.core.types.intern(definition)
    }

    fn type_def(&self, id: TypeId) -> Option<Arc<TypeDef>> {
        self.core.types.get(id)
    }

    fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict> {
        self.check_may_write("commit")?;
        self.core.commit(batch)
    }

    fn wait_published(&self, tid: Tid, bound: Duration) -> Result<bool> {
        self.core.check_process()?;
        self.core.wait(bound, |_| self.core.generation.last_tid() >= tid)
    }

    fn sync(&self) -> Result<()> {
        match self.core.options.mode {
            Mode::ReadOnly => Ok(()),
            _ => self.generation().and_then(|_| self.core.sync()),
        }
    }

    fn pinned(&self) -> Result<Vec<Oid>> {
        self.generation()?;
        let mut pinned: Vec<Oid> = self.core.pinned.lock().iter().copied().collect();
        pinned.sort_unstable();
        Ok(pinned)
    }

    fn history(&self, oid: Oid) -> Result<Vec<Change>> {
        history::changes(self.generation()?, oid)
    }

    fn transactions(&self, after: Tid, upto: Tid) -> Result<Box<dyn Transactions + '_>> {
        Ok(Box::new(history::FileTransactions::new(self.generation()?, after, upto)))
    }

    fn close(&self) -> Result<()> {
        self.core.check_process()?;
        self.core.rest.stop();
        let housekeeper = self.housekeeper.lock().take();
        if let Some(housekeeper) = housekeeper {
            // Where it panicked as the leader, the storage halted, which is reported below; a
            // panic elsewhere lost nothing that closing does not do, too.
            let _ = housekeeper.join();
        }
        // Waits for the housekeeping of others, and for another thread that closes.
        let _look = self.core.look.lock();
        if self.core.is_closed() {
            return Ok(());
        }
        self.core.stop_commits();
        let outcome = match self.core.options.mode {
            Mode::ReadOnly => Ok(()),
            _ => self.close_cleanly(),
        };
        self.core.lock.lock().take();
        self.core.moved.notify_all();
        outcome
    }
}

impl TwoPhase for FileStorage {
    fn prepare(&self, batch: &Arc<Batch>, intent: &Intent) -> Result<Verdict<Box<dyn Promise>>> {
        self.check_may_write("prepare a commit")?;
        self.core.prepare(batch, intent)
    }

    fn in_doubt(&self) -> Result<Vec<Doubt>> {
        self.generation()?;
        self.core.in_doubt()
    }

    fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()> {
        self.check_may_write("settle a promise")?;
        self.core.settle(gtid, committed)
    }

    fn wait_settled(&self, gtid: GlobalId, bound: Duration) -> Result<bool> {
        self.core.check_process()?;
        self.core.wait(bound, |ordered| !ordered.promises.is_held(gtid))?;
        Ok(!self.core.ordered.lock().promises.holds(gtid))
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(self.core.coordinator())
    }

    fn decision(&self, gtid: GlobalId, since: Tid) -> Result<Fate> {
        self.generation()?;
        self.core.decision(gtid, since)
    }

    fn open_decisions(&self) -> Result<Vec<OpenDecision>> {
        self.generation()?;
        self.core.open_decisions()
    }

    fn end_decision(&self, gtid: GlobalId) -> Result<()> {
        self.check_may_write("end a decision")?;
        self.core.end_decision(gtid)
    }

    fn durable_mark(&self) -> DurableMark {
        self.core.durable_mark.clone()
    }
}

impl Drop for FileStorage {
    fn drop(&mut self) {
        if self.core.check_process().is_err() {
            // The parent goes on with the file; what is ours is a copy of its memory.
            self.housekeeper
                .get_mut()
                .take()
                .map(|thread| self.core.process.join(thread, JoinHandle::join));
            return;
        }
        if let Err(error) = self.close() {
            tracing::warn!(%error, path = %self.path().display(), "closing failed");
        }
    }
}
