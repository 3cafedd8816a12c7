//! What becomes of a node that two transactions changed at the same time: [`merge`].
//!
//! The resolver of nodes. It sees one node at a time, and decides soundly for the whole tree: a
//! change that moves keys from node to node, or a node out of the tree, shows in the range or the
//! kind of each node that it concerns, and where these differ there is no merging. What is left
//! are changes of single keys, or children, of a node whose place in the tree nobody touched.
//!
//! # Invariants
//! - Every key of the result is as the side that changed it has it; no key was changed by both,
//!   not even to the same value: each saw it as it was before.

use super::node::{Body, Node};
use crate::collections::{Element, Key};
use crate::object::codec;
use serde::Serialize;
use std::iter::Peekable;
use std::slice::Iter;

/// From `original`, one transaction made `committed` and another `mine`; what both made of it.
pub(super) fn merge<K: Key, V: Element>(
    original: &Node<K, V>,
    committed: &Node<K, V>,
    mine: &Node<K, V>,
) -> Option<Node<K, V>> {
    let same_range = |side: &Node<K, V>| side.answers_for(&original.low, &original.high);
    if !same_range(committed) || !same_range(mine) {
        return None;
    }
    let body = match (&original.body, &committed.body, &mine.body) {
        (Body::Leaf(original), Body::Leaf(committed), Body::Leaf(mine)) => {
            Body::Leaf(merge_sorted([original, committed, mine], same_bytes)?)
        }
        (
            Body::Inner { level, children: original },
            Body::Inner { level: other, children: committed },
            Body::Inner { level: another, children: mine },
        ) if level == other && level == another => {
            let same = |a: &_, b: &_| a == b;
            Body::Inner {
                level: *level,
                children: merge_sorted([original, committed, mine], same)?,
            }
        }
        _ => return None,
    };
    let mut merged =
        Node { low: original.low.clone(), high: original.high.clone(), weight: 0, body };
    merged.weight = merged.weights().ok()?.iter().sum();
    Some(merged)
}

/// Whether two values look alike when stored, which is all that can be said of any type.
fn same_bytes<V: Serialize>(a: &V, b: &V) -> bool {
    let bytes = |value: &V| {
        let (mut bytes, mut references) = (Vec::new(), Vec::new());
        codec::encode("element", value, 0, &mut bytes, &mut references).ok().map(|()| bytes)
    };
    bytes(a).is_some_and(|a| bytes(b) == Some(a))
}

/// The three-way merge of sorted lists.
fn merge_sorted<K: Ord + Clone, V: Clone>(
    sides: [&[(K, V)]; 3],
    same: impl Fn(&V, &V) -> bool,
) -> Option<Vec<(K, V)>> {
    let mut merged = Vec::with_capacity(sides[1].len().max(sides[2].len()));
    let mut sides = sides.map(|side| side.iter().peekable());
    while let Some(key) = smallest(&mut sides) {
        let [was, theirs, ours] =
            sides.each_mut().map(|side| side.next_if(|next| next.0.cmp(key).is_eq()));
        let is_as_it_was = |now: Option<&(K, V)>| match (was, now) {
            (None, None) => true,
            (Some(was), Some(now)) => same(&was.1, &now.1),
            _ => false,
        };
        let kept = match (is_as_it_was(theirs), is_as_it_was(ours)) {
            (_, true) => theirs,
            (true, false) => ours,
            (false, false) => return None,
        };
        merged.extend(kept.cloned());
    }
    Some(merged)
}

/// The smallest key that comes next.
fn smallest<'a, K: Ord, V>(sides: &mut [Peekable<Iter<'a, (K, V)>>; 3]) -> Option<&'a K> {
    sides.iter_mut().filter_map(|side| side.peek().map(|next| &next.0)).min()
}
