//! A [`Batch`]: what one transaction wants to store, in the form that every storage takes.
//!
//! The objects' layer fills it; a storage reads it. The bytes of all its writes stand in one
//! buffer, so that a batch of a thousand small objects is two allocations and not a thousand.
//!
//! # Invariants
//! - No object is written twice in one batch (checked by [`Batch::check`]).

use super::{Durability, Place};
use crate::error::{Error, Result};
use crate::format::{Decision, Metadata, References, TypeId};
use crate::id::{Oid, Tid};
use std::ops::Range;

/// A `Batch` is the content of a transaction that is to be committed.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What the transaction says of itself.
    pub metadata: Metadata,
    /// What its commit waits for.
    pub durability: Durability,
    /// Objects that must still be at these revisions, though the batch does not change them.
    pub reads: Vec<(Oid, Tid)>,
    /// Set where this commit decides a transaction that others take part in.
    pub decision: Option<Decision>,
    writes: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Entry {
    oid: Oid,
    base: Tid,
    pinned: bool,
    /// Where the base stands, where that is known.
    place: Option<Place>,
    content: Option<Span>,
}

#[derive(Debug, Clone)]
struct Span {
    type_id: TypeId,
    references: Range<usize>,
    data: Range<usize>,
}

/// One write of a batch.
#[derive(Debug, Clone)]
pub struct Write<'a> {
    /// The object.
    pub oid: Oid,
    /// The revision it was changed from; [`Tid::ZERO`] for an object that had none.
    pub base: Tid,
    /// Whether the object is a root of its own.
    pub pinned: bool,
    /// What it becomes; `None`: nothing, it is removed.
    pub content: Option<Content<'a>>,
}

/// What an object becomes.
#[derive(Debug, Clone)]
pub struct Content<'a> {
    /// The type of the data.
    pub type_id: TypeId,
    /// The objects that the data refer to.
    pub references: References<'a>,
    /// The encoded object.
    pub data: &'a [u8],
}

impl Batch {
    /// Makes room for so many more writes.
    pub fn reserve(&mut self, writes: usize) {
        self.writes.reserve(writes);
    }

    /// Adds the new state of an object. `references` are the objects that `data` refers to.
    pub fn put(
        &mut self,
        (oid, base, pinned): (Oid, Tid, bool),
        type_id: TypeId,
        references: &[Oid],
        data: &[u8],
    ) {
        let content = Some(self.span(type_id, references, data));
        self.writes.push(Entry { oid, base, pinned, place: None, content });
    }

    /// Says where the revision stands that the write added last is based on, as a snapshot told: a
    /// storage that finds the newest one there need not read it again.
    pub fn based_at(&mut self, place: Place) {
        if let Some(entry) = self.writes.last_mut() {
            entry.place = Some(place);
        }
    }

    /// Where the base of write number `index` stands, where that is known.
    pub(super) fn place(&self, index: usize) -> Option<Place> {
        self.writes.get(index)?.place
    }

    /// Adds the removal of an object.
    pub fn remove(&mut self, oid: Oid, base: Tid, pinned: bool) {
        self.writes.push(Entry { oid, base, pinned, place: None, content: None });
    }

    /// Puts another state, made from another base, in the place of write number `index`.
    ///
    /// # Panics
    /// Where the batch has no such write.
    pub fn replace(
        &mut self,
        index: usize,
        base: Tid,
        type_id: TypeId,
        references: &[Oid],
        data: &[u8],
    ) {
        let content = Some(self.span(type_id, references, data));
        let entry = &mut self.writes[index];
        (entry.base, entry.place, entry.content) = (base, None, content);
    }

    fn span(&mut self, type_id: TypeId, references: &[Oid], data: &[u8]) -> Span {
        let start = self.bytes.len();
        // Where references are few, their number and they take less than this.
        self.bytes.reserve(data.len() + 1 + 4 * references.len());
        References::encode(references, &mut self.bytes);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(data);
        Span { type_id, references: start..middle, data: middle..self.bytes.len() }
    }

    /// How many objects are written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// How many bytes its objects and references are.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written; reads may still be checked.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes, in the order they were added.
    pub fn writes(&self) -> impl ExactSizeIterator<Item = Write<'_>> {
        self.writes.iter().map(|entry| self.view(entry))
    }

    /// Write number `index`.
    ///
    /// # Panics
    /// Where the batch has no such write.
    pub fn write(&self, index: usize) -> Write<'_> {
        self.view(&self.writes[index])
    }

    fn view(&self, entry: &Entry) -> Write<'_> {
        let content = entry.content.as_ref().map(|span| Content {
            type_id: span.type_id,
            references: References::of(&self.bytes[span.references.clone()]),
            data: &self.bytes[span.data.clone()],
        });
        Write { oid: entry.oid, base: entry.base, pinned: entry.pinned, content }
    }

    /// Refuses a batch that no storage may take.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where an object is written twice, or more objects than a
    /// transaction can have are.
    pub fn check(&self) -> Result<()> {
        if u32::try_from(self.writes.len()).is_err() {
            let what = "a transaction can store at most 4,294,967,295 objects";
            return Err(Error::InvalidArgument(what.into()));
        }
        // As a rule they come in order.
        if self.writes.is_sorted_by(|one, next| one.oid < next.oid) {
            return Ok(());
        }
        let mut oids: Vec<Oid> = self.writes.iter().map(|entry| entry.oid).collect();
        oids.sort_unstable();
        match oids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let what = format!("object {} is written twice in one transaction", pair[0]);
                Err(Error::InvalidArgument(what.into()))
            }
            None => Ok(()),
        }
    }
}
