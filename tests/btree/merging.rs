//! Two transactions at one leaf: what merges, and what conflicts.

use super::kit::{Tree, facts, key, numbers, tree, user};
use crate::support::databases::everywhere;
use perennial::{Connection, Database, Error, Result};

/// What one of the two does.
type Work<'a> = &'a dyn Fn(&Connection) -> Result<()>;

/// Runs both from one state; the second to commit is told how that went.
fn meet(db: &Database, first: Work<'_>, second: Work<'_>) -> Result<()> {
    let (mut one, first_conn) = user(db);
    let (mut other, second_conn) = user(db);
    first(&first_conn).unwrap();
    second(&second_conn).unwrap();
    one.commit().unwrap();
    other.commit().map(drop)
}

fn insert(tree: Tree, number: u32) -> impl Fn(&Connection) -> Result<()> {
    move |conn| tree.insert(conn, key(number), 1000).map(drop)
}

fn remove(tree: Tree, numbers: &[u32]) -> impl Fn(&Connection) -> Result<()> {
    move |conn| numbers.iter().try_for_each(|&n| tree.remove(conn, &*key(n)).map(drop))
}

/// A tree of these keys, of which `meet` left those.
fn merges(before: &[u32], first: impl Fn(Tree) -> Vec<Change>, after: &[u32]) {
    for reversed in [false, true] {
        everywhere(|db| {
            let tree = tree(db, before.to_vec());
            let changes = first(tree);
            let [one, other] = &changes[..] else { panic!("two meet") };
            let (one, other) = if reversed { (other, one) } else { (one, other) };
            meet(db, one, other).unwrap();
            assert_eq!(numbers(db, tree), after);
            facts(db, tree);
        });
    }
}

/// Both changes, in either order: the later one conflicts, and the tree is as the first left it.
fn conflicts(before: &[u32], first: impl Fn(Tree) -> Vec<Change>) {
    for reversed in [false, true] {
        everywhere(|db| {
            let [tree, alone] = [(); 2].map(|()| tree(db, before.to_vec()));
            let both = |tree| {
                let mut changes = first(tree);
                if reversed {
                    changes.reverse();
                }
                changes
            };
            let changes = both(tree);
            let error = meet(db, &changes[0], &changes[1]).unwrap_err();
            assert!(matches!(error, Error::Conflict(_)), "{error}");

            db.transact(|conn| both(alone)[0](conn)).unwrap();
            assert_eq!(numbers(db, tree), numbers(db, alone));
            facts(db, tree);
        });
    }
}

type Change = Box<dyn Fn(&Connection) -> Result<()>>;

// X4
#[test]
fn different_keys_of_one_leaf_merge() {
    merges(&[1, 3], |t| vec![Box::new(insert(t, 2)), Box::new(insert(t, 3))], &[1, 2, 3]);
    merges(&[1, 3], |t| vec![Box::new(remove(t, &[3])), Box::new(insert(t, 2))], &[1, 2]);
}

// X4
#[test]
fn removing_the_first_key_of_a_leaf_merges() {
    merges(&[1, 2], |t| vec![Box::new(remove(t, &[1])), Box::new(insert(t, 3))], &[2, 3]);
    merges(&[1, 2], |t| vec![Box::new(remove(t, &[1])), Box::new(insert(t, 0))], &[0, 2]);
    merges(&[1, 2], |t| vec![Box::new(remove(t, &[1])), Box::new(remove(t, &[2]))], &[]);
}

// X4
#[test]
fn emptying_a_tree_merges_with_filling_it() {
    merges(&[1, 2], |t| vec![Box::new(remove(t, &[1, 2])), Box::new(insert(t, 3))], &[3]);
}

/// Three leaves: 0 1 2, 3 4 5, 6 7.
const LEAVES: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

// X4
#[test]
fn two_that_empty_a_leaf_together_merge_and_the_leaf_is_used_again() {
    everywhere(|db| {
        let tree = tree(db, LEAVES);
        assert_eq!(facts(db, tree).leaves, 3);
        db.transact(|conn| remove(tree, &[5])(conn)).unwrap();

        meet(db, &remove(tree, &[3]), &remove(tree, &[4])).unwrap();

        assert_eq!(facts(db, tree).empty_leaves, 1, "neither knew that it would be empty");
        assert_eq!(numbers(db, tree), [0, 1, 2, 6, 7]);
        insert(tree, 4)(&user(db).1).unwrap();
        db.transact(|conn| remove(tree, &[6, 7])(conn)).unwrap();
        assert_eq!(facts(db, tree).empty_leaves, 0, "its neighbour was joined with it");
        assert_eq!(numbers(db, tree), [0, 1, 2]);
    });
}

// X4
#[test]
fn changes_of_different_leaves_merge_whatever_becomes_of_the_leaves() {
    let split =
        |t| Box::new(move |conn: &Connection| insert(t, 8)(conn).and(insert(t, 9)(conn))) as Change;
    merges(&LEAVES, |t| vec![Box::new(remove(t, &[4])), split(t)], &[0, 1, 2, 3, 5, 6, 7, 8, 9]);
    // Both split a leaf, below one parent.
    let before: Vec<u32> = (0..9).map(|n| n * 2).collect();
    let after = [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 17];
    merges(&before, |t| vec![Box::new(insert(t, 1)), Box::new(insert(t, 17))], &after);
    // Both join two leaves, below one parent.
    let before: Vec<u32> = (0..12).collect();
    let after = [0, 1, 2, 6, 7, 8];
    merges(
        &before,
        |t| vec![Box::new(remove(t, &[3, 4, 5])), Box::new(remove(t, &[11, 10, 9]))],
        &after,
    );
}

// X4
#[test]
fn one_key_changed_by_both_is_a_conflict_even_when_changed_alike() {
    conflicts(&[1, 3], |t| vec![Box::new(insert(t, 2)), Box::new(insert(t, 2))]);
    conflicts(&[1, 3], |t| vec![Box::new(insert(t, 1)), Box::new(remove(t, &[1]))]);
    conflicts(&[1, 3], |t| vec![Box::new(remove(t, &[3])), Box::new(remove(t, &[3]))]);
}

// X4: lessons of a merged leaf that was no longer linked
#[test]
fn a_leaf_split_on_one_side_conflicts_with_any_change_on_the_other() {
    // The only leaf, which is the root, and then one below it.
    conflicts(&[1, 2, 3], |t| vec![Box::new(insert(t, 4)), Box::new(remove(t, &[1]))]);
    conflicts(&LEAVES, |t| {
        let split = move |conn: &Connection| insert(t, 100)(conn).and(insert(t, 101)(conn));
        vec![Box::new(split), Box::new(remove(t, &[6]))]
    });
}

// X4
#[test]
fn a_leaf_unlinked_on_one_side_conflicts_with_any_change_on_the_other() {
    let before = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    conflicts(&before, |t| vec![Box::new(remove(t, &[3, 4, 5])), Box::new(insert(t, 4))]);
    conflicts(&before, |t| vec![Box::new(remove(t, &[3, 4, 5])), Box::new(remove(t, &[5]))]);
    // The neighbour answers for its keys, too, from then on.
    conflicts(&before, |t| vec![Box::new(remove(t, &[3, 4, 5])), Box::new(remove(t, &[1]))]);
}

// X4
#[test]
fn a_tree_emptied_at_once_conflicts_with_any_change() {
    let clear = |t: Tree| Box::new(move |conn: &Connection| t.clear(conn)) as Change;
    conflicts(&LEAVES, |t| vec![clear(t), Box::new(insert(t, 1))]);
    conflicts(&LEAVES, |t| vec![clear(t), Box::new(remove(t, &[7]))]);
}

// M1
#[test]
fn a_conflict_names_the_type_with_its_elements() {
    let db = Database::in_memory().unwrap();
    let tree = tree(&db, [1]);

    let error = meet(&db, &insert(tree, 1), &insert(tree, 1));

    let Err(Error::Conflict(conflict)) = error else { panic!("they changed one key") };
    assert_eq!(conflict.oid, tree.oid());
    assert_eq!(conflict.type_name.as_deref(), Some("perennial.BTree<str, u64>"));
}
