//! What is known of a type's shape so far: [`Sketch`].
//!
//! # Invariants
//! - What was learned is never forgotten; only what contradicts itself becomes opaque.

use super::{Fields, Scalar, Shape};
use std::collections::{HashMap, HashSet};

/// The number of a node.
pub(super) type Node = usize;

/// The number of a definition.
pub(super) type Definition = usize;

/// How often a part may refuse before it is given up.
pub(super) const MAX_TRIES: usize = 24;

/// The parts met so far, in one table, since they may contain themselves.
#[derive(Default)]
pub(super) struct Sketch {
    nodes: Vec<Part>,
    pub definitions: Vec<Defined>,
    by_key: HashMap<(&'static str, &'static str), Definition>,
    /// Grows with everything learned.
    pub learned: usize,
    /// Why the type can never be read, once that is known.
    pub refusal: Option<String>,
    /// How deep the value being made up is nested.
    pub depth: usize,
}

/// What is known of one part.
#[derive(Default)]
pub(super) struct Part {
    pub kind: Kind,
    /// How many made-up values it, or a type around it, refused.
    pub tries: usize,
}

#[derive(Default, Clone, PartialEq)]
pub(super) enum Kind {
    #[default]
    Unknown,
    Scalar(Scalar),
    Ref,
    Option(Node),
    Seq(Node),
    Map(Node, Node),
    Tuple(Vec<Node>),
    Defined(Definition),
    /// It asks for one thing today and for another tomorrow.
    Varying,
}

/// A struct or enum.
pub(super) struct Defined {
    pub name: &'static str,
    pub body: Body,
    /// Whether a value of it is being made up right now.
    pub open: bool,
}

#[derive(Clone)]
pub(super) enum Body {
    Struct(Parts),
    Enum {
        variants: Vec<Variant>,
        /// The first variant that came to an end: the way out of a recursion.
        finite: Option<usize>,
    },
}

/// The parts of a struct or variant.
#[derive(Clone, Default)]
pub(super) struct Parts {
    /// Empty where they are known by position.
    pub names: &'static [&'static str],
    pub nodes: Vec<Node>,
    pub unit: bool,
}

#[derive(Clone, Default)]
pub(super) struct Variant {
    pub name: &'static str,
    /// `None` until it was visited.
    pub parts: Option<Parts>,
    pub visits: usize,
    pub failures: usize,
    /// The type says that there is no such variant: its name is another's alias.
    pub absent: bool,
}

impl Sketch {
    pub fn node(&mut self) -> Node {
        self.nodes.push(Part::default());
        self.nodes.len() - 1
    }

    pub fn nodes(&mut self, count: usize) -> Vec<Node> {
        (0..count).map(|_| self.node()).collect()
    }

    pub fn part(&mut self, node: Node) -> &mut Part {
        &mut self.nodes[node]
    }

    pub fn kind(&self, node: Node) -> Kind {
        self.nodes[node].kind.clone()
    }

    /// Notes the kind of a part that was not known; a contradiction makes it opaque.
    pub fn settle(&mut self, node: Node, kind: Kind) {
        let known = &mut self.nodes[node].kind;
        if *known == Kind::Unknown {
            *known = kind;
            self.learned += 1;
        } else if *known != kind && *known != Kind::Varying {
            *known = Kind::Varying;
            self.learned += 1;
        }
    }

    /// The definition of the type that this visitor visits.
    ///
    /// A type is recognized by its visitor, whose path and parameters are its own: two types of
    /// one name in different modules are two definitions.
    pub fn define(
        &mut self,
        visitor: &'static str,
        name: &'static str,
        body: impl FnOnce(&mut Sketch) -> Body,
    ) -> Definition {
        if let Some(&known) = self.by_key.get(&(visitor, name)) {
            return known;
        }
        let body = body(self);
        self.definitions.push(Defined { name, body, open: false });
        let definition = self.definitions.len() - 1;
        self.by_key.insert((visitor, name), definition);
        self.learned += 1;
        definition
    }

    /// How many variants all enums have.
    pub fn variants(&self) -> usize {
        let count = |defined: &Defined| match &defined.body {
            Body::Enum { variants, .. } => variants.len(),
            Body::Struct(_) => 0,
        };
        self.definitions.iter().map(count).sum()
    }

    /// Whether everything that can be reached from `node` is known.
    pub fn is_complete(&self, node: Node) -> bool {
        self.complete(node, &mut HashSet::new())
    }

    /// Whether everything in a variant is known.
    pub fn variant_is_complete(&self, variant: &Variant) -> bool {
        self.variant_complete(variant, &mut HashSet::new())
    }

    fn complete(&self, node: Node, seen: &mut HashSet<Definition>) -> bool {
        match &self.nodes[node].kind {
            Kind::Unknown => false,
            Kind::Scalar(_) | Kind::Ref | Kind::Varying => true,
            Kind::Option(inner) | Kind::Seq(inner) => self.complete(*inner, seen),
            Kind::Map(key, value) => self.complete(*key, seen) && self.complete(*value, seen),
            Kind::Tuple(nodes) => nodes.iter().all(|&node| self.complete(node, seen)),
            Kind::Defined(definition) => match &self.definitions[*definition].body {
                _ if !seen.insert(*definition) => true,
                Body::Struct(parts) => parts.nodes.iter().all(|&node| self.complete(node, seen)),
                Body::Enum { variants, .. } => {
                    variants.iter().all(|variant| self.variant_complete(variant, seen))
                }
            },
        }
    }

    fn variant_complete(&self, variant: &Variant, seen: &mut HashSet<Definition>) -> bool {
        variant.absent
            || variant
                .parts
                .as_ref()
                .is_some_and(|parts| parts.nodes.iter().all(|&node| self.complete(node, seen)))
    }

    /// The shape that was found; what is not known is opaque.
    pub fn shape(&self, root: Node) -> Shape {
        let mut numbers = HashMap::new();
        let shape = match &self.nodes[root].kind {
            Kind::Defined(definition) => {
                numbers.insert(*definition, 0);
                self.defined(*definition, &mut numbers)
            }
            _ => {
                // The whole is definition 0 even where it is no struct or enum.
                numbers.insert(usize::MAX, 0);
                self.shape_of(root, &mut numbers)
            }
        };
        match shape {
            Shape::Struct(_, Fields::Unit) => Shape::Tuple(Vec::new()),
            Shape::Struct(_, Fields::Positions(items)) => Shape::Tuple(items),
            Shape::Struct(_, fields) => Shape::Struct(None, fields),
            Shape::Enum(_, variants) => Shape::Enum(None, variants),
            other => other,
        }
    }

    fn shape_of(&self, node: Node, numbers: &mut HashMap<Definition, usize>) -> Shape {
        match &self.nodes[node].kind {
            Kind::Unknown | Kind::Varying => Shape::Opaque,
            Kind::Scalar(scalar) => Shape::Scalar(*scalar),
            Kind::Ref => Shape::Ref,
            Kind::Option(inner) => Shape::Option(Box::new(self.shape_of(*inner, numbers))),
            Kind::Seq(inner) => Shape::Seq(Box::new(self.shape_of(*inner, numbers))),
            Kind::Map(key, value) => {
                let key = Box::new(self.shape_of(*key, numbers));
                Shape::Map(key, Box::new(self.shape_of(*value, numbers)))
            }
            Kind::Tuple(nodes) => {
                Shape::Tuple(nodes.iter().map(|&node| self.shape_of(node, numbers)).collect())
            }
            Kind::Defined(definition) => {
                if let Some(&number) = numbers.get(definition) {
                    return Shape::Same(number);
                }
                numbers.insert(*definition, numbers.len());
                self.defined(*definition, numbers)
            }
        }
    }

    fn defined(&self, definition: Definition, numbers: &mut HashMap<Definition, usize>) -> Shape {
        let defined = &self.definitions[definition];
        match &defined.body {
            Body::Struct(parts) => {
                Shape::Struct(Some(defined.name.into()), self.fields(parts, numbers))
            }
            Body::Enum { variants, .. } => {
                let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
                let present: Vec<_> = variants.iter().filter(|variant| !variant.absent).collect();
                let names = told_names(&names, present.len());
                let variants = names.into_iter().zip(present).map(|(name, variant)| {
                    let fields = match &variant.parts {
                        Some(parts) => self.fields(parts, numbers),
                        None => Fields::Positions(vec![Shape::Opaque]),
                    };
                    (name, fields)
                });
                Shape::Enum(Some(defined.name.into()), variants.collect())
            }
        }
    }

    fn fields(&self, parts: &Parts, numbers: &mut HashMap<Definition, usize>) -> Fields {
        let shapes = parts.nodes.iter().map(|&node| self.shape_of(node, numbers));
        if parts.unit {
            Fields::Unit
        } else if parts.names.len() >= parts.nodes.len() && !parts.nodes.is_empty() {
            let names = told_names(parts.names, parts.nodes.len());
            Fields::Names(names.into_iter().zip(shapes).collect())
        } else {
            Fields::Positions(shapes.collect())
        }
    }
}

/// The names of `count` fields or variants of which serde told `names`.
///
/// It lists aliases among the names, in the order of what they name, and does not say which are
/// which. Where there are any, each goes by its number, and the first carries the whole list: two
/// that change places change the list.
fn told_names(names: &[&str], count: usize) -> Vec<Box<str>> {
    if names.len() == count {
        return names.iter().map(|&name| name.into()).collect();
    }
    let number = |index| match index {
        0 => format!("0 of {}", names.join(" ")),
        _ => index.to_string(),
    };
    (0..count).map(|index| number(index).into()).collect()
}
