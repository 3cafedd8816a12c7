//! Objects that are roots of their own, without a name: pinned ones.
//!
//! The storage can enumerate them, and whoever adds one removes it: nothing else has to refer to
//! it, so nothing is shared with those who add others. Pending jobs are kept like this.
//!
//! # Invariants
//! - An object is pinned from its creation to its removal, or not at all.

use super::connection::Connection;
use super::kind::kind;
use super::view::View;
use super::writes::{Entry, State};
use super::{Persistent, Ref};
use crate::error::{Error, Result};
use crate::id::Tid;
use crate::storage::Load;

impl Connection {
    /// Makes a new object that is kept until it is [removed](Connection::remove_pinned), whether
    /// anything refers to it or not.
    ///
    /// # Errors
    /// Those of [`add`](Connection::add).
    pub fn add_pinned<T: Persistent>(&self, value: T) -> Result<Ref<T>> {
        self.add_new(value, true)
    }

    /// Removes a pinned object. Where another transaction changes or removes it at the same time,
    /// one of the two conflicts.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the object is not pinned; such objects go when nothing
    /// refers to them. Else those of [`modify`](Connection::modify).
    pub fn remove_pinned<T: Persistent>(&self, r: Ref<T>) -> Result<()> {
        const ACTION: &str = "remove an object";
        let oid = self.core.own(r)?;
        let mut writes = self.to_write(ACTION)?;
        let entry = match (writes.object::<T>(oid), writes.entry(oid)) {
            (Some(object), Some(entry)) => object.map(|_| entry.clone())?,
            _ => {
                drop(writes);
                let (base, pinned) = self.revision(oid)?;
                writes = self.to_write(ACTION)?;
                Entry { kind: kind::<T>(), base, pinned, blank: None, state: State::Removed }
            }
        };
        if !entry.pinned {
            let what = format!("object {oid} is not pinned: it cannot be removed by itself");
            return Err(Error::InvalidArgument(what.into()));
        }
        let spare = writes.put(oid, Entry { state: State::Removed, ..entry });
        drop(writes);
        drop(spare);
        Ok(())
    }
}

impl View {
    /// The pinned objects of type `T` in this view that nobody has removed since, in the order of
    /// their oids. Those that the running transaction added are not among them.
    ///
    /// # Errors
    /// [`Error::NoTransaction`], [`Error::Closed`], and those of reading.
    pub fn pinned<T: Persistent>(&self) -> Result<Vec<Ref<T>>> {
        let snapshot = self.snapshot()?.clone();
        let (name, mut found) = (T::type_name(), Vec::new());
        for oid in self.core.storage.pinned()? {
            let Load::Found(revision) = snapshot.load(oid)? else { continue };
            let stored = self.core.storage.type_def(revision.type_id);
            let is_one = stored
                .is_some_and(|stored| *stored.name == *name || T::ALIASES.contains(&&*stored.name));
            if is_one {
                found.push(Ref::new(oid, self.core.tag));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The transaction that stored what this view has of an object, changes of the running one
    /// aside: what a commit that changes it is based on. Equal tids mean equal revisions.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ForeignRef`], [`Error::NoTransaction`], and those of reading.
    pub fn stored_by<T>(&self, r: Ref<T>) -> Result<Tid> {
        let oid = self.core.own(r)?;
        self.revision(oid).map(|(tid, _)| tid)
    }
}
