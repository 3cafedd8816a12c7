//! Until when a database remembers what it decided for others: [`Endings`].
//!
//! A decision may be forgotten when all who finished it are durable. Nobody waits for that: it is
//! looked for at the next decision, and when the database closes. What a crash leaves open stays
//! so, at the cost of a few bytes, until somebody ends it.
//!
//! # Invariants
//! - No decision is ended before every participant has finished it durably.

use super::core::Core;
use super::registry;
use crate::id::{GlobalId, Tid};
use crate::storage::DurableMark;
use crate::transaction::Decision;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// The decisions of a database that all have finished, but perhaps not durably.
#[derive(Default)]
pub(super) struct Endings(Mutex<Vec<Ending>>);

struct Ending {
    gtid: GlobalId,
    participants: Vec<Finished>,
}

/// A database that has finished.
struct Finished {
    core: Weak<Core>,
    mark: DurableMark,
    /// What it finished is not later than this transaction.
    tid: Tid,
}

impl Finished {
    fn new(core: &Arc<Core>) -> Finished {
        let (mark, tid) = (core.storage.durable_mark(), core.storage.last_tid());
        Finished { core: Arc::downgrade(core), mark, tid }
    }

    fn is_durable(&self) -> bool {
        self.mark.tid() >= self.tid
    }
}

impl Core {
    /// Ends `decision`, which all participants have finished, as soon as that is durable.
    pub fn end_when_durable(&self, decision: &Decision) {
        self.end_decisions();
        let ours = decision.participants.iter().filter_map(|participant| participant.database);
        let participants: Option<Vec<_>> =
            ours.map(|id| registry::living(id).map(|core| Finished::new(&core))).collect();
        // Of one that was closed meanwhile nobody knows whether it is durable.
        let Some(participants) = participants else { return };
        self.endings.0.lock().push(Ending { gtid: decision.gtid, participants });
    }

    /// Ends the decisions whose participants are durable.
    fn end_decisions(&self) {
        let is_durable = |ending: &mut Ending| ending.participants.iter().all(Finished::is_durable);
        let durable: Vec<_> = self.endings.0.lock().extract_if(.., is_durable).collect();
        for ending in durable {
            if let Err(error) = self.storage.end_decision(ending.gtid) {
                tracing::debug!(gtid = %ending.gtid, %error, "a decision stays open");
            }
        }
    }

    /// Ends what can be ended before the database closes.
    pub fn end_decisions_now(&self) {
        let slow: Vec<_> = {
            let endings = self.endings.0.lock();
            let finished = endings.iter().flat_map(|ending| &ending.participants);
            let slow = finished.filter(|finished| !finished.is_durable());
            slow.filter_map(|finished| finished.core.upgrade()).collect()
        };
        for core in slow {
            if let Err(error) = core.storage.sync() {
                tracing::debug!(%error, "a decision stays open");
            }
        }
        self.end_decisions();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.end_decisions_now();
    }
}
