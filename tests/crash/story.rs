//! What a file should hold: every state that commits led to, and which of them may be found when.

use perennial::storage::{FileStorage, Load, Snapshot, Storage};
use perennial::{Oid, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an object is: pinned or not, and its data; `None` once removed.
pub type Content = Option<(bool, Arc<[u8]>)>;

/// All objects after one transaction.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub objects: BTreeMap<Oid, Content>,
    /// The transaction, where it was told.
    pub tid: Option<Tid>,
    /// The objects that it stored.
    pub stored: Vec<Oid>,
}

/// What may be found from a moment of the disk on.
#[derive(Debug, Clone)]
pub struct Mark {
    moment: usize,
    /// The state that was promised: no earlier one may be found.
    pub floor: usize,
    /// All states, in the order of their commits; the last one may be found already.
    pub states: Vec<Arc<State>>,
}

/// The marks of one life of a storage.
#[derive(Debug, Clone)]
pub struct Story {
    marks: Vec<Mark>,
}

impl Story {
    /// A file that does not exist yet.
    pub fn new() -> Story {
        let mark = Mark { moment: 0, floor: 0, states: vec![Arc::default()] };
        Story { marks: vec![mark] }
    }

    /// What may be found if the power went at `moment`: the beginning of another story.
    pub fn cut_at(&self, moment: usize) -> Story {
        let mark = self.marks.iter().rev().find(|mark| mark.moment <= moment);
        let mark = mark.expect("there is a mark for every moment").clone();
        Story { marks: vec![Mark { moment: 0, ..mark }] }
    }

    /// What may be found now.
    pub fn now(&self) -> &Mark {
        self.marks.last().expect("there always is a mark")
    }

    /// The newest state.
    pub fn newest(&self) -> &State {
        self.now().states.last().expect("there always is a state")
    }

    /// A commit begins: its state may be found from now on.
    pub fn begin(&mut self, moment: usize, state: State) {
        let mut mark = self.now().clone();
        mark.states.push(Arc::new(state));
        self.marks.push(Mark { moment, ..mark });
    }

    /// The commit that began last has its tid.
    pub fn acknowledge(&mut self, moment: usize, tid: Tid, durable: bool) {
        let mut mark = self.now().clone();
        let last = mark.states.last_mut().expect("there always is a state");
        Arc::make_mut(last).tid = Some(tid);
        self.marks.push(Mark { moment, ..mark });
        if durable {
            self.promise(moment);
        }
    }

    /// The commit that began last did not happen, and never will have.
    pub fn refuse(&mut self, moment: usize) {
        let mut mark = self.now().clone();
        mark.states.pop();
        self.marks.push(Mark { moment, ..mark });
    }

    /// All that was acknowledged is durable.
    pub fn promise(&mut self, moment: usize) {
        let mark = self.now().clone();
        self.marks.push(Mark { moment, floor: mark.states.len() - 1, ..mark });
    }

    /// An opening has shown state number `found`: from now on it is that one.
    pub fn found(&mut self, moment: usize, found: usize) {
        let mut mark = self.now().clone();
        mark.states.truncate(found + 1);
        self.marks.push(Mark { moment, floor: found, ..mark });
    }
}

impl Mark {
    /// Checks that `storage` holds one of the states that it may, whole; its number.
    pub fn check(&self, storage: &FileStorage) -> usize {
        let transactions = storage.transactions(Tid::ZERO, Tid::MAX).expect("transactions");
        let transactions: Vec<_> = transactions.map(|it| it.expect("a transaction")).collect();
        let found = transactions.len();
        assert!(found >= self.floor, "{found} commits are left of {} promised", self.floor);
        assert!(found < self.states.len(), "{found} commits, of which {} ran", self.states.len());
        for (transaction, state) in transactions.iter().zip(&self.states[1..]) {
            assert!(state.tid.is_none_or(|tid| tid == transaction.tid));
            let oids = transaction.records.iter().map(|(oid, _)| oid);
            assert!(oids.eq(&state.stored), "transaction {} is not whole", transaction.tid);
            for (oid, revision) in &transaction.records {
                let content = revision.as_ref().map(|it| (it.pinned, Arc::from(&*it.data)));
                assert_eq!(content, state.objects[oid], "object {oid} of {}", transaction.tid);
            }
        }
        let last = transactions.last().map_or(Tid::ZERO, |transaction| transaction.tid);
        assert_eq!(storage.last_tid(), last);
        self.compare(&*storage.snapshot().expect("a snapshot"), found);
        if found > 1 {
            let tid = transactions[found / 2].tid;
            self.compare(&*storage.snapshot_at(tid).expect("a snapshot"), found / 2 + 1);
        }
        let is_pinned = |content: &Content| content.as_ref().is_some_and(|it| it.0);
        let pinned = self.states[found].objects.iter().filter(|(_, content)| is_pinned(content));
        assert!(storage.pinned().expect("pinned").iter().eq(pinned.map(|(oid, _)| oid)));
        found
    }

    /// Compares every object that was ever thought of with state number `number`.
    fn compare(&self, snapshot: &dyn Snapshot, number: usize) {
        let newest = self.states.last().expect("there always is a state");
        for oid in newest.objects.keys() {
            let expected = self.states[number].objects.get(oid);
            match (expected, snapshot.load(*oid).expect("loaded")) {
                (None, Load::Absent) | (Some(None), Load::Removed(_)) => (),
                (Some(Some((pinned, data))), Load::Found(found)) => {
                    assert_eq!((found.pinned, &*found.data), (*pinned, &**data), "object {oid}");
                }
                (expected, loaded) => panic!("object {oid}: {loaded:?} instead of {expected:?}"),
            }
        }
    }
}
