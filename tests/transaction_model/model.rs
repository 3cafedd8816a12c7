//! The contract, as simply as it can be said.

use super::steps::{
    Answer, DATABASE, DECIDING, Deed, FlushDeed, Hook, NAMES, ORDER, Step, Traits, When,
};
use crate::support::managers::Fault;
use Phase::{Abort, CommitAlone, Finish, Flush, Park, Prepare, Rollback};
use perennial::transaction::{Phase, Status};
use std::collections::HashMap;

type Outcome = &'static str;

/// A savepoint.
#[derive(Clone)]
struct Point {
    number: usize,
    pending: [Option<i64>; 4],
    whole: bool,
    /// How many hooks had ever been registered.
    hooks: usize,
}

/// One transaction.
#[derive(Default)]
struct Work {
    pending: [Option<i64>; 4],
    /// How often the database had been changed when it began, and the value then.
    seen: (usize, i64),
    /// Whether a closure that panicked has left the object half changed.
    broken: bool,
    points: Vec<Point>,
    /// Those that have not run, with their places in the order of registration.
    hooks: Vec<(usize, Hook)>,
    failed: Option<Status>,
    doomed: bool,
    log: Vec<String>,
}

pub struct Model {
    traits: [Traits; 3],
    pub committed: [i64; 4],
    /// How often the database was changed.
    changes: usize,
    /// The last transaction, and whether it is running, or in the hands of its hooks.
    work: Work,
    running: bool,
    telling: bool,
    /// How many savepoints and hooks there were, and how many savepoints before this transaction.
    taken: usize,
    registered: usize,
    first: usize,
    faults: HashMap<(usize, Phase), Fault>,
    at_flush: [Option<(FlushDeed, bool)>; 3],
    pub calls: Vec<String>,
}

/// What is seen from outside.
impl Model {
    pub fn new(traits: [Traits; 3]) -> Model {
        Model {
            traits,
            committed: [0; 4],
            changes: 0,
            work: Work::default(),
            running: false,
            telling: false,
            taken: 0,
            registered: 0,
            first: 0,
            faults: HashMap::new(),
            at_flush: [None; 3],
            calls: Vec::new(),
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.work.log.clone()
    }

    pub fn status(&self) -> Status {
        match self.work.failed {
            _ if !self.running => Status::Idle,
            Some(failed) => failed,
            None if self.work.doomed => Status::Doomed,
            None => Status::Active,
        }
    }

    /// The values of the cells, and of the database where there is a transaction to see it in.
    pub fn inside(&self) -> [Option<i64>; 4] {
        let mut outside = self.committed.map(Some);
        outside[DATABASE] = self.running.then_some(self.work.seen.1);
        let mut all = [0, 1, 2, DATABASE].map(|who| self.work.pending[who].or(outside[who]));
        all[DATABASE] = all[DATABASE].filter(|_| !self.work.broken);
        all
    }

    /// The savepoints that can be rolled back to.
    pub fn valid_points(&self) -> Vec<usize> {
        let valid = self.work.points.iter();
        let valid = valid.filter(|point| point.whole && self.work.failed.is_none());
        valid.map(|point| point.number).collect()
    }

    pub fn step(&mut self, step: &Step) -> Answer {
        match *step {
            Step::Begin if self.running => return Answer::Refused,
            Step::Begin => self.begin(),
            Step::Elsewhere(value) => self.change_database(value),
            Step::Fault(who, phase, fault) => drop(self.faults.insert((who, phase), fault)),
            Step::Mend => self.faults.clear(),
            Step::AtFlush(who, deed, says) => self.at_flush[who] = Some((deed, says)),
            Step::Release(number) => self.work.points.retain(|point| point.number != number),
            Step::Abort | Step::Drop if !self.running => {}
            Step::Abort => return self.abort(),
            Step::Drop => drop(self.abort()),
            Step::Rollback(number) if number >= self.taken => {}
            Step::Rollback(number) if number < self.first => return Answer::Invalid,
            Step::Rollback(_) if !self.running => return Answer::Invalid,
            _ if !self.running => return Answer::Refused,
            _ if self.work.failed.is_some() => return Answer::Failed,
            Step::Set(who, value) => self.work.pending[who] = Some(value),
            Step::Break => return self.break_object(),
            Step::Doom => self.work.doomed = true,
            Step::Hook(hook) => self.register(hook),
            Step::Savepoint { optimistic } => return self.savepoint(optimistic),
            Step::Rollback(number) => return self.rollback(number),
            Step::Commit if self.work.doomed => return Answer::Doomed,
            Step::Commit => return self.commit(),
        }
        Answer::Done
    }
}

/// Work.
impl Model {
    fn begin(&mut self) {
        (self.first, self.running) = (self.taken, true);
        let seen = (self.changes, self.committed[DATABASE]);
        self.work = Work { seen, ..Work::default() };
    }

    fn change_database(&mut self, value: i64) {
        self.committed[DATABASE] = value;
        self.changes += 1;
    }

    /// Calls a manager: its fault, or a conflict where the database has changed.
    fn call(&mut self, who: usize, phase: Phase) -> Option<Fault> {
        let fault = match who {
            DATABASE if phase == CommitAlone && self.changes != self.work.seen.0 => {
                Some(Fault::Conflict)
            }
            DATABASE => None,
            _ => {
                self.calls.push(format!("{} {phase}", NAMES[who]));
                self.faults.get(&(who, phase)).copied()
            }
        };
        // Nobody hears of an error of park; only a panic is one.
        let fault = fault.filter(|&fault| phase != Park || fault == Fault::Panic);
        let rare = !matches!(phase, Flush | Phase::Savepoint | Rollback);
        if rare || fault.is_some() {
            let result = if fault.is_some() { "failed" } else { "succeeded" };
            self.work.log.push(format!("{}: {phase} {result}", NAMES[who]));
        }
        fault
    }

    /// Calls whose faults change nothing.
    fn call_all(&mut self, all: &[usize], phase: Phase) {
        for &who in all {
            self.call(who, phase);
        }
    }

    fn members(&self) -> Vec<usize> {
        ORDER.into_iter().filter(|&who| self.work.pending[who].is_some()).collect()
    }

    /// Nothing is left but the hooks, which are told.
    fn over(&mut self, outcome: Outcome) -> Vec<Answer> {
        (self.work.pending, self.work.broken) = ([None; 4], false);
        self.work.points.clear();
        let failures = self.tell(outcome);
        self.running = self.work.failed.is_some();
        failures
    }

    fn fail(&mut self, answer: Answer) -> Answer {
        self.work.failed = Some(Status::Failed);
        answer
    }

    fn break_object(&mut self) -> Answer {
        self.work.pending[DATABASE].get_or_insert(0);
        self.work.broken = true;
        self.fail(Answer::Fault(Fault::Panic))
    }

    fn register(&mut self, hook: Hook) {
        self.registered += 1;
        self.work.hooks.push((self.registered, hook));
    }

    fn savepoint(&mut self, optimistic: bool) -> Answer {
        let mut whole = true;
        for who in self.members() {
            if who != DATABASE && !self.traits[who].savepoints {
                whole = false;
                if !optimistic {
                    self.work.log.push(format!("{}: savepoint failed", NAMES[who]));
                    return self.fail(Answer::Unsupported);
                }
            } else if let Some(fault) = self.call(who, Phase::Savepoint) {
                return self.fail(Answer::of_fault(fault));
            }
        }
        let (number, hooks) = (self.taken, self.registered);
        self.work.points.push(Point { number, pending: self.work.pending, whole, hooks });
        self.taken += 1;
        Answer::Done
    }

    fn rollback(&mut self, number: usize) -> Answer {
        let Some(place) = self.work.points.iter().position(|point| point.number == number) else {
            return Answer::Invalid;
        };
        self.work.points.truncate(place + 1);
        let point = self.work.points[place].clone();
        self.work.hooks.retain(|&(place, _)| place <= point.hooks);
        if !point.whole {
            return self.fail(Answer::Unsupported);
        }
        for who in self.members() {
            let late = point.pending[who].is_none();
            let fault = self.call(who, if late { Abort } else { Rollback });
            if late || fault.is_none() {
                self.work.pending[who] = point.pending[who];
            }
            if let Some(fault) = fault {
                return self.fail(Answer::of_fault(fault));
            }
        }
        Answer::Done
    }
}

/// The end.
impl Model {
    fn abort(&mut self) -> Answer {
        let mut answer = Answer::Done;
        for who in self.members() {
            if self.call(who, Abort).is_some() {
                answer = Answer::AbortFailed;
            }
        }
        self.work.failed = None;
        self.over("aborted");
        answer
    }

    fn commit(&mut self) -> Answer {
        match self.gather() {
            Err(answer) => self.give_up(answer),
            Ok(()) => self.phases(),
        }
    }

    /// Hooks, and rounds of flushes, until nothing changes any more.
    fn gather(&mut self) -> Result<(), Answer> {
        loop {
            while let Some(place) = self.work.hooks.iter().position(|(_, h)| h.when == When::Before)
            {
                let (_, hook) = self.work.hooks.remove(place);
                self.calls.push(format!("{} before", hook.name));
                match self.perform(hook) {
                    Answer::Done if self.work.doomed => return Err(Answer::Doomed),
                    Answer::Done => {}
                    answer => return Err(answer),
                }
            }
            if !self.flush()? {
                return Ok(());
            }
        }
    }

    /// One round; whether anything changed, was joined or was added.
    fn flush(&mut self) -> Result<bool, Answer> {
        let (members, mut changed) = (self.members(), false);
        for &who in members.iter().filter(|&&who| who != DATABASE) {
            if let Some(fault) = self.call(who, Flush) {
                return Err(Answer::of_fault(fault));
            }
            let Some((deed, says)) = self.at_flush[who].take() else { continue };
            changed |= says;
            match deed {
                FlushDeed::Set(other, value) => self.work.pending[other] = Some(value),
                FlushDeed::Hook(name) => {
                    let (when, priority, deed) = (When::Before, 0, Deed::Nothing);
                    self.register(Hook { name, when, priority, deed });
                }
            }
        }
        let hooked = self.work.hooks.iter().any(|(_, hook)| hook.when == When::Before);
        Ok(changed || hooked || self.members() != members)
    }

    fn phases(&mut self) -> Answer {
        let members = self.members();
        let decides = |who: &usize| *who == DATABASE || self.traits[*who].decides;
        let id = |who: &usize| DECIDING.get(*who).copied().unwrap_or(0);
        let smallest = members.iter().copied().filter(decides).min_by_key(id);
        let Some(decider) = smallest.or(members.last().copied()) else {
            return self.committed(None, 0);
        };
        let others: Vec<_> = members.iter().copied().filter(|&who| who != decider).collect();
        for &who in &others {
            if let Some(fault) = self.call(who, Prepare) {
                return self.give_up(Answer::of_fault(fault));
            }
        }
        match self.call(decider, CommitAlone) {
            Some(Fault::Unknown | Fault::Panic) => {
                self.call_all(&others, Park);
                self.failed(Status::Unknown, "unknown", Answer::Unknown)
            }
            Some(fault) => self.give_up(Answer::of_fault(fault)),
            None => self.finish(decider, smallest.is_some(), &others),
        }
    }

    fn give_up(&mut self, answer: Answer) -> Answer {
        self.call_all(&self.members(), Abort);
        self.failed(Status::Failed, "failed", answer)
    }

    fn failed(&mut self, status: Status, outcome: Outcome, answer: Answer) -> Answer {
        self.work.failed = Some(status);
        self.over(outcome);
        answer
    }

    fn finish(&mut self, decider: usize, decides: bool, others: &[usize]) -> Answer {
        self.publish(decider);
        let (mut unfinished, mut lost) = (0, 0);
        for &who in others {
            match self.call(who, Finish) {
                None => self.publish(who),
                Some(_) if self.traits[who].recovers => unfinished += 1,
                Some(_) => lost += 1,
            }
        }
        if lost > 0 {
            return self.failed(Status::Mixed, "mixed", Answer::Mixed);
        }
        self.committed(decides.then_some(decider), unfinished)
    }

    fn publish(&mut self, who: usize) {
        let value = self.work.pending[who].unwrap();
        match who {
            DATABASE => self.change_database(value),
            _ => self.committed[who] = value,
        }
    }

    fn committed(&mut self, decider: Option<usize>, unfinished: usize) -> Answer {
        Answer::Committed(decider, unfinished, self.over("committed"))
    }

    /// Runs the hooks that want to hear this outcome; which failed.
    fn tell(&mut self, outcome: Outcome) -> Vec<Answer> {
        let mut failures = Vec::new();
        self.telling = true;
        self.work.hooks.retain(|(_, hook)| hook.when != When::Before);
        let next = |(place, hook): &(usize, Hook)| (hook.priority, *place);
        while let Some(first) = self.work.hooks.iter().map(next).min() {
            let place = self.work.hooks.iter().position(|hook| next(hook) == first).unwrap();
            let (_, hook) = self.work.hooks.remove(place);
            let wants = match hook.when {
                When::Before => false,
                When::After => outcome != "aborted",
                When::Success => outcome == "committed",
                When::Abort => outcome == "aborted",
                When::End => true,
            };
            if wants {
                self.calls.push(format!("{} hears {outcome}", hook.name));
                failures.extend(Some(self.perform(hook)).filter(|answer| *answer != Answer::Done));
            }
        }
        self.telling = false;
        failures
    }

    /// What a hook does, and returns.
    fn perform(&mut self, hook: Hook) -> Answer {
        let ended = self.telling;
        let refused = if self.work.failed.is_some() { Answer::Failed } else { Answer::Refused };
        match hook.deed {
            Deed::Nothing => {}
            Deed::Fail(fault) => return Answer::of_fault(fault),
            Deed::Own(..) | Deed::Forget if !ended => return Answer::Refused,
            Deed::Own(who, value) => return self.own(who, value),
            Deed::Forget => return Answer::Fault(Fault::Error),
            Deed::Add(When::Before, _) | Deed::Undo(..) | Deed::Doom if ended => return refused,
            Deed::Add(when, priority) => {
                let (name, deed) = (hook.name + 5000, Deed::Nothing);
                self.register(Hook { name, when, priority, deed });
            }
            // No transaction is current, so there is none that could have failed.
            Deed::Set(..) | Deed::Break if ended => return Answer::Refused,
            Deed::Set(who, value) => self.work.pending[who] = Some(value),
            Deed::Break => return self.break_object(),
            Deed::Doom => self.work.doomed = true,
            Deed::Undo(who, value) => return self.undo(who, value),
        }
        Answer::Done
    }

    /// A change and its rollback, to a savepoint that has no name outside.
    fn undo(&mut self, who: usize, value: i64) -> Answer {
        let number = self.taken;
        let taken = self.savepoint(false);
        if taken != Answer::Done {
            return taken;
        }
        self.work.pending[who] = Some(value);
        let answer = self.rollback(number);
        self.work.points.retain(|point| point.number != number);
        self.taken = number;
        answer
    }

    /// A transaction inside a hook, of which nobody hears.
    fn own(&mut self, who: usize, value: i64) -> Answer {
        let (first, outer) = (self.first, std::mem::take(&mut self.work));
        self.telling = false;
        self.begin();
        self.work.pending[who] = Some(value);
        let answer = self.commit();
        if self.running {
            self.abort();
        }
        (self.first, self.work) = (first, outer);
        self.telling = true;
        if let Answer::Committed(..) = answer { Answer::Done } else { answer }
    }
}
