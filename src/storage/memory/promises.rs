//! What a memory storage promises, and decides for others: [`Books`].
//!
//! # Invariants
//! - A promise that somebody holds is settled by nobody else.

use super::{MemoryStorage, Shared};
use crate::error::{Error, Result};
use crate::format::Decision;
use crate::id::{GlobalId, Oid, Tid};
use crate::storage::promise::Refusals;
use crate::storage::{
    Batch, Doubt, DurableMark, Fate, Intent, OpenDecision, Promise, Receipt, TwoPhase, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What is known of transactions that span several storages.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// What is promised to those that are decided elsewhere.
    promised: BTreeMap<GlobalId, Promised>,
    /// Those decided here, those of them that may be asked for, and those given up.
    decided: BTreeMap<GlobalId, Tid>,
    open: BTreeSet<GlobalId>,
    refused: Refusals,
}

#[derive(Debug)]
struct Promised {
    intent: Intent,
    batch: Arc<Batch>,
    /// Whether nobody holds the promise any more.
    in_doubt: bool,
}

#[derive(Debug)]
struct MemoryPromise {
    shared: Arc<Shared>,
    gtid: GlobalId,
    settled: bool,
}

impl Books {
    /// Refuses a decision of what was given up already.
    pub(super) fn check(&self, decision: Option<&Decision>) -> Result<()> {
        match decision.filter(|decision| self.refused.has(decision.gtid)) {
            Some(decision) => Err(Error::Refused(Box::new(decision.gtid).into())),
            None => Ok(()),
        }
    }

    /// The transaction `tid` has decided.
    pub(super) fn decide(&mut self, decision: &Decision, tid: Tid) {
        self.decided.insert(decision.gtid, tid);
        self.open.insert(decision.gtid);
    }

    /// Whether something is promised to `gtid`, and whoever holds the promise will settle it.
    fn is_held(&self, gtid: GlobalId) -> bool {
        self.promised.get(&gtid).is_some_and(|promised| !promised.in_doubt)
    }

    /// The transaction that keeps others from reading, or writing, `oid`.
    pub(super) fn promised_to(&self, oid: Oid, read: bool) -> Option<GlobalId> {
        let holds = |batch: &Batch| {
            batch.writes().any(|write| write.oid == oid)
                || !read && batch.reads.iter().any(|&(checked, _)| checked == oid)
        };
        self.promised.iter().find(|(_, promised)| holds(&promised.batch)).map(|(&gtid, _)| gtid)
    }
}

impl TwoPhase for MemoryStorage {
    fn prepare(&self, batch: &Arc<Batch>, intent: &Intent) -> Result<Verdict<Box<dyn Promise>>> {
        batch.check()?;
        self.check_types(batch)?;
        let mut state = self.open()?;
        let contenders = state.contenders(batch);
        if !contenders.is_empty() {
            return Ok(Verdict::Conflicts(contenders));
        }
        let gtid = intent.gtid;
        if state.books.promised.contains_key(&gtid) {
            let what = format!("something is promised to the transaction {gtid} already");
            return Err(Error::InvalidArgument(what.into()));
        }
        let (intent, batch) = (intent.clone(), batch.clone());
        state.books.promised.insert(gtid, Promised { intent, batch, in_doubt: false });
        let shared = self.shared.clone();
        Ok(Verdict::Passed(Box::new(MemoryPromise { shared, gtid, settled: false })))
    }

    fn in_doubt(&self) -> Result<Vec<Doubt>> {
        let state = self.open()?;
        let in_doubt = state.books.promised.iter().filter(|(_, promised)| promised.in_doubt);
        let doubts = in_doubt.map(|(&gtid, Promised { intent, batch, .. })| Doubt {
            gtid,
            coordinator: intent.coordinator.clone(),
            note: batch.metadata.note.clone(),
            offset: 0,
        });
        Ok(doubts.collect())
    }

    fn settle(&self, gtid: GlobalId, committed: bool) -> Result<()> {
        let in_doubt =
            self.open()?.books.promised.get(&gtid).is_some_and(|promised| promised.in_doubt);
        if in_doubt { self.shared.settle(gtid, committed).map(drop) } else { Ok(()) }
    }

    fn wait_settled(&self, gtid: GlobalId, bound: Duration) -> Result<bool> {
        self.shared.wait(bound, |state| !state.books.is_held(gtid))?;
        Ok(!self.open()?.books.promised.contains_key(&gtid))
    }

    fn decision(&self, gtid: GlobalId, since: Tid) -> Result<Fate> {
        let mut state = self.open()?;
        if since != Tid::ZERO && !state.transactions.contains_key(&since) {
            return Ok(Fate::Unknown);
        }
        if let Some(&tid) = state.books.decided.get(&gtid) {
            return Ok(Fate::Committed(tid));
        }
        Ok(if state.books.refused.add(gtid) { Fate::Aborted } else { Fate::Unknown })
    }

    fn open_decisions(&self) -> Result<Vec<OpenDecision>> {
        let state = self.open()?;
        let open = state.books.open.iter().map(|&gtid| {
            let tid = state.books.decided[&gtid];
            let decision = state.transactions[&tid].decision.clone();
            let participants = decision.map(|decision| decision.participants).unwrap_or_default();
            OpenDecision { gtid, tid, participants }
        });
        Ok(open.collect())
    }

    fn end_decision(&self, gtid: GlobalId) -> Result<()> {
        self.open()?.books.open.remove(&gtid);
        Ok(())
    }

    fn durable_mark(&self) -> DurableMark {
        self.shared.durable.clone()
    }
}

impl Shared {
    /// Keeps the promise of `gtid`, or takes it back; what was committed.
    fn settle(&self, gtid: GlobalId, committed: bool) -> Result<Option<Receipt>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let batch = state.books.promised.get(&gtid).map(|promised| promised.batch.clone());
        let batch = batch.filter(|_| committed);
        let receipt = batch.map(|batch| self.publish(&mut state, &batch)).transpose()?;
        state.books.promised.remove(&gtid);
        self.moved.notify_all();
        Ok(receipt)
    }
}

impl Promise for MemoryPromise {
    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        let receipt = self.shared.settle(self.gtid, true)?;
        self.settled = true;
        receipt.ok_or_else(|| Error::other("somebody else settled the promise"))
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.shared.settle(self.gtid, false)?;
        self.settled = true;
        Ok(())
    }

    fn park(self: Box<Self>) {
        // Dropping it does.
    }
}

impl Drop for MemoryPromise {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let promised = state.books.promised.get_mut(&self.gtid).filter(|_| !self.settled);
        if let Some(promised) = promised {
            promised.in_doubt = true;
            self.shared.moved.notify_all();
        }
    }
}
