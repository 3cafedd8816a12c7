//! The way from the root to a leaf: [`Seek`].
//!
//! Every method of a tree goes it, with one key or one end in mind. It reads; what it finds is
//! changed by others.
//!
//! # Invariants
//! - Each step leads one level down, so that the way ends, whatever the file holds.
//! - What is missing or misplaced on the way is an error that names the object; a key is not there
//!   only where its leaf is, and does not have it.

use super::BTree;
use super::node::{Body, Child, NAME, Node};
use crate::collections::{Element, Key};
use crate::error::{CodecFailure, Error, Result, SchemaMismatch};
use crate::id::Oid;
use crate::object::{Connection, Ref, View};
use std::borrow::Borrow;
use std::sync::Arc;

const TAKEN_OUT: &str = "a part of the tree that was taken out of it";
const WRONG_LEVEL: &str = "a part of the tree on the wrong level";

/// Which leaf is looked for.
pub(super) enum Seek<'a, Q: ?Sized> {
    /// The first one.
    First,
    /// The last one.
    Last,
    /// The one that answers for this key.
    At(&'a Q),
    /// The last one with room for a key below this one.
    Below(&'a Q),
}

/// A node, and where it lies.
pub(super) type Located<K, V> = (Ref<Node<K, V>>, Arc<Node<K, V>>);

/// A leaf that nobody looked at yet.
pub(super) struct Unread<K, V> {
    at: Ref<Node<K, V>>,
    /// Who refers to it; the root to itself.
    above: Oid,
}

/// A node on the way.
pub(super) struct Step<K, V> {
    pub at: Ref<Node<K, V>>,
    pub node: Arc<Node<K, V>>,
    /// The child that the way goes on with; 0 at the leaf, where it ends.
    pub index: usize,
}

impl<Q: Ord + ?Sized> Seek<'_, Q> {
    fn index<K: Borrow<Q>, V>(&self, children: &[Child<K, V>]) -> usize {
        let after = match self {
            Seek::First => 1,
            Seek::Last => children.len(),
            Seek::At(key) => children.partition_point(|child| begins(child, |low| low <= *key)),
            Seek::Below(key) => children.partition_point(|child| begins(child, |low| low < *key)),
        };
        after.saturating_sub(1)
    }
}

/// Whether the child begins where `is_early` says; the first one of the tree begins before all.
fn begins<Q: ?Sized, K: Borrow<Q>, V>(
    (low, _): &Child<K, V>,
    is_early: impl Fn(&Q) -> bool,
) -> bool {
    low.as_ref().is_none_or(|low| is_early(low.borrow()))
}

impl<K: Key, V: Element> BTree<K, V> {
    /// The leaf that is looked for.
    pub(super) fn leaf<Q: Ord + ?Sized>(
        self,
        view: &View,
        seek: Seek<'_, Q>,
    ) -> Result<Located<K, V>>
    where
        K: Borrow<Q>,
    {
        let (mut at, mut node) = (self.root, self.top(view)?);
        while let Body::Inner { children, .. } = &node.body {
            let index = seek.index(children);
            (at, node) = child(view, at, &node, index)?;
        }
        Ok((at, node))
    }

    /// The leaf that answers for `key`, to be changed. It is not read before: what is read is kept
    /// for other readers, and would be copied to be changed.
    pub(super) fn unread_leaf<Q: Ord + ?Sized>(self, view: &View, key: &Q) -> Result<Unread<K, V>>
    where
        K: Borrow<Q>,
    {
        let (mut at, mut node) = (self.root, self.top(view)?);
        while let Body::Inner { level, children } = &node.body {
            let index = Seek::At(key).index(children);
            match children.get(index) {
                Some(&(_, leaf)) if *level == 1 => return Ok(Unread { at: leaf, above: at.oid() }),
                _ => (at, node) = child(view, at, &node, index)?,
            }
        }
        Ok(Unread { at, above: at.oid() })
    }

    /// The whole way, from the root to the leaf.
    pub(super) fn path<Q: Ord + ?Sized>(
        self,
        view: &View,
        seek: Seek<'_, Q>,
    ) -> Result<Vec<Step<K, V>>>
    where
        K: Borrow<Q>,
    {
        let mut path = Vec::new();
        let (mut at, mut node) = (self.root, self.top(view)?);
        while let Body::Inner { children, .. } = &node.body {
            let index = seek.index(children);
            let below = child(view, at, &node, index)?;
            path.push(Step { at, node, index });
            (at, node) = below;
        }
        path.push(Step { at, node, index: 0 });
        Ok(path)
    }

    /// The root.
    pub(super) fn top(self, view: &View) -> Result<Arc<Node<K, V>>> {
        let root = view.get(self.root).map_err(wrong_elements)?;
        match root.body {
            Body::Unlinked => Err(broken(self.oid(), "it is no longer a part of any tree")),
            _ => Ok(root),
        }
    }
}

impl<K: Key, V: Element> Unread<K, V> {
    /// Changes it.
    pub(super) fn change<R>(
        self,
        conn: &Connection,
        change: impl FnOnce(&mut Node<K, V>) -> Result<R>,
    ) -> Result<R> {
        let changed = conn.modify(self.at, |leaf| match leaf.body {
            Body::Leaf(_) => change(leaf),
            Body::Unlinked => Err(broken(self.at.oid(), TAKEN_OUT)),
            Body::Inner { .. } => Err(broken(self.at.oid(), WRONG_LEVEL)),
        });
        changed.map_err(|error| referred(error, self.above))?
    }
}

/// Child number `index` of the node `parent`, which lies at `at`.
pub(super) fn child<K: Key, V: Element>(
    view: &View,
    at: Ref<Node<K, V>>,
    parent: &Node<K, V>,
    index: usize,
) -> Result<Located<K, V>> {
    let Some(&(_, below)) = parent.children().get(index) else {
        return Err(broken(at.oid(), "an inner node without children"));
    };
    let node = view.get(below).map_err(|error| referred(error, at.oid()))?;
    if matches!(node.body, Body::Unlinked) {
        return Err(broken(below.oid(), TAKEN_OUT));
    }
    let is_below = parent.level().checked_sub(1) == Some(node.level());
    // Leaves are of level 0, and nothing else is: what is done with neighbours relies on it.
    let is_leaf = matches!(node.body, Body::Leaf(_));
    match is_below && is_leaf == (node.level() == 0) {
        true => Ok((below, node)),
        false => Err(broken(below.oid(), WRONG_LEVEL)),
    }
}

/// An object of the tree that is not what it should be.
pub(super) fn broken(oid: Oid, what: &str) -> Error {
    let mut failure = CodecFailure::new(NAME, what);
    failure.oid = Some(oid);
    failure.into()
}

/// Says who referred to what is missing.
fn referred(mut error: Error, referrer: Oid) -> Error {
    if let Error::NotFound(missing) = &mut error {
        missing.referrer = Some(referrer);
    }
    error
}

/// A tree of other elements is of another type; says so in the words of trees.
fn wrong_elements(error: Error) -> Error {
    let Error::Schema(mismatch) = &error else { return error };
    let SchemaMismatch::WrongType { oid, stored, asked } = &**mismatch else { return error };
    let elements = |name: &str| {
        let inner = name.strip_prefix(NAME)?.strip_prefix('<')?.strip_suffix('>')?;
        Some(inner.into())
    };
    match (elements(stored), elements(asked)) {
        (Some(stored), Some(asked)) => {
            let (collection, oid) = ("BTree", *oid);
            SchemaMismatch::WrongElements { collection, oid, stored, asked }.into()
        }
        _ => error,
    }
}
