//! What transactions see of each other: [`Isolation`]; and what one has read: [`ReadSet`].
//!
//! A view notes what it reads where the database is serializable, and the commit then checks that
//! nobody has changed it. Under snapshot isolation nothing is noted.
//!
//! # Invariants
//! - What a transaction was told, that an object is missing included, is in its read set.

use crate::error::{Error, Result};
use crate::id::{Oid, Tid};
use crate::tables::OidMap;
use parking_lot::Mutex;

/// What transactions that run at the same time can see of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// Each sees one state of the database, and two that change one object conflict. Two that each
    /// change what the other has only read both commit: where that must not be, say so with
    /// [`Connection::check_current`](crate::Connection::check_current).
    #[default]
    Snapshot,
    /// What is committed is what the same transactions would have done one after the other: one
    /// that changes something conflicts with every change of what it has read. Nothing is merged
    /// by resolvers then, since what is merged was read, too.
    ///
    /// Read is what was asked for by its reference, by a name of a root or in a collection. It is not
    /// noted which objects are [pinned](crate::View::pinned), nor what the
    /// [history](crate::View::history) of one was: who decides by that keeps something that all
    /// who change it change, too.
    Serializable,
}

/// What the transactions of one connection have read: the one that is running.
#[derive(Debug, Default)]
pub(super) struct ReadSet(Mutex<Read>);

#[derive(Debug, Default)]
struct Read {
    transaction: u64,
    /// Which revision; of one that is missing, its removal, or [`Tid::ZERO`].
    objects: OidMap<Tid>,
}

impl ReadSet {
    /// Notes that the transaction of this number asked for `oid`, and what it was told.
    pub fn note<T>(&self, transaction: u64, oid: Oid, answer: &Result<T>, tid: impl Fn(&T) -> Tid) {
        let tid = match answer {
            Ok(found) => tid(found),
            Err(Error::NotFound(missing)) => missing.removed.unwrap_or(Tid::ZERO),
            Err(_) => return,
        };
        let mut read = self.0.lock();
        if read.transaction != transaction {
            *read = Read { transaction, objects: OidMap::default() };
        }
        read.objects.insert(oid, tid);
    }

    /// Takes out what the transaction of this number has read.
    pub fn take(&self, transaction: u64) -> OidMap<Tid> {
        let mut read = self.0.lock();
        let of_it = read.transaction == transaction;
        if of_it { std::mem::take(&mut read.objects) } else { OidMap::default() }
    }
}
