//! The revisions that are lost, as far as anything still speaks of them: [`Lost`].
//!
//! A lost revision is known from its record, if that is good within a damaged frame; from the
//! object's next record, which leads to it; or from the index snapshot, which has the newest ones.
//!
//! # Invariants
//! - A place in the file has one entry, however many things lead to it.

use super::loss::{Loss, LossKind};
use crate::error::{Error, Result};
use crate::format::{Record, TypeId};
use crate::id::{Oid, Tid};
use crate::storage::TypeTable;
use crate::storage::file::log::Log;
use crate::tables::OidArray;
use std::collections::{BTreeMap, HashMap};

/// Lost revisions, by their offsets.
#[derive(Debug, Default)]
pub(super) struct Lost {
    revisions: BTreeMap<u64, Revision>,
}

#[derive(Debug, Clone, Copy)]
struct Revision {
    oid: Oid,
    length: Option<u64>,
    tid: Option<Tid>,
    type_id: Option<TypeId>,
    evidence: Evidence,
}

impl Revision {
    fn is_certain(&self) -> bool {
        matches!(self.evidence, Evidence::Whole | Evidence::Gone)
    }
}

/// What is known of the bytes of a lost revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// They are good: what is bad is something else of their transaction.
    Whole,
    /// They are good, and nothing tells which frame they are of: of a promise, perhaps.
    Stray,
    /// They are bad, and say themselves whose they are.
    Bad,
    /// Something else leads to where they stood.
    Gone,
}

impl Evidence {
    fn phrase(self) -> &'static str {
        match self {
            Evidence::Whole => "its bytes are good, and its transaction is not whole",
            Evidence::Stray => "its bytes are good, and its transaction is lost, if it was one",
            Evidence::Bad => "its bytes are bad, and may name the wrong object",
            Evidence::Gone => "nothing can be read where it stood",
        }
    }
}

impl Lost {
    /// A good record of a transaction that is lost.
    pub(super) fn whole(&mut self, at: u64, record: &Record<'_>) {
        self.good(at, record, Evidence::Whole);
    }

    /// A good record among bytes of which nothing else is known.
    pub(super) fn stray(&mut self, at: u64, record: &Record<'_>) {
        self.good(at, record, Evidence::Stray);
    }

    fn good(&mut self, at: u64, record: &Record<'_>, evidence: Evidence) {
        let type_id = record.content.as_ref().map(|content| content.type_id);
        let (oid, length, tid) = (record.oid, Some(record.length), Some(record.tid));
        self.revisions.insert(at, Revision { oid, length, tid, type_id, evidence });
    }

    /// A bad record, which says that it is of `oid`.
    pub(super) fn bad(&mut self, at: u64, length: u64, oid: Oid, tid: Tid) {
        let (tid, length) = (Some(tid), Some(length));
        let (type_id, evidence) = (None, Evidence::Bad);
        self.revisions.entry(at).or_insert(Revision { oid, length, tid, type_id, evidence });
    }

    /// Something leads to a record of `oid` at `at`, where no good frame has one.
    pub(super) fn gone(&mut self, log: &Log, at: u64, oid: Oid, bound: u64) -> Result<()> {
        let known = self.revisions.get(&at).is_some_and(|it| it.evidence == Evidence::Whole);
        if known {
            return Ok(());
        }
        match log.record(oid, at, bound) {
            Ok(record) => self.whole(at, &record),
            Err(Error::Corrupt(_)) => {
                let (tid, type_id, evidence) = (None, None, Evidence::Gone);
                let gone = Revision { oid, length: None, tid, type_id, evidence };
                // What the bad bytes say of themselves may be wrong; this is not.
                let known = self.revisions.entry(at).or_insert(gone);
                (known.oid, known.evidence) = (oid, Evidence::Gone);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Forgets what is not certain and cannot be true: the newest record of the object stood before
    /// it. `newest` says where that stood, as far as it knows.
    pub(super) fn doubt(&mut self, newest: impl Fn(Oid, u64) -> Option<u64>) {
        self.revisions.retain(|&at, it| {
            it.is_certain() || newest(it.oid, at).is_none_or(|newest| newest >= at)
        });
    }

    /// The greatest oid of any.
    pub(super) fn last_oid(&self) -> Option<Oid> {
        self.revisions.values().map(|revision| revision.oid).max()
    }

    /// What is lost of every object, where its newest good record stands at `newest`.
    pub(super) fn losses(
        self,
        log: &Log,
        newest: &OidArray<u64>,
        types: &TypeTable,
        bound: u64,
    ) -> Result<Vec<Loss>> {
        let mut last = HashMap::new();
        for (&at, revision) in &self.revisions {
            last.insert(revision.oid, at);
        }
        let mut losses = Vec::new();
        for (at, revision) in self.revisions {
            let oid = revision.oid;
            let place = newest.get(oid);
            let stands = match place {
                0 => None,
                _ => Some(log.record(oid, place, bound)?),
            };
            let is_newest = last.get(&oid) == Some(&at) && place < at;
            let kind = if is_newest { LossKind::Revision } else { LossKind::Earlier };
            let now = match &stands {
                None => "nothing of the object is left".to_owned(),
                Some(record) => {
                    let removed = if record.content.is_none() { ", a removal," } else { "" };
                    format!("the one of tid {}{removed} stands now", record.tid.number())
                }
            };
            let what = format!("{}; {now}", revision.evidence.phrase());
            let named = |id| types.get(id).map(|it| it.name.clone());
            losses.push(Loss {
                certain: revision.is_certain(),
                oid: Some(oid),
                stands: stands.map(|record| record.tid),
                type_name: revision.type_id.and_then(named),
                ..Loss::new(kind, at, what).of(revision.length, revision.tid)
            });
        }
        Ok(losses)
    }
}
