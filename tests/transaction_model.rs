//! Random programs over three managers, compared step by step with a model: what is returned, who
//! was called in which order, what is seen inside and outside, how the transaction stands.

use crate::support::managers::{Cell, Fault, Journal};
use Phase::{Abort, CommitAlone, Finish, Park, Prepare, Rollback};
use perennial::transaction::{Phase, Savepoint, Status, Transaction, TransactionManager};
use perennial::{Error, Result};
use proptest::prelude::*;
use std::collections::HashMap;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The databases that they commit into, where they decide.
const DATABASES: [u8; 3] = [3, 1, 2];

#[derive(Debug, Clone, Copy)]
struct Traits {
    decides: bool,
    savepoints: bool,
    recovers: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    Set(usize, i64),
    Savepoint { optimistic: bool },
    Rollback(usize),
    Release(usize),
    Break(usize, Phase, Fault),
    Mend,
    Doom,
    Commit,
    Abort,
}

/// What a step returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Unfinished(usize),
    Refused,
    Doomed,
    Failed,
    Invalid,
    Unsupported,
    AbortFailed,
    Unknown,
    Mixed,
    Fault(Fault),
}

impl Answer {
    fn of(result: Result<()>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(Error::Doomed(_)) => Answer::Doomed,
            Err(Error::TransactionFailed(_)) => Answer::Failed,
            Err(Error::InvalidSavepoint(_)) => Answer::Invalid,
            Err(Error::Unsupported(_)) => Answer::Unsupported,
            Err(Error::AbortFailed(_)) => Answer::AbortFailed,
            Err(Error::Unknown(_)) => Answer::Unknown,
            Err(Error::Mixed(_)) => Answer::Mixed,
            Err(Error::Panicked(_)) => Answer::Fault(Fault::Panic),
            Err(Error::Conflict(_)) => Answer::Fault(Fault::Conflict),
            Err(Error::Other(_)) => Answer::Fault(Fault::Error),
            Err(_) => Answer::Refused,
        }
    }

    fn of_fault(fault: Fault) -> Answer {
        if fault == Fault::Unknown { Answer::Unknown } else { Answer::Fault(fault) }
    }
}

#[derive(Clone)]
struct Point {
    number: usize,
    pending: [Option<i64>; 3],
    whole: bool,
}

struct Model {
    traits: [Traits; 3],
    committed: [i64; 3],
    pending: [Option<i64>; 3],
    points: Vec<Point>,
    taken: usize,
    /// The first savepoint of the transaction.
    first: usize,
    status: Status,
    doomed: bool,
    faults: HashMap<(usize, Phase), Fault>,
    calls: Vec<String>,
}

impl Model {
    fn new(traits: [Traits; 3]) -> Model {
        Model {
            traits,
            committed: [0; 3],
            pending: [None; 3],
            points: Vec::new(),
            taken: 0,
            first: 0,
            status: Status::Idle,
            doomed: false,
            faults: HashMap::new(),
            calls: Vec::new(),
        }
    }

    fn call(&mut self, who: usize, phase: Phase) -> Option<Fault> {
        self.calls.push(format!("{} {phase}", NAMES[who]));
        self.faults.get(&(who, phase)).copied()
    }

    /// Calls whose faults change nothing.
    fn call_all(&mut self, all: &[usize], phase: Phase) {
        for &who in all {
            self.call(who, phase);
        }
    }

    fn members(&self) -> Vec<usize> {
        (0..3).filter(|&who| self.pending[who].is_some()).collect()
    }

    fn step(&mut self, step: Step) -> Answer {
        match (step, self.status) {
            (Step::Begin, Status::Idle) => (self.first, self.status) = (self.taken, Status::Active),
            (Step::Begin, _) => return Answer::Refused,
            (Step::Break(who, phase, fault), _) => drop(self.faults.insert((who, phase), fault)),
            (Step::Mend, _) => self.faults.clear(),
            (Step::Release(number), _) => self.points.retain(|point| point.number != number),
            (Step::Abort, Status::Idle) => {}
            (Step::Abort, _) => return self.abort(),
            (Step::Rollback(number), _) if number >= self.taken => {}
            (Step::Rollback(number), _) if number < self.first => return Answer::Invalid,
            (Step::Rollback(_), Status::Idle) => return Answer::Invalid,
            (_, Status::Idle) => return Answer::Refused,
            (_, Status::Failed | Status::Unknown | Status::Mixed) => return Answer::Failed,
            (Step::Set(who, value), _) => self.pending[who] = Some(value),
            (Step::Doom, _) => self.doomed = true,
            (Step::Savepoint { optimistic }, _) => return self.savepoint(optimistic),
            (Step::Rollback(number), _) => return self.rollback(number),
            (Step::Commit, _) if self.doomed => return Answer::Doomed,
            (Step::Commit, _) => return self.commit(),
        }
        Answer::Done
    }

    fn over(&mut self) {
        (self.pending, self.doomed, self.status) = ([None; 3], false, Status::Idle);
        self.points.clear();
    }

    fn fail(&mut self, answer: Answer) -> Answer {
        self.status = Status::Failed;
        answer
    }

    fn savepoint(&mut self, optimistic: bool) -> Answer {
        let mut whole = true;
        for who in self.members() {
            if !self.traits[who].savepoints {
                whole = false;
                if !optimistic {
                    return self.fail(Answer::Unsupported);
                }
            } else if let Some(fault) = self.call(who, Phase::Savepoint) {
                return self.fail(Answer::of_fault(fault));
            }
        }
        self.points.push(Point { number: self.taken, pending: self.pending, whole });
        self.taken += 1;
        Answer::Done
    }

    fn rollback(&mut self, number: usize) -> Answer {
        let Some(place) = self.points.iter().position(|point| point.number == number) else {
            return Answer::Invalid;
        };
        self.points.truncate(place + 1);
        let point = self.points[place].clone();
        if !point.whole {
            return self.fail(Answer::Unsupported);
        }
        for who in self.members() {
            let late = point.pending[who].is_none();
            let fault = self.call(who, if late { Abort } else { Rollback });
            if late || fault.is_none() {
                self.pending[who] = point.pending[who];
            }
            if let Some(fault) = fault {
                return self.fail(Answer::of_fault(fault));
            }
        }
        Answer::Done
    }

    fn abort(&mut self) -> Answer {
        let mut answer = Answer::Done;
        for who in self.members() {
            if self.call(who, Abort).is_some() {
                answer = Answer::AbortFailed;
            }
        }
        self.over();
        answer
    }

    fn commit(&mut self) -> Answer {
        let members = self.members();
        let deciding = members.iter().copied().filter(|&who| self.traits[who].decides);
        let smallest = deciding.min_by_key(|&who| DATABASES[who]);
        let Some(decider) = smallest.or(members.last().copied()) else {
            self.over();
            return Answer::Done;
        };
        let others: Vec<_> = members.iter().copied().filter(|&who| who != decider).collect();
        for &who in &others {
            if let Some(fault) = self.call(who, Prepare) {
                return self.give_up(&members, fault);
            }
        }
        match self.call(decider, CommitAlone) {
            Some(Fault::Unknown | Fault::Panic) => {
                self.call_all(&others, Park);
                self.end_badly(Status::Unknown);
                Answer::Unknown
            }
            Some(fault) => self.give_up(&members, fault),
            None => self.finish(decider, &others),
        }
    }

    fn give_up(&mut self, members: &[usize], fault: Fault) -> Answer {
        self.call_all(members, Abort);
        self.end_badly(Status::Failed);
        Answer::of_fault(fault)
    }

    fn end_badly(&mut self, status: Status) {
        self.pending = [None; 3];
        self.points.clear();
        self.status = status;
    }

    fn finish(&mut self, decider: usize, others: &[usize]) -> Answer {
        self.committed[decider] = self.pending[decider].unwrap();
        let (mut unfinished, mut lost) = (0, 0);
        for &who in others {
            match self.call(who, Finish) {
                None => self.committed[who] = self.pending[who].unwrap(),
                Some(_) if self.traits[who].recovers => unfinished += 1,
                Some(_) => lost += 1,
            }
        }
        if lost > 0 {
            self.end_badly(Status::Mixed);
            return Answer::Mixed;
        }
        self.over();
        if unfinished > 0 { Answer::Unfinished(unfinished) } else { Answer::Done }
    }
}

/// The real thing, driven by the same steps.
struct Real {
    manager: TransactionManager,
    transaction: Option<Transaction>,
    cells: [Cell; 3],
    savepoints: Vec<Option<Savepoint>>,
    journal: Journal,
}

impl Real {
    fn new(traits: [Traits; 3]) -> Real {
        let journal = Journal::default();
        let cells = [0, 1, 2].map(|who| {
            let mut cell = Cell::new(NAMES[who], &journal);
            if traits[who].decides {
                cell = cell.deciding(DATABASES[who]);
            }
            if traits[who].recovers {
                cell = cell.recovering();
            }
            if traits[who].savepoints { cell } else { cell.without_savepoints() }
        });
        let (manager, savepoints) = (TransactionManager::new(), Vec::new());
        Real { manager, transaction: None, cells, savepoints, journal }
    }

    fn step(&mut self, step: Step) -> Answer {
        let transaction = self.transaction.as_mut();
        let over = Err(Error::TransactionOver("act"));
        Answer::of(match step {
            Step::Begin => match self.manager.begin() {
                Ok(transaction) => {
                    self.transaction = Some(transaction);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Step::Set(who, value) => self.cells[who].set(&self.manager, value),
            Step::Savepoint { optimistic } => transaction.map_or(over, |transaction| {
                let taken = match optimistic {
                    true => transaction.optimistic_savepoint(),
                    false => transaction.savepoint(),
                };
                self.savepoints.push(Some(taken?));
                Ok(())
            }),
            Step::Rollback(number) => match self.savepoints.get(number) {
                Some(Some(savepoint)) => savepoint.rollback(),
                _ => Ok(()),
            },
            Step::Release(number) => {
                drop(self.savepoints.get_mut(number).and_then(Option::take));
                Ok(())
            }
            Step::Break(who, phase, fault) => {
                self.cells[who].break_at(phase, fault);
                Ok(())
            }
            Step::Mend => {
                self.cells.iter().for_each(Cell::mend);
                Ok(())
            }
            Step::Doom => transaction.map_or(over, |transaction| transaction.doom()),
            Step::Commit => match transaction.map_or(Err(Error::Closed), Transaction::commit) {
                Ok(report) if !report.unfinished.is_empty() => {
                    return Answer::Unfinished(report.unfinished.len());
                }
                result => result.map(drop),
            },
            Step::Abort => transaction.map_or(Ok(()), Transaction::abort),
        })
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    use Phase::{Abort, CommitAlone, Finish, Park, Prepare, Rollback, Savepoint};
    let phase =
        prop::sample::select(vec![Abort, CommitAlone, Finish, Park, Prepare, Rollback, Savepoint]);
    let fault =
        prop::sample::select(vec![Fault::Error, Fault::Conflict, Fault::Unknown, Fault::Panic]);
    prop_oneof![
        6 => Just(Step::Begin),
        12 => (0..3_usize, 1..100_i64).prop_map(|(who, value)| Step::Set(who, value)),
        8 => any::<bool>().prop_map(|optimistic| Step::Savepoint { optimistic }),
        6 => (0..8_usize).prop_map(Step::Rollback),
        2 => (0..8_usize).prop_map(Step::Release),
        3 => (0..3_usize, phase, fault).prop_map(|(who, at, how)| Step::Break(who, at, how)),
        2 => Just(Step::Mend),
        1 => Just(Step::Doom),
        5 => Just(Step::Commit),
        3 => Just(Step::Abort),
    ]
}

fn any_traits() -> impl Strategy<Value = Traits> {
    (any::<bool>(), prop::bool::weighted(0.8), any::<bool>())
        .prop_map(|(decides, savepoints, recovers)| Traits { decides, savepoints, recovers })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// T3–T11, T15, S1–S6, S12
    #[test]
    fn random_programs_do_what_the_model_says(
        traits in [any_traits(), any_traits(), any_traits()],
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let (mut model, mut real) = (Model::new(traits), Real::new(traits));
        for (number, step) in steps.into_iter().enumerate() {
            // A released savepoint cannot be asked again, and no longer counts.
            let released = |number: usize| matches!(real.savepoints.get(number), Some(None));
            if matches!(step, Step::Rollback(number) if released(number)) {
                continue;
            }
            let (expected, answer) = (model.step(step), real.step(step));
            prop_assert_eq!(answer, expected, "step {}: {:?}", number, step);
            prop_assert_eq!(real.journal.take(), std::mem::take(&mut model.calls));
            let inside = [0, 1, 2].map(|who| model.pending[who].unwrap_or(model.committed[who]));
            prop_assert_eq!(real.cells.each_ref().map(Cell::value), inside);
            prop_assert_eq!(real.cells.each_ref().map(Cell::committed), model.committed);
            let doomed = model.doomed && model.status == Status::Active;
            let status = if doomed { Status::Doomed } else { model.status };
            prop_assert_eq!(real.manager.status(), status);
            for point in &model.points {
                let savepoint = real.savepoints[point.number].as_ref().unwrap();
                let possible = point.whole && model.status == Status::Active;
                prop_assert_eq!(savepoint.can_rollback(), possible);
            }
        }
    }
}
