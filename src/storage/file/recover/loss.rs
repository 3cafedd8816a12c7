//! What a recovery tells of what it did not copy: [`Loss`].
//!
//! # Invariants
//! - Every loss has its offset in the damaged file, and says whether the new database lacks
//!   anything for it.

use crate::id::{Oid, Tid};
use std::fmt;

/// Something of a damaged file that is not in the new database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// What was lost.
    pub kind: LossKind,
    /// Where it stood in the damaged file.
    pub offset: u64,
    /// How many bytes it had there, where known.
    pub length: Option<u64>,
    /// What is wrong there, and what became of it.
    pub what: Box<str>,
    /// Whether it is certain. It is not where bad bytes may say the wrong object, or may be of a
    /// promise that never became a transaction.
    pub certain: bool,
    /// The object concerned, where known.
    pub oid: Option<Oid>,
    /// The transaction concerned, where known.
    pub tid: Option<Tid>,
    /// The name of the type concerned, where known.
    pub type_name: Option<Box<str>>,
    /// Of a revision: the transaction of the newest one that the new database has; none where it
    /// has nothing of the object.
    pub stands: Option<Tid>,
}

/// What a [`Loss`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossKind {
    /// Bytes that were bad and that the new database does not need: it lacks nothing for them.
    Mended,
    /// A frame, or bytes among which no frame could be found.
    Frame,
    /// The newest revision of an object: an older one stands now, or nothing.
    Revision,
    /// An earlier revision of an object: its history has a hole.
    Earlier,
    /// A promise to a transaction of several databases.
    Promise,
    /// The definition of a type: its objects are there, and nobody can tell what they are.
    Type,
    /// What a crash left above all that was ever durable. Nothing is lost that was promised.
    Tail,
}

impl LossKind {
    /// Its word in messages.
    pub const fn word(self) -> &'static str {
        match self {
            LossKind::Mended => "mended",
            LossKind::Frame => "frame",
            LossKind::Revision => "revision",
            LossKind::Earlier => "earlier revision",
            LossKind::Promise => "promise",
            LossKind::Type => "type",
            LossKind::Tail => "tail",
        }
    }
}

impl Loss {
    pub(super) fn new(kind: LossKind, offset: u64, what: impl Into<Box<str>>) -> Loss {
        let (length, oid, tid, type_name, stands) = Default::default();
        let (what, certain) = (what.into(), true);
        Loss { kind, offset, length, what, certain, oid, tid, type_name, stands }
    }

    pub(super) fn of(self, length: impl Into<Option<u64>>, tid: impl Into<Option<Tid>>) -> Loss {
        Loss { length: length.into(), tid: tid.into(), ..self }
    }

    /// Whether the new database has all that was ever promised to be in the old one.
    pub fn is_harmless(&self) -> bool {
        matches!(self.kind, LossKind::Mended | LossKind::Tail)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.kind.word(), self.offset, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, ", of object {oid}")?;
        }
        if let Some(name) = &self.type_name {
            write!(f, " ({name})")?;
        }
        if let Some(tid) = self.tid {
            write!(f, ", of tid {}", tid.number())?;
        }
        Ok(())
    }
}
