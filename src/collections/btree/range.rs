//! Reading keys and values in their order, from either end: [`Range`].
//!
//! What is left to show is an interval of keys. An end that needs more entries looks for the leaf
//! at its end of the interval, cuts the leaf's range off it, and shows the leaf's entries. So the
//! iterator depends on nothing but keys: whatever becomes of the tree in between, the next leaf is
//! the one that answers for the key at which the last one ended.
//!
//! # Invariants
//! - Taken entries of the front, what is left, taken entries of the back: these follow one another
//!   in the order of the keys, without gap or overlap.
//! - The interval shrinks with every leaf, whatever the file holds, and is gone after an error.

use super::BTree;
use super::node::Node;
use super::seek::{Seek, broken};
use crate::collections::{Element, Key};
use crate::error::Result;
use crate::object::View;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

/// The entries of a [`BTree`] between two bounds, or their keys, or their values: `T`.
///
/// It reads one leaf after the other, each as it is when its first entry is asked for.
pub struct Range<'v, K, V, T = (K, V)> {
    tree: BTree<K, V>,
    view: &'v View,
    show: fn(&K, &V) -> T,
    /// The keys between `front` and `back`; `None` where there are none.
    rest: Option<Interval<K>>,
    front: Taken<K, V>,
    back: Taken<K, V>,
}

type Interval<K> = (Bound<K>, Bound<K>);

/// Entries of a leaf that are to be shown.
struct Taken<K, V> {
    leaf: Option<Arc<Node<K, V>>>,
    indices: std::ops::Range<usize>,
}

impl<'v, K: Key, V: Element, T> Range<'v, K, V, T> {
    pub(super) fn all(tree: BTree<K, V>, view: &'v View, show: fn(&K, &V) -> T) -> Self {
        Range::within(tree, view, (Unbounded, Unbounded), show)
    }

    pub(in crate::collections) fn within(
        tree: BTree<K, V>,
        view: &'v View,
        bounds: Interval<K>,
        show: fn(&K, &V) -> T,
    ) -> Self {
        let rest = Some(bounds).filter(is_possible);
        Range { tree, view, show, rest, front: Taken::nothing(), back: Taken::nothing() }
    }

    /// How many there are, without looking at each.
    pub(super) fn count_all(mut self) -> Result<usize> {
        let mut count = self.front.indices.len() + self.back.indices.len();
        while self.take_first()? {
            count += self.front.indices.len();
        }
        Ok(count)
    }

    /// Takes the entries of the first leaf; whether there was one.
    // Once a leaf: what is done for each entry stays short enough to be inlined.
    #[inline(never)]
    fn take_first(&mut self) -> Result<bool> {
        let Some((start, end)) = self.rest.take() else { return Ok(false) };
        let seek = match &start {
            Included(key) | Excluded(key) => Seek::At(key),
            Unbounded => Seek::First,
        };
        let (at, leaf) = self.tree.leaf(self.view, seek)?;
        if let (Some(high), Included(key) | Excluded(key)) = (&leaf.high, &start)
            && high <= key
        {
            return Err(broken(at.oid(), "a leaf that ends before it begins"));
        }
        let after = leaf.high.clone().map(|high| (Included(high), end.clone()));
        self.front = Taken::of(leaf, &(start, end));
        self.rest = after.filter(is_possible);
        Ok(true)
    }

    /// Takes the entries of the last leaf; whether there was one.
    #[inline(never)]
    fn take_last(&mut self) -> Result<bool> {
        let Some((start, end)) = self.rest.take() else { return Ok(false) };
        let seek = match &end {
            Included(key) => Seek::At(key),
            Excluded(key) => Seek::Below(key),
            Unbounded => Seek::Last,
        };
        let (at, leaf) = self.tree.leaf(self.view, seek)?;
        let is_progress = match (&leaf.low, &end) {
            (Some(low), Included(key)) => low <= key,
            (Some(low), Excluded(key)) => low < key,
            (_, Unbounded) | (None, _) => true,
        };
        if !is_progress {
            return Err(broken(at.oid(), "a leaf that begins after its end"));
        }
        let before = leaf.low.clone().map(|low| (start.clone(), Excluded(low)));
        self.back = Taken::of(leaf, &(start, end));
        self.rest = before.filter(is_possible);
        Ok(true)
    }
}

impl<K: Key, V> Taken<K, V> {
    fn nothing() -> Taken<K, V> {
        Taken { leaf: None, indices: 0..0 }
    }

    /// The entries of `leaf` that lie within.
    fn of(leaf: Arc<Node<K, V>>, (start, end): &Interval<K>) -> Taken<K, V>
    where
        V: Element,
    {
        let entries = leaf.entries();
        let is_before = |(key, _): &(K, V)| match start {
            Included(start) => key < start,
            Excluded(start) => key <= start,
            Unbounded => false,
        };
        let is_within = |(key, _): &(K, V)| match end {
            Included(end) => key <= end,
            Excluded(end) => key < end,
            Unbounded => true,
        };
        // Of most leaves all entries are shown, and two looks tell.
        let first = match entries.first() {
            Some(first) if is_before(first) => entries.partition_point(is_before),
            _ => 0,
        };
        let upto = match entries.last() {
            Some(last) if !is_within(last) => entries.partition_point(is_within),
            _ => entries.len(),
        };
        Taken { leaf: Some(leaf), indices: first..upto }
    }

    #[inline]
    fn entry(&self, index: usize) -> Option<&(K, V)>
    where
        V: Element,
    {
        self.leaf.as_ref().and_then(|leaf| leaf.entries().get(index))
    }
}

/// Whether a key can lie within.
fn is_possible<K: Ord>((start, end): &Interval<K>) -> bool {
    match (start, end) {
        (Included(start), Included(end)) => start <= end,
        (Included(start) | Excluded(start), Included(end) | Excluded(end)) => start < end,
        (Unbounded, _) | (_, Unbounded) => true,
    }
}

impl<K: Key, V: Element, T> Iterator for Range<'_, K, V, T> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(index) = self.front.indices.next() {
                return self.front.entry(index).map(|(key, value)| Ok((self.show)(key, value)));
            }
            match self.take_first() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        let index = self.back.indices.next()?;
        self.back.entry(index).map(|(key, value)| Ok((self.show)(key, value)))
    }
}

impl<K: Key, V: Element, T> DoubleEndedIterator for Range<'_, K, V, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(index) = self.back.indices.next_back() {
                return self.back.entry(index).map(|(key, value)| Ok((self.show)(key, value)));
            }
            match self.take_last() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        let index = self.front.indices.next_back()?;
        self.front.entry(index).map(|(key, value)| Ok((self.show)(key, value)))
    }
}

impl<K: Key, V: Element, T> FusedIterator for Range<'_, K, V, T> {}

impl<K, V, T> fmt::Debug for Range<'_, K, V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("tree", &self.tree).finish_non_exhaustive()
    }
}
