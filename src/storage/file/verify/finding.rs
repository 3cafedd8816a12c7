//! What can be wrong with a file, as its verification tells it: [`Finding`].
//!
//! # Invariants
//! - Every finding has its offset, and says whether anything was lost by it.

use crate::id::{Oid, Tid};
use std::fmt;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Where: in the file, or in its index snapshot where the kind says so.
    pub offset: u64,
    /// What is wrong there.
    pub what: Box<str>,
    /// The object concerned, where known; of bytes whose sum is wrong: what they say.
    pub oid: Option<Oid>,
    /// The transaction concerned, where known.
    pub tid: Option<Tid>,
    /// The name of the type concerned, where known.
    pub type_name: Option<Box<str>>,
}

/// What a [`Finding`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The start of the file, which says what it is.
    Header,
    /// A frame, or bytes where one should be.
    Frame,
    /// A record.
    Record,
    /// A type that records name, and that is not, or not well, defined.
    Type,
    /// A reference to an object that does not exist.
    Dangling,
    /// A promise to a transaction of several databases, or what settles it.
    Promise,
    /// An object that is part of a collection and does not fit into it.
    Collection,
    /// The index snapshot says something else than the log; its offsets are in the snapshot.
    Index,
    /// The index snapshot is no good and is passed over; its offsets are in the snapshot.
    /// Nothing is lost: the log knows it all.
    IndexPassedOver,
    /// What a crash, or a writer that is at work, left above all that was ever durable.
    /// Nothing is lost that was promised.
    Tail,
}

impl FindingKind {
    /// Its word in messages.
    pub const fn word(self) -> &'static str {
        match self {
            FindingKind::Header => "header",
            FindingKind::Frame => "frame",
            FindingKind::Record => "record",
            FindingKind::Type => "type",
            FindingKind::Dangling => "dangling reference",
            FindingKind::Promise => "promise",
            FindingKind::Collection => "collection",
            FindingKind::Index => "index",
            FindingKind::IndexPassedOver => "index passed over",
            FindingKind::Tail => "tail",
        }
    }
}

impl Finding {
    pub(super) fn new(kind: FindingKind, offset: u64, what: impl Into<Box<str>>) -> Finding {
        Finding { kind, offset, what: what.into(), oid: None, tid: None, type_name: None }
    }

    pub(super) fn of(self, oid: impl Into<Option<Oid>>, tid: impl Into<Option<Tid>>) -> Finding {
        Finding { oid: oid.into(), tid: tid.into(), ..self }
    }

    /// Whether nothing was lost by it: neither data nor the way to them.
    pub fn is_harmless(&self) -> bool {
        matches!(self.kind, FindingKind::IndexPassedOver | FindingKind::Tail)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.kind.word(), self.offset, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, ", in object {oid}")?;
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
