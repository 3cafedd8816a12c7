//! Where revisions are kept: (oid, tid) → bytes.
//!
//! [`Storage`] is the contract between the objects above and the bytes below. [`MemoryStorage`]
//! is its shortest correct implementation: read it first. [`FileStorage`] is the one that lasts.
//! A storage knows no types but their names, decodes nothing, and never calls foreign code.
//!
//! # Invariants
//! - Revisions are immutable: what a snapshot once answered, it answers for ever.
//! - Tids are given in the order of publication; a snapshot shows whole transactions.
//! - An oid is given out once.

mod batch;
mod exhausted;
mod memory;
mod places;
mod promise;
mod types;

pub mod file;

pub use batch::{Batch, Content, Write};
pub use file::FileStorage;
pub use memory::MemoryStorage;
pub use promise::{Doubt, DurableMark, Fate, Intent, OpenDecision, Promise, TwoPhase};
pub use types::TypeTable;

use crate::error::Result;
use crate::format::{Metadata, References, TypeDef, TypeId};
use crate::id::{DatabaseId, GlobalId, Oid, Tid};
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// For the disk: when the commit returns, a power loss cannot undo it.
    #[default]
    Sync,
    /// For the system: killing the process loses nothing; a power loss may lose the commits of
    /// about the last 100 ms, the latest ones first.
    Lazy,
}

/// A `Place` tells whether what a cache holds is still the newest revision of its object.
///
/// Only good for comparing: equal places of one object are one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(pub u64);

impl Place {
    /// The place of an object that has no revision.
    pub const NONE: Place = Place(0);
}

/// A `Storage` keeps the revisions of objects and adds transactions to them.
///
/// It assumes neither that the tid is known before a transaction is finished nor that committing
/// is serialised by a lock, so that a database server shared by many processes can be one too.
pub trait Storage: TwoPhase + Send + Sync + Debug {
    /// The id of the database kept here.
    fn id(&self) -> DatabaseId;

    /// The last published transaction; [`Tid::ZERO`] where there is none.
    fn last_tid(&self) -> Tid;

    /// Shows what others have committed since, where somebody else may write what is kept here;
    /// the last transaction that is shown.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), and those of reading; what was shown stays shown.
    fn refresh(&self) -> Result<Tid> {
        Ok(self.last_tid())
    }

    /// All that is published now, for as long as the snapshot is held.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// The database as of `tid`: what the transactions up to it had left.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) where `tid` is beyond the last
    /// one, or before what was kept.
    fn snapshot_at(&self, tid: Tid) -> Result<Arc<dyn Snapshot>>;

    /// Whether it was opened for writing; `action` says what for.
    ///
    /// # Errors
    /// [`Error::ReadOnly`](crate::Error::ReadOnly).
    fn check_writable(&self, action: &'static str) -> Result<()> {
        let _ = action;
        Ok(())
    }

    /// An oid that no object ever had.
    ///
    /// # Errors
    /// [`Error::Exhausted`](crate::Error::Exhausted) after [`Oid::MAX`].
    fn new_oid(&self) -> Result<Oid>;

    /// The number by which records name this type, given on the first call.
    ///
    /// # Errors
    /// [`SchemaMismatch::ShapeChanged`](crate::error::SchemaMismatch) where the name and version
    /// are known with another shape.
    fn intern(&self, definition: &TypeDef) -> Result<TypeId>;

    /// The type that records name so.
    fn type_def(&self, id: TypeId) -> Option<Arc<TypeDef>>;

    /// Commits `batch` as one transaction, or tells *everything* that stands against it: each
    /// write and each checked read whose base is not the tid of its object's newest revision or
    /// removal ([`Tid::ZERO`] where it has neither).
    ///
    /// A batch without writes and without a decision is checked, but not stored; its receipt
    /// carries the last tid.
    ///
    /// Blocks until the transaction is published, after it is as durable as asked for.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::Error::Unknown) where the sync failed and nobody can tell what
    /// the disk holds; every other error means that nothing was committed, for example
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a batch that writes an object
    /// twice or names a type that was never interned.
    fn commit(&self, batch: &Arc<Batch>) -> Result<Verdict>;

    /// Waits until `tid` is published or `bound` has passed; whether it is.
    ///
    /// # Errors
    /// [`Error::Halted`](crate::Error::Halted), [`Error::Closed`](crate::Error::Closed): it never
    /// will be.
    fn wait_published(&self, tid: Tid, bound: Duration) -> Result<bool>;

    /// Returns when all that was published before the call is durable.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::Error::Unknown) where it may not be.
    fn sync(&self) -> Result<()>;

    /// The pinned objects that exist now.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn pinned(&self) -> Result<Vec<Oid>>;

    /// The revisions of `oid` that are published, newest first.
    ///
    /// # Errors
    /// Those of reading a revision.
    fn history(&self, oid: Oid) -> Result<Vec<Change>>;

    /// The published transactions after `after`, up to and with `upto`, oldest first or, from
    /// its back, newest first. It does not show what is published later.
    ///
    /// # Errors
    /// Those of reading; each item has its own.
    fn transactions(&self, after: Tid, upto: Tid) -> Result<Box<dyn Transactions + '_>>;

    /// Makes everything durable and lets the files go; snapshots that are held stay readable.
    ///
    /// # Errors
    /// Those of [`sync`](Storage::sync). A second call does nothing.
    fn close(&self) -> Result<()>;
}

/// An iterator over transactions, from both ends.
pub trait Transactions: DoubleEndedIterator<Item = Result<StoredTransaction>> {}

impl<T: DoubleEndedIterator<Item = Result<StoredTransaction>>> Transactions for T {}

/// A `Snapshot` is the database as of one transaction.
pub trait Snapshot: Send + Sync + Debug {
    /// The last transaction that it shows.
    fn tid(&self) -> Tid;

    /// The place of the *newest published* revision of `oid`, which may be newer than the
    /// snapshot: what is cached of the object is current where it has this place, and is in the
    /// snapshot where its tid is not beyond [`tid`](Snapshot::tid).
    fn place(&self, oid: Oid) -> Place;

    /// The revision of `oid` in this snapshot.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) where its bytes are damaged: wrong data is
    /// never returned.
    fn load(&self, oid: Oid) -> Result<Load<'_>>;
}

/// What a snapshot has of an object.
#[derive(Debug, Clone)]
pub enum Load<'a> {
    /// This revision.
    Found(Revision<'a>),
    /// Nothing any more: the transaction of this tid removed it.
    Removed(Tid),
    /// Nothing, as far back as history goes.
    Absent,
}

/// A `Revision` is one object's bytes as of one transaction.
#[derive(Debug, Clone)]
pub struct Revision<'a> {
    /// The transaction that stored it.
    pub tid: Tid,
    /// Its place.
    pub place: Place,
    /// Whether the object is a root of its own.
    pub pinned: bool,
    /// The type its data are of.
    pub type_id: TypeId,
    /// The objects that its data refer to.
    pub references: References<'a>,
    /// The encoded object.
    pub data: Cow<'a, [u8]>,
}

/// The answer to a batch: of [`commit`](Storage::commit), or, with a promise in the place of a
/// receipt, of [`prepare`](TwoPhase::prepare).
#[derive(Debug)]
pub enum Verdict<T = Receipt> {
    /// It is published; or promised.
    Passed(T),
    /// Nothing was done: these objects were changed, or checked, on another base, or are promised
    /// to others. Merge them onto the revisions given and try again, or give up.
    Conflicts(Vec<Contender>),
}

/// What a committed batch became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction.
    pub tid: Tid,
    /// The places of its writes, in the batch's order.
    pub places: Vec<Place>,
}

/// An object on which a batch lost.
#[derive(Debug, Clone)]
pub struct Contender {
    /// The object.
    pub oid: Oid,
    /// Whether the batch only checked it.
    pub read: bool,
    /// What the batch was based on.
    pub base: Tid,
    /// The transaction that came first; perhaps not published yet.
    pub current: Tid,
    /// What it left of the object; `None` where it removed it.
    pub revision: Option<Revision<'static>>,
    /// The winner's note.
    pub note: String,
    /// The transaction that the object is promised to, if that is what stands against the batch.
    /// What it will leave of the object is not known yet.
    pub promised: Option<GlobalId>,
}

/// One revision in an object's history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The transaction.
    pub tid: Tid,
    /// What the transaction says of itself.
    pub metadata: Metadata,
    /// The revision's size in bytes; `None` where the transaction removed the object.
    pub size: Option<u64>,
}

/// One transaction of a storage, with all it stored.
#[derive(Debug, Clone)]
pub struct StoredTransaction {
    /// Its tid.
    pub tid: Tid,
    /// What it says of itself.
    pub metadata: Metadata,
    /// What it stored, in its order: each object once; `None` where it removed the object.
    pub records: Vec<(Oid, Option<Revision<'static>>)>,
}
