//! Which variant of an enum is made up next: [`choose`].
//!
//! # Invariants
//! - Every variant gets its turn until it is known or has refused too often.

use super::dummy::Given;
use super::sketch::{Body, Definition, MAX_TRIES, Parts, Sketch, Variant};
use crate::object::codec::{Fault, MAX_DEPTH};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// A value of the enum `definition`; its smallest where `small` says so, or where the enum is
/// met inside itself.
pub(super) fn choose<'de, V: Visitor<'de>>(
    sketch: &mut Sketch,
    definition: Definition,
    small: bool,
    visitor: V,
) -> Result<V::Value, Fault> {
    let was_open = sketch.definitions[definition].open;
    let small = small || was_open;
    let index = pick(sketch, definition, small)?;
    sketch.definitions[definition].open = true;
    sketch.depth += 1;
    let result = if sketch.depth > MAX_DEPTH {
        Err(Fault::new("a value without end"))
    } else {
        variant(sketch, definition, index).visits += 1;
        visitor.visit_enum(Choice { sketch: &mut *sketch, definition, index, small })
    };
    sketch.depth -= 1;
    sketch.definitions[definition].open = was_open;
    settle(sketch, definition, index, result.is_ok());
    result
}

/// The variant of which there is most to learn, or the one that surely ends.
fn pick(sketch: &Sketch, definition: Definition, small: bool) -> Result<usize, Fault> {
    let Body::Enum { variants, finite } = &sketch.definitions[definition].body else {
        return Err(Fault::new("a struct that is an enum at times"));
    };
    let open = |(_, variant): &(usize, &Variant)| {
        !variant.absent && variant.failures < MAX_TRIES && !sketch.variant_is_complete(variant)
    };
    let worthwhile = || {
        let open = variants.iter().enumerate().filter(open);
        open.min_by_key(|(_, variant)| variant.visits).map(|(index, _)| index)
    };
    match finite {
        Some(finite) if small => Ok(*finite),
        None if small => Err(Fault::new("no end of the recursion is known yet")),
        _ => worthwhile().or(*finite).ok_or_else(|| Fault::new("no variant is accepted")),
    }
}

fn variant(sketch: &mut Sketch, definition: Definition, index: usize) -> &mut Variant {
    match &mut sketch.definitions[definition].body {
        Body::Enum { variants, .. } => &mut variants[index],
        Body::Struct(_) => unreachable!("pick refuses a struct"),
    }
}

fn settle(sketch: &mut Sketch, definition: Definition, index: usize, accepted: bool) {
    if !accepted {
        variant(sketch, definition, index).failures += 1;
        return;
    }
    if let Body::Enum { finite: finite @ None, .. } = &mut sketch.definitions[definition].body {
        *finite = Some(index);
        sketch.learned += 1;
    }
}

/// The variant that was picked.
struct Choice<'a> {
    sketch: &'a mut Sketch,
    definition: Definition,
    index: usize,
    small: bool,
}

impl<'a> Choice<'a> {
    /// The parts of the variant: those known, or those that `make` makes.
    fn parts(self, make: impl FnOnce(&mut Sketch) -> Parts) -> Given<'a> {
        let known = variant(self.sketch, self.definition, self.index).parts.clone();
        let parts = known.unwrap_or_else(|| {
            let parts = make(self.sketch);
            self.sketch.learned += 1;
            variant(self.sketch, self.definition, self.index).parts = Some(parts.clone());
            parts
        });
        Given::new(self.sketch, parts.nodes, self.small)
    }
}

impl<'de> de::EnumAccess<'de> for Choice<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let index = self.index as u32;
        match seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(index)) {
            Ok(found) => Ok((found, self)),
            Err(fault) => {
                variant(self.sketch, self.definition, self.index).absent = true;
                self.sketch.learned += 1;
                Err(fault)
            }
        }
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.parts(|_| Parts { unit: true, ..Parts::default() });
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let mut given = self.parts(|sketch| Parts { nodes: sketch.nodes(1), ..Parts::default() });
        given.only(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        let mut given =
            self.parts(|sketch| Parts { nodes: sketch.nodes(length), ..Parts::default() });
        visitor.visit_seq(&mut given)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut given =
            self.parts(|sketch| Parts { names, nodes: sketch.nodes(names.len()), unit: false });
        visitor.visit_seq(&mut given)
    }
}
