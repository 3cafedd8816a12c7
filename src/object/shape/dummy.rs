//! Making up a value: [`Dummy`].
//!
//! A deserializer without bytes: it answers what a type asks for with something plausible, and
//! notes in the sketch what was asked.
//!
//! # Invariants
//! - Every made-up value is finite: a type met inside itself gets its smallest value.

use super::Scalar;
use super::sketch::{Body, Kind, MAX_TRIES, Node, Parts, Sketch, Variant};
use crate::object::codec::{Fault, MAX_DEPTH};
use crate::object::reference;
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};
use std::any::type_name;

// The samples are as good as part of the format: one more of them may reveal what was opaque, and
// so change the shape of a type that is stored already.

/// Strings that types with a notation of their own may accept.
const STRINGS: [&str; 12] = [
    "",
    "a",
    "1",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
    "00:00:00",
    "1970-01-01T00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "127.0.0.1",
    "127.0.0.1:80",
    "http://a/",
    "UTC",
];

/// Lengths of byte strings that types may accept.
const LENGTHS: [usize; 8] = [16, 0, 4, 8, 12, 20, 24, 32];

/// Gives a made-up value to whoever asks for the part `node`.
pub(super) struct Dummy<'a> {
    sketch: &'a mut Sketch,
    node: Node,
    /// Whether the value is to be as small as it can be.
    small: bool,
}

impl<'a> Dummy<'a> {
    /// A value of the part `node`.
    pub fn new(sketch: &'a mut Sketch, node: Node) -> Dummy<'a> {
        Dummy { sketch, node, small: false }
    }

    /// Notes a scalar; which of its samples is next.
    fn scalar(&mut self, scalar: Scalar) -> usize {
        self.sketch.settle(self.node, Kind::Scalar(scalar));
        self.sketch.part(self.node).tries
    }

    fn refuse<T>(self, why: &str) -> Result<T, Fault> {
        let why = format!("bincode cannot read it back: {why}");
        self.sketch.refusal = Some(why.clone());
        Err(Fault::new(why))
    }

    /// Whether to go into an optional part.
    ///
    /// It is worthwhile while there is something to learn, and in every second try after the type
    /// around it had refused: it may insist.
    fn explores(&mut self, inner: Node) -> bool {
        let part = self.sketch.part(self.node);
        let insists = part.tries % 2 == 1;
        let worthwhile =
            self.sketch.part(inner).tries < MAX_TRIES && !self.sketch.is_complete(inner);
        !self.small && (worthwhile || insists)
    }

    fn parts(self, nodes: Vec<Node>) -> Given<'a> {
        Given::new(self.sketch, nodes, self.small)
    }

    /// The value of a struct, whose parts `nodes` makes unless they are known.
    fn structure<'de, V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
        parts: impl FnOnce(&mut Sketch) -> Parts,
        visit: impl FnOnce(V, &mut Given<'_>) -> Result<V::Value, Fault>,
    ) -> Result<V::Value, Fault> {
        let key = type_name::<V>();
        let definition = self.sketch.define(key, name, |sketch| Body::Struct(parts(sketch)));
        self.sketch.settle(self.node, Kind::Defined(definition));
        let Body::Struct(parts) = self.sketch.definitions[definition].body.clone() else {
            self.sketch.settle(self.node, Kind::Varying);
            return Err(Fault::new("an enum that is a struct at times"));
        };
        let was_open = std::mem::replace(&mut self.sketch.definitions[definition].open, true);
        self.small |= was_open;
        self.sketch.depth += 1;
        let result = if self.sketch.depth > MAX_DEPTH {
            Err(Fault::new("a value without end"))
        } else {
            let mut given = Given::new(self.sketch, parts.nodes, self.small);
            let result = visit(visitor, &mut given);
            let asked = given.next;
            // Serde lists aliases among the fields: those that were never asked for are none.
            if let (Ok(_), Body::Struct(parts)) =
                (&result, &mut self.sketch.definitions[definition].body)
            {
                parts.nodes.truncate(asked);
            }
            result
        };
        self.sketch.depth -= 1;
        self.sketch.definitions[definition].open = was_open;
        result
    }
}

/// The parts of a made-up value, as they are asked for.
pub(super) struct Given<'a> {
    sketch: &'a mut Sketch,
    small: bool,
    nodes: Vec<Node>,
    next: usize,
}

impl<'a> Given<'a> {
    pub fn new(sketch: &'a mut Sketch, nodes: Vec<Node>, small: bool) -> Given<'a> {
        Given { sketch, small, nodes, next: 0 }
    }

    /// The value of the one part there is.
    pub fn only<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let element = de::SeqAccess::next_element_seed(&mut &mut *self, seed)?;
        element.ok_or_else(|| Fault::new("it has no part"))
    }

    fn give<'de, S: DeserializeSeed<'de>>(
        &mut self,
        node: Node,
        seed: S,
    ) -> Result<S::Value, Fault> {
        let given = seed.deserialize(Dummy { sketch: self.sketch, node, small: self.small });
        if given.is_err() {
            self.sketch.part(node).tries += 1;
        }
        given
    }
}

impl<'de> de::SeqAccess<'de> for &mut Given<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(&node) = self.nodes.get(self.next) else { return Ok(None) };
        self.next += 1;
        self.give(node, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len() - self.next)
    }
}

impl<'de> de::MapAccess<'de> for &mut Given<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let node = self.nodes.get(self.next).copied();
        self.next += 1;
        self.give(node.ok_or_else(|| Fault::new("a value was asked for before its key"))?, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some((self.nodes.len() - self.next) / 2)
    }
}

/// Answers with one of a few numbers; the first suits types that exclude zero.
macro_rules! numbers {
    ($($method:ident: $visit:ident $scalar:ident $samples:expr),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
            let samples = $samples;
            let tries = self.scalar(Scalar::$scalar);
            visitor.$visit(samples[tries % samples.len()])
        })*
    };
}

impl<'de> Deserializer<'de> for Dummy<'_> {
    type Error = Fault;

    numbers! {
        deserialize_bool: visit_bool Bool [true, false],
        deserialize_i8: visit_i8 I8 [1, 0, 2, -1],
        deserialize_i16: visit_i16 I16 [1, 0, 2, -1],
        deserialize_i32: visit_i32 I32 [1, 0, 2, -1],
        deserialize_i64: visit_i64 I64 [1, 0, 2, -1],
        deserialize_i128: visit_i128 I128 [1, 0, 2, -1],
        deserialize_u8: visit_u8 U8 [1, 0, 2, 16],
        deserialize_u16: visit_u16 U16 [1, 0, 2, 16],
        deserialize_u32: visit_u32 U32 [1, 0, 2, 16],
        deserialize_u64: visit_u64 U64 [1, 0, 2, 16],
        deserialize_u128: visit_u128 U128 [1, 0, 2, 16],
        deserialize_f32: visit_f32 F32 [1.0, 0.0, -1.0],
        deserialize_f64: visit_f64 F64 [1.0, 0.0, -1.0],
        deserialize_char: visit_char Char ['a', '0', 'A'],
        deserialize_str: visit_borrowed_str Str STRINGS,
        deserialize_string: visit_borrowed_str Str STRINGS,
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        let tries = self.scalar(Scalar::Bytes);
        visitor.visit_byte_buf(vec![0; LENGTHS[tries % LENGTHS.len()]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.refuse(
            "it asks the bytes for their type (untagged or internally tagged enum, flatten, or a \
             value of any type)",
        )
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.refuse("it skips over what it does not know")
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.refuse("it looks for names, which are not in the bytes")
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        let inner = match self.sketch.kind(self.node) {
            Kind::Option(inner) => inner,
            _ => self.sketch.node(),
        };
        self.sketch.settle(self.node, Kind::Option(inner));
        if !self.explores(inner) {
            return visitor.visit_none();
        }
        let some = Dummy { node: inner, small: self.small, sketch: &mut *self.sketch };
        let value = visitor.visit_some(some);
        if value.is_err() {
            self.sketch.part(inner).tries += 1;
        }
        value
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        let inner = match self.sketch.kind(self.node) {
            Kind::Seq(inner) => inner,
            _ => self.sketch.node(),
        };
        self.sketch.settle(self.node, Kind::Seq(inner));
        let nodes = if self.explores(inner) { vec![inner] } else { Vec::new() };
        visitor.visit_seq(&mut self.parts(nodes))
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        let (key, value) = match self.sketch.kind(self.node) {
            Kind::Map(key, value) => (key, value),
            _ => (self.sketch.node(), self.sketch.node()),
        };
        self.sketch.settle(self.node, Kind::Map(key, value));
        let explores = self.explores(key) || self.explores(value);
        let given_up = self.sketch.part(key).tries.max(self.sketch.part(value).tries) >= MAX_TRIES;
        let nodes = if explores && !given_up { vec![key, value] } else { Vec::new() };
        visitor.visit_map(&mut self.parts(nodes))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let nodes = match self.sketch.kind(self.node) {
            Kind::Tuple(nodes) if nodes.len() == length => nodes,
            _ => self.sketch.nodes(length),
        };
        self.sketch.settle(self.node, Kind::Tuple(nodes.clone()));
        visitor.visit_seq(&mut self.parts(nodes))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.sketch.settle(self.node, Kind::Tuple(Vec::new()));
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let unit = |_: &mut Sketch| Parts { unit: true, ..Parts::default() };
        self.structure(name, visitor, unit, |visitor, _| visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == reference::NAME {
            self.sketch.settle(self.node, Kind::Ref);
            return visitor.visit_u128(reference::join(1, reference::LOOSE));
        }
        let one = |sketch: &mut Sketch| Parts { nodes: sketch.nodes(1), ..Parts::default() };
        self.structure(name, visitor, one, |visitor, given| {
            let node = given.nodes[0];
            given.next = 1;
            let small = given.small;
            let value =
                visitor.visit_newtype_struct(Dummy { sketch: &mut *given.sketch, node, small });
            if value.is_err() {
                given.sketch.part(node).tries += 1;
            }
            value
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let parts = |sketch: &mut Sketch| Parts { nodes: sketch.nodes(length), ..Parts::default() };
        self.structure(name, visitor, parts, |visitor, given| visitor.visit_seq(given))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let parts =
            |sketch: &mut Sketch| Parts { names, nodes: sketch.nodes(names.len()), unit: false };
        self.structure(name, visitor, parts, |visitor, given| visitor.visit_seq(given))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant = |&name: &&'static str| Variant { name, ..Variant::default() };
        let definition = self.sketch.define(type_name::<V>(), name, |_| Body::Enum {
            variants: variants.iter().map(variant).collect(),
            finite: None,
        });
        self.sketch.settle(self.node, Kind::Defined(definition));
        super::choice::choose(self.sketch, definition, self.small, visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
