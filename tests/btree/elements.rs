//! The types of keys and values.

use super::kit::tree;
use crate::support::databases::{Account, everywhere};
use perennial::collections::{BTree, TreeSet};
use perennial::error::SchemaMismatch;
use perennial::{Connection, Database, Error, Persistent, Ref, Result, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};

/// The same bytes, read as something else: what another program may take a field for.
fn read_as<T: DeserializeOwned>(handle: &impl Serialize) -> T {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    codec::encode("handle", handle, 0, &mut bytes, &mut references).unwrap();
    codec::decode("handle", &bytes, 0).unwrap()
}

fn refused<T>(result: Result<T>) -> (String, String) {
    let Err(Error::Schema(mismatch)) = result else { panic!("it was let through") };
    let text = mismatch.to_string();
    let SchemaMismatch::WrongElements { stored, asked, .. } = *mismatch.into_inner() else {
        panic!("{text}")
    };
    assert!(text.contains(&*stored) && text.contains(&*asked), "{text}");
    (stored.into(), asked.into())
}

// X7
#[test]
fn a_handle_of_the_wrong_types_is_refused_naming_both() {
    everywhere(|db| {
        let tree = tree(db, 0..20);
        let wrong_key: BTree<u64, u64> = read_as(&tree);
        let wrong_value: BTree<String, String> = read_as(&tree);
        let set: TreeSet<String> = read_as(&tree);

        let by_key = db.view(|view| wrong_key.get(view, &7));
        assert_eq!(refused(by_key), ("str, u64".into(), "u64, u64".into()));
        let by_value = db.view(|view| wrong_value.first(view));
        assert_eq!(refused(by_value), ("str, u64".into(), "str, str".into()));
        assert_eq!(refused(db.view(|view| set.len(view))).1, "str, ()");
        refused(db.view(|view| wrong_key.check(view)));
        refused(db.transact(|conn| wrong_key.insert(conn, 7, 7)));
        refused(db.transact(|conn| wrong_value.remove(conn, "7")));
        refused(db.transact(|conn| wrong_key.extend(conn, [(7, 7)])));
        refused(db.transact(|conn| wrong_key.clear(conn)));
    });
}

// X7
#[test]
fn a_handle_of_the_wrong_types_is_refused_before_the_tree_was_ever_stored() {
    everywhere(|db| {
        let (_transaction, conn) = super::kit::user(db);
        let tree = BTree::<u32, u32>::create(&conn).unwrap();

        let wrong: BTree<u32, String> = read_as(&tree);

        let result = wrong.insert(&conn, 1, "one".into());
        assert_eq!(refused(result), ("u32, u32".into(), "u32, str".into()));
    });
}

// X7
#[test]
fn a_reference_to_something_else_is_no_tree() {
    let db = Database::in_memory().unwrap();
    let account = Account { owner: "alice".into(), cents: 1 };
    let account = db.transact(|conn| conn.add(account.clone())).unwrap();

    let tree: BTree<u32, u32> = read_as(&account);

    let error = db.view(|view| tree.get(view, &1)).unwrap_err().to_string();
    assert!(error.contains("bank.Account") && error.contains("perennial.BTree<u32, u32>"));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shop {
    name: String,
    stock: BTree<(String, u16), Item>,
    sold: BTree<Reverse<i64>, TreeSet<u8>>,
}

impl Persistent for Shop {
    const NAME: &'static str = "laws.Shop";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Item {
    Loose { grams: u32 },
    Boxed(Ref<Account>),
}

fn shop(conn: &Connection) -> Result<Shop> {
    Ok(Shop { name: "s".into(), stock: BTree::create(conn)?, sold: BTree::create(conn)? })
}

// X7
#[test]
fn any_ordered_type_is_a_key_and_trees_can_hold_trees() {
    everywhere(|db| {
        let owner = Account { owner: "bob".into(), cents: 1 };
        let shop = db
            .transact(|conn| {
                let root = conn.root_or_init("shop", shop)?;
                let (shop, owner) = (conn.get(root)?, conn.add(owner.clone())?);
                shop.stock.insert(conn, ("tea".into(), 2), Item::Boxed(owner))?;
                shop.stock.insert(conn, ("tea".into(), 1), Item::Loose { grams: 50 })?;
                for day in [1, 3, 2] {
                    let sold = TreeSet::create(conn)?;
                    sold.insert(conn, day as u8)?;
                    shop.sold.insert(conn, Reverse(day), sold)?;
                }
                Ok(root)
            })
            .unwrap();

        db.view(|view| {
            let shop = view.get(shop)?;
            let (kind, item) = shop.stock.last(view)?.unwrap();
            let Item::Boxed(owner) = item else { panic!("{item:?}") };
            assert_eq!((kind.1, view.get(owner)?.cents), (2, 1));
            let (day, sold) = shop.sold.first(view)?.unwrap();
            assert_eq!((day, sold.first(view)?), (Reverse(3), Some(3)));
            Ok(())
        })
        .unwrap();
    });
}

/// Keys that order by `DOWN`: one program's order, and another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Rank")]
struct Rank<const DOWN: bool>(u32);

impl<const DOWN: bool> Ord for Rank<DOWN> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let order = self.0.cmp(&other.0);
        if DOWN { order.reverse() } else { order }
    }
}

impl<const DOWN: bool> PartialOrd for Rank<DOWN> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

// X7
#[test]
fn a_tree_whose_order_broke_is_found_by_check() {
    everywhere(|db| {
        let up = db
            .transact(|conn| {
                let tree = BTree::create(conn)?;
                tree.extend(conn, (0..2_000).map(|n| (Rank::<false>(n), ())))?;
                Ok(tree)
            })
            .unwrap();
        assert!(db.view(|view| up.check(view)).unwrap().is_sound());

        let down: BTree<Rank<true>, ()> = read_as(&up);

        let faults = db.view(|view| down.check(view)).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.what.contains("out of order")), "{faults:?}");
        // Whatever it finds, an iterator comes to an end.
        let _ = db.view(|view| Ok(down.iter(view).count() + down.iter(view).rev().count()));
    });
}

/// Equal to another by its order alone: what is not a number does not even equal itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Measure(f64);

impl Eq for Measure {}

impl PartialOrd for Measure {
    fn partial_cmp(&self, other: &Measure) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Measure {
    fn cmp(&self, other: &Measure) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

// X4, X7
#[test]
fn keys_are_told_apart_by_their_order_alone() {
    let keys = || (0..400u32).map(f64::from).chain([f64::NAN, f64::INFINITY]).map(Measure);
    everywhere(|db| {
        let tree = db
            .transact(|conn| {
                let tree = BTree::create(conn)?;
                tree.extend(conn, keys().map(|key| (key, 1u8)))?;
                tree.extend(conn, keys().chain(keys()).map(|key| (key, 2)))?;
                Ok(tree)
            })
            .unwrap();
        let (mut one, first) = super::kit::user(db);
        let (mut two, second) = super::kit::user(db);
        tree.insert(&first, Measure(f64::NEG_INFINITY), 3).unwrap();
        tree.insert(&first, Measure(399.5), 3).unwrap();
        tree.insert(&second, Measure(-f64::NAN), 4).unwrap();
        tree.insert(&second, Measure(f64::NAN), 4).unwrap();

        one.commit().unwrap();
        two.commit().unwrap();

        db.view(|view| {
            assert_eq!(tree.len(view)?, keys().count() + 3);
            assert_eq!(tree.get(view, &Measure(f64::NAN))?, Some(4));
            let facts = tree.check(view)?;
            assert!(facts.is_sound(), "{:?}", facts.faults);
            Ok(())
        })
        .unwrap();
    });
}
