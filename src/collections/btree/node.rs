//! The objects that a tree is made of: [`Node`].
//!
//! A node is a leaf with keys and values, or an inner one with children. It knows how to change
//! itself and how full it is; `balance` decides what follows from that.
//!
//! # Invariants
//! - A node answers for the keys from `low` up to, and without, `high`; its own lie in there, and
//!   the ranges of an inner node's children are together the range of the node.
//! - The first child's `low` is the node's own; no node's `low` ever changes.
//! - Whatever moves keys or children from one node to another, or takes a node out of the tree,
//!   changes the range or the body's kind of every node concerned. `merge` relies on it.

use super::merge;
use crate::collections::{Element, Key};
use crate::error::Result;
use crate::id::Oid;
use crate::object::shape::Shape;
use crate::object::{Persistent, Ref, codec};
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::iter::Peekable;
use std::mem;
use std::vec::IntoIter;

/// How many encoded bytes of entries make a node full. A change of one value writes about half of
/// it, and reading a value decodes as much. With less, scans lose more than random changes gain;
/// docs/performance.md has the numbers. Nothing relies on it: stored nodes may be fuller.
const CAPACITY: u64 = 2048;

/// A node with fewer bytes is joined with its neighbour, where both fit into one.
const SMALL: u64 = CAPACITY / 4;

/// An inner node of so few children is not full, however large their keys: the tree must branch.
const FEWEST_CHILDREN: usize = 4;

/// What nodes are called in the type table, up to the types of key and value.
pub(in crate::collections) const NAME: &str = "perennial.BTree";

/// A `Node` is one object of a tree; the root is one, too.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Node<K, V> {
    /// The first key it answers for; `None`: whatever is smallest.
    pub low: Option<K>,
    /// The first key beyond; `None`: there is no end.
    pub high: Option<K>,
    /// The bytes of its entries, or children, when encoded.
    pub weight: u64,
    pub body: Body<K, V>,
}

/// What a node holds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Body<K, V> {
    /// Keys and values, in the order of the keys.
    Leaf(Vec<(K, V)>),
    /// Nodes of the level below; leaves are of level 0.
    Inner { level: u32, children: Vec<Child<K, V>> },
    /// Nothing any more: the tree has no such node.
    Unlinked,
}

/// A child and its `low`.
pub(super) type Child<K, V> = (Option<K>, Ref<Node<K, V>>);

impl<K: Key, V: Element> Persistent for Node<K, V> {
    const NAME: &'static str = NAME;

    /// Trees of other elements are other types: `perennial.BTree<str, i64>`.
    fn type_name() -> Cow<'static, str> {
        match Shape::of::<(K, V)>(NAME) {
            Ok(shape) => {
                let shape = shape.to_string();
                let inner = shape.strip_prefix('(').and_then(|shape| shape.strip_suffix(')'));
                format!("{NAME}<{}>", inner.unwrap_or(&shape)).into()
            }
            // A type without a shape is refused before its name matters.
            Err(_) => NAME.into(),
        }
    }

    fn resolve_conflict(original: &Self, committed: &Self, mine: &Self) -> Option<Self> {
        merge::merge(original, committed, mine)
    }
}

/// How many bytes a part of a node takes.
fn weigh<T: Serialize>(part: &T) -> Result<u64> {
    Scales::new().weigh(part)
}

fn weights<T: Serialize>(parts: &[T]) -> Result<Vec<u64>> {
    let mut scales = Scales::new();
    parts.iter().map(|part| scales.weigh(part)).collect()
}

/// What parts are weighed in, one after the other.
struct Scales {
    bytes: Vec<u8>,
    references: Vec<Oid>,
}

impl Scales {
    fn new() -> Scales {
        // More than most parts take.
        Scales { bytes: Vec::with_capacity(64), references: Vec::new() }
    }

    fn weigh<T: Serialize>(&mut self, part: &T) -> Result<u64> {
        self.bytes.clear();
        self.references.clear();
        codec::encode(NAME, part, 0, &mut self.bytes, &mut self.references)?;
        Ok(self.bytes.len() as u64)
    }
}

/// Makes room for one more. A vector would double what it has; of the many leaves that get only
/// one key in a transaction, half of what the cache holds would be room then.
fn make_room<T>(parts: &mut Vec<T>) {
    if parts.len() == parts.capacity() {
        parts.reserve_exact(parts.len() / 8 + 4);
    }
}

/// All nodes.
impl<K: Key, V: Element> Node<K, V> {
    /// The root of a tree that holds nothing.
    pub fn empty() -> Node<K, V> {
        Node { low: None, high: None, weight: 0, body: Body::Leaf(Vec::new()) }
    }

    /// 0 of a leaf.
    pub fn level(&self) -> u32 {
        match &self.body {
            Body::Inner { level, .. } => *level,
            Body::Leaf(_) | Body::Unlinked => 0,
        }
    }

    /// Whether these are its ends.
    pub fn answers_for(&self, low: &Option<K>, high: &Option<K>) -> bool {
        self.low.cmp(low).is_eq() && self.high.cmp(high).is_eq()
    }

    /// How many entries or children it has.
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Leaf(entries) => entries.len(),
            Body::Inner { children, .. } => children.len(),
            Body::Unlinked => 0,
        }
    }

    /// Whether it should be split.
    pub fn is_full(&self) -> bool {
        let divisible = match &self.body {
            Body::Leaf(entries) => entries.len() > 1,
            Body::Inner { children, .. } => children.len() > FEWEST_CHILDREN,
            Body::Unlinked => false,
        };
        divisible && self.weight > CAPACITY
    }

    /// Whether it should be joined with a neighbour.
    pub fn is_small(&self) -> bool {
        self.is_idle() || self.weight < SMALL
    }

    /// Whether it is a node for nothing: a leaf without entries, an inner node that parts nothing.
    fn is_idle(&self) -> bool {
        match &self.body {
            Body::Leaf(entries) => entries.is_empty(),
            Body::Inner { children, .. } => children.len() < 2,
            Body::Unlinked => false,
        }
    }

    /// Whether it and its neighbour should become one node.
    pub fn fits(&self, neighbour: &Node<K, V>) -> bool {
        let both = self.weight.saturating_add(neighbour.weight);
        self.is_idle() || neighbour.is_idle() || both <= CAPACITY
    }

    /// Takes all that its right neighbour has, which is no node of the tree from then on.
    pub fn absorb(&mut self, right: Node<K, V>) {
        match (&mut self.body, right.body) {
            (Body::Leaf(entries), Body::Leaf(others)) => entries.extend(others),
            (Body::Inner { children, .. }, Body::Inner { children: others, .. }) => {
                children.extend(others);
            }
            _ => unreachable!("neighbours that were found in one level are of one kind"),
        }
        self.weight = self.weight.saturating_add(right.weight);
        self.high = right.high;
    }

    /// Takes it out of the tree: who changes it at the same time conflicts.
    pub fn unlink(&mut self) {
        *self = Node { low: None, high: None, weight: 0, body: Body::Unlinked };
    }
}

/// Leaves.
impl<K: Key, V: Element> Node<K, V> {
    /// Its entries; none of an inner node.
    pub fn entries(&self) -> &[(K, V)] {
        match &self.body {
            Body::Leaf(entries) => entries,
            Body::Inner { .. } | Body::Unlinked => &[],
        }
    }

    fn entries_mut(&mut self) -> &mut Vec<(K, V)> {
        match &mut self.body {
            Body::Leaf(entries) => entries,
            _ => unreachable!("a leaf was found here in this transaction"),
        }
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.entries().binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    /// The value under `key`.
    pub fn value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.entries()[at].1)
    }

    /// Puts `value` under `key`; what was there before, and the key where the leaf is full now.
    pub fn put(&mut self, key: K, value: V) -> Result<(Option<V>, Option<K>)> {
        let added = weigh(&(&key, &value))?;
        let found = self.find(&key);
        let removed = found.map_or(Ok(0), |at| weigh(&self.entries()[at]))?;
        let entries = self.entries_mut();
        let (at, before) = match found {
            Ok(at) => (at, Some(mem::replace(&mut entries[at].1, value))),
            Err(at) => {
                make_room(entries);
                entries.insert(at, (key, value));
                (at, None)
            }
        };
        self.weight = self.weight.saturating_add(added).saturating_sub(removed);
        let full = self.is_full().then(|| self.entries()[at].0.clone());
        Ok((before, full))
    }

    /// Takes the entry of `key` out.
    pub fn take<Q: Ord + ?Sized>(&mut self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let Ok(at) = self.find(key) else { return Ok(None) };
        let removed = weigh(&self.entries()[at])?;
        let (_, value) = self.entries_mut().remove(at);
        self.weight = self.weight.saturating_sub(removed);
        Ok(Some(value))
    }

    /// Puts in those of `new` that it answers for. They are in the order of their keys, each once,
    /// and the first is its own, or the tree would be broken and this have no end.
    pub fn put_all(&mut self, new: &mut Peekable<IntoIter<(K, V)>>) -> Result<()> {
        let high = self.high.take();
        let is_here = |(key, _): &(K, V)| high.as_ref().is_none_or(|high| key < high);
        let mut old = mem::take(self.entries_mut()).into_iter().peekable();
        let mut all = Vec::with_capacity(old.len() + 1);
        let mut next = new.next();
        while let Some((key, value)) = next {
            while let Some(before) = old.next_if(|(before, _)| *before < key) {
                all.push(before);
            }
            let replaced = old.next_if(|(before, _)| before.cmp(&key).is_eq());
            // A key that was there stays, as in every map: equal keys need not look alike.
            all.push((replaced.map_or(key, |(before, _)| before), value));
            next = new.next_if(is_here);
        }
        all.extend(old);
        all.shrink_to_fit();
        *self.entries_mut() = all;
        self.high = high;
        self.weight = self.weights()?.iter().sum();
        Ok(())
    }
}

/// Inner nodes.
impl<K: Key, V: Element> Node<K, V> {
    /// Its children; none of a leaf.
    pub fn children(&self) -> &[Child<K, V>] {
        match &self.body {
            Body::Inner { children, .. } => children,
            Body::Leaf(_) | Body::Unlinked => &[],
        }
    }

    fn children_mut(&mut self) -> &mut Vec<Child<K, V>> {
        match &mut self.body {
            Body::Inner { children, .. } => children,
            _ => unreachable!("an inner node was found here in this transaction"),
        }
    }

    /// Makes children of these nodes, right of child number `index`.
    pub fn adopt(&mut self, index: usize, new: Vec<Child<K, V>>) -> Result<()> {
        for child in &new {
            self.weight = self.weight.saturating_add(weigh(child)?);
        }
        let place = index + 1..index + 1;
        self.children_mut().splice(place, new);
        Ok(())
    }

    /// Forgets child number `index`.
    pub fn release(&mut self, index: usize) -> Result<()> {
        let removed = weigh(&self.children()[index])?;
        self.children_mut().remove(index);
        self.weight = self.weight.saturating_sub(removed);
        Ok(())
    }

    /// Becomes the node above these children, which hold what it held.
    pub fn rise(&mut self, children: Vec<Child<K, V>>) -> Result<()> {
        self.weight = weights(&children)?.iter().sum();
        self.body = Body::Inner { level: self.level() + 1, children };
        Ok(())
    }
}

/// Splitting.
impl<K: Key, V: Element> Node<K, V> {
    /// What each of its entries, or children, weighs.
    pub fn weights(&self) -> Result<Vec<u64>> {
        match &self.body {
            Body::Leaf(entries) => weights(entries),
            Body::Inner { children, .. } => weights(children),
            Body::Unlinked => Ok(Vec::new()),
        }
    }

    /// Takes all that this full node holds, for the nodes that it becomes: at least two. `growing`
    /// says that the last of what it holds is what came last, as when keys come in their order.
    pub fn split(&mut self, growing: bool) -> Result<Vec<Node<K, V>>> {
        let weights = self.weights()?;
        let fewest = if self.level() == 0 { 1 } else { FEWEST_CHILDREN };
        let total: u64 = weights.iter().sum();
        let cuts = match growing || total > 2 * CAPACITY {
            // Whoever adds in order will not come back: leave full nodes behind.
            true => cuts_when_full(&weights, fewest),
            false => vec![middle(&weights)],
        };
        let (mut pieces, mut end, mut high) = (Vec::new(), weights.len(), self.high.clone());
        // From the end: what is cut off there is moved once.
        for cut in cuts.into_iter().rev().chain([0]) {
            let (low, body) = self.cut(cut);
            let low = if cut == 0 { self.low.clone() } else { low };
            let weight = weights[cut..end].iter().sum();
            let above = mem::replace(&mut high, low.clone());
            pieces.push(Node { low, high: above, weight, body });
            end = cut;
        }
        pieces.reverse();
        Ok(pieces)
    }

    /// Takes what it holds from number `at` on, and says which key comes first there.
    fn cut(&mut self, at: usize) -> (Option<K>, Body<K, V>) {
        match &mut self.body {
            Body::Leaf(entries) => {
                let entries = split_off(entries, at);
                (entries.first().map(|(key, _)| key.clone()), Body::Leaf(entries))
            }
            Body::Inner { level, children } => {
                let children = split_off(children, at);
                let low = children.first().and_then(|(low, _)| low.clone());
                (low, Body::Inner { level: *level, children })
            }
            Body::Unlinked => (None, Body::Unlinked),
        }
    }
}

/// What stands from number `at` on, without the room of what stood before it.
fn split_off<T>(parts: &mut Vec<T>, at: usize) -> Vec<T> {
    let mut rest = parts.split_off(at);
    rest.shrink_to_fit();
    rest
}

/// Where to cut so that every piece but the last is as full as it may be. There are at least two.
fn cuts_when_full(weights: &[u64], fewest: usize) -> Vec<usize> {
    let (mut cuts, mut start, mut sum) = (Vec::new(), 0, 0);
    for (at, weight) in weights.iter().enumerate() {
        if sum + weight > CAPACITY && at - start >= fewest {
            cuts.push(at);
            (start, sum) = (at, 0);
        }
        sum += weight;
    }
    if cuts.is_empty() {
        cuts.push(weights.len() - 1);
    }
    cuts
}

/// Where to cut so that both sides weigh about the same, and neither is empty.
fn middle(weights: &[u64]) -> usize {
    let total: u64 = weights.iter().sum();
    let mut left = 0;
    let upto = weights.iter().position(|weight| {
        left += weight;
        2 * left >= total
    });
    upto.map_or(1, |at| at + 1).min(weights.len() - 1)
}
