//! What can be wrong with an object: the payloads of errors that name one.
//!
//! The objects' layer fills them, and the storage some; they are read as messages and by programs
//! that look for the object concerned.
//!
//! # Invariants
//! - Every message names the object where it is known.

use super::Error;
use crate::id::{GlobalId, Oid, Tid};
use std::fmt;

/// Two transactions changed one object, or one changed what the other relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The object.
    pub oid: Oid,
    /// The name of its type, where known.
    pub type_name: Option<Box<str>>,
    /// Whether the object was only checked, not changed, by the transaction that lost.
    pub read: bool,
    /// The revision that the loser's work was based on.
    pub base: Tid,
    /// The revision that it lost to; of a promised object, the newest one so far.
    pub current: Tid,
    /// The transaction of several databases that the object is promised to, and that is not
    /// settled, if that is what the loser met.
    pub promised: Option<GlobalId>,
    /// The loser's note.
    pub mine: Box<str>,
    /// The winner's note, where known.
    pub theirs: Box<str>,
}

impl Conflict {
    /// A conflict over `oid`: based on `base`, it lost to `current`.
    pub fn new(oid: Oid, base: Tid, current: Tid) -> Conflict {
        let (mine, theirs) = Default::default();
        Conflict { oid, type_name: None, read: false, base, current, promised: None, mine, theirs }
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Error {
        Error::Conflict(Box::new(conflict).into())
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.read { "read conflict" } else { "conflict" };
        write!(f, "{kind} on object {}", self.oid)?;
        if let Some(name) = &self.type_name {
            write!(f, " of type {name}")?;
        }
        write!(f, ": based on tid {}, ", self.base.number())?;
        match self.promised {
            Some(gtid) => write!(f, "promised to the transaction {gtid}")?,
            None => write!(f, "lost to tid {}", self.current.number())?,
        }
        for (whose, note) in [("ours", &self.mine), ("theirs", &self.theirs)] {
            if !note.is_empty() {
                write!(f, "; {whose}: {note:?}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Conflict {}

/// An object that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotFound {
    /// The object.
    pub oid: Oid,
    /// The view it was looked for in.
    pub at: Tid,
    /// Who removed it, where known.
    pub removed: Option<Tid>,
    /// The object through which it was reached, where known.
    pub referrer: Option<Oid>,
}

impl NotFound {
    /// Nothing of `oid` in the view at `at`.
    pub fn new(oid: Oid, at: Tid) -> NotFound {
        NotFound { oid, at, removed: None, referrer: None }
    }
}

impl From<NotFound> for Error {
    fn from(missing: NotFound) -> Error {
        Error::NotFound(Box::new(missing).into())
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} does not exist as of tid {}", self.oid, self.at.number())?;
        if let Some(tid) = self.removed {
            write!(f, ", removed by tid {}", tid.number())?;
        }
        if let Some(oid) = self.referrer {
            write!(f, ", referred to by object {oid}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotFound {}

/// An object that could not be turned into bytes, or back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub struct CodecFailure {
    /// The stable name of the type.
    pub type_name: Box<str>,
    /// The object, once it has a name.
    pub oid: Option<Oid>,
    /// The revision, when one was being read.
    pub tid: Option<Tid>,
    /// What was at fault.
    pub what: Box<str>,
}

impl CodecFailure {
    /// A failure to code or decode a value of the type `type_name`.
    pub fn new(type_name: impl Into<Box<str>>, what: impl Into<Box<str>>) -> CodecFailure {
        CodecFailure { type_name: type_name.into(), oid: None, tid: None, what: what.into() }
    }
}

impl From<CodecFailure> for Error {
    fn from(failure: CodecFailure) -> Error {
        Error::Codec(Box::new(failure).into())
    }
}

impl fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {}: {}", self.type_name, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, " (object {oid}")?;
            if let Some(tid) = self.tid {
                write!(f, ", tid {}", tid.number())?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// What is stored and what the program says of it are at odds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaMismatch {
    /// A value of one type was asked for as another.
    #[error("object {oid} is a {stored}, not a {asked}")]
    WrongType {
        /// The object.
        oid: Oid,
        /// The name of the type it was stored as.
        stored: Box<str>,
        /// The name of the type that was asked for.
        asked: Box<str>,
    },
    /// A collection's keys or values are of another type than its handle says.
    #[error("the {collection} of object {oid} holds {stored}, not {asked}")]
    WrongElements {
        /// What kind of collection.
        collection: &'static str,
        /// Its root object.
        oid: Oid,
        /// The types it was created with.
        stored: Box<str>,
        /// The types of the handle.
        asked: Box<str>,
    },
    /// The stored version of the type is one that the program cannot upgrade.
    #[error(
        "object {oid} is version {stored} of type {type_name}, which is at version {known} here: \
         {why}"
    )]
    UnknownVersion {
        /// The object.
        oid: Oid,
        /// The name of its type.
        type_name: Box<str>,
        /// The version it was stored as.
        stored: u32,
        /// The version the program has.
        known: u32,
        /// Why the one cannot become the other.
        why: Box<str>,
    },
    /// The type's fields changed while its name and version stayed.
    #[error(
        "the shape of type {type_name} version {version} changed: stored as {stored}, here {here}; \
         give it a new VERSION and an upgrade"
    )]
    ShapeChanged {
        /// The name of the type.
        type_name: Box<str>,
        /// Its version.
        version: u32,
        /// The shape in the file.
        stored: Box<str>,
        /// The shape in the program.
        here: Box<str>,
    },
}

impl From<SchemaMismatch> for Error {
    fn from(mismatch: SchemaMismatch) -> Error {
        Error::Schema(Box::new(mismatch).into())
    }
}
