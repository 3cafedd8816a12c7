//! What programs are made of, and what their steps return.

use crate::support::managers::Fault;
use crate::support::rng::Rng;
use perennial::transaction::Phase;
use perennial::{Error, Result};

/// The managers: three cells, and a database between them in the order of the sort keys.
pub const NAMES: [&str; 4] = ["a", "m", "z", "perennial"];
pub const ORDER: [usize; 4] = [0, 1, DATABASE, 2];
pub const DATABASE: usize = 3;

/// The databases into which cells commit, where they decide; the real one has a smaller id.
pub const DECIDING: [u8; 3] = [0xF3, 0xF1, 0xF2];

/// What one cell can do.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    pub decides: bool,
    pub savepoints: bool,
    pub recovers: bool,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
    Success,
    Abort,
    End,
}

/// A hook: it says its name and what it was told, and then does something.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    pub name: usize,
    pub when: When,
    /// Of those after a commit; the others have none.
    pub priority: i32,
    pub deed: Deed,
}

/// What a hook does.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Nothing,
    /// Changes a manager.
    Set(usize, i64),
    /// Changes a manager, and takes that back by a savepoint.
    Undo(usize, i64),
    Doom,
    /// Adds another hook, which does nothing.
    Add(When, i32),
    Fail(Fault),
    /// Panics in the middle of a change of the database.
    Break,
    /// Changes a manager in a transaction of its own.
    Own(usize, i64),
    /// Leaves a transaction of its own open.
    Forget,
}

/// What a cell does at its next flush.
#[derive(Debug, Clone, Copy)]
pub enum FlushDeed {
    Set(usize, i64),
    Hook(usize),
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Begin,
    Set(usize, i64),
    /// Panics in the middle of a change of the database.
    Break,
    /// Somebody else commits a change of the database.
    Elsewhere(i64),
    Savepoint {
        optimistic: bool,
    },
    Rollback(usize),
    Release(usize),
    Fault(usize, Phase, Fault),
    Mend,
    /// A cell does this at its next flush, and says so, or not.
    AtFlush(usize, FlushDeed, bool),
    Hook(Hook),
    Doom,
    Commit,
    Abort,
    Drop,
}

/// What a step returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// By whom it was decided, how many are unfinished, and which hooks failed how.
    Committed(Option<usize>, usize, Vec<Answer>),
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
    pub fn of(result: Result<()>) -> Answer {
        let Err(error) = result else { return Answer::Done };
        assert_eq!(error.is_retryable(), matches!(error, Error::Conflict(_)));
        match error.cause() {
            Error::Doomed(_) => Answer::Doomed,
            Error::TransactionFailed(_) => Answer::Failed,
            Error::InvalidSavepoint(_) => Answer::Invalid,
            Error::Unsupported(_) => Answer::Unsupported,
            Error::AbortFailed(_) => Answer::AbortFailed,
            Error::Unknown(_) => Answer::Unknown,
            Error::Mixed(_) => Answer::Mixed,
            Error::Panicked(_) => Answer::Fault(Fault::Panic),
            Error::Conflict(_) => Answer::Fault(Fault::Conflict),
            Error::Other(_) => Answer::Fault(Fault::Error),
            _ => Answer::Refused,
        }
    }

    pub fn of_fault(fault: Fault) -> Answer {
        if fault == Fault::Unknown { Answer::Unknown } else { Answer::Fault(fault) }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Answer::Done | Answer::Committed(..) => "committed",
            Answer::Refused => "refused",
            Answer::Doomed => "doomed",
            Answer::Failed => "failed before",
            Answer::Unknown => "unknown",
            Answer::Mixed => "mixed",
            Answer::Fault(Fault::Conflict) => "conflicts",
            Answer::Fault(Fault::Panic) => "panics",
            _ => "errors",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Program {
    pub traits: [Traits; 3],
    pub steps: Vec<Step>,
}

impl Program {
    /// The program of this number.
    pub fn random(seed: u64) -> Program {
        let mut rng = Rng::new(seed);
        let mut traits =
            || Traits { decides: rng.coin(), savepoints: rng.below(5) > 0, recovers: rng.coin() };
        let traits = [traits(), traits(), traits()];
        let length = rng.below(60) as usize + 1;
        let mut steps = vec![Step::Begin];
        while steps.len() < length {
            steps.push(match steps.last() {
                // An abort does nothing to a commit that succeeded.
                Some(Step::Commit) if rng.coin() => Step::Abort,
                Some(Step::Commit | Step::Abort | Step::Drop) if rng.below(8) > 0 => Step::Begin,
                _ => any_step(&mut rng, steps.len()),
            });
        }
        Program { traits, steps }
    }
}

/// The `number`th step of a program; its values and names are its own.
fn any_step(rng: &mut Rng, number: usize) -> Step {
    let value = number as i64 + 1;
    match rng.below(128) {
        0..2 => Step::Begin,
        2..42 => Step::Set(any_manager(rng), value),
        42 => Step::Break,
        43..45 => Step::Elsewhere(value),
        45..57 => Step::Savepoint { optimistic: rng.below(4) > 0 },
        57..67 => Step::Rollback(rng.below(8) as usize),
        67..70 => Step::Release(rng.below(8) as usize),
        70..76 => Step::Fault(rng.below(3) as usize, any_phase(rng), any_fault(rng)),
        76..79 => Step::Mend,
        79..84 => Step::AtFlush(rng.below(3) as usize, any_flush_deed(rng, number), rng.coin()),
        84..109 => Step::Hook(any_hook(rng, number)),
        109 => Step::Doom,
        110..124 => Step::Commit,
        124..127 => Step::Abort,
        _ => Step::Drop,
    }
}

fn any_manager(rng: &mut Rng) -> usize {
    rng.below(4) as usize
}

fn any_phase(rng: &mut Rng) -> Phase {
    use Phase::{Abort, CommitAlone, Finish, Flush, Park, Prepare, Rollback, Savepoint};
    let rare = [Abort, Flush, Park, Rollback, Savepoint];
    match rng.coin() {
        true => [Prepare, CommitAlone, Finish][rng.below(3) as usize],
        false => rare[rng.below(5) as usize],
    }
}

fn any_fault(rng: &mut Rng) -> Fault {
    [Fault::Error, Fault::Conflict, Fault::Unknown, Fault::Panic][rng.below(4) as usize]
}

fn any_flush_deed(rng: &mut Rng, number: usize) -> FlushDeed {
    match rng.coin() {
        true => FlushDeed::Set(any_manager(rng), 2000 + number as i64),
        false => FlushDeed::Hook(2000 + number),
    }
}

/// When, and with which priority.
fn any_when(rng: &mut Rng) -> (When, i32) {
    match rng.below(6) {
        0 => (When::Before, 0),
        1 | 2 => (When::After, rng.below(3) as i32 - 1),
        3 => (When::Success, 0),
        4 => (When::Abort, 0),
        _ => (When::End, 0),
    }
}

fn any_hook(rng: &mut Rng, number: usize) -> Hook {
    let (when, priority) = any_when(rng);
    Hook { name: number, when, priority, deed: any_deed(rng, number) }
}

fn any_deed(rng: &mut Rng, number: usize) -> Deed {
    let value = 1000 + number as i64;
    match rng.below(30) {
        0..12 => Deed::Nothing,
        12..17 => Deed::Set(any_manager(rng), value),
        17..19 => Deed::Undo(any_manager(rng), value),
        19 => Deed::Doom,
        20..24 => {
            let (when, priority) = any_when(rng);
            Deed::Add(when, priority)
        }
        24 => Deed::Fail(any_fault(rng)),
        25 => Deed::Break,
        26..29 => Deed::Own(any_manager(rng), value),
        _ => Deed::Forget,
    }
}
