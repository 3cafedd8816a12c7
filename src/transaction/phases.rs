//! Two-phase commit among the managers that joined: [`commit`] and [`give_up`].
//!
//! `ending` calls these when hooks and flushes are over. With one manager, commit is one call.
//! With several, all but the decider prepare, the decider commits alone, and the others finish.
//! Nothing here touches the transaction's state: what happened is returned as a [`Verdict`].
//!
//! # Invariants
//! - Before the decision, every failure aborts every manager, in order.
//! - After the decision, no manager is aborted: it finishes, is finished by its recovery, or is
//!   named in [`Error::Mixed`].
//! - Where the decision is unknown, no manager finishes or aborts: those that prepared are parked.

use super::contain::discard;
use super::data_manager::{Decision, Info, Participant, Prepared};
use super::gate::Curtain;
use super::log::{Log, Phase};
use super::member::Member;
use super::outcome::{Outcome, Unfinished};
use super::state::Cause;
use crate::error::{Error, Result};
use crate::id::Tid;
use std::sync::Arc;

/// How the phases ended.
pub(super) enum Verdict {
    Committed {
        tid: Option<Tid>,
        unfinished: Vec<Unfinished>,
    },
    /// The error to return, why the transaction failed, and what the hooks are to hear.
    Failed(Error, Cause, Outcome),
}

/// Takes `members`, which are in the order of their sort keys, through all phases.
pub(super) fn commit(members: Vec<Member>, info: Info, log: &Log) -> Verdict {
    let parties = members.into_iter().map(|member| Party { member, promise: None }).collect();
    Commit { parties, info, log }.run()
}

/// Aborts `members`, since the commit failed with `error` before their phases began.
pub(super) fn give_up(members: Vec<Member>, error: Error, info: Info, log: &Log) -> Verdict {
    let parties = members.into_iter().map(|member| Party { member, promise: None }).collect();
    Commit { parties, info, log }.fail(error)
}

/// A manager and, once it prepared, its promise.
struct Party {
    member: Member,
    promise: Option<Box<dyn Prepared>>,
}

struct Commit<'a> {
    parties: Vec<Party>,
    info: Info,
    log: &'a Log,
}

impl Commit<'_> {
    fn run(mut self) -> Verdict {
        let Some(decider) = self.decider() else {
            return Verdict::Committed { tid: None, unfinished: Vec::new() };
        };
        if let Err(error) = self.prepare_all_but(decider) {
            return self.fail(error);
        }
        // Closed until the last participant's change is visible, so that nobody sees half.
        let curtain = match self.curtain() {
            Ok(curtain) => curtain,
            Err(error) => return self.fail(error),
        };
        let participants: Vec<_> =
            self.parties.iter().filter(|party| party.promise.is_some()).map(Party::name).collect();
        let decision =
            (!participants.is_empty()).then(|| Decision::new(self.info.id, participants));
        let verdict = match self.decide(decider, decision.as_ref()) {
            Ok(tid) => self.finish(tid, decider, decision.as_ref()),
            Err(error @ Error::Unknown(_)) => self.park(error),
            Err(error) => self.fail(error),
        };
        drop(curtain);
        verdict
    }

    /// What keeps others from looking while several databases change one after the other.
    fn curtain(&self) -> Result<Option<Curtain>> {
        let databases = self.parties.iter().filter(|party| party.member.seat.database.is_some());
        if databases.count() < 2 { Ok(None) } else { Curtain::close().map(Some) }
    }

    /// The index of the party with the smallest database, or else of the last one.
    fn decider(&self) -> Option<usize> {
        let deciding = self.parties.iter().enumerate();
        deciding
            .filter_map(|(index, party)| Some((party.member.seat.decides?, index)))
            .min()
            .map(|(_, index)| index)
            .or_else(|| self.parties.len().checked_sub(1))
    }

    fn prepare_all_but(&mut self, decider: usize) -> Result<()> {
        if self.parties.len() > 1 {
            let decider = &self.parties[decider].member;
            self.info.coordinator = decider.ask(|manager| manager.coordinator()).flatten();
        }
        let info = &self.info;
        for (index, party) in self.parties.iter_mut().enumerate() {
            if index != decider {
                let prepare =
                    party.member.call(Phase::Prepare, self.log, |manager| manager.prepare(info));
                party.promise = Some(prepare?);
            }
        }
        Ok(())
    }

    fn decide(&mut self, decider: usize, decision: Option<&Decision>) -> Result<Option<Tid>> {
        self.info.begin_decision();
        let info = &self.info;
        let mut returned = false;
        let decided = self.parties[decider].member.call(Phase::CommitAlone, self.log, |manager| {
            let result = manager.commit_alone(info, decision);
            returned = true;
            result
        });
        match decided {
            // It may have panicked before the decision was on the disk, or after.
            Err(error) if !returned => Err(Error::Unknown(error.to_string().into())),
            decided => decided,
        }
    }

    fn finish(
        mut self,
        mut tid: Option<Tid>,
        decider: usize,
        decision: Option<&Decision>,
    ) -> Verdict {
        let (mut unfinished, mut lost) = (Vec::new(), Vec::new());
        for (manager, promise) in self.promises() {
            let mut recovers = false;
            let finished = self.log.call(&manager, Phase::Finish, || {
                recovers = promise.recovers();
                promise.finish()
            });
            match finished {
                Ok(own) => tid = tid.or(own),
                Err(error) => {
                    let list = if recovers { &mut unfinished } else { &mut lost };
                    list.push(Unfinished { manager, error: error.to_string().into() });
                }
            }
        }
        if lost.is_empty() {
            if let Some(decision) = decision.filter(|_| unfinished.is_empty()) {
                self.parties[decider].member.tell(|manager| manager.all_finished(decision));
            }
            discard(self.parties);
            return Verdict::Committed { tid, unfinished };
        }
        let lost: Vec<_> = lost.iter().map(Unfinished::to_string).collect();
        let what: Box<str> = format!("these did not finish: {}", lost.join("; ")).into();
        self.disagree(Error::Mixed(what.clone().into()), Outcome::Mixed(what))
    }

    fn park(mut self, error: Error) -> Verdict {
        for (manager, promise) in self.promises() {
            let parked = self.log.call(&manager, Phase::Park, || {
                promise.park();
                Ok(())
            });
            // A panic: it is logged, and nothing better can be done about it.
            drop(parked);
        }
        let outcome = Outcome::Unknown(error.to_string().into());
        self.disagree(error, outcome)
    }

    /// What nobody but a human can mend.
    fn disagree(self, error: Error, outcome: Outcome) -> Verdict {
        tracing::error!(transaction = %self.info.id, %error, "the data managers may disagree");
        let cause = Cause::new(&error, std::iter::empty());
        discard(self.parties);
        Verdict::Failed(error, cause, outcome)
    }

    fn fail(mut self, error: Error) -> Verdict {
        let cause = Cause::new(&error, self.parties.iter().map(|party| &party.member));
        for Party { member, promise } in &mut self.parties {
            let aborted = match promise.take() {
                Some(promise) => self.log.call(&member.seat.name, Phase::Abort, || promise.abort()),
                None => member.call(Phase::Abort, self.log, |manager| manager.abort()),
            };
            // A failure is in the log; the error that led here is the one to return.
            drop(aborted);
        }
        discard(self.parties);
        let outcome = Outcome::Failed(cause.text.clone());
        Verdict::Failed(error, cause, outcome)
    }

    /// Takes the promises, in order, with the names of those who gave them.
    fn promises(&mut self) -> Vec<(Arc<str>, Box<dyn Prepared>)> {
        let parties = self.parties.iter_mut();
        parties
            .filter_map(|party| Some((party.member.seat.name.clone(), party.promise.take()?)))
            .collect()
    }
}

impl Party {
    fn name(&self) -> Participant {
        Participant::new(&*self.member.seat.name, self.member.seat.decides)
    }
}
