//! Files that appear when the transaction commits: [`StagedFiles`], a data manager.
//!
//! A write goes into a temporary file beside the one that is meant. To prepare is to write down
//! what is to be renamed; to finish is to rename it, which can hardly fail, and which the next
//! process does where this one does not live to.
//!
//! # Invariants
//! - What is staged has joined: somebody will come and rename it, or remove it.
//! - From the moment it promises until it knows that the promise is kept or not needed, it takes
//!   no other work: what is renamed later must not overwrite what was written later.

use super::folder::{Folder, STAGED};
use super::intent::{Decider, Intent};
use perennial::transaction::{DataManager, Decision, Info, ManagerId, Prepared, Saved};
use perennial::{Database, Error, Fate, GlobalId, Result, Tid, TransactionManager};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory whose files change in the transactions of a manager, and in no other way.
///
/// One process uses it at a time, with one `StagedFiles`.
pub struct StagedFiles {
    shared: Arc<Shared>,
    manager: TransactionManager,
}

/// What the user's handle and those that join have in common.
struct Shared {
    id: ManagerId,
    folder: Folder,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    /// Temporary names and those that are meant, in the order of the writes: the last one counts.
    staged: Vec<(String, String)>,
    /// How many temporary names were given out.
    given: u64,
    /// Whether something was promised and neither kept nor given up.
    in_doubt: bool,
}

impl StagedFiles {
    /// The files in this directory. Where a crash has left something in doubt, they can be read,
    /// and written once [`recover`](StagedFiles::recover) knows what became of it.
    pub fn open(directory: &Path, manager: &TransactionManager) -> Result<StagedFiles> {
        let folder = Folder::open(directory)?;
        let in_doubt = !intents(&folder)?.is_empty();
        let work = Mutex::new(Work { in_doubt, ..Work::default() });
        let shared = Arc::new(Shared { id: ManagerId::new(), folder, work });
        Ok(StagedFiles { shared, manager: manager.clone() })
    }

    /// Writes a file, in place of the one of this name: inside the transaction at once, and for
    /// everybody when it commits.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        self.manager.check_usable("write a file")?;
        if self.shared.work().in_doubt {
            return Err(Error::other("the files of an earlier transaction are in doubt: recover"));
        }
        let current = self.manager.current()?;
        // Joins first: what were staged before that would be left behind if joining were refused.
        match current.join(Handle(self.shared.clone())) {
            Ok(()) | Err(Error::AlreadyJoined(_)) => {}
            Err(error) => return Err(error),
        }
        self.shared.stage(current.id(), name, bytes)
    }

    /// Reads a file as this transaction left it; nothing where there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        check_name(name)?;
        let work = self.shared.work();
        let staged = work.staged.iter().rfind(|(_, meant)| meant == name);
        self.shared.folder.read(staged.map_or(name, |(temporary, _)| temporary))
    }

    /// Finishes or forgets what a crash left, as the database `db` decided, and removes what was
    /// never promised; how many transactions are still in doubt, because `db` has no answer.
    ///
    /// To be called when a program starts, and where a commit was unknown or left something
    /// unfinished.
    pub fn recover(&self, db: &Database) -> Result<usize> {
        if !self.shared.work().staged.is_empty() {
            return Err(Error::other("a transaction is writing files, which must end first"));
        }
        // Read first: what is in this list and not among the intents is finished.
        let decisions = db.open_decisions()?;
        let mut left = Vec::new();
        for intent in intents(&self.shared.folder)? {
            match fate(&intent, db)? {
                Fate::Committed(_) => intent.apply(&self.shared.folder)?,
                Fate::Aborted => intent.forget(&self.shared.folder)?,
                Fate::Unknown => left.push(intent),
            }
        }
        if left.is_empty() {
            let strays = self.shared.folder.staged()?;
            strays.iter().try_for_each(|stray| self.shared.folder.remove(stray))?;
        }
        self.shared.work().in_doubt = !left.is_empty();
        for decision in decisions {
            let name = self.shared.name();
            let ours = decision.participants.iter().all(|participant| participant.name == name);
            // Where others took part, it is for who knows that all are done to say so.
            if ours && left.iter().all(|intent| intent.gtid != decision.gtid) {
                db.end_decision(decision.gtid)?;
            }
        }
        Ok(left.len())
    }
}

/// What became of a transaction.
fn fate(intent: &Intent, db: &Database) -> Result<Fate> {
    match intent.decider {
        None => Ok(Fate::Committed(Tid::ZERO)),
        Some(Decider { database, .. }) if database != db.id() => Ok(Fate::Unknown),
        // Of an older copy, the last decisions are missing: it does not know the tid.
        Some(Decider { last_tid, .. }) => db.decision_since(intent.gtid, last_tid),
    }
}

fn intents(folder: &Folder) -> Result<Vec<Intent>> {
    let read = folder.staged()?.into_iter().map(|name| Intent::read(folder, &name));
    read.filter_map(Result::transpose).collect()
}

fn check_name(name: &str) -> Result<()> {
    let bad = |c: char| c == '/' || c.is_control();
    if name.is_empty() || name.starts_with('.') || name.contains(bad) {
        return Err(Error::InvalidArgument(format!("{name:?} is no name for a file here").into()));
    }
    Ok(())
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        format!("files {}", self.folder.path("").display())
    }

    fn stage(&self, transaction: GlobalId, name: &str, bytes: &[u8]) -> Result<()> {
        let mut work = self.work();
        work.given += 1;
        let temporary = format!("{STAGED}{transaction}-{}", work.given);
        // Listed before it is there: half a file is removed, too.
        work.staged.push((temporary.clone(), name.into()));
        let written = self.folder.write_new(&temporary, bytes);
        if written.is_err() {
            let count = work.staged.len() - 1;
            // What cannot be removed either is found by the next recovery.
            drop(self.unstage(&mut work, count));
        }
        written
    }

    /// Forgets all but the first `count`; also where a file cannot be removed.
    fn unstage(&self, work: &mut Work, count: usize) -> Result<()> {
        let removed =
            work.staged.drain(count..).map(|(temporary, _)| self.folder.remove(&temporary));
        removed.fold(Ok(()), Result::and)
    }

    /// What this transaction is about to do; from now on it is in doubt.
    fn promise(&self, gtid: GlobalId, decider: Option<Decider>) -> Intent {
        let mut work = self.work();
        work.in_doubt = true;
        Intent { gtid, decider, renames: std::mem::take(&mut work.staged) }
    }

    /// The promise was kept, or given up.
    fn settle(&self, result: Result<()>) -> Result<Option<Tid>> {
        result?;
        self.work().in_doubt = false;
        Ok(None)
    }
}

/// What joins.
struct Handle(Arc<Shared>);

impl DataManager for Handle {
    fn identity(&self) -> ManagerId {
        self.0.id
    }

    fn sort_key(&self) -> String {
        self.0.name()
    }

    fn prepare(&mut self, info: &Info) -> Result<Box<dyn Prepared>> {
        let Some(coordinator) = &info.coordinator else {
            // After a crash there would be nobody to ask.
            let what = "files cannot be changed in one transaction with other data managers \
                        unless a database takes part, which decides and remembers";
            return Err(Error::Unsupported(what.into()));
        };
        let (database, last_tid) = (coordinator.database, coordinator.last_tid);
        let intent = self.0.promise(info.id, Some(Decider { database, last_tid }));
        let promise = Box::new(Promise { shared: self.0.clone(), intent });
        let written = promise.intent.draft(&self.0.folder);
        match written.and_then(|()| promise.intent.seal(&self.0.folder)) {
            Ok(()) => Ok(promise),
            Err(error) => {
                // Where this fails, too, there is something in doubt, which will be forgotten.
                drop(promise.abort());
                Err(error)
            }
        }
    }

    fn commit_alone(&mut self, info: &Info, _: Option<&Decision>) -> Result<Option<Tid>> {
        let (intent, folder) = (self.0.promise(info.id, None), &self.0.folder);
        if let Err(error) = intent.draft(folder) {
            drop(self.0.settle(intent.forget(folder)));
            return Err(error);
        }
        // Here the intent is the decision, so it may be on the disk whatever is said of the sync.
        let committed = intent.seal(folder).and_then(|()| intent.apply(folder));
        let unknown = |error: Error| Error::Unknown(error.to_string().into());
        self.0.settle(committed.map_err(unknown))
    }

    fn abort(&mut self) -> Result<()> {
        self.0.unstage(&mut self.0.work(), 0)
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        let count = self.0.work().staged.len();
        Ok(Box::new(Place { shared: self.0.clone(), count }))
    }
}

/// How many files were staged at a savepoint.
struct Place {
    shared: Arc<Shared>,
    count: usize,
}

impl Saved for Place {
    fn rollback(&mut self) -> Result<()> {
        self.shared.unstage(&mut self.shared.work(), self.count)
    }
}

/// Files that are to be renamed. To park it, or to drop it, is to leave the intent where it is.
struct Promise {
    shared: Arc<Shared>,
    intent: Intent,
}

impl Prepared for Promise {
    fn finish(self: Box<Self>) -> Result<Option<Tid>> {
        self.shared.settle(self.intent.apply(&self.shared.folder))
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.shared.settle(self.intent.forget(&self.shared.folder)).map(drop)
    }

    fn park(self: Box<Self>) {}

    fn recovers(&self) -> bool {
        true
    }
}
