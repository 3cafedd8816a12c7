//! Which objects can be reached from the roots, and what is in them: [`Examiner`].
//!
//! The roots are object 0 and those that are pinned. Every object that can be reached is read once,
//! by sweeps over the file: each takes what lies ahead of it, and what is found behind it waits for
//! the next.
//!
//! # Invariants
//! - Memory grows with the number of objects.

use super::finding::{Finding, FindingKind};
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::format::TypeDef;
use crate::id::Oid;
use std::collections::BTreeSet;

/// Looks into objects, for a verification that does not know what they mean.
pub trait Examiner {
    /// Looks at an object that can be reached from the roots; what is wrong with it.
    ///
    /// Every one is shown once, after one of those that refer to it.
    fn examine(&mut self, object: &Examined<'_>) -> Vec<Box<str>>;
}

/// Nobody looks.
impl Examiner for () {
    fn examine(&mut self, _: &Examined<'_>) -> Vec<Box<str>> {
        Vec::new()
    }
}

/// An object as an [`Examiner`] is shown it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Examined<'a> {
    /// Which one it is.
    pub oid: Oid,
    /// What it is.
    pub definition: &'a TypeDef,
    /// Its newest state, encoded.
    pub data: &'a [u8],
}

/// Goes through all objects that can be reached; `progress` is told how many were.
pub(super) fn explore(
    tally: &mut Tally<'_>,
    examiner: &mut dyn Examiner,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let roots = tally.objects.stored();
    let is_root = |oid: Oid, pinned| pinned || oid == Oid::new(0);
    let roots: Vec<Oid> =
        roots.filter(|&(oid, it)| is_root(oid, it.pinned)).map(|(oid, _)| oid).collect();
    let mut pending = BTreeSet::new();
    pending.extend(roots.into_iter().filter_map(|oid| tally.objects.reach(oid)));
    let (mut position, mut done) = (0, 0);
    loop {
        let ahead = pending.range((position, Oid::new(0))..).next();
        let Some(&(at, oid)) = ahead.or_else(|| pending.first()) else { return Ok(()) };
        pending.remove(&(at, oid));
        position = at;
        done += 1;
        progress(done);
        let record = match tally.log.record(oid, at, tally.report.length) {
            Ok(record) => record,
            // It was good when the scan came by; then what is wrong with it has been told.
            Err(Error::Corrupt(_)) => continue,
            Err(error) => return Err(error),
        };
        let Some(content) = &record.content else { continue };
        let references = content.references.iter().map_while(Result::ok);
        pending.extend(references.filter_map(|oid| tally.objects.reach(oid)));
        let Some(definition) = tally.types.get(content.type_id) else { continue };
        let object = Examined { oid, definition: &definition, data: &content.data };
        for what in examiner.examine(&object) {
            let finding = Finding::new(FindingKind::Collection, at, what).of(oid, record.tid);
            let type_name = Some(definition.name.clone());
            tally.find(Finding { type_name, ..finding });
        }
    }
}
