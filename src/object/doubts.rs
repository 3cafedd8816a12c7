//! Promises in doubt, and where to ask what became of them: [`Search`], [`OnDoubt`].
//!
//! A file that holds an unsettled promise asks the database that decides: the one that is open in
//! this process, or a file that is opened for the purpose, through its recovery. It is never
//! guessed: where nobody can be asked who must know, the promise stays in doubt.
//!
//! # Invariants
//! - Only a database of the right id is asked, which held the transaction that was its last
//!   durable one when the promise was made: another or older copy cannot know.

use super::database::Database;
use super::options::resolve;
use super::registry;
use crate::error::{Error, Result};
use crate::file::Directory;
use crate::format::Coordinator;
use crate::id::{GlobalId, Tid};
use crate::storage::file::{FileOptions, Mode};
use crate::storage::{Doubt, Fate, FileStorage, OpenDecision, Storage, TwoPhase};
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done with a file that holds promises whose outcome cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnDoubt {
    /// It is not opened for writing.
    #[default]
    Refuse,
    /// It is opened; what is promised stays reserved, and changing it is a conflict, until
    /// [`Database::resolve_in_doubt`] finds out or [`Database::settle`] is told.
    Hold,
}

/// Held alone by a resolution, and shared by whoever opens a file until others can find it: so
/// that none finds a decider locked by somebody in this process who does not answer.
pub(super) static RESOLVING: RwLock<()> = RwLock::new(());

/// Where to look for the files that decide.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// The directory of the file that is in doubt.
    pub directory: Option<Arc<dyn Directory>>,
    /// Whether paths lead to the file system, and not into that directory alone.
    pub on_disk: bool,
    /// What the application named.
    pub given: Vec<PathBuf>,
}

/// A file that may be the one that decides.
type Candidate = (Arc<dyn Directory>, String);

impl Search {
    /// Settles what can be; the others, each with the reason why not.
    pub fn resolve(&self, storage: &dyn Storage) -> Result<Vec<(Doubt, Box<str>)>> {
        let doubts = storage.in_doubt()?;
        if doubts.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = RESOLVING.write();
        let mut open = Vec::new();
        for doubt in doubts {
            match self.fate(&doubt) {
                Ok(committed) => storage.settle(doubt.gtid, committed)?,
                Err(why) => open.push((doubt, why)),
            }
        }
        Ok(open)
    }

    /// Whether the transaction was committed, or why nobody can tell.
    fn fate(&self, doubt: &Doubt) -> Result<bool, Box<str>> {
        let Some(coordinator) = &doubt.coordinator else {
            return Err("no database decides it; tell the outcome with `settle`".into());
        };
        let mut reasons = vec![format!("database {} decides it", coordinator.database)];
        if let Some(core) = registry::living(coordinator.database) {
            match ask(&*core.storage, doubt.gtid, coordinator) {
                Ok(committed) => return Ok(committed),
                Err(why) => reasons.push(format!("the one that is open here {why}")),
            }
        }
        let (candidates, unreachable) = self.candidates(coordinator);
        reasons.extend(unreachable);
        for (directory, name) in candidates {
            match ask_file(&directory, &name, doubt.gtid, coordinator) {
                Ok(committed) => return Ok(committed),
                Err(why) => reasons.push(format!("{} {why}", directory.path(&name).display())),
            }
        }
        Err(reasons.join("; ").into())
    }

    /// The files to look at: those named, the one where the decider was, and one of its name in
    /// our directory, for files that were moved together.
    /// With them, why others cannot be looked at.
    fn candidates(&self, coordinator: &Coordinator) -> (Vec<Candidate>, Vec<String>) {
        let stored =
            Some(PathBuf::from(&coordinator.path)).filter(|_| !coordinator.path.is_empty());
        let beside = |path: &Path| -> Option<Candidate> {
            Some((self.directory.clone()?, path.file_name()?.to_str()?.to_owned()))
        };
        let (mut all, mut unreachable): (Vec<Candidate>, Vec<String>) = Default::default();
        for path in self.given.iter().chain(&stored) {
            match if self.on_disk { resolve(path) } else { beside(path).ok_or(Error::Closed) } {
                Ok(candidate) => all.push(candidate),
                Err(error) => unreachable.push(format!("{}: {error}", path.display())),
            }
        }
        all.extend(stored.as_deref().and_then(beside));
        let mut seen = Vec::new();
        all.retain(|(directory, name)| {
            let path = directory.path(name);
            let is_new = !seen.contains(&path);
            seen.push(path);
            is_new
        });
        (all, unreachable)
    }
}

/// Asks a storage; where it cannot tell, why.
fn ask(storage: &dyn Storage, gtid: GlobalId, of: &Coordinator) -> Result<bool, String> {
    match storage.decision(gtid, of.last_tid) {
        Ok(Fate::Committed(_)) => Ok(true),
        Ok(Fate::Aborted) => Ok(false),
        Ok(Fate::Unknown) if storage.last_tid() < of.last_tid => {
            let (last, needed) = (storage.last_tid().number(), of.last_tid.number());
            Err(format!("ends at tid {last}, before tid {needed}: it is an older copy"))
        }
        Ok(Fate::Unknown) => Err("cannot tell".into()),
        Err(error) => Err(format!("does not answer: {error}")),
    }
}

/// Asks a file: as its writer, or, where another process is that, for what it has made durable.
fn ask_file(
    directory: &Arc<dyn Directory>,
    name: &str,
    gtid: GlobalId,
    of: &Coordinator,
) -> Result<bool, String> {
    let open = |mode| {
        let options = FileOptions { mode, housekeeping: false, ..FileOptions::default() };
        FileStorage::open(directory.clone(), name, FileOptions { hold_in_doubt: true, ..options })
    };
    // Reading first: nothing is mended in a file that is another one.
    let reader = open(Mode::ReadOnly).map_err(|error| format!("cannot be asked: {error}"))?;
    if reader.id() != of.database {
        return Err(format!("is database {}", reader.id()));
    }
    match open(Mode::Existing) {
        Ok(writer) => {
            drop(reader);
            ask(&writer, gtid, of)
        }
        Err(Error::Locked(_)) => {
            // Anew: what the first one saw may be from before the writer came, and not durable.
            let reader =
                open(Mode::ReadOnly).map_err(|error| format!("cannot be asked: {error}"))?;
            match reader.decision(gtid, of.last_tid) {
                Ok(Fate::Committed(_)) if reader.has_writer() => Ok(true),
                _ => Err("is in use by somebody else".into()),
            }
        }
        Err(error) => Err(format!("cannot be asked: {error}")),
    }
}

/// Transactions of several databases.
impl Database {
    /// What became of the transaction `gtid`, if it is one that this database decides. Where it
    /// has not been decided, it is given up: this database will not decide it any more.
    ///
    /// This is for whoever finds a prepared part of it after a crash, in PostgreSQL say, and it is an
    /// act: do not ask to print how things stand. Ask the database that [`Info::coordinator`] named,
    /// and no other: one that was not to decide has never heard of the transaction, and answers
    /// [`Fate::Aborted`]. What was given up is kept in mind until the database closes; after 65,536
    /// of them the answer is [`Fate::Unknown`]. Decisions that were [ended](Database::end_decision) are found too, by
    /// reading the whole log; [`decision_since`](Database::decision_since) reads less.
    ///
    /// [`Info::coordinator`]: crate::transaction::Info::coordinator
    ///
    /// # Errors
    /// [`Error::Closed`], and those of reading.
    pub fn decision(&self, gtid: GlobalId) -> Result<Fate> {
        self.core.storage.decision(gtid, Tid::ZERO)
    }

    /// As [`decision`](Database::decision), for who knows a transaction that was durable here before
    /// the decision could be made, as [`Coordinator::last_tid`] tells: the log is read no farther
    /// back, and a database that does not hold it, an older copy say, answers [`Fate::Unknown`].
    ///
    /// # Errors
    /// [`Error::Closed`], and those of reading.
    ///
    /// [`Coordinator::last_tid`]: crate::transaction::Coordinator::last_tid
    pub fn decision_since(&self, gtid: GlobalId, last_tid: Tid) -> Result<Fate> {
        self.core.storage.decision(gtid, last_tid)
    }

    /// The decisions made here that were not ended: of participants that may not have finished.
    ///
    /// # Errors
    /// [`Error::Closed`], and those of reading.
    pub fn open_decisions(&self) -> Result<Vec<OpenDecision>> {
        self.core.storage.open_decisions()
    }

    /// Says that every participant of the decision has finished, durably, and that nobody will
    /// ask for it. Where all finished within the process, this is done by itself.
    ///
    /// # Errors
    /// [`Error::Halted`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn end_decision(&self, gtid: GlobalId) -> Result<()> {
        self.core.storage.end_decision(gtid)
    }

    /// What this database promised to transactions that others decide, and whose outcome it does
    /// not know.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn in_doubt(&self) -> Result<Vec<Doubt>> {
        self.core.storage.in_doubt()
    }

    /// Asks those who decide, as opening does, and settles what they know. Returns what is still
    /// in doubt.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Halted`], [`Error::ReadOnly`].
    pub fn resolve_in_doubt(&self) -> Result<Vec<Doubt>> {
        let open = self.core.search.resolve(&*self.core.storage);
        self.core.attachment.tell_of_settling();
        let open = open?;
        Ok(open.into_iter().map(|(doubt, _)| doubt).collect())
    }

    /// Settles a promise on your word: where the database that decided is lost for ever, say.
    ///
    /// A wrong word tears the transaction apart: this database then has a change that the others
    /// have not, or the other way round. The first word counts, and cannot be taken back. Where no
    /// promise of `gtid` is [in doubt](Database::in_doubt), nothing happens.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Halted`], [`Error::ReadOnly`].
    pub fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()> {
        self.core.storage.settle(gtid, committed)?;
        self.core.attachment.tell_of_settling();
        Ok(())
    }
}
