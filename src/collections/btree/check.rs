//! Whether a tree is what it should be: [`TreeFacts`].
//!
//! Tools and tests ask. It reads every node, and goes on where one is at fault: who has to mend a
//! tree wants to know all of it.
//!
//! # Invariants
//! - No node is visited twice, whatever the file holds.

use super::BTree;
use super::node::{Body, Node};
use crate::collections::{Element, Key};
use crate::error::Result;
use crate::id::Oid;
use crate::object::{Ref, View};
use std::collections::HashSet;
use std::fmt;

/// What a tree consists of, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeFacts {
    /// How many keys there are.
    pub entries: usize,
    /// How many leaves, empty ones included.
    pub leaves: usize,
    /// How many leaves hold nothing: transactions that each removed a few keys can leave one.
    pub empty_leaves: usize,
    /// How many nodes lie above the leaves.
    pub inner_nodes: usize,
    /// How many nodes lie on the way to a value: 1 where the root is a leaf.
    pub depth: usize,
    /// How many bytes all keys, values and links take.
    pub bytes: u64,
    /// What is wrong; nothing in a sound tree.
    pub faults: Vec<TreeFault>,
}

/// Something that is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeFault {
    /// The node.
    pub oid: Oid,
    /// The node above it; none of the root.
    pub parent: Option<Oid>,
    /// What is wrong.
    pub what: Box<str>,
}

impl TreeFacts {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for TreeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}", self.oid)?;
        if let Some(parent) = self.parent {
            write!(f, ", below object {parent}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A node, and what its parent says of it.
struct Visit<K, V> {
    at: Ref<Node<K, V>>,
    parent: Option<Oid>,
    low: Option<K>,
    high: Option<K>,
    /// Any of the root.
    level: Option<u32>,
}

struct Checker<'v, K, V> {
    view: &'v View,
    facts: TreeFacts,
    seen: HashSet<Oid>,
    pending: Vec<Visit<K, V>>,
}

pub(super) fn check<K: Key, V: Element>(root: Ref<Node<K, V>>, view: &View) -> Result<TreeFacts> {
    BTree { root }.top(view)?;
    let visit = Visit { at: root, parent: None, low: None, high: None, level: None };
    let (facts, seen) = Default::default();
    let mut checker = Checker { view, facts, seen, pending: vec![visit] };
    while let Some(visit) = checker.pending.pop() {
        checker.visit(&visit);
    }
    Ok(checker.facts)
}

impl<K: Key, V: Element> Checker<'_, K, V> {
    fn visit(&mut self, visit: &Visit<K, V>) {
        if !self.seen.insert(visit.at.oid()) {
            return self.fault(visit, "a second way leads to it");
        }
        let node = match self.view.get(visit.at) {
            Ok(node) => node,
            Err(error) => return self.fault(visit, &error.to_string()),
        };
        if !node.answers_for(&visit.low, &visit.high) {
            self.fault(visit, "it answers for other keys than its parent says");
        }
        if visit.level.is_some_and(|level| level != node.level()) {
            return self.fault(visit, "it is on the wrong level");
        }
        match node.weights().map(|weights| weights.iter().sum::<u64>()) {
            Ok(weight) if weight == node.weight => {}
            Ok(weight) => {
                let what = format!("it weighs {weight} bytes, and says {}", node.weight);
                self.fault(visit, &what);
            }
            Err(error) => self.fault(visit, &error.to_string()),
        }
        self.facts.bytes = self.facts.bytes.saturating_add(node.weight);
        match &node.body {
            Body::Leaf(entries) => self.leaf(visit, entries),
            Body::Inner { .. } => self.inner(visit, &node),
            Body::Unlinked => self.fault(visit, "it was taken out of the tree"),
        }
    }

    fn leaf(&mut self, visit: &Visit<K, V>, entries: &[(K, V)]) {
        self.facts.leaves += 1;
        self.facts.entries += entries.len();
        self.facts.empty_leaves += usize::from(entries.is_empty());
        self.facts.depth = self.facts.depth.max(1);
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            self.fault(visit, "its keys are out of order");
        }
        let below = |key: &K| visit.low.as_ref().is_some_and(|low| key < low);
        let beyond = |key: &K| visit.high.as_ref().is_some_and(|high| key >= high);
        if entries.iter().any(|(key, _)| below(key) || beyond(key)) {
            self.fault(visit, "it has keys that it does not answer for");
        }
    }

    fn inner(&mut self, visit: &Visit<K, V>, node: &Node<K, V>) {
        self.facts.inner_nodes += 1;
        self.facts.depth = self.facts.depth.max(node.level() as usize + 1);
        let children = node.children();
        if children.first().is_none_or(|(low, _)| low.cmp(&visit.low).is_ne()) {
            self.fault(visit, "it has no child for its first keys");
        }
        if !children.is_sorted_by(|(a, _), (b, _)| a < b) {
            self.fault(visit, "its children are out of order");
        }
        let Some(level) = node.level().checked_sub(1) else {
            return self.fault(visit, "it has children, on the level of leaves");
        };
        let highs = children.iter().skip(1).map(|(low, _)| low.clone());
        let highs = highs.chain([visit.high.clone()]);
        for ((low, at), high) in children.iter().zip(highs) {
            let (parent, level) = (Some(visit.at.oid()), Some(level));
            self.pending.push(Visit { at: *at, parent, low: low.clone(), high, level });
        }
    }

    fn fault(&mut self, visit: &Visit<K, V>, what: &str) {
        let (oid, parent) = (visit.at.oid(), visit.parent);
        self.facts.faults.push(TreeFault { oid, parent, what: what.into() });
    }
}
