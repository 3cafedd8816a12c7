//! Decisions made here for others: whether there is one, and for how long it must be remembered.
//!
//! # Invariants
//! - Who was told that a transaction is given up is right for ever: the refusal is noted in the
//!   ordered section, which a decision must pass.
//!
//! Format: docs/format.md, "Several databases".

use super::Mode;
use super::core::{Act, Core, State};
use super::generation::Generation;
use super::history::frame_before;
use crate::error::Result;
use crate::format::{Coordinator, FIRST_FRAME, FrameHeader, FrameKind, Malformed};
use crate::id::{GlobalId, Tid};
use crate::storage::{Fate, OpenDecision};

impl Core {
    /// How others find the decisions made here.
    pub(super) fn coordinator(&self) -> Coordinator {
        let path = self.path().to_str().unwrap_or_default().to_owned();
        Coordinator { database: self.id(), last_tid: self.durable_mark.tid(), path }
    }

    pub(super) fn decision(&self, gtid: GlobalId, since: Tid) -> Result<Fate> {
        let refused = self.refuse(gtid);
        // Let go before the search, which may read all of the log.
        let known = self.decisions.lock().get(&gtid).copied();
        let found = match known {
            Some(offset) => Some(offset),
            None => match find(&self.generation, gtid, since)? {
                Found::Decision(offset) => Some(offset),
                Found::Nothing => None,
                Found::OtherLog => return Ok(Fate::Unknown),
            },
        };
        if let Some(offset) = found {
            return Ok(Fate::Committed(self.deciding(gtid, offset)?.tid));
        }
        let forgotten = self.header.forgot_before > since;
        Ok(if refused && !forgotten { Fate::Aborted } else { Fate::Unknown })
    }

    /// Refuses a decision of `gtid` from now on, or waits for one under way; whether it is refused.
    fn refuse(&self, gtid: GlobalId) -> bool {
        let mut ordered = self.ordered.lock();
        loop {
            if self.decisions.lock().contains_key(&gtid) {
                return false;
            }
            // Only a writer knows that nobody else decides it.
            let writes = self.options.mode != Mode::ReadOnly;
            if !writes || !matches!(ordered.state, State::Open) {
                return false;
            }
            if !ordered.promises.deciding.contains(&gtid) {
                return ordered.promises.refused.add(gtid);
            }
            self.moved.wait(&mut ordered);
        }
    }

    pub(super) fn open_decisions(&self) -> Result<Vec<OpenDecision>> {
        let open: Vec<_> = self.decisions.lock().iter().map(|(&gtid, &at)| (gtid, at)).collect();
        open.into_iter().map(|(gtid, offset)| self.deciding(gtid, offset)).collect()
    }

    /// The decision of `gtid` that the books have at `offset`; they may be those of an index
    /// snapshot, and the log knows better.
    fn deciding(&self, gtid: GlobalId, offset: u64) -> Result<OpenDecision> {
        let (log, end) = (&self.generation.log, self.generation.published_end());
        let (FrameHeader { kind, tid, .. }, fields) =
            (log.header(offset, end)?, log.fields(offset, end)?);
        let participants = fields.participants;
        if kind != FrameKind::Commit || fields.gtid != Some(gtid) || participants.is_empty() {
            let what = format!("the frame does not decide the transaction {gtid}");
            return Err(log.corrupt(offset, Malformed::new(what)));
        }
        Ok(OpenDecision { gtid, tid, participants })
    }

    pub(super) fn end_decision(&self, gtid: GlobalId) -> Result<()> {
        if !self.decisions.lock().contains_key(&gtid) {
            return Ok(());
        }
        let end = self.note(gtid, FrameKind::End, Act::End(gtid))?;
        self.await_end(end)
    }
}

enum Found {
    /// The frame at this offset.
    Decision(u64),
    Nothing,
    /// The transaction to search from is none of this log.
    OtherLog,
}

/// Searches the log, newest first, for the decision of `gtid`, which must be later than `since`.
///
/// Decisions that were ended are not in the books; who comes back from an old copy asks for them.
fn find(generation: &Generation, gtid: GlobalId, since: Tid) -> Result<Found> {
    let (log, published) = (&generation.log, generation.published_end());
    let mut at = published;
    while at > FIRST_FRAME {
        at = frame_before(log, at)?;
        let header = log.header(at, published)?;
        if header.kind != FrameKind::Commit {
            continue;
        }
        if header.tid <= since {
            return Ok(if header.tid == since { Found::Nothing } else { Found::OtherLog });
        }
        let fields = log.fields(at, published)?;
        if fields.gtid == Some(gtid) && !fields.participants.is_empty() {
            return Ok(Found::Decision(at));
        }
    }
    // What preceded the first frame was packed away, and `since` with it.
    let begins = generation.history_from;
    Ok(if since == Tid::ZERO || since <= begins { Found::Nothing } else { Found::OtherLog })
}
