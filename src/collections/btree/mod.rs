//! An ordered map of any size: [`BTree`].
//!
//! Applications keep the handle; keys and values lie in leaves of about two kilobytes each, which
//! are objects of their own, and so are the inner nodes above them. The handle's methods find the
//! node concerned (`seek`), change it (`node`), and see to it that no node is too full or nearly
//! empty (`balance`). Two transactions that change different keys of one leaf are merged
//! (`merge`). The tree neither caches nor locks anything: connections do.
//!
//! # Invariants
//! - The keys of a tree are in their order, each is there once, and the path to it is where its
//!   order says ([`BTree::check`]).
//! - Every leaf is equally far from the root, whose object stays the same for ever.
//! - An error in the middle of a change that takes several objects fails the transaction.

mod balance;
mod check;
mod merge;
mod node;
mod range;
mod seek;

use crate::collections::{Element, Key};
use crate::error::Result;
use crate::id::Oid;
use crate::object::{Connection, Ref, View};
use node::Node;
use seek::Seek;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeBounds;

pub use check::{TreeFacts, TreeFault};
pub(super) use node::NAME as NODE_NAME;
pub use range::Range;

/// A `BTree` maps keys to values, in the order of the keys.
///
/// It is a handle, as small as a reference: copies are the same tree. Methods that read take a
/// [`View`], which a connection is, too; those that change it take a [`Connection`].
///
/// ```
/// use perennial::{Database, Persistent, collections::BTree};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Shop { stock: BTree<String, u32> }
/// impl Persistent for Shop { const NAME: &'static str = "shop.Shop"; }
///
/// let db = Database::in_memory()?;
/// let shop = db.transact(|conn| {
///     let shop = conn.root_or_init("shop", |conn| Ok(Shop { stock: BTree::create(conn)? }))?;
///     let stock = conn.get(shop)?.stock;
///     stock.insert(conn, "pears".into(), 3)?;
///     stock.insert(conn, "apples".into(), 5)?;
///     Ok(shop)
/// })?;
/// db.view(|view| {
///     let stock = view.get(shop)?.stock;
///     assert_eq!(stock.get(view, "pears")?, Some(3));
///     let fruit = stock.keys(view).collect::<perennial::Result<Vec<_>>>()?;
///     assert_eq!(fruit, ["apples", "pears"]);
///     Ok(())
/// })?;
/// # Ok::<(), perennial::Error>(())
/// ```
///
/// # Concurrent changes
///
/// Transactions that change *different* keys at the same time both commit, as though one had come
/// after the other: also where one removes a leaf's first key, or both together empty it. Where
/// both change one key, even in the same way, the later one conflicts, and so it does where one of
/// them split, or gave up, a leaf that the other changed.
///
/// # Types
///
/// The types of keys and values, as serde tells them, are part of the tree's own type in the file:
/// a handle of other types is refused with [`SchemaMismatch::WrongElements`]. A struct that is
/// kept in trees and may get other fields one day is better an object of its own, which has a
/// version.
///
/// [`SchemaMismatch::WrongElements`]: crate::error::SchemaMismatch::WrongElements
pub struct BTree<K, V> {
    root: Ref<Node<K, V>>,
}

impl<K: Key, V: Element> BTree<K, V> {
    /// A new tree that holds nothing.
    ///
    /// # Errors
    /// Those of [`Connection::add`]; [`Error::Codec`](crate::Error::Codec) where the bytes of a key
    /// or value could not be read back.
    pub fn create(conn: &Connection) -> Result<BTree<K, V>> {
        Ok(BTree { root: conn.add(Node::empty())? })
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// Those of [`View::get`], for any of the tree's objects: an object that is missing is
    /// [`Error::NotFound`](crate::Error::NotFound), never a key that is not there.
    /// [`SchemaMismatch`](crate::error::SchemaMismatch) where the tree's keys or values are of
    /// other types. All methods have these.
    pub fn get<Q: Ord + ?Sized>(self, view: &View, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let (_, leaf) = self.leaf(view, Seek::At(key))?;
        Ok(leaf.value(key).cloned())
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// As for [`get`](BTree::get).
    pub fn contains_key<Q: Ord + ?Sized>(self, view: &View, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        let (_, leaf) = self.leaf(view, Seek::At(key))?;
        Ok(leaf.value(key).is_some())
    }

    /// Puts `value` under `key`; the value that was there before.
    ///
    /// A key that was there stays as it was, where an equal one can look different.
    ///
    /// # Errors
    /// As for [`get`](BTree::get), and those of [`Connection::modify`].
    pub fn insert(self, conn: &Connection, key: K, value: V) -> Result<Option<V>> {
        let leaf = self.unread_leaf(conn, &key)?;
        let (before, full) = leaf.change(conn, |leaf| leaf.put(key, value))?;
        if let Some(key) = full {
            self.split(conn, &key)?;
        }
        Ok(before)
    }

    /// Takes `key` and its value out; the value. Nothing is stored where there is none.
    ///
    /// # Errors
    /// As for [`insert`](BTree::insert).
    pub fn remove<Q: Ord + ?Sized>(self, conn: &Connection, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let (leaf, node) = self.leaf(conn, Seek::At(key))?;
        if node.value(key).is_none() {
            return Ok(None);
        }
        drop(node);
        let (before, small) =
            conn.modify(leaf, |leaf| leaf.take(key).map(|before| (before, leaf.is_small())))??;
        if small {
            self.join(conn, key)?;
        }
        Ok(before)
    }

    /// Puts what `change` makes of the value under `key` in its place: `None` stands for no value,
    /// before and after.
    ///
    /// ```
    /// # use perennial::{Database, collections::BTree};
    /// # let db = Database::in_memory()?;
    /// # db.transact(|conn| {
    /// let words: BTree<String, u32> = BTree::create(conn)?;
    /// for word in "so much depends upon so little".split(' ') {
    ///     words.update(conn, word.into(), |count| Some(count.unwrap_or(0) + 1))?;
    /// }
    /// assert_eq!(words.get(conn, "so")?, Some(2));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), perennial::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`insert`](BTree::insert).
    pub fn update(
        self,
        conn: &Connection,
        key: K,
        change: impl FnOnce(Option<V>) -> Option<V>,
    ) -> Result<()> {
        match change(self.get(conn, &key)?) {
            Some(value) => self.insert(conn, key, value).map(drop),
            None => self.remove(conn, &key).map(drop),
        }
    }

    /// Puts in all of `entries`; of those with one key the last.
    ///
    /// This is far cheaper than one [`insert`](BTree::insert) after the other: each leaf is changed
    /// once, and where many come in, the leaves that it becomes are full. All of `entries` are in
    /// memory at once.
    ///
    /// # Errors
    /// As for [`insert`](BTree::insert).
    pub fn extend(
        self,
        conn: &Connection,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let mut sorted: Vec<(K, V)> = entries.into_iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        sorted.dedup_by(|later, earlier| {
            let equal = later.0.cmp(&earlier.0).is_eq();
            if equal {
                std::mem::swap(later, earlier);
            }
            equal
        });
        self.extend_sorted(conn, sorted)
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// As for [`insert`](BTree::insert).
    pub fn clear(self, conn: &Connection) -> Result<()> {
        self.unlink_all(conn)
    }
}

/// Reading many.
impl<K: Key, V: Element> BTree<K, V> {
    /// All keys and values, in the order of the keys, from either end.
    ///
    /// An iterator reads leaf by leaf, each as it is when its first entry is asked for. So what the
    /// same transaction changes meanwhile, the iterator shows or not; but it shows every key that
    /// was there throughout, once, and none out of order. It ends after an error.
    pub fn iter(self, view: &View) -> Range<'_, K, V> {
        Range::all(self, view, |key, value| (key.clone(), value.clone()))
    }

    /// The keys within `bounds` and their values: as [`iter`](BTree::iter), but for some keys only.
    ///
    /// Bounds that no key can lie between give nothing, also where the start is beyond the end.
    ///
    /// ```
    /// # use perennial::{Database, Result, collections::BTree};
    /// # let db = Database::in_memory()?;
    /// # db.transact(|conn| {
    /// let squares = BTree::create(conn)?;
    /// squares.extend(conn, (0u32..100).map(|n| (n, n * n)))?;
    /// let some = squares.range(conn, 5..=6).collect::<Result<Vec<_>>>()?;
    /// assert_eq!(some, [(5, 25), (6, 36)]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), perennial::Error>(())
    /// ```
    pub fn range<Q>(self, view: &View, bounds: impl RangeBounds<Q>) -> Range<'_, K, V>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let (start, end) = (bounds.start_bound(), bounds.end_bound());
        let bounds = (start.map(Q::to_owned), end.map(Q::to_owned));
        Range::within(self, view, bounds, |key, value| (key.clone(), value.clone()))
    }

    /// All keys, in their order: as [`iter`](BTree::iter).
    pub fn keys(self, view: &View) -> Range<'_, K, V, K> {
        Range::all(self, view, |key, _| key.clone())
    }

    /// All values, in the order of their keys: as [`iter`](BTree::iter).
    pub fn values(self, view: &View) -> Range<'_, K, V, V> {
        Range::all(self, view, |_, value| value.clone())
    }

    /// The smallest key and its value.
    ///
    /// # Errors
    /// As for [`get`](BTree::get).
    pub fn first(self, view: &View) -> Result<Option<(K, V)>> {
        self.iter(view).next().transpose()
    }

    /// The largest key and its value.
    ///
    /// # Errors
    /// As for [`get`](BTree::get).
    pub fn last(self, view: &View) -> Result<Option<(K, V)>> {
        self.iter(view).next_back().transpose()
    }

    /// How many keys there are. The number is not kept, since all who add or remove keys would
    /// conflict on it: every leaf is read.
    ///
    /// # Errors
    /// As for [`get`](BTree::get).
    pub fn len(self, view: &View) -> Result<usize> {
        Range::all(self, view, |_, _| ()).count_all()
    }

    /// Whether there are no keys.
    ///
    /// # Errors
    /// As for [`get`](BTree::get).
    pub fn is_empty(self, view: &View) -> Result<bool> {
        Ok(Range::all(self, view, |_, _| ()).next().transpose()?.is_none())
    }

    /// Reads the whole tree, and tells what it consists of and what is wrong with it.
    ///
    /// # Errors
    /// As for [`get`](BTree::get), for the root: what goes wrong below it is told as a fault.
    pub fn check(self, view: &View) -> Result<TreeFacts> {
        check::check(self.root, view)
    }
}

impl<K, V> BTree<K, V> {
    /// The object that names the tree: its root.
    pub fn oid(self) -> Oid {
        self.root.oid()
    }
}

impl<K, V> Clone for BTree<K, V> {
    fn clone(&self) -> BTree<K, V> {
        *self
    }
}

impl<K, V> Copy for BTree<K, V> {}

impl<K, V> PartialEq for BTree<K, V> {
    /// Whether they are one tree, not whether they hold the same.
    fn eq(&self, other: &BTree<K, V>) -> bool {
        self.root == other.root
    }
}

impl<K, V> Eq for BTree<K, V> {}

impl<K, V> PartialOrd for BTree<K, V> {
    fn partial_cmp(&self, other: &BTree<K, V>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K, V> Ord for BTree<K, V> {
    fn cmp(&self, other: &BTree<K, V>) -> Ordering {
        self.root.cmp(&other.root)
    }
}

impl<K, V> Hash for BTree<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.root.hash(state);
    }
}

impl<K, V> fmt::Debug for BTree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BTree({})", self.oid())
    }
}

impl<K, V> Serialize for BTree<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.root.serialize(serializer)
    }
}

impl<'de, K, V> Deserialize<'de> for BTree<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BTree<K, V>, D::Error> {
        Ok(BTree { root: Ref::deserialize(deserializer)? })
    }
}
