//! What a storage should hold, whatever happened to it: [`Expected`].
//!
//! Every state that commits led to is kept, in order. A power loss may take away a suffix of them,
//! but none that was promised to be durable.

use perennial::storage::{FileStorage, Load, Storage};
use perennial::{Oid, Tid};
use std::collections::BTreeMap;

/// All objects after one transaction.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What each object that was ever stored is.
    pub objects: BTreeMap<Oid, Option<Vec<u8>>>,
    /// The state in which each object was stored last.
    stored: BTreeMap<Oid, usize>,
    /// The transaction, where it was told.
    pub tid: Option<Tid>,
}

/// What a storage should hold.
#[derive(Debug)]
pub struct Expected {
    states: Vec<State>,
    /// No earlier state may be found.
    floor: usize,
    /// Where a commit's outcome is not known, its state is the last one.
    open: bool,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected { states: vec![State::default()], floor: 0, open: false }
    }
}

impl Expected {
    /// The newest state that was acknowledged.
    pub fn newest(&self) -> &State {
        &self.states[self.states.len() - 1 - usize::from(self.open)]
    }

    /// How many commits there may have been.
    pub fn commits(&self) -> usize {
        self.states.len() - 1
    }

    /// These changes were committed; durably, or not yet.
    pub fn committed(&mut self, changes: &[(Oid, Option<Vec<u8>>)], tid: Tid, durable: bool) {
        assert!(!self.open, "nothing is committed where an outcome is not known");
        self.states.push(self.changed(changes, Some(tid)));
        if durable {
            self.durable();
        }
    }

    /// Nobody knows whether these changes were committed.
    pub fn unknown(&mut self, changes: &[(Oid, Option<Vec<u8>>)]) {
        assert!(!self.open, "a storage that does not know stops");
        self.states.push(self.changed(changes, None));
        self.open = true;
    }

    /// All that was acknowledged is durable.
    pub fn durable(&mut self) {
        self.floor = self.states.len() - 1 - usize::from(self.open);
    }

    fn changed(&self, changes: &[(Oid, Option<Vec<u8>>)], tid: Option<Tid>) -> State {
        let mut objects = self.newest().objects.clone();
        objects.extend(changes.iter().cloned());
        let (mut stored, number) = (self.newest().stored.clone(), self.states.len());
        stored.extend(changes.iter().map(|(oid, _)| (*oid, number)));
        State { objects, stored, tid }
    }

    /// The tids of the newest revisions.
    pub fn bases(&self) -> BTreeMap<Oid, Tid> {
        let tid = |number: usize| self.states[number].tid.expect("an opening has told it");
        self.newest().stored.iter().map(|(&oid, &number)| (oid, tid(number))).collect()
    }

    /// Checks that a storage in use shows all that was acknowledged.
    pub fn check(&self, storage: &FileStorage) {
        let found = self.compare(storage);
        assert_eq!(found, self.states.len() - 1 - usize::from(self.open));
    }

    /// Checks that a storage that was just opened shows a state that it may: from now on it is
    /// that one.
    pub fn opened(&mut self, storage: &FileStorage) {
        let found = self.compare(storage);
        assert!(found >= self.floor, "{found} commits are left of {} promised", self.floor);
        self.states.truncate(found + 1);
        let last = storage.last_tid();
        self.states.last_mut().expect("there always is one").tid = Some(last);
        (self.floor, self.open) = (found, false);
    }

    fn compare(&self, storage: &FileStorage) -> usize {
        let all = storage.transactions(Tid::ZERO, Tid::MAX).expect("it is open");
        let tids: Vec<Tid> = all.map(|it| it.expect("it can be read").tid).collect();
        assert!(tids.len() < self.states.len(), "{} commits were made up", tids.len());
        for (tid, state) in tids.iter().zip(&self.states[1..]) {
            assert!(state.tid.is_none_or(|told| told == *tid), "another transaction");
        }
        let last = tids.len();
        for number in [last, last / 2] {
            let tid = number.checked_sub(1).map_or(Tid::ZERO, |before| tids[before]);
            let snapshot = storage.snapshot_at(tid).expect("it is there");
            for oid in self.newest().objects.keys() {
                let expected = self.states[number].objects.get(oid).and_then(Option::as_ref);
                match snapshot.load(*oid).expect("it can be read") {
                    Load::Found(it) => assert_eq!(Some(&it.data.to_vec()), expected, "{oid}"),
                    _ => assert_eq!(None, expected, "object {oid} is missing"),
                }
            }
        }
        last
    }
}
