//! The real thing, driven by the same steps.

use super::steps::{Answer, DATABASE, DECIDING, Deed, FlushDeed, Hook, NAMES, Step, Traits, When};
use crate::support::managers::{Cell, Fault, Journal};
use parking_lot::Mutex;
use perennial::error::Conflict;
use perennial::file::MemoryDirectory;
use perennial::storage::FileStorage;
use perennial::storage::file::FileOptions;
use perennial::transaction::{Current, Outcome, Savepoint, Transaction, TransactionManager};
use perennial::{Connection, Database, Error, Oid, Persistent, Ref, Report, Result, Settings, Tid};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// The database's one object. It cannot merge.
#[derive(Clone, Serialize, Deserialize)]
struct Number(i64);

impl Persistent for Number {
    const NAME: &'static str = "model.Number";
}

/// All that hooks and flushes use as well.
#[derive(Clone)]
struct World {
    manager: TransactionManager,
    cells: [Cell; 3],
    connection: Arc<Mutex<Connection>>,
    number: Ref<Number>,
    journal: Journal,
}

pub struct Real {
    pub manager: TransactionManager,
    pub journal: Journal,
    world: World,
    database: Database,
    transaction: Option<Transaction>,
    savepoints: Vec<Option<Savepoint>>,
    at_flush: [AtFlush; 3],
}

/// What a cell does at its next flush, and whether it says so.
type AtFlush = Arc<Mutex<Option<(FlushDeed, bool)>>>;

impl Drop for Real {
    fn drop(&mut self) {
        // What the cells call holds the world, and the world the cells.
        self.world.cells.iter().for_each(Cell::forget_flush);
    }
}

/// A database that decides, whoever else takes part.
fn smallest_database() -> Database {
    // A file, since what forgets does not decide; but in memory.
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    let new = || {
        let directory = Arc::new(MemoryDirectory::default());
        let storage = FileStorage::open(directory, "model.db", options).unwrap();
        Database::with_storage(Arc::new(storage), &Settings::default())
    };
    let mut all = std::iter::repeat_with(new);
    all.find(|database| database.id().bytes()[0] < 0xF0).unwrap()
}

fn cell(who: usize, traits: Traits, journal: &Journal) -> Cell {
    let mut cell = Cell::new(NAMES[who], journal);
    if traits.decides {
        cell = cell.deciding(DECIDING[who]);
    }
    if traits.recovers {
        cell = cell.recovering();
    }
    if traits.savepoints { cell } else { cell.without_savepoints() }
}

/// Making it, and what is seen from outside.
impl Real {
    pub fn new(traits: [Traits; 3]) -> Real {
        let (manager, journal) = (TransactionManager::new(), Journal::default());
        let cells = [0, 1, 2].map(|who| cell(who, traits[who], &journal));
        let database = smallest_database();
        let number = database.transact(|conn| conn.root_or_init("n", |_| Ok(Number(0)))).unwrap();
        let connection = Arc::new(Mutex::new(database.connect(&manager)));
        let world = World { manager: manager.clone(), cells, connection, number, journal };
        let at_flush: [AtFlush; 3] = Default::default();
        for (cell, deed) in world.cells.iter().zip(&at_flush) {
            let (world, deed) = (world.clone(), deed.clone());
            cell.on_flush(move || {
                let deed = deed.lock().take();
                deed.is_some_and(|(deed, says)| world.flush(deed).map(|()| says).unwrap())
            });
        }
        let (journal, savepoints) = (world.journal.clone(), Vec::new());
        Real { manager, journal, world, database, transaction: None, savepoints, at_flush }
    }

    pub fn is_released(&self, number: usize) -> bool {
        matches!(self.savepoints.get(number), Some(None))
    }

    pub fn valid_points(&self) -> Vec<usize> {
        let possible =
            |point: &Option<Savepoint>| point.as_ref().is_some_and(Savepoint::can_rollback);
        (0..self.savepoints.len()).filter(|&number| possible(&self.savepoints[number])).collect()
    }

    pub fn inside(&self) -> [Option<i64>; 4] {
        let connection = self.world.connection.lock();
        let number = connection.get(self.world.number).ok().map(|number| number.0);
        let [a, b, c] = self.world.cells.each_ref().map(|cell| Some(cell.value()));
        [a, b, c, number]
    }

    pub fn committed(&self) -> [i64; 4] {
        let number = self.database.view(|view| Ok(view.get(self.world.number)?.0)).unwrap();
        let [a, b, c] = self.world.cells.each_ref().map(Cell::committed);
        [a, b, c, number]
    }

    /// What was done, without the words of errors.
    pub fn action_log(&self) -> Option<Vec<String>> {
        let log = self.transaction.as_ref()?.action_log();
        let line = |action: &perennial::transaction::Action| {
            let name = action.manager.split(' ').next().unwrap();
            let result = if action.error.is_some() { "failed" } else { "succeeded" };
            format!("{name}: {} {result}", action.phase)
        };
        Some(log.iter().map(line).collect())
    }
}

/// Steps.
impl Real {
    pub fn step(&mut self, step: &Step) -> Answer {
        match *step {
            Step::Commit => return self.commit(),
            Step::Break => return self.world.broken(),
            _ => {}
        }
        Answer::of(self.act(step))
    }

    fn act(&mut self, step: &Step) -> Result<()> {
        let transaction = self.transaction.as_mut().ok_or(Error::TransactionOver("act"));
        match *step {
            Step::Begin => self.transaction = Some(self.manager.begin()?),
            Step::Set(who, value) => self.world.set(who, value)?,
            Step::Elsewhere(value) => {
                let number = self.world.number;
                self.database.transact(|conn| conn.modify(number, |n| n.0 = value))?;
            }
            Step::Savepoint { optimistic } => {
                let taken = match optimistic {
                    true => transaction?.optimistic_savepoint(),
                    false => transaction?.savepoint(),
                };
                self.savepoints.push(Some(taken?));
            }
            Step::Rollback(number) => {
                let savepoint = self.savepoints.get(number).and_then(Option::as_ref);
                savepoint.map_or(Ok(()), Savepoint::rollback)?;
            }
            Step::Release(number) => drop(self.savepoints.get_mut(number).and_then(Option::take)),
            Step::Fault(who, phase, fault) => self.world.cells[who].break_at(phase, fault),
            Step::Mend => self.world.cells.iter().for_each(Cell::mend),
            Step::AtFlush(who, deed, says) => *self.at_flush[who].lock() = Some((deed, says)),
            Step::Hook(hook) => self.world.register(transaction?, hook)?,
            Step::Doom => transaction?.doom()?,
            Step::Abort => transaction.map_or(Ok(()), Transaction::abort)?,
            Step::Drop => self.transaction = None,
            Step::Commit | Step::Break => unreachable!("these are done elsewhere"),
        }
        Ok(())
    }

    fn commit(&mut self) -> Answer {
        let Some(transaction) = &mut self.transaction else { return Answer::Refused };
        match transaction.commit() {
            Ok(report) => self.reported(report),
            Err(error) => {
                let log = transaction.action_log();
                assert!(error.actions().is_none_or(|actions| *actions == log), "{error:?}");
                Answer::of(Err(error))
            }
        }
    }

    fn reported(&self, report: Report) -> Answer {
        let who = |tid: Tid| {
            let cell = DECIDING.into_iter().position(|byte| tid == Tid::new(byte.into()));
            cell.unwrap_or(DATABASE)
        };
        let failures = report.hook_failures.into_iter().map(|hook| Answer::of(Err(hook.error)));
        Answer::Committed(report.tid.map(who), report.unfinished.len(), failures.collect())
    }
}

/// What steps, hooks and flushes do.
impl World {
    fn set(&self, who: usize, value: i64) -> Result<()> {
        match who {
            DATABASE => self.connection.lock().modify(self.number, |number| number.0 = value),
            _ => self.cells[who].set(&self.manager, value),
        }
    }

    /// A panic without a message on the terminal.
    fn break_object(&self) -> Result<()> {
        self.connection.lock().modify(self.number, |number| {
            number.0 = -1;
            resume_unwind(Box::new("in the middle of a change"))
        })
    }

    fn broken(&self) -> Answer {
        let caught = catch_unwind(AssertUnwindSafe(|| self.break_object()));
        caught.map_or(Answer::Fault(Fault::Panic), Answer::of)
    }

    fn flush(&self, deed: FlushDeed) -> Result<()> {
        match deed {
            FlushDeed::Set(who, value) => self.set(who, value),
            FlushDeed::Hook(name) => {
                let (when, priority, deed) = (When::Before, 0, Deed::Nothing);
                self.register(&self.manager.current()?, Hook { name, when, priority, deed })
            }
        }
    }

    fn register(&self, current: &Current, hook: Hook) -> Result<()> {
        let (world, on) = (self.clone(), current.clone());
        let tell = move |outcome: &Outcome| {
            let told = match outcome {
                Outcome::Committed { .. } => "committed",
                Outcome::Aborted => "aborted",
                Outcome::Failed(_) => "failed",
                Outcome::Unknown(_) => "unknown",
                Outcome::Mixed(_) => "mixed",
                _ => "something new",
            };
            world.journal.say(format!("{} hears {told}", hook.name));
            world.perform(&on, hook)
        };
        let (world, on) = (self.clone(), current.clone());
        match hook.when {
            When::Before => current.before_commit(move || {
                world.journal.say(format!("{} before", hook.name));
                world.perform(&on, hook)
            }),
            When::After => current.after_commit_at(hook.priority, tell),
            When::Success => current.on_commit(tell),
            When::Abort => current.on_abort(move || tell(&Outcome::Aborted)),
            When::End => current.on_end(tell),
        }
    }

    fn perform(&self, current: &Current, hook: Hook) -> Result<()> {
        match hook.deed {
            Deed::Nothing => Ok(()),
            Deed::Set(who, value) => self.set(who, value),
            Deed::Undo(who, value) => {
                let here = current.savepoint()?;
                self.set(who, value)?;
                here.rollback()
            }
            Deed::Doom => current.doom(),
            Deed::Add(when, priority) => {
                let (name, deed) = (hook.name + 5000, Deed::Nothing);
                self.register(current, Hook { name, when, priority, deed })
            }
            Deed::Fail(Fault::Error) => Err(Error::other("the hook fails")),
            Deed::Fail(Fault::Conflict) => {
                Err(Conflict::new(Oid::new(1), Tid::new(1), Tid::new(2)).into())
            }
            Deed::Fail(Fault::Unknown) => Err(Error::Unknown("of another one".into())),
            Deed::Fail(Fault::Panic) => resume_unwind(Box::new("the hook panics")),
            Deed::Break => self.break_object(),
            Deed::Own(who, value) => {
                let mut own = self.manager.begin()?;
                self.set(who, value)?;
                own.commit().map(drop)
            }
            Deed::Forget => {
                std::mem::forget(self.manager.begin()?);
                Ok(())
            }
        }
    }
}
