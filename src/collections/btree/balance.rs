//! Nodes that are neither too full nor nearly empty.
//!
//! The tree's methods call it after a change that left a node full, or small. It goes the way to
//! the key once more, mends one place, and again, until nothing is left to mend: one step is easy
//! to see through, and few changes need any.
//!
//! A leaf that two transactions emptied together, neither knowing of the other, stays until a key
//! comes that it answers for, or a neighbour becomes small.
//!
//! # Invariants
//! - After each step the tree is sound, and holds what it held before.
//! - Every object whose range, children or level a step changes is changed in this transaction:
//!   so another one that did the same, or filled it meanwhile, meets it there.

use super::BTree;
use super::node::{Child, Node};
use super::seek::{Seek, Step, child};
use crate::collections::{Element, Key};
use crate::error::Result;
use crate::object::Connection;
use std::borrow::Borrow;

impl<K: Key, V: Element> BTree<K, V> {
    /// Splits the full nodes on the way to `key`.
    pub(super) fn split(self, conn: &Connection, key: &K) -> Result<()> {
        whole(conn, || {
            while self.split_one(conn, key)? {}
            Ok(())
        })
    }

    fn split_one(self, conn: &Connection, key: &K) -> Result<bool> {
        let path = self.path(conn, Seek::At(key))?;
        // The lowest first: a parent is split when it has all its children.
        let Some(depth) = path.iter().rposition(|step| step.node.is_full()) else {
            return Ok(false);
        };
        let full = &path[depth];
        let growing = match full.node.entries().last() {
            Some((last, _)) => last.cmp(key).is_eq(),
            None => full.index + 1 == full.node.len(),
        };
        let (at, above) = (full.at, path[..depth].last().map(|step| (step.at, step.index)));
        // Nodes that are still held would be copied to be changed.
        drop(path);
        let mut pieces = conn.modify(at, |node| node.split(growing))??;
        let Some((parent, index)) = above else {
            // The root keeps its place, one level higher.
            let children = add_all(conn, pieces)?;
            conn.modify(at, |root| root.rise(children))??;
            return Ok(true);
        };
        let new = add_all(conn, pieces.split_off(1))?;
        let first = pieces.pop().expect("a node is split into at least two");
        conn.modify(at, |node| *node = first)?;
        conn.modify(parent, |parent| parent.adopt(index, new))??;
        Ok(true)
    }

    /// Joins the small nodes on the way to `key` with their neighbours, where they fit together.
    pub(super) fn join<Q: Ord + ?Sized>(self, conn: &Connection, key: &Q) -> Result<()>
    where
        K: Borrow<Q>,
    {
        whole(conn, || {
            while self.join_one(conn, key)? {}
            Ok(())
        })
    }

    fn join_one<Q: Ord + ?Sized>(self, conn: &Connection, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        let path = self.path(conn, Seek::At(key))?;
        // The highest first: a node finds a neighbour where its parent has one, or has more than
        // one child by then.
        for pair in path.windows(2) {
            let [above, step] = pair else { continue };
            if above.at == self.root && above.node.len() == 1 {
                self.lower(conn, step)?;
                return Ok(true);
            }
            if step.node.is_small() && join_child(conn, above, step)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the root take the place of its only child.
    fn lower(self, conn: &Connection, only: &Step<K, V>) -> Result<()> {
        let node = Node::clone(&only.node);
        conn.modify(self.root, |root| *root = node)?;
        conn.modify(only.at, Node::unlink)
    }

    /// Puts in entries that are in the order of their keys, each once.
    pub(super) fn extend_sorted(self, conn: &Connection, entries: Vec<(K, V)>) -> Result<()> {
        let mut entries = entries.into_iter().peekable();
        while let Some((key, _)) = entries.peek() {
            let key = key.clone();
            let leaf = self.unread_leaf(conn, &key)?;
            let put = |leaf: &mut Node<K, V>| leaf.put_all(&mut entries).map(|()| leaf.is_full());
            if whole(conn, || leaf.change(conn, put))? {
                self.split(conn, &key)?;
            }
        }
        Ok(())
    }

    /// Takes every node but the root out of the tree, and everything out of the root: others that
    /// change any of them meanwhile must not believe that it is kept.
    pub(super) fn unlink_all(self, conn: &Connection) -> Result<()> {
        if let [root] = &self.path::<K>(conn, Seek::First)?[..]
            && root.node.entries().is_empty()
        {
            return Ok(());
        }
        whole(conn, || {
            let mut pending = vec![self.root];
            while let Some(at) = pending.pop() {
                let node = conn.get(at)?;
                for index in 0..node.children().len() {
                    pending.push(child(conn, at, &node, index)?.0);
                }
                if at != self.root {
                    conn.modify(at, Node::unlink)?;
                }
            }
            conn.modify(self.root, |root| *root = Node::empty())
        })
    }
}

/// Joins the node of `step`, a child of `above`, with the neighbour that it fits.
fn join_child<K: Key, V: Element>(
    conn: &Connection,
    above: &Step<K, V>,
    step: &Step<K, V>,
) -> Result<bool> {
    let (index, count) = (above.index, above.node.len());
    // The left one first: it takes over what is left, and the smaller part is moved.
    let left = index.checked_sub(1);
    let right = Some(index + 1).filter(|&right| right < count);
    for neighbour in left.into_iter().chain(right) {
        let (at, node) = child(conn, above.at, &above.node, neighbour)?;
        if !step.node.fits(&node) {
            continue;
        }
        let (keeps, goes, right) = match neighbour < index {
            true => (at, step.at, Node::clone(&step.node)),
            false => (step.at, at, Node::clone(&node)),
        };
        conn.modify(keeps, |left| left.absorb(right))?;
        conn.modify(goes, Node::unlink)?;
        conn.modify(above.at, |parent| parent.release(index.max(neighbour)))??;
        return Ok(true);
    }
    Ok(false)
}

fn add_all<K: Key, V: Element>(
    conn: &Connection,
    nodes: impl IntoIterator<Item = Node<K, V>>,
) -> Result<Vec<Child<K, V>>> {
    nodes.into_iter().map(|node| Ok((node.low.clone(), conn.add(node)?))).collect()
}

/// Runs a change of several objects. One that ends half way must not be committed.
fn whole<T>(conn: &Connection, change: impl FnOnce() -> Result<T>) -> Result<T> {
    change().inspect_err(|error| {
        if let Ok(current) = conn.transaction() {
            current.fail(error);
        }
    })
}
