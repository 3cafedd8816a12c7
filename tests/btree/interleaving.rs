//! Transactions that meet at a tree, at random: each change is there or conflicted, and the tree
//! is sound.

use super::kit::{Change, Model, Tree, change, contents, facts, key, sound, tree, user};
use crate::support::rng::Rng;
use perennial::{Database, Error};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::thread;

/// The keys that two states of a map differ in.
fn changed<'a>(before: &'a Model, after: &'a Model) -> BTreeSet<&'a String> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|&key| before.get(key) != after.get(key)).collect()
}

/// What several transactions that start from one state do to a tree; `all` in their order of
/// commit. Returns how many of them conflicted.
fn meet(db: &Database, tree: Tree, model: &mut Model, all: &[Vec<Change>]) -> usize {
    let users: Vec<_> = all.iter().map(|_| user(db)).collect();
    let mut wanted = Vec::new();
    for ((_, conn), changes) in users.iter().zip(all) {
        let mut own = model.clone();
        changes.iter().for_each(|change| change.apply(conn, tree, &mut own));
        sound(conn, tree);
        wanted.push(own);
    }
    let (base, mut taken, mut conflicts) = (model.clone(), BTreeSet::new(), 0);
    for ((mut transaction, _conn), wanted) in users.into_iter().zip(&wanted) {
        let keys = changed(&base, wanted);
        match transaction.commit() {
            Ok(_) => {
                assert!(
                    taken.is_disjoint(&keys),
                    "two changed one key, and both are told it is so"
                );
                for &key in &keys {
                    match wanted.get(key) {
                        Some(value) => model.insert(key.clone(), *value),
                        None => model.remove(key),
                    };
                }
                taken.extend(keys);
            }
            Err(Error::Conflict(_)) => conflicts += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(contents(db, tree), *model, "no key is lost, and none returns");
        assert_eq!(facts(db, tree).entries, model.len());
    }
    conflicts
}

/// A few transactions of a few changes each.
fn encounter() -> impl Strategy<Value = Vec<Vec<Change>>> {
    vec(vec(change(60), 1..5), 2..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // X4: some thousands of encounters, at trees of all sizes
    #[test]
    fn what_transactions_do_at_the_same_time_is_there_whole_or_a_conflict(
        encounters in vec(encounter(), 1..24)
    ) {
        let db = Database::in_memory().unwrap();
        let tree = tree(&db, []);
        let mut model = Model::new();
        for all in &encounters {
            meet(&db, tree, &mut model, all);
        }
    }
}

// X4: single changes, which leave most of the tree alone, at every place of a tree of four levels
#[test]
fn single_changes_that_meet_are_there_or_conflict() {
    let mut rng = Rng::new(34);
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, (0..160).step_by(2));
    let mut model = contents(&db, tree);
    let (mut conflicts, rounds) = (0, 1_200);
    for round in 0..rounds {
        // It grows for a while, and shrinks for a while.
        let grows = if round / 200 % 2 == 0 { 2 } else { 1 };
        let one = |rng: &mut Rng| {
            let number = rng.below(160) as u32;
            match rng.below(3) < grows {
                true => Change::Insert(number, rng.below(100)),
                false => Change::Remove(number),
            }
        };
        let all = [vec![one(&mut rng)], vec![one(&mut rng)]];
        conflicts += meet(&db, tree, &mut model, &all);
    }
    assert!(conflicts > 0 && conflicts < rounds / 4, "{conflicts} of {rounds} conflict");
}

// X4, M5
#[test]
fn threads_at_one_tree_lose_nothing() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, []);
    let work = |own: u32| {
        let mut rng = Rng::new(u64::from(own));
        // Keys of all threads lie side by side in the leaves.
        let mut numbers: Vec<u32> = (0..60).map(|n| n * 4 + own).collect();
        rng.shuffle(&mut numbers);
        for &number in &numbers {
            db.transact(|conn| tree.insert(conn, key(number), u64::from(own))).unwrap();
        }
        for &number in numbers.iter().filter(|&number| number % 3 == 0) {
            let before = db.transact(|conn| tree.remove(conn, &*key(number))).unwrap();
            assert_eq!(before, Some(u64::from(own)));
        }
    };

    thread::scope(|scope| (0..4).for_each(|own| drop(scope.spawn(move || work(own)))));

    let expected: Model =
        (0..240).filter(|n| n % 3 != 0).map(|n| (key(n), u64::from(n % 4))).collect();
    assert_eq!(contents(&db, tree), expected);
    facts(&db, tree);
}
