//! What a log says about transactions of several databases, held against the rules: [`Promises`].
//!
//! # Invariants
//! - One entry for every promise that is not settled, and every decision without its end.
//! - Where something was lost, what contradicts it may be what settled it, and is no finding.

use super::reserved::{Promised, Reserved};
use crate::format::{Fields, FrameKind};
use crate::id::{GlobalId, Oid};
use std::collections::{BTreeMap, HashSet};

/// Open promises and decisions, by their transactions.
#[derive(Debug, Default)]
pub(super) struct Promises {
    reserved: Reserved,
    decisions: BTreeMap<GlobalId, u64>,
}

impl Promises {
    /// Where the open promises stand.
    pub(super) fn open(&self) -> Vec<(GlobalId, u64)> {
        self.reserved.open().iter().map(|(&gtid, promised)| (gtid, promised.at)).collect()
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
                if self.reserved.remove(gtid).is_some() && !doubtful {
                    wrong.push(format!("something is promised to the transaction {gtid} already"));
                }
                wrong.extend(self.meet(Some(gtid), &writes, &reads, doubtful));
                self.reserved.insert(gtid, Promised { at, writes, reads });
            }
            FrameKind::Commit => {
                if fields.participants.is_empty() {
                    wrong.extend(self.keep(gtid, &writes));
                } else if self.decisions.insert(gtid, at).is_some() && !doubtful {
                    wrong.push(format!("the transaction {gtid} is decided a second time"));
                }
                wrong.extend(self.meet(Some(gtid), &writes, &reads, doubtful));
            }
            FrameKind::Abort => drop(self.reserved.remove(gtid)),
            FrameKind::End => drop(self.decisions.remove(&gtid)),
            FrameKind::Seal | FrameKind::Later(_) => {}
        }
        wrong
    }

    /// Ends a promise by a commit, which must store what was promised.
    fn keep(&mut self, gtid: GlobalId, writes: &HashSet<Oid>) -> Option<String> {
        let promised = self.reserved.remove(gtid)?;
        let kept = promised.writes == *writes;
        let what = || format!("it stores something else than was promised to {gtid}");
        (!kept).then(what)
    }

    /// Takes in that a frame of transaction `own` contradicts promises; what is wrong with that.
    fn meet(
        &mut self,
        own: Option<GlobalId>,
        writes: &HashSet<Oid>,
        reads: &HashSet<Oid>,
        doubtful: bool,
    ) -> Vec<String> {
        let met = self.reserved.meet(own, writes, reads);
        if doubtful {
            // Without the losses it would be wrong; with them, this is how the promises ended.
            met.keys().for_each(|&gtid| drop(self.reserved.remove(gtid)));
            return Vec::new();
        }
        let met = met.into_iter();
        met.map(|(gtid, oid)| format!("it is about object {oid}, which is promised to {gtid}"))
            .collect()
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
