//! Where objects refer to, which can be reached from the roots, and what is in them: [`Examiner`].
//!
//! The roots are object 0 and those that are pinned. Every object that exists is read once: those
//! that can be reached by sweeps over the file, each of which takes what lies ahead of it and leaves
//! to the next what it finds behind; then the others, in the order of the file.
//!
//! # Invariants
//! - Memory grows with the number of objects.

use super::finding::{Finding, FindingKind};
use super::objects::Object;
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::format::{Record, TypeDef};
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

/// Goes through all objects that exist, those first that can be reached; `progress` is told how
/// many it has seen.
pub(super) fn explore(
    tally: &mut Tally<'_>,
    examiner: &mut dyn Examiner,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut visit = Visit { tally, seen: 0, dangling: Vec::new() };
    visit.reachable(examiner, progress)?;
    visit.others(progress)?;
    let Visit { tally, mut dangling, .. } = visit;
    dangling.sort_by_key(|finding| finding.offset);
    tally.report.findings.extend(dangling);
    Ok(())
}

/// The way through the objects.
struct Visit<'a, 'log> {
    tally: &'a mut Tally<'log>,
    /// How many objects were read.
    seen: u64,
    /// References of objects that exist to ones that do not.
    dangling: Vec<Finding>,
}

impl<'log> Visit<'_, 'log> {
    fn reachable(
        &mut self,
        examiner: &mut dyn Examiner,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let objects = &mut self.tally.objects;
        let is_root = |&(oid, object): &(Oid, Object)| object.is_pinned() || oid == Oid::ROOT;
        let roots: Vec<Oid> = objects.stored().filter(is_root).map(|(oid, _)| oid).collect();
        let mut pending: BTreeSet<_> =
            roots.into_iter().filter_map(|oid| objects.reach(oid)).collect();
        let mut position = 0;
        loop {
            let ahead = pending.range((position, Oid::new(0))..).next();
            let Some(&(at, oid)) = ahead.or_else(|| pending.first()) else { return Ok(()) };
            pending.remove(&(at, oid));
            position = at;
            progress(self.seen);
            let Some(record) = self.read(at, oid)? else { continue };
            let Some(content) = &record.content else { continue };
            let references = content.references.iter().map_while(Result::ok);
            pending.extend(references.filter_map(|oid| self.tally.objects.reach(oid)));
            let Some(definition) = self.tally.types.get(content.type_id) else { continue };
            let object = Examined { oid, definition: &definition, data: &content.data };
            for what in examiner.examine(&object) {
                let finding = Finding::new(FindingKind::Collection, at, what).of(oid, record.tid);
                let type_name = Some(definition.name.clone());
                self.tally.find(Finding { type_name, ..finding });
            }
        }
    }

    /// Looks at the objects that no way leads to.
    fn others(&mut self, progress: &mut dyn FnMut(u64)) -> Result<()> {
        for (at, oid) in self.tally.objects.unreached() {
            progress(self.seen);
            self.tally.report.unreachable += 1;
            if let Some(record) = self.read(at, oid)? {
                self.tally.report.unreachable_bytes += record.length;
            }
        }
        Ok(())
    }

    /// Reads an object that exists, and looks at where it refers to.
    fn read(&mut self, at: u64, oid: Oid) -> Result<Option<Record<'log>>> {
        self.seen += 1;
        let Tally { log, objects, types, report, .. } = &mut *self.tally;
        let record = match log.record(oid, at, report.length) {
            Ok(record) => record,
            // It was good when the scan came by; then what is wrong with it has been told.
            Err(Error::Corrupt(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        report.live_bytes += record.length;
        if let Some(content) = &record.content {
            let references = content.references.iter().map_while(Result::ok);
            for target in references.filter(|&target| !objects.exists(target)) {
                let fate =
                    if objects.newest(target) == 0 { "was never stored" } else { "is removed" };
                let what = format!("a reference to object {target}, which {fate}");
                let finding = Finding::new(FindingKind::Dangling, at, what).of(oid, record.tid);
                let type_name = types.get(content.type_id).map(|it| it.name.clone());
                self.dangling.push(Finding { type_name, ..finding });
            }
        }
        Ok(Some(record))
    }
}
