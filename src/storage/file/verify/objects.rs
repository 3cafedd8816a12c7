//! The books of a verification: where the newest record of every object stands, and which objects
//! somebody refers to.
//!
//! # Invariants
//! - One entry for every object that was stored or referred to.

use super::finding::{Finding, FindingKind};
use crate::error::{Error, Result};
use crate::format::{Record, TypeDef, TypeId};
use crate::id::Oid;
use crate::storage::file::log::Log;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is known of one object.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object {
    /// Where its newest record stands; 0 where none was met.
    pub(super) newest: u64,
    /// Bytes of that record.
    length: u64,
    /// Whether that record is of an object that exists.
    exists: bool,
    pub(super) pinned: bool,
    referenced: bool,
    /// Whether a way leads to it from the roots.
    reached: bool,
}

/// All objects that were met.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: HashMap<Oid, Object>,
    all_bytes: u64,
}

impl Objects {
    /// Where the newest record of `oid` stands; 0 where none was met.
    pub(super) fn newest(&self, oid: Oid) -> u64 {
        self.known.get(&oid).map_or(0, |object| object.newest)
    }

    /// Every object of which a record was met.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Oid, &Object)> {
        self.known.iter().filter(|(_, it)| it.newest != 0).map(|(&oid, object)| (oid, object))
    }

    /// Takes the newest record of its object, `length` bytes at `at`.
    pub(super) fn put(&mut self, at: u64, length: u64, record: &Record<'_>) {
        self.all_bytes += length;
        let object = self.known.entry(record.oid).or_default();
        let exists = record.content.is_some();
        let pinned = record.pinned && exists;
        *object = Object { newest: at, length, exists, pinned, ..*object };
        let references = record.content.iter().flat_map(|content| content.references.iter());
        for oid in references.map_while(Result::ok) {
            self.known.entry(oid).or_default().referenced = true;
        }
    }

    /// Notes that a way leads to `oid`; where its newest record stands, if this is the first way
    /// and the object exists.
    pub(super) fn reach(&mut self, oid: Oid) -> Option<(u64, Oid)> {
        let object = self.known.get_mut(&oid).filter(|it| it.exists && !it.reached)?;
        object.reached = true;
        Some((object.newest, oid))
    }

    /// How many existing objects no way leads to, and the bytes of their newest records.
    pub(super) fn unreachable(&self) -> (u64, u64) {
        let unreached = self.known.values().filter(|object| object.exists && !object.reached);
        unreached.fold((0, 0), |(count, bytes), object| (count + 1, bytes + object.length))
    }

    /// How many objects exist, the bytes of their newest records, and of all the others.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let existing = self.known.values().filter(|object| object.exists);
        let (count, live) = existing
            .fold((0, 0), |(count, live), object: &Object| (count + 1, live + object.length));
        (count, live, self.all_bytes.saturating_sub(live))
    }

    /// References of existing objects to objects that do not exist.
    ///
    /// Only where there may be any is anything read again.
    pub(super) fn dangling(
        &self,
        log: &Log,
        bound: u64,
        type_of: impl Fn(TypeId) -> Option<Arc<TypeDef>>,
    ) -> Result<Vec<Finding>> {
        let missing = |oid: &Oid| self.known.get(oid).is_none_or(|object| !object.exists);
        if !self.known.values().any(|object| object.referenced && !object.exists) {
            return Ok(Vec::new());
        }
        let existing = self.known.iter().filter(|(_, object)| object.exists);
        let existing: BTreeSet<_> = existing.map(|(&oid, object)| (object.newest, oid)).collect();
        let mut findings = Vec::new();
        for (at, oid) in existing {
            let record = match log.record(oid, at, bound) {
                Ok(record) => record,
                // It was good when the scan came by; then what is wrong with it has been told.
                Err(Error::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            let Some(content) = record.content else { continue };
            for target in content.references.iter().map_while(Result::ok).filter(missing) {
                let fate = if self.newest(target) == 0 { "was never stored" } else { "is removed" };
                let what = format!("a reference to object {target}, which {fate}");
                let finding = Finding::new(FindingKind::Dangling, at, what).of(oid, record.tid);
                let type_name = type_of(content.type_id).map(|it| it.name.clone());
                findings.push(Finding { type_name, ..finding });
            }
        }
        Ok(findings)
    }
}
