//! Verifying a database file with the trees in it: [`verify`].
//!
//! The nodes of trees are read by the shape that is stored with them: no type of the application is
//! needed. Each is held against what its parent says of it.
//!
//! # Invariants
//! - Memory grows with the number of nodes.

use super::btree::NODE_NAME;
use crate::error::Result;
use crate::file::Directory;
use crate::id::Oid;
use crate::object::shape::{Content, Shape, Value, decode_by_shape};
use crate::storage::file::{Examined, Examiner, Verification, verify_with};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Reads all of the database file `name` and tells everything that is wrong with it, also in its
/// trees.
///
/// Beyond what [`storage::file::verify`](crate::storage::file::verify) does, it looks into every
/// [`BTree`](super::BTree) and [`TreeSet`](super::TreeSet) that can be reached: that each node
/// stands where its parent says and on its level, is met on one way only, and that its keys are
/// within its bounds and in order. Keys are compared as their shape says, part by part; structs
/// and enums, whose order only the application knows, are compared for equality. A type with an
/// order of its own that looks like a number or a text to serde is better asked by
/// [`BTree::check`](super::BTree::check).
///
/// ```
/// use perennial::Database;
/// use perennial::collections::{BTree, verify};
/// use perennial::file::MemoryDirectory;
/// use std::sync::Arc;
///
/// # fn main() -> perennial::Result<()> {
/// let directory = Arc::new(MemoryDirectory::new());
/// let db = Database::options().directory(directory.clone()).open("bank.db")?;
/// db.transact(|conn| {
///     let tree = BTree::<u64, u64>::create(conn)?;
///     tree.insert(conn, 1, 2)
/// })?;
/// db.close()?;
/// assert!(verify(&*directory, "bank.db", &mut |_done, _all| {})?.is_sound());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`storage::file::verify`](crate::storage::file::verify).
pub fn verify(
    directory: &dyn Directory,
    name: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification> {
    verify_with(directory, name, &mut Trees::default(), progress)
}

/// The trees as far as they were met.
#[derive(Debug, Default)]
struct Trees {
    shapes: HashMap<Box<str>, Option<Shape>>,
    /// Nodes that were met, and those that a parent has named.
    nodes: HashMap<Oid, Place>,
    /// In each tree, how its keys are ordered in each of their parts, as the first two showed.
    orders: HashMap<(Oid, Vec<usize>), Ordering>,
}

/// What is known of the place of a node.
#[derive(Debug)]
enum Place {
    /// A parent has named it, and says this of it.
    Named(Box<Named>),
    Met,
}

#[derive(Debug)]
struct Named {
    tree: Oid,
    parent: Oid,
    low: Value,
    high: Value,
    level: u128,
}

/// A node, taken apart.
struct Node {
    low: Value,
    high: Value,
    body: Body,
}

enum Body {
    Leaf(Vec<Value>),
    Inner(u128, Vec<(Value, Oid)>),
    Unlinked,
}

impl Examiner for Trees {
    fn examine(&mut self, object: &Examined<'_>) -> Vec<Box<str>> {
        let name = &*object.definition.name;
        if !name.strip_prefix(NODE_NAME).is_some_and(|rest| rest.starts_with('<')) {
            return Vec::new();
        }
        let text = &object.definition.shape;
        let shape = self.shapes.entry(text.clone()).or_insert_with(|| Shape::parse(text).ok());
        let Some(shape) = shape else { return vec!["its shape cannot be read".into()] };
        let node = decode_by_shape(shape, object.data).ok().and_then(Node::of);
        let Some(node) = node else { return vec!["it is no node of a tree".into()] };
        self.take(object.oid, node)
    }
}

impl Trees {
    fn take(&mut self, oid: Oid, node: Node) -> Vec<Box<str>> {
        let mut faults = Vec::new();
        let tree = match self.nodes.insert(oid, Place::Met) {
            Some(Place::Named(named)) => {
                let parent = named.parent;
                if (&node.low, &node.high) != (&named.low, &named.high) {
                    faults.push(format!("it answers for other keys than object {parent} says"));
                }
                if node.level() != named.level {
                    faults.push(format!("it is on another level than object {parent} says"));
                }
                named.tree
            }
            _ if [&node.low, &node.high].iter().all(|it| **it == Value::Option(None)) => oid,
            _ => {
                faults.push("it is the root of a tree, and does not answer for all keys".into());
                oid
            }
        };
        match &node.body {
            Body::Leaf(keys) => self.check_order(tree, &node, keys, &mut faults),
            Body::Inner(level, children) => {
                self.take_children((tree, oid), &node, *level, children, &mut faults);
            }
            Body::Unlinked => faults.push("it was taken out of the tree".into()),
        }
        faults.into_iter().map(Into::into).collect()
    }

    fn take_children(
        &mut self,
        (tree, parent): (Oid, Oid),
        node: &Node,
        level: u128,
        children: &[(Value, Oid)],
        faults: &mut Vec<String>,
    ) {
        if children.first().is_none_or(|(low, _)| *low != node.low) {
            faults.push("it has no child for its first keys".into());
        }
        let lows = children.iter().skip(1).filter_map(|(low, _)| key_of(low).cloned());
        self.check_order(tree, node, &lows.collect::<Vec<_>>(), faults);
        let Some(level) = level.checked_sub(1) else {
            faults.push("it has children, on the level of leaves".into());
            return;
        };
        let highs = children.iter().skip(1).map(|(low, _)| low.clone()).chain([node.high.clone()]);
        for ((low, child), high) in children.iter().zip(highs) {
            let named = Named { tree, parent, low: low.clone(), high, level };
            if self.nodes.insert(*child, Place::Named(Box::new(named))).is_some() {
                faults.push(format!("a second way leads to object {child}"));
            }
        }
    }

    /// Checks that the keys are in order, each once, and within the node's bounds.
    fn check_order(&mut self, tree: Oid, node: &Node, keys: &[Value], faults: &mut Vec<String>) {
        if !keys.windows(2).all(|pair| self.follows(tree, &pair[0], &pair[1])) {
            faults.push("its keys are out of order".into());
        }
        let is_leaf = matches!(node.body, Body::Leaf(_));
        let (low, high) = (key_of(&node.low), key_of(&node.high));
        // The lower bound of a leaf may be its first key; that of other nodes is one already.
        let low = low.zip(keys.first()).filter(|(low, first)| !is_leaf || low != first);
        let bounds = [low, keys.last().zip(high)];
        if !bounds.into_iter().flatten().all(|(one, next)| self.follows(tree, one, next)) {
            faults.push("it has keys that it does not answer for".into());
        }
    }

    /// Whether the second key may follow the first.
    fn follows(&mut self, tree: Oid, first: &Value, second: &Value) -> bool {
        let mut path = Vec::new();
        match compare(first, second, &mut path) {
            Some(Ordering::Equal) => false,
            Some(order) => *self.orders.entry((tree, path)).or_insert(order) == order,
            None => true,
        }
    }
}

impl Node {
    fn of(value: Value) -> Option<Node> {
        let Value::Struct(_, Content::Names(fields)) = value else { return None };
        let mut fields = fields.into_iter();
        let mut field = |name: &str| fields.find(|(it, _)| &**it == name).map(|(_, value)| value);
        let (low, high, body) = (field("low")?, field("high")?, field("body")?);
        let Value::Variant(name, content) = body else { return None };
        let body = match (&*name, content) {
            ("Leaf", Content::Positions(parts)) => Body::Leaf(keys(parts)?),
            ("Inner", Content::Names(parts)) => inner(parts)?,
            ("Unlinked", _) => Body::Unlinked,
            _ => return None,
        };
        Some(Node { low, high, body })
    }

    fn level(&self) -> u128 {
        if let Body::Inner(level, _) = self.body { level } else { 0 }
    }
}

/// The keys of a leaf, whose entries are all that it has.
fn keys(parts: Vec<Value>) -> Option<Vec<Value>> {
    let Value::Seq(entries) = parts.into_iter().next()? else { return None };
    entries.into_iter().map(|entry| pair(entry).map(|(key, _)| key)).collect()
}

fn inner(parts: Vec<(Box<str>, Value)>) -> Option<Body> {
    let mut parts = parts.into_iter();
    let (_, Value::Uint(level)) = parts.next()? else { return None };
    let (_, Value::Seq(children)) = parts.next()? else { return None };
    let child = |child| match pair(child)? {
        (low, Value::Ref(oid)) => Some((low, oid)),
        _ => None,
    };
    Some(Body::Inner(level, children.into_iter().map(child).collect::<Option<_>>()?))
}

fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Tuple(parts) = value else { return None };
    let mut parts = parts.into_iter();
    parts.next().zip(parts.next())
}

/// The key that a bound is.
fn key_of(bound: &Value) -> Option<&Value> {
    if let Value::Option(Some(key)) = bound { Some(key) } else { None }
}

/// How two keys compare, where their shape tells; `path` leads to the part that decides.
fn compare(first: &Value, second: &Value, path: &mut Vec<usize>) -> Option<Ordering> {
    if first == second {
        return Some(Ordering::Equal);
    }
    match (first, second) {
        (Value::Bool(first), Value::Bool(second)) => Some(first.cmp(second)),
        (Value::Int(first), Value::Int(second)) => Some(first.cmp(second)),
        (Value::Uint(first), Value::Uint(second)) => Some(first.cmp(second)),
        (Value::Char(first), Value::Char(second)) => Some(first.cmp(second)),
        (Value::Str(first), Value::Str(second)) => Some(first.cmp(second)),
        (Value::Bytes(first), Value::Bytes(second)) => Some(first.cmp(second)),
        (Value::Ref(first), Value::Ref(second)) => Some(first.cmp(second)),
        (Value::Option(None), Value::Option(Some(_))) => Some(Ordering::Less),
        (Value::Option(Some(_)), Value::Option(None)) => Some(Ordering::Greater),
        (Value::Option(Some(first)), Value::Option(Some(second))) => {
            path.push(1);
            compare(first, second, path)
        }
        (Value::Tuple(first), Value::Tuple(second)) => {
            let differs = first.iter().zip(second).position(|(first, second)| first != second)?;
            path.push(differs);
            compare(first.get(differs)?, second.get(differs)?, path)
        }
        (Value::Seq(first), Value::Seq(second)) => {
            let differs = first.iter().zip(second).position(|(first, second)| first != second);
            // All elements are ordered alike, wherever they stand.
            path.push(usize::from(differs.is_some()));
            match differs {
                Some(at) => compare(first.get(at)?, second.get(at)?, path),
                None => Some(first.len().cmp(&second.len())),
            }
        }
        _ => None,
    }
}
