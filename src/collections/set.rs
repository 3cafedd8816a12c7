//! An ordered set of any size: [`TreeSet`].
//!
//! A tree whose values say nothing.
//!
//! # Invariants
//! - Those of [`BTree`].

use super::btree::{Range, TreeFacts};
use super::{BTree, Combined, Key};
use crate::error::Result;
use crate::id::Oid;
use crate::object::{Connection, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeBounds;

/// A `TreeSet` holds keys, in their order.
///
/// It is a handle like [`BTree`], and all that is said there of concurrent changes and of types
/// holds here.
///
/// ```
/// use perennial::{Database, Result, collections::TreeSet};
///
/// let db = Database::in_memory()?;
/// db.transact(|conn| {
///     let (even, small) = (TreeSet::create(conn)?, TreeSet::create(conn)?);
///     even.extend(conn, (0u32..50).map(|n| 2 * n))?;
///     small.extend(conn, 0..5)?;
///     assert!(even.contains(conn, &42)?);
///     let both = even.intersection(conn, small).collect::<Result<Vec<_>>>()?;
///     assert_eq!(both, [0, 2, 4]);
///     Ok(())
/// })?;
/// # Ok::<(), perennial::Error>(())
/// ```
pub struct TreeSet<K> {
    tree: BTree<K, ()>,
}

/// The keys of a set, in their order.
type Keys<'v, K> = Range<'v, K, (), K>;

impl<K: Key> TreeSet<K> {
    /// A new set that holds nothing.
    ///
    /// # Errors
    /// Those of [`BTree::create`].
    pub fn create(conn: &Connection) -> Result<TreeSet<K>> {
        Ok(TreeSet { tree: BTree::create(conn)? })
    }

    /// Whether `key` is in it.
    ///
    /// # Errors
    /// Those of [`BTree::get`]. All methods have these.
    pub fn contains<Q: Ord + ?Sized>(self, view: &View, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        self.tree.contains_key(view, key)
    }

    /// Puts `key` in; whether it was not there before.
    ///
    /// # Errors
    /// Those of [`BTree::insert`].
    pub fn insert(self, conn: &Connection, key: K) -> Result<bool> {
        // To put it in once more would change nothing, but it would be looked at for the commit.
        Ok(!self.contains(conn, &key)? && self.tree.insert(conn, key, ())?.is_none())
    }

    /// Takes `key` out; whether it was there.
    ///
    /// # Errors
    /// Those of [`BTree::remove`].
    pub fn remove<Q: Ord + ?Sized>(self, conn: &Connection, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        Ok(self.tree.remove(conn, key)?.is_some())
    }

    /// Puts in all of `keys`: far cheaper than one after the other, as [`BTree::extend`] is.
    ///
    /// # Errors
    /// Those of [`BTree::extend`].
    pub fn extend(self, conn: &Connection, keys: impl IntoIterator<Item = K>) -> Result<()> {
        self.tree.extend(conn, keys.into_iter().map(|key| (key, ())))
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// Those of [`BTree::clear`].
    pub fn clear(self, conn: &Connection) -> Result<()> {
        self.tree.clear(conn)
    }

    /// All keys, in their order, from either end: as [`BTree::iter`].
    pub fn iter(self, view: &View) -> Keys<'_, K> {
        self.tree.keys(view)
    }

    /// The keys within `bounds`: as [`BTree::range`].
    pub fn range<Q>(self, view: &View, bounds: impl RangeBounds<Q>) -> Keys<'_, K>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let bounds = (bounds.start_bound().map(Q::to_owned), bounds.end_bound().map(Q::to_owned));
        Range::within(self.tree, view, bounds, |key, ()| key.clone())
    }

    /// The smallest key.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn first(self, view: &View) -> Result<Option<K>> {
        self.iter(view).next().transpose()
    }

    /// The largest key.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn last(self, view: &View) -> Result<Option<K>> {
        self.iter(view).next_back().transpose()
    }

    /// How many keys there are: every leaf is read, as by [`BTree::len`].
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn len(self, view: &View) -> Result<usize> {
        self.tree.len(view)
    }

    /// Whether there are no keys.
    ///
    /// # Errors
    /// Those of [`BTree::get`].
    pub fn is_empty(self, view: &View) -> Result<bool> {
        self.tree.is_empty(view)
    }

    /// Reads the whole set, and tells what is wrong with it: as [`BTree::check`].
    ///
    /// # Errors
    /// Those of [`BTree::check`].
    pub fn check(self, view: &View) -> Result<TreeFacts> {
        self.tree.check(view)
    }
}

/// Two sets. Neither is changed; [`extend`](TreeSet::extend) another one with what comes out.
impl<K: Key> TreeSet<K> {
    /// The keys that are in either set, in their order.
    pub fn union(self, view: &View, other: TreeSet<K>) -> Combined<Keys<'_, K>> {
        Combined::new(self.iter(view), other.iter(view), |_| true)
    }

    /// The keys that are in both sets, in their order.
    pub fn intersection(self, view: &View, other: TreeSet<K>) -> Combined<Keys<'_, K>> {
        Combined::new(self.iter(view), other.iter(view), Ordering::is_eq)
    }

    /// The keys that are in this set and not in the other, in their order.
    pub fn difference(self, view: &View, other: TreeSet<K>) -> Combined<Keys<'_, K>> {
        Combined::new(self.iter(view), other.iter(view), Ordering::is_lt)
    }

    /// The keys that are in one of the sets and not in both, in their order.
    pub fn symmetric_difference(self, view: &View, other: TreeSet<K>) -> Combined<Keys<'_, K>> {
        Combined::new(self.iter(view), other.iter(view), Ordering::is_ne)
    }
}

impl<K> TreeSet<K> {
    /// The object that names the set: its tree's root.
    pub fn oid(self) -> Oid {
        self.tree.oid()
    }
}

impl<K> Clone for TreeSet<K> {
    fn clone(&self) -> TreeSet<K> {
        *self
    }
}

impl<K> Copy for TreeSet<K> {}

impl<K> PartialEq for TreeSet<K> {
    /// Whether they are one set, not whether they hold the same.
    fn eq(&self, other: &TreeSet<K>) -> bool {
        self.tree == other.tree
    }
}

impl<K> Eq for TreeSet<K> {}

impl<K> PartialOrd for TreeSet<K> {
    fn partial_cmp(&self, other: &TreeSet<K>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for TreeSet<K> {
    fn cmp(&self, other: &TreeSet<K>) -> Ordering {
        self.tree.cmp(&other.tree)
    }
}

impl<K> Hash for TreeSet<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tree.hash(state);
    }
}

impl<K> fmt::Debug for TreeSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeSet({})", self.oid())
    }
}

impl<K> Serialize for TreeSet<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.tree.serialize(serializer)
    }
}

impl<'de, K> Deserialize<'de> for TreeSet<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TreeSet<K>, D::Error> {
        Ok(TreeSet { tree: BTree::deserialize(deserializer)? })
    }
}
