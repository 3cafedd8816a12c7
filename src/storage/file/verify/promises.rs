//! What a log says about transactions of several databases, held against the rules: [`Promises`].
//!
//! # Invariants
//! - One entry for every promise that is not settled, and every decision without its end.
//! - Where something was lost, what contradicts it may be what settled it, and is no finding.

use crate::format::{Fields, FrameKind};
use crate::id::{GlobalId, Oid};
use std::collections::{BTreeMap, HashSet};

/// Open promises and decisions, by their transactions.
#[derive(Debug, Default)]
pub(super) struct Promises {
    open: BTreeMap<GlobalId, Promised>,
    decisions: BTreeMap<GlobalId, u64>,
}

/// A promise as its Prepare says it.
#[derive(Debug)]
pub(in crate::storage::file) struct Promised {
    /// Where the Prepare stands.
    pub(in crate::storage::file) at: u64,
    /// The objects that it would store, and those that it relies on.
    pub(in crate::storage::file) writes: HashSet<Oid>,
    pub(in crate::storage::file) reads: HashSet<Oid>,
}

impl Promised {
    /// An object that nobody else may write, or rely on, before the promise is settled, and that is
    /// among these.
    pub(in crate::storage::file) fn excludes(
        &self,
        writes: &HashSet<Oid>,
        reads: &HashSet<Oid>,
    ) -> Option<Oid> {
        let reserved = |oid: &&Oid| self.writes.contains(oid) || self.reads.contains(oid);
        let written = writes.iter().find(reserved);
        written.or_else(|| reads.iter().find(|oid| self.writes.contains(oid))).copied()
    }
}

impl Promises {
    /// Where the open promises stand.
    pub(super) fn open(&self) -> Vec<(GlobalId, u64)> {
        self.open.iter().map(|(&gtid, promised)| (gtid, promised.at)).collect()
    }

    /// Where the decisions without an end stand.
    pub(super) fn decisions(&self) -> Vec<(GlobalId, u64)> {
        self.decisions.iter().map(|(&gtid, &at)| (gtid, at)).collect()
    }

    /// Takes a frame at `at`, which stores, or promises to store, the objects `writes`; what is
    /// wrong with it. `doubtful`: something before it was lost.
    pub(super) fn take(
        &mut self,
        at: u64,
        kind: FrameKind,
        fields: &Fields,
        writes: HashSet<Oid>,
        doubtful: bool,
    ) -> Vec<String> {
        let mut wrong = misplaced(kind, fields, writes.is_empty());
        let reads: HashSet<Oid> = fields.reads.iter().map(|&(oid, _)| oid).collect();
        let Some(gtid) = fields.gtid else {
            wrong.extend(self.meet(None, &writes, &reads, doubtful));
            return wrong;
        };
        match kind {
            FrameKind::Prepare => {
                if self.open.remove(&gtid).is_some() && !doubtful {
                    wrong.push(format!("something is promised to the transaction {gtid} already"));
                }
                wrong.extend(self.meet(Some(gtid), &writes, &reads, doubtful));
                self.open.insert(gtid, Promised { at, writes, reads });
            }
            FrameKind::Commit => {
                if fields.participants.is_empty() {
                    wrong.extend(self.keep(gtid, &writes));
                } else if self.decisions.insert(gtid, at).is_some() && !doubtful {
                    wrong.push(format!("the transaction {gtid} is decided a second time"));
                }
                wrong.extend(self.meet(Some(gtid), &writes, &reads, doubtful));
            }
            FrameKind::Abort => drop(self.open.remove(&gtid)),
            FrameKind::End => drop(self.decisions.remove(&gtid)),
            FrameKind::Seal | FrameKind::Later(_) => {}
        }
        wrong
    }

    /// Ends a promise by a commit, which must store what was promised.
    fn keep(&mut self, gtid: GlobalId, writes: &HashSet<Oid>) -> Option<String> {
        let promised = self.open.remove(&gtid)?;
        let kept = promised.writes == *writes;
        let what = || format!("it stores something else than was promised to {gtid}");
        (!kept).then(what)
    }

    /// Ends the promises that a frame of transaction `own` contradicts; what is wrong with that.
    fn meet(
        &mut self,
        own: Option<GlobalId>,
        writes: &HashSet<Oid>,
        reads: &HashSet<Oid>,
        doubtful: bool,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        self.open.retain(|&gtid, promised| {
            let met = promised.excludes(writes, reads).filter(|_| own != Some(gtid));
            let Some(oid) = met else { return true };
            wrong.push(format!("it is about object {oid}, which is promised to {gtid}"));
            // Without the losses it would be wrong; with them, this is how the promise ended.
            !doubtful
        });
        if doubtful { Vec::new() } else { wrong }
    }
}

/// What a frame of this kind cannot say, or must.
fn misplaced(kind: FrameKind, fields: &Fields, stores_nothing: bool) -> Vec<String> {
    let (is_commit, is_prepare) = (kind == FrameKind::Commit, kind == FrameKind::Prepare);
    let (has_gtid, binds) = (fields.gtid.is_some(), !fields.participants.is_empty());
    let rules = [
        (kind.needs_gtid() && !has_gtid, "the frame names no global transaction"),
        (kind == FrameKind::Seal && has_gtid, "a Seal names a global transaction"),
        (binds && !(is_commit && has_gtid), "it binds others to nothing"),
        (fields.coordinator.is_some() && !is_prepare, "it names who decides, and promises nothing"),
        (!fields.reads.is_empty() && !is_prepare, "it names what it relies on, and is no promise"),
        (is_commit && !has_gtid && stores_nothing, "a commit of nothing"),
        (!is_commit && !is_prepare && !stores_nothing, "a frame of its kind has no records"),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    broken.map(|(_, what)| what.to_owned()).collect()
}
