//! What frames speak of, apart from their layout: types, metadata, decisions, references.
//!
//! The layers above use these words too; how they stand in a frame is said in `fields` and
//! `record`.
//!
//! Format: docs/format.md, "Types".

use super::bytes::{Malformed, Reader, put_varint};
use crate::id::{DatabaseId, GlobalId, Oid};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The number by which records name a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// The definition of a stored type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TypeDef {
    /// Its stable name.
    pub name: Box<str>,
    /// Its version.
    pub version: u32,
    /// What its values look like, as text.
    pub shape: Box<str>,
}

impl fmt::Display for TypeDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {} ({})", self.name, self.version, self.shape)
    }
}

/// What a transaction says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Who did it; empty where nobody said.
    pub user: String,
    /// What it did.
    pub note: String,
    /// What else the application keeps with it.
    pub extension: BTreeMap<String, Vec<u8>>,
}

/// The decision of a transaction that others take part in, as a file keeps it.
///
/// A data manager is handed it as a `transaction::Decision`: transactions know no files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The transaction, under the name that all participants know.
    pub gtid: GlobalId,
    /// Those it was decided for.
    pub participants: Vec<Participant>,
}

/// One of those that a decision was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its name.
    pub name: String,
    /// Its database, where it is one of ours.
    pub database: Option<DatabaseId>,
}

/// The objects that an object's data refer to: their oids, one varint after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References<'a>(Cow<'a, [u8]>);

impl<'a> References<'a> {
    /// Those encoded in `bytes`.
    pub fn of(bytes: &'a [u8]) -> References<'a> {
        References(Cow::Borrowed(bytes))
    }

    /// Appends the encoding of `oids` to `out`.
    pub fn encode(oids: &[Oid], out: &mut Vec<u8>) {
        oids.iter().for_each(|oid| put_varint(out, oid.number()));
    }

    /// Their encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, independent of where they were read.
    pub fn into_owned(self) -> References<'static> {
        References(Cow::Owned(self.0.into_owned()))
    }

    /// The oids, in the order of their encoding.
    ///
    /// # Errors
    /// An item is an error where the bytes are no oid; it is then the last.
    pub fn iter(&self) -> impl Iterator<Item = Result<Oid, Malformed>> + '_ {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            if reader.is_done() {
                return None;
            }
            let oid = reader.varint().map(Oid::new);
            if oid.is_err() {
                reader = Reader::new(&[]);
            }
            Some(oid)
        })
    }
}
