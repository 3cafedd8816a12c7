//! One flow of control: a manager, its connections, and the transaction that it is in.

use super::life::Side;
use super::model::{self, Changes, Mine, Value};
use crate::support::rng::Rng;
use perennial::transaction::Savepoint;
use perennial::{Connection, Durability, Error, Result, Tid, Transaction, TransactionManager};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A job that pays what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pay {
    pub cents: i64,
}

impl perennial::Job for Pay {
    const KIND: &'static str = "simulation.Pay";
}

/// Who works in transactions.
pub struct Flow {
    manager: TransactionManager,
    /// One for each side that it works at; `None` where it does not.
    conns: Vec<Option<Connection>>,
    work: Option<Work>,
}

/// A transaction, and what it did.
struct Work {
    transaction: Transaction,
    changes: Vec<Changes>,
    savepoints: Vec<(Savepoint, Vec<Changes>)>,
}

impl Flow {
    pub fn new(sides: &[Side], works_at: impl Fn(usize) -> bool) -> Flow {
        let manager = TransactionManager::new();
        let conns = sides.iter().enumerate();
        let conns = conns.map(|(number, side)| works_at(number).then(|| side.db.connect(&manager)));
        Flow { conns: conns.collect(), manager, work: None }
    }

    /// One thing of many, in the transaction or about it.
    pub fn step(&mut self, sides: &[Side], rng: &mut Rng, stamp: u64) -> Result<()> {
        if self.work.is_none() {
            let (transaction, savepoints) = (self.manager.begin()?, Vec::new());
            let changes = vec![Changes::new(); sides.len()];
            transaction.note(&format!("{stamp}"))?;
            self.work = Some(Work { transaction, changes, savepoints });
        }
        match rng.below(16) {
            0..4 => self.commit(sides, rng)?,
            4 => self.abort(),
            5 => self.save()?,
            6 => self.roll_back(rng)?,
            number => {
                for side in one_or_all(sides.len(), number, rng) {
                    self.act(sides, side, rng, stamp)?;
                }
            }
        }
        Ok(())
    }

    pub fn abort(&mut self) {
        // Before the transaction: whoever rolls back when it is dropped must not find it gone.
        if let Some(mut work) = self.work.take() {
            work.savepoints.clear();
            work.transaction.abort().expect("an abort that touches no disk");
        }
    }

    fn save(&mut self) -> Result<()> {
        let work = self.work.as_mut().expect("it was begun");
        let savepoint = work.transaction.savepoint()?;
        work.savepoints.push((savepoint, work.changes.clone()));
        Ok(())
    }

    fn roll_back(&mut self, rng: &mut Rng) -> Result<()> {
        let work = self.work.as_mut().expect("it was begun");
        if work.savepoints.is_empty() {
            return Ok(());
        }
        let number = rng.below(work.savepoints.len() as u64) as usize;
        work.savepoints.truncate(number + 1);
        work.savepoints[number].0.rollback()?;
        work.changes.clone_from(&work.savepoints[number].1);
        Ok(())
    }

    /// Does something with an object of one side.
    fn act(&mut self, sides: &[Side], number: usize, rng: &mut Rng, stamp: u64) -> Result<()> {
        let work = self.work.as_mut().expect("it was begun");
        let Some(conn) = &self.conns[number] else { return Ok(()) };
        let (side, changes) = (&sides[number], &mut work.changes[number]);
        let what = rng.below(8);
        let (oid, value) = match side.pick(rng, conn.tid()?) {
            Some(found) if what > 1 => found,
            _ => {
                let (value, pinned) = (side.value(rng, stamp), rng.below(3) == 0);
                let next = changes.iter().find(|(_, mine)| matches!(mine, Mine::Is(_)));
                let next = next.filter(|_| rng.coin()).map(|(oid, _)| *oid);
                let next = next.filter(|oid| is_first_kind(&changes[oid]));
                let oid = model::add(conn, &value, pinned, next)?;
                changes.insert(oid, Mine::Is(value));
                return Ok(());
            }
        };
        let current = match changes.get(&oid) {
            Some(Mine::Removed) => return Ok(()),
            Some(Mine::Is(mine)) => mine.clone(),
            Some(Mine::Added(cents)) => add(&value, *cents),
            None => value,
        };
        assert_eq!(model::seen(conn, oid, &current)?, current, "object {oid}");
        match (&current, what) {
            (_, 2) => {}
            (Value::Sum(_), _) => self.ask(sides, number, rng)?,
            (Value::Item(..), 3) => model::check(conn, oid, &current)?,
            (Value::Item(..), 4) if side.is_pinned(oid) && !changes.contains_key(&oid) => {
                model::remove(conn, oid, &current)?;
                changes.insert(oid, Mine::Removed);
            }
            (Value::Item(kind, ..), _) => {
                let Value::Item(_, stamp, bytes) = side.value(rng, stamp) else { return Ok(()) };
                let value = Value::Item(*kind, stamp, bytes);
                model::change(conn, oid, &value)?;
                changes.insert(oid, Mine::Is(value));
            }
        }
        Ok(())
    }

    /// Asks for a payment, in one of two ways that both show in the sums.
    fn ask(&mut self, sides: &[Side], number: usize, rng: &mut Rng) -> Result<()> {
        let work = self.work.as_mut().expect("it was begun");
        let (side, changes) = (&sides[number], &mut work.changes[number]);
        let Some(conn) = &self.conns[number] else { return Ok(()) };
        let cents = 1 + rng.below(100) as i64;
        let mut sums = vec![side.asked];
        match side.runner.is_some() {
            true => drop(conn.enqueue(&Pay { cents })?),
            false => sums.push(side.paid),
        }
        for sum in sums {
            conn.modify(sum, |sum| sum.0 += cents)?;
            let before = match changes.get(&sum.oid()) {
                Some(Mine::Added(before)) => *before,
                _ => 0,
            };
            changes.insert(sum.oid(), Mine::Added(before + cents));
        }
        Ok(())
    }

    /// Commits; to conflict is no error.
    fn commit(&mut self, sides: &[Side], rng: &mut Rng) -> Result<()> {
        let Some(mut work) = self.work.take() else { return Ok(()) };
        let durability = if rng.coin() { Durability::Lazy } else { Durability::Sync };
        for conn in self.conns.iter().flatten() {
            conn.set_durability(durability)?;
        }
        work.savepoints.clear();
        let before: Vec<Tid> = sides.iter().map(|side| side.witness.story().last_tid).collect();
        let committed = work.transaction.commit();
        drop(work.transaction);
        match committed {
            Ok(report) => {
                assert!(report.hook_failures.is_empty(), "{report:?}");
                if report.unfinished.is_empty() {
                    for ((side, changes), before) in sides.iter().zip(&work.changes).zip(before) {
                        check(side, changes, before)?;
                    }
                }
                Ok(())
            }
            Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Some side, or each of them.
fn one_or_all(count: usize, number: u64, rng: &mut Rng) -> Range<usize> {
    match number {
        7..11 => 0..count,
        _ => {
            let one = rng.below(count as u64) as usize;
            one..one + 1
        }
    }
}

fn is_first_kind(mine: &Mine) -> bool {
    matches!(mine, Mine::Is(Value::Item(0, ..)))
}

fn add(value: &Value, cents: i64) -> Value {
    match value {
        Value::Sum(sum) => Value::Sum(sum + cents),
        item => item.clone(),
    }
}

/// Checks that what a transaction made of objects is what the storage was given, and shows.
fn check(side: &Side, changes: &Changes, before: Tid) -> Result<()> {
    let story = side.witness.story();
    let last = story.last_tid;
    let mut expected = Vec::new();
    for (&oid, mine) in changes {
        let value = match mine {
            Mine::Removed => None,
            Mine::Is(value) => Some(value.clone()),
            Mine::Added(cents) => {
                Some(add(&model::told(&story, oid, before).expect("a sum"), *cents))
            }
        };
        assert_eq!(model::told(&story, oid, last), value, "object {oid} as of {last}");
        expected.extend(value.map(|value| (oid, value)));
    }
    drop(story);
    side.db.view(|view| {
        for (oid, value) in &expected {
            assert_eq!(model::seen(view, *oid, value)?, *value);
        }
        Ok(())
    })
}
