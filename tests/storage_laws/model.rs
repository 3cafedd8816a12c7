//! Random batches against a map.

use super::Home;
use super::kit::{definition, text};
use perennial::storage::{Batch, Load, Snapshot, Storage, Verdict};
use perennial::{Oid, Tid};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

const OBJECTS: u64 = 6;

/// What a batch does to an object, from a base that many transactions back was the newest one.
#[derive(Debug, Clone)]
struct Step {
    oid: u64,
    stale: bool,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Put { data: String, pinned: bool },
    Remove,
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop_oneof![
        6 => ("[a-z]{0,9}", any::<bool>()).prop_map(|(data, pinned)| Action::Put { data, pinned }),
        2 => Just(Action::Remove),
        2 => Just(Action::Check),
    ];
    let stale = prop::bool::weighted(0.1);
    (1..=OBJECTS, stale, action).prop_map(|(oid, stale, action)| Step { oid, stale, action })
}

/// One state of all objects: text and pin, or `None` for a removed one; and who stored it.
type State = BTreeMap<Oid, (Tid, Option<(String, bool)>)>;

#[derive(Default)]
struct Model {
    now: State,
    then: BTreeMap<Tid, State>,
}

impl Model {
    /// Whether `steps` may commit, and the state they lead to.
    fn batch(&self, steps: &[Step], storage: &dyn Storage) -> (bool, Batch, Vec<(Oid, Action)>) {
        let type_id = storage.intern(&definition()).unwrap();
        let (mut may, mut batch, mut done) = (true, Batch::default(), BTreeMap::new());
        for step in steps {
            let oid = Oid::new(step.oid);
            let current = self.now.get(&oid).map_or(Tid::ZERO, |state| state.0);
            let base = if step.stale { Tid::new(current.number() ^ 1) } else { current };
            if !matches!(step.action, Action::Check) && done.contains_key(&oid) {
                continue;
            }
            may &= base == current;
            match &step.action {
                Action::Check => batch.reads.push((oid, base)),
                Action::Put { data, pinned } => {
                    batch.put((oid, base, *pinned), type_id, &[], data.as_bytes());
                    done.insert(oid, step.action.clone());
                }
                Action::Remove => {
                    batch.remove(oid, base, false);
                    done.insert(oid, step.action.clone());
                }
            }
        }
        (may, batch, done.into_iter().collect())
    }

    fn committed(&mut self, tid: Tid, done: Vec<(Oid, Action)>) {
        for (oid, action) in done {
            let content = match action {
                Action::Put { data, pinned } => Some((data, pinned)),
                _ => None,
            };
            self.now.insert(oid, (tid, content));
        }
        self.then.insert(tid, self.now.clone());
    }
}

fn agree(snapshot: &dyn Snapshot, state: &State) {
    for oid in (1..=OBJECTS).map(Oid::new) {
        let loaded = snapshot.load(oid).unwrap();
        match (state.get(&oid), loaded) {
            (None, Load::Absent) => (),
            (Some((tid, None)), Load::Removed(by)) => assert_eq!(by, *tid),
            (Some((tid, Some((data, pinned)))), Load::Found(revision)) => {
                assert_eq!((revision.tid, revision.pinned), (*tid, *pinned));
                assert_eq!(text(snapshot, oid).as_ref(), Some(data));
            }
            (expected, loaded) => panic!("object {oid} is {loaded:?} instead of {expected:?}"),
        }
    }
}

// M2, U1
pub fn random_batches_do_what_a_map_does(home: &impl Home) {
    let mut runner = TestRunner::new(Config { cases: 32, ..Config::default() });
    let histories = vec(vec(step(), 0..6), 1..20);
    let checked = runner.run(&histories, |history| {
        let (storage, mut model) = (home.fresh(), Model::default());
        for steps in &history {
            let (may, batch, done) = model.batch(steps, &*storage);
            match storage.commit(&Arc::new(batch)).unwrap() {
                Verdict::Passed(receipt) => {
                    assert!(may, "committed on a stale base");
                    assert_eq!(receipt.places.len(), done.len());
                    if !done.is_empty() {
                        model.committed(receipt.tid, done);
                    }
                }
                Verdict::Conflicts(_) => assert!(!may, "refused on the newest base"),
            }
        }
        let storage = home.reopen(storage);
        agree(&*storage.snapshot().unwrap(), &model.now);
        for (&tid, state) in &model.then {
            agree(&*storage.snapshot_at(tid).unwrap(), state);
        }
        let pinned = model.now.iter().filter(|(_, (_, is))| matches!(is, Some((_, true))));
        let pinned: Vec<Oid> = pinned.map(|(&oid, _)| oid).collect();
        let mut told = storage.pinned().unwrap();
        told.sort();
        assert_eq!(told, pinned);
        Ok(())
    });
    checked.unwrap();
}
