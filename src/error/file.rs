//! What can be wrong with a file: the payloads of errors that name one.
//!
//! The storage in a file fills them; they say where to look before anything is done about it.
//!
//! # Invariants
//! - Every message names the file, and the offset where there is one.

use super::Error;
use crate::id::{DatabaseId, GlobalId, Oid, Tid};
use std::fmt;
use std::path::PathBuf;

/// Bytes that break a rule of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The rule that is broken.
    pub what: Box<str>,
    /// The object concerned, where known.
    pub oid: Option<Oid>,
    /// The transaction concerned, where known.
    pub tid: Option<Tid>,
}

impl Corruption {
    /// A broken rule at `offset` of the file `path`.
    pub fn new(path: impl Into<PathBuf>, offset: u64, what: impl Into<Box<str>>) -> Corruption {
        Corruption { path: path.into(), offset, what: what.into(), oid: None, tid: None }
    }
}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Error {
        Error::Corrupt(Box::new(corruption).into())
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is corrupt at offset {}: {}", self.path.display(), self.offset, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, ", in object {oid}")?;
        }
        if let Some(tid) = self.tid {
            write!(f, ", of tid {}", tid.number())?;
        }
        Ok(())
    }
}

/// A file that lost something it once held durably.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at offset {offset}: {what}, while everything below offset {proven} was durable; \
     read it with `read_only`, or copy what is good of it with `perennial recover`", path.display()
)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first bad place, or the file's length where its end is missing.
    pub offset: u64,
    /// Everything below was once known to be durable.
    pub proven: u64,
    /// What was found there.
    pub what: Box<str>,
}

impl Damage {
    /// Damage at `offset` of a file that was durable up to `proven`.
    pub fn new(
        path: impl Into<PathBuf>,
        offset: u64,
        proven: u64,
        what: impl Into<Box<str>>,
    ) -> Damage {
        Damage { path: path.into(), offset, proven, what: what.into() }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Error {
        Error::Damaged(Box::new(damage).into())
    }
}

/// What the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
#[non_exhaustive]
pub struct IoFailure {
    /// What was tried: a verb.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's words.
    pub source: std::io::Error,
}

/// A file and its copy, in one process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} and {} are copies of one database ({id}): only one of them can be open in this process",
    open.display(), asked.display()
)]
#[non_exhaustive]
pub struct AlreadyOpen {
    /// The id that both carry.
    pub id: DatabaseId,
    /// The one that is open.
    pub open: PathBuf,
    /// The one that was to be opened.
    pub asked: PathBuf,
}

impl AlreadyOpen {
    /// Both carry `id`; `open` is open.
    pub fn new(id: DatabaseId, open: PathBuf, asked: PathBuf) -> AlreadyOpen {
        AlreadyOpen { id, open, asked }
    }
}

/// A file that this program cannot take for a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be opened as a database: {what}", path.display())]
#[non_exhaustive]
pub struct NotADatabase {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub what: Box<str>,
}

impl NotADatabase {
    /// `path` is none, because of `what`.
    pub fn new(path: impl Into<PathBuf>, what: impl Into<Box<str>>) -> NotADatabase {
        NotADatabase { path: path.into(), what: what.into() }
    }
}

impl From<NotADatabase> for Error {
    fn from(refusal: NotADatabase) -> Error {
        Error::NotADatabase(Box::new(refusal).into())
    }
}

/// A global transaction whose outcome this file alone does not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is in doubt about its part of the global transaction {gtid} at offset {offset}: {why}; \
     name the file that decides with `Options::coordinator`, read with `read_only`, or go on with \
     `Options::in_doubt`",
    path.display()
)]
#[non_exhaustive]
pub struct InDoubt {
    /// The file.
    pub path: PathBuf,
    /// The transaction.
    pub gtid: GlobalId,
    /// Where its part stands, in bytes.
    pub offset: u64,
    /// Who must be asked, and why nobody could be.
    pub why: Box<str>,
}

impl InDoubt {
    /// `path` holds a part of `gtid` at `offset`, and no outcome, because of `why`.
    pub fn new(
        path: impl Into<PathBuf>,
        gtid: GlobalId,
        offset: u64,
        why: impl Into<Box<str>>,
    ) -> InDoubt {
        InDoubt { path: path.into(), gtid, offset, why: why.into() }
    }
}
