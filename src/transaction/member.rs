//! A data manager that has joined: [`Member`].
//!
//! What a manager says of itself is kept as its [`Seat`], which is at hand also while a phase has
//! the member.
//!
//! # Invariants
//! - A manager is asked who it is once, when it joins: its place in the order cannot change.

use super::contain::contain;
use super::data_manager::{DataManager, ManagerId};
use super::log::{Log, Phase};
use crate::error::{Error, Result};
use crate::id::DatabaseId;
use std::sync::Arc;

/// Who joined.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) id: ManagerId,
    pub(super) name: Arc<str>,
    pub(super) decides: Option<DatabaseId>,
    pub(super) database: Option<DatabaseId>,
}

impl Seat {
    /// Whether `self` may join those who have.
    pub(super) fn check_beside(&self, others: &[Seat]) -> Result<()> {
        for other in others {
            if other.id == self.id {
                return Err(Error::AlreadyJoined((*self.name).into()));
            }
            // Two commits into one database, each waiting for the other to end.
            if let Some(database) = self.database.filter(|_| other.database == self.database) {
                let (new, old) = (&self.name, &other.name);
                let what = format!(
                    "the data manager {new} cannot join this transaction: {old} has joined it \
                     for the same database {database}"
                );
                return Err(Error::Unsupported(what.into()));
            }
        }
        Ok(())
    }
}

/// A manager in a transaction.
pub(super) struct Member {
    pub(super) seat: Seat,
    manager: Box<dyn DataManager>,
}

impl Member {
    /// Asks `manager` who it is.
    pub(super) fn new(manager: Box<dyn DataManager>) -> Result<Member> {
        let seat = contain(format_args!("a data manager, asked for its name,"), || {
            let name = manager.sort_key().into();
            let (decides, database) = (manager.decides(), manager.database());
            Ok(Seat { id: manager.identity(), name, decides, database })
        })?;
        Ok(Member { seat, manager })
    }

    /// Runs one of its phases.
    pub(super) fn call<T>(
        &mut self,
        phase: Phase,
        log: &Log,
        code: impl FnOnce(&mut dyn DataManager) -> Result<T>,
    ) -> Result<T> {
        let manager = &mut *self.manager;
        log.call(&self.seat.name, phase, || code(manager))
    }

    /// Asks it something that is no phase; where it panics, it said nothing.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&dyn DataManager) -> T) -> Option<T> {
        let name = &self.seat.name;
        contain(format_args!("the data manager {name}"), || Ok(question(&*self.manager)))
            .inspect_err(|error| tracing::error!(%error, "a question went unanswered"))
            .ok()
    }

    /// Tells it something, to which there is no answer.
    pub(super) fn tell(&mut self, message: impl FnOnce(&mut dyn DataManager)) {
        let Member { seat, manager } = self;
        let told = contain(format_args!("the data manager {}", seat.name), || {
            message(&mut **manager);
            Ok(())
        });
        if let Err(error) = told {
            tracing::error!(%error, "a message was not understood");
        }
    }
}

/// Puts `member` where its sort key belongs; of equal ones, the later behind.
pub(super) fn insert(members: &mut Vec<Member>, member: Member) {
    let place = members.partition_point(|other| other.seat.name <= member.seat.name);
    members.insert(place, member);
}
