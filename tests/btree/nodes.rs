//! The objects of a tree, as their bytes are.

use perennial::collections::BTree;
use perennial::{Persistent, Ref};
use serde::{Deserialize, Serialize};

pub type Numbers = BTree<u32, u64>;

/// A tree's node, as its bytes are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    pub low: Option<u32>,
    pub high: Option<u32>,
    pub weight: u64,
    pub body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    Leaf(Vec<(u32, u64)>),
    Inner { level: u32, children: Vec<(Option<u32>, Ref<Node>)> },
    Unlinked,
}

/// Stored under the tree's own name: a shape that is another one would be refused.
impl Persistent for Node {
    const NAME: &'static str = "perennial.BTree<u32, u64>";
}

impl Node {
    pub fn children(&mut self) -> &mut Vec<(Option<u32>, Ref<Node>)> {
        let Body::Inner { children, .. } = &mut self.body else { panic!("not an inner node") };
        children
    }

    pub fn entries(&mut self) -> &mut Vec<(u32, u64)> {
        let Body::Leaf(entries) = &mut self.body else { panic!("not a leaf") };
        entries
    }
}
