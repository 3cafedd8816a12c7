//! Ranges: every combination of bounds, in both directions.

use super::kit::{Model, Tree, key, tree};
use perennial::{Database, View};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;

/// Keys of the trees are even, so that there are bounds between them, and beyond them.
const UPTO: u32 = 24;

fn all_bounds() -> Vec<Bound<u32>> {
    let keys = 0..=UPTO + 1;
    let both = keys.flat_map(|number| [Included(number), Excluded(number)]);
    both.chain([Unbounded]).collect()
}

/// Takes from either end in turn: `pattern` says from which.
fn taken(view: &View, tree: Tree, bounds: (Bound<u32>, Bound<u32>), pattern: u32) -> Vec<u32> {
    let bounds = (bounds.0.map(key), bounds.1.map(key));
    let mut range = tree.range(view, bounds);
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for step in 0.. {
        let is_front = pattern >> (step % 32) & 1 == 0;
        let next = if is_front { range.next() } else { range.next_back() };
        let Some(next) = next else { break };
        let number = next.unwrap().0.parse().unwrap();
        if is_front { front.push(number) } else { back.push(number) }
    }
    assert!(range.next().is_none() && range.next_back().is_none(), "an end is an end");
    front.extend(back.into_iter().rev());
    front
}

// X2
#[test]
fn every_range_is_that_of_the_map_from_both_ends() {
    let db = Database::in_memory().unwrap();
    for count in [0, 1, 2, UPTO / 2] {
        let numbers: Vec<u32> = (0..count).map(|number| 2 * number + 1).collect();
        let tree = tree(&db, numbers.clone());
        db.view(|view| {
            for (start, end) in pairs(all_bounds()) {
                let within = |number: &&u32| (start, end).contains(*number);
                let expected: Vec<u32> = numbers.iter().filter(within).copied().collect();
                for pattern in [0, u32::MAX, 0x5555_5555, 0xF0F0_0F1E] {
                    let found = taken(view, tree, (start, end), pattern);
                    assert_eq!(found, expected, "{start:?}, {end:?}, {pattern:x}");
                }
            }
            Ok(())
        })
        .unwrap();
    }
}

fn pairs(bounds: Vec<Bound<u32>>) -> impl Iterator<Item = (Bound<u32>, Bound<u32>)> {
    let ends = bounds.clone();
    bounds.into_iter().flat_map(move |start| ends.clone().into_iter().map(move |end| (start, end)))
}

// X2
#[test]
fn keys_and_values_come_in_the_order_of_the_keys() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, 0..40);
    let model: Model = (0..40).map(|number| (key(number), u64::from(number))).collect();

    db.view(|view| {
        let keys: Vec<String> = tree.keys(view).rev().collect::<perennial::Result<_>>()?;
        let values: Vec<u64> = tree.values(view).collect::<perennial::Result<_>>()?;
        assert!(keys.iter().eq(model.keys().rev()));
        assert!(values.iter().eq(model.values()));
        Ok(())
    })
    .unwrap();
}

// X2
#[test]
fn a_range_of_strings_takes_string_slices() {
    let db = Database::in_memory().unwrap();
    db.transact(|conn| {
        let tree = Tree::create(conn)?;
        tree.extend(conn, ["apple", "berry", "cherry"].map(|fruit| (fruit.to_owned(), 1)))?;
        let after = tree.range::<str>(conn, (Excluded("apple"), Unbounded)).next();
        assert_eq!(after.transpose()?, Some(("berry".to_owned(), 1)));
        Ok(())
    })
    .unwrap();
}
