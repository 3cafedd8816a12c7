//! Reading: [`View`].
//!
//! Everything that reads takes a `&View`: `Database::view` makes one of a single snapshot, and a
//! connection is one, whose snapshot is that of the current transaction, with the connection's own
//! changes on top. What was decoded once comes from the cache that all views share.
//!
//! # Invariants
//! - Two reads of one object agree, unless this transaction changed it in between.
//! - A read takes no lock of the connection's while the transaction has changed nothing.

use super::cache::Cached;
use super::core::Core;
use super::isolation::ReadSet;
use super::roots::Roots;
use super::watch::Watch;
use super::{Persistent, Ref};
use crate::error::{Error, NotFound, Result};
use crate::id::{Oid, Tid};
use crate::storage::{Change, Load, Revision, Snapshot};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A `View` is one consistent state of a database, to read in.
///
/// It is for one flow of control: not `Sync`. The objects that it gives out are shared, and stay
/// what they are for as long as somebody holds them.
///
/// ```
/// # use perennial::{Database, Persistent};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Page { text: String }
/// # impl Persistent for Page { const NAME: &'static str = "wiki.Page"; }
/// # let db = Database::in_memory()?;
/// let page = db.transact(|conn| conn.add(Page { text: "hello".into() }))?;
/// assert_eq!(db.view(|view| Ok(view.get(page)?.text.clone()))?, "hello");
/// # Ok::<(), perennial::Error>(())
/// ```
///
/// To write in a view does not compile:
///
/// ```compile_fail
/// # use perennial::{Database, Persistent};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Page { text: String }
/// # impl Persistent for Page { const NAME: &'static str = "wiki.Page"; }
/// # let db = Database::in_memory()?;
/// let page = db.transact(|conn| conn.add(Page { text: "hello".into() }))?;
/// db.view(|view| view.modify(page, |page| page.text.clear()))?;
/// # Ok::<(), perennial::Error>(())
/// ```
pub struct View {
    pub(super) core: Arc<Core>,
    sight: Sight,
}

enum Sight {
    /// One state, whatever happens.
    Fixed(Arc<dyn Snapshot>),
    /// That of the current transaction.
    Watch(Watch),
}

/// An object as it was read, before anybody changed it.
pub(super) struct Found<T> {
    pub tid: Tid,
    pub pinned: bool,
    pub object: Arc<T>,
}

/// What an object is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Reading,
    /// The commit will put what becomes of it into the cache. If what it was were there as well, it
    /// would have to be copied before it is changed.
    Changing,
}

/// A snapshot, borrowed from wherever it is kept.
pub(super) enum Seen<'a> {
    Fixed(&'a Arc<dyn Snapshot>),
    Now(std::cell::Ref<'a, super::watch::Now>),
}

impl Deref for Seen<'_> {
    type Target = Arc<dyn Snapshot>;

    fn deref(&self) -> &Arc<dyn Snapshot> {
        match self {
            Seen::Fixed(snapshot) => snapshot,
            Seen::Now(now) => &now.snapshot,
        }
    }
}

impl View {
    pub(super) fn fixed(core: Arc<Core>, snapshot: Arc<dyn Snapshot>) -> View {
        View { core, sight: Sight::Fixed(snapshot) }
    }

    pub(super) fn watching(core: Arc<Core>, watch: Watch) -> View {
        View { core, sight: Sight::Watch(watch) }
    }

    /// The object that `r` names.
    ///
    /// # Errors
    /// [`Error::NotFound`] where this view has none; [`Error::ForeignRef`] for a reference of
    /// another database; [`Error::Busy`] inside the closure that modifies it;
    /// [`Error::NoTransaction`] through a connection that is in none. [`Error::Schema`] where it
    /// is of another type, version or shape, and [`Error::Codec`] where its bytes are not those
    /// of a `T`. [`Error::Corrupt`] and [`Error::Io`] where the storage cannot read them.
    pub fn get<T: Persistent>(&self, r: Ref<T>) -> Result<Arc<T>> {
        let oid = self.core.own(r)?;
        let seen = match &self.sight {
            Sight::Fixed(snapshot) => Seen::Fixed(snapshot),
            Sight::Watch(watch) => {
                let now = watch.now()?;
                if let Some(writes) = watch.writes.of(now.transaction)
                    && let Some(object) = writes.object(oid)
                {
                    return object;
                }
                Seen::Now(now)
            }
        };
        self.find(oid, seen, For::Reading).map(|found| found.object)
    }

    /// The object under this name, or `None`.
    ///
    /// # Errors
    /// [`Error::Schema`], naming both types, where it is not a `T`; else those of [`View::get`].
    pub fn root<T: Persistent>(&self, name: &str) -> Result<Option<Ref<T>>> {
        let roots = self.named()?;
        let Some(oid) = roots.and_then(|roots| roots.get(name)) else { return Ok(None) };
        let root = Ref::new(oid, self.core.tag);
        self.get::<T>(root)?;
        Ok(Some(root))
    }

    /// The names of all roots, in their order, and the objects under them.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn roots(&self) -> Result<Vec<(String, Oid)>> {
        Ok(self.named()?.map(|roots| roots.list()).unwrap_or_default())
    }

    /// The object that holds the roots, where there is one.
    pub(super) fn named(&self) -> Result<Option<Arc<Roots>>> {
        match self.get(Ref::<Roots>::new(Oid::ROOT, self.core.tag)) {
            Ok(roots) => Ok(Some(roots)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The changes of an object that this view knows of, newest first: when, by whom, what for,
    /// how large. Changes of the transaction that is running are not among them.
    ///
    /// # Errors
    /// [`Error::ForeignRef`], [`Error::NoTransaction`], and those of reading.
    pub fn history<T>(&self, r: Ref<T>) -> Result<Vec<Change>> {
        let oid = self.core.own(r)?;
        let tid = self.tid()?;
        let mut history = self.core.storage.history(oid)?;
        history.retain(|change| change.tid <= tid);
        Ok(history)
    }

    /// The last transaction that this view shows.
    ///
    /// # Errors
    /// [`Error::NoTransaction`] through a connection that is in none.
    pub fn tid(&self) -> Result<Tid> {
        Ok(self.snapshot()?.tid())
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tid = self.tid().ok();
        f.debug_struct("View")
            .field("database", &self.core.storage.id())
            .field("tid", &tid)
            .finish()
    }
}

/// Inside.
impl View {
    #[inline]
    pub(super) fn snapshot(&self) -> Result<Seen<'_>> {
        match &self.sight {
            Sight::Fixed(snapshot) => Ok(Seen::Fixed(snapshot)),
            Sight::Watch(watch) => watch.now().map(Seen::Now),
        }
    }

    pub(super) fn watch(&self) -> Option<&Watch> {
        match &self.sight {
            Sight::Fixed(_) => None,
            Sight::Watch(watch) => Some(watch),
        }
    }

    /// The object as the snapshot has it, to be changed.
    #[inline]
    pub(super) fn read<T: Persistent>(&self, oid: Oid) -> Result<Found<T>> {
        self.find(oid, self.snapshot()?, For::Changing)
    }

    #[inline]
    fn find<T: Persistent>(&self, oid: Oid, seen: Seen<'_>, what: For) -> Result<Found<T>> {
        if self.read_set().is_none()
            && let Some(found) = self.core.cached(oid, &**seen)
        {
            return Ok(found);
        }
        self.load_or_note(oid, seen, what)
    }

    /// Where it is noted what is read; nowhere, under snapshot isolation.
    #[inline]
    fn read_set(&self) -> Option<&ReadSet> {
        self.watch()?.writes.reads.as_ref()
    }

    /// The rest of a read, which few need.
    #[inline(never)]
    fn load_or_note<T: Persistent>(&self, oid: Oid, seen: Seen<'_>, what: For) -> Result<Found<T>> {
        let snapshot = seen.clone();
        let noted = match (self.read_set(), &seen) {
            (Some(reads), Seen::Now(now)) => Some((reads, now.transaction)),
            _ => None,
        };
        // Decoding runs foreign code: the watch must not stay borrowed.
        drop(seen);
        let cached = self.core.cached(oid, &*snapshot);
        let found = cached.map_or_else(|| self.core.load(oid, &*snapshot, what), Ok);
        if let Some((reads, transaction)) = noted {
            reads.note(transaction, oid, &found, |found| found.tid);
        }
        found
    }

    /// The revision of an object in the snapshot: what a check, or a removal, is based on.
    pub(super) fn revision(&self, oid: Oid) -> Result<(Tid, bool)> {
        let snapshot = self.snapshot()?;
        let found = found(oid, &**snapshot).map(|revision| (revision.tid, revision.pinned));
        if let (Some(reads), Seen::Now(now)) = (self.read_set(), &snapshot) {
            reads.note(now.transaction, oid, &found, |found| found.0);
        }
        found
    }
}

impl Core {
    /// The oid of a reference into this database.
    #[inline]
    pub(super) fn own<T>(&self, r: Ref<T>) -> Result<Oid> {
        match r.tag() {
            super::reference::LOOSE => Ok(r.oid()),
            tag if tag == self.tag => Ok(r.oid()),
            _ => Err(Error::ForeignRef { oid: r.oid() }),
        }
    }

    /// What the cache has of an object in this snapshot.
    #[inline(always)]
    fn cached<T: Persistent>(&self, oid: Oid, snapshot: &dyn Snapshot) -> Option<Found<T>> {
        let cached = self.cache.get(oid, snapshot.place(oid), snapshot.tid())?;
        let Cached { tid, pinned, object, .. } = cached;
        object.downcast().ok().map(|object| Found { tid, pinned, object })
    }

    /// Decodes an object, and remembers it where it is the newest and is to be read.
    fn load<T: Persistent>(
        &self,
        oid: Oid,
        snapshot: &dyn Snapshot,
        what: For,
    ) -> Result<Found<T>> {
        let revision = found(oid, snapshot)?;
        let object = Arc::new(self.decode::<T>(oid, &revision)?);
        let Revision { tid, place, pinned, .. } = revision;
        if what == For::Reading && place == snapshot.place(oid) {
            let length = u32::try_from(revision.data.len()).unwrap_or(u32::MAX);
            let cached = Cached { place, tid, pinned, length, object: object.clone() };
            self.cache.offer(oid, cached);
        }
        Ok(Found { tid, pinned, object })
    }
}

fn found(oid: Oid, snapshot: &dyn Snapshot) -> Result<Revision<'_>> {
    let mut missing = NotFound::new(oid, snapshot.tid());
    match snapshot.load(oid)? {
        Load::Found(revision) => return Ok(revision),
        Load::Removed(tid) => missing.removed = Some(tid),
        Load::Absent => {}
    }
    Err(missing.into())
}
