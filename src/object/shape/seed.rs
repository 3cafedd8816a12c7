//! Reading a record by its shape: [`decode_by_shape`].
//!
//! A `DeserializeSeed` that the shape drives, over the decoder that reads typed values.
//!
//! # Invariants
//! - Whatever shape and bytes, the value has no more parts than a bound that grows with the bytes.

use super::{Content, Fields, Scalar, Shape, Value};
use crate::error::Result;
use crate::object::codec::{MAX_DEPTH, MAX_EMPTY, REST, decode_seed};
use crate::object::reference::{LOOSE, Ref};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

/// The value that `bytes` encode, as `shape` describes it.
///
/// From the first [`Opaque`](Shape::Opaque) part that is met, the rest of the bytes is one
/// [`Value::Opaque`], and the parts after it are empty ones.
///
/// # Errors
/// [`Codec`](crate::Error::Codec) for bytes that are not of this shape.
pub fn decode_by_shape(shape: &Shape, bytes: &[u8]) -> Result<Value> {
    let most = bytes.len().saturating_mul(MAX_DEPTH).saturating_add(MAX_EMPTY);
    let book =
        Book { definitions: shape.definitions(), ended: Cell::new(false), left: Cell::new(most) };
    decode_seed(Reading { shape, book: &book }, bytes, LOOSE)
        .map_err(|fault| fault.of_type(&shape.to_string()))
}

/// What all parts of one reading share.
struct Book<'s> {
    definitions: Vec<&'s Shape>,
    /// Whether an opaque part took the rest.
    ended: Cell<bool>,
    /// How many more parts there may be: a made-up shape could have exponentially many without
    /// taking a byte. One with long names counts for several.
    left: Cell<usize>,
}

impl Book<'_> {
    /// Takes note of a part that has so many bytes of names.
    fn count<E: Error>(&self, names: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(1 + names / 64);
        self.left.set(left.ok_or_else(|| E::custom("too many parts"))?);
        Ok(())
    }
}

/// A value of this shape is to be read.
#[derive(Clone, Copy)]
struct Reading<'s> {
    shape: &'s Shape,
    book: &'s Book<'s>,
}

impl<'s> Reading<'s> {
    fn of(self, shape: &'s Shape) -> Reading<'s> {
        Reading { shape, ..self }
    }

    fn same<E: Error>(self, number: usize) -> Result<Reading<'s>, E> {
        match self.book.definitions.get(number) {
            Some(&shape) if !matches!(shape, Shape::Same(_)) => Ok(self.of(shape)),
            _ => Err(E::custom(format!("the shape has no definition {number}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.book.ended.get() {
            return Ok(Value::Opaque(Vec::new()));
        }
        self.book.count(self.shape.own_names())?;
        match self.shape {
            Shape::Scalar(scalar) => read_scalar(*scalar, from),
            Shape::Ref => Ref::<()>::deserialize(from).map(|found| Value::Ref(found.oid())),
            Shape::Option(_) => from.deserialize_option(self),
            Shape::Seq(_) => from.deserialize_seq(self),
            Shape::Map(..) => from.deserialize_map(self),
            Shape::Tuple(items) => {
                from.deserialize_tuple(items.len(), Parts::of(self, items)).map(Value::Tuple)
            }
            Shape::Struct(name, fields) => {
                let parts = Parts { reading: self, shapes: fields.shapes() };
                let parts = from.deserialize_tuple(parts.shapes.len(), parts)?;
                Ok(Value::Struct(name.clone(), content(fields, parts)))
            }
            Shape::Enum(..) => from.deserialize_enum("", &[], self),
            Shape::Same(number) => self.same(*number)?.deserialize(from),
            Shape::Opaque => {
                self.book.ended.set(true);
                from.deserialize_newtype_struct(REST, Raw).map(Value::Opaque)
            }
        }
    }
}

fn read_scalar<'de, D: Deserializer<'de>>(scalar: Scalar, from: D) -> Result<Value, D::Error> {
    Ok(match scalar {
        Scalar::Bool => Value::Bool(bool::deserialize(from)?),
        Scalar::I8 => Value::Int(i8::deserialize(from)?.into()),
        Scalar::I16 => Value::Int(i16::deserialize(from)?.into()),
        Scalar::I32 => Value::Int(i32::deserialize(from)?.into()),
        Scalar::I64 => Value::Int(i64::deserialize(from)?.into()),
        Scalar::I128 => Value::Int(i128::deserialize(from)?),
        Scalar::U8 => Value::Uint(u8::deserialize(from)?.into()),
        Scalar::U16 => Value::Uint(u16::deserialize(from)?.into()),
        Scalar::U32 => Value::Uint(u32::deserialize(from)?.into()),
        Scalar::U64 => Value::Uint(u64::deserialize(from)?.into()),
        Scalar::U128 => Value::Uint(u128::deserialize(from)?),
        Scalar::F32 => Value::F32(f32::deserialize(from)?),
        Scalar::F64 => Value::F64(f64::deserialize(from)?),
        Scalar::Char => Value::Char(char::deserialize(from)?),
        Scalar::Str => Value::Str(String::deserialize(from)?),
        Scalar::Bytes => Value::Bytes(from.deserialize_bytes(Raw)?),
    })
}

fn content(fields: &Fields, parts: Vec<Value>) -> Content {
    match fields {
        Fields::Unit => Content::Unit,
        Fields::Positions(_) => Content::Positions(parts),
        Fields::Names(names) => {
            Content::Names(names.iter().map(|(name, _)| name.clone()).zip(parts).collect())
        }
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of shape {}", self.shape)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let Shape::Option(inner) = self.shape else { return Err(D::Error::custom("no option")) };
        let value = self.of(inner).deserialize(from)?;
        Ok(Value::Option(Some(Box::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Shape::Seq(inner) = self.shape else { return Err(A::Error::custom("no sequence")) };
        let mut items = Vec::new();
        while !self.book.ended.get()
            && let Some(item) = seq.next_element_seed(self.of(inner))?
        {
            items.push(item);
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Shape::Map(key, value) = self.shape else { return Err(A::Error::custom("no map")) };
        let mut entries = Vec::new();
        while !self.book.ended.get()
            && let Some(key) = map.next_key_seed(self.of(key))?
        {
            entries.push((key, map.next_value_seed(self.of(value))?));
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        let Shape::Enum(_, variants) = self.shape else { return Err(A::Error::custom("no enum")) };
        let (index, from) = from.variant_seed(PhantomData::<u32>)?;
        let (name, fields) = usize::try_from(index)
            .ok()
            .and_then(|index| variants.get(index))
            .ok_or_else(|| A::Error::custom(format!("the enum has no variant {index}")))?;
        self.book.count(name.len() + fields.own_names())?;
        let parts = Parts { reading: self, shapes: fields.shapes() };
        let parts = from.tuple_variant(parts.shapes.len(), parts)?;
        Ok(Value::Variant(name.clone(), content(fields, parts)))
    }
}

/// Parts of these shapes are to be read, one after the other.
struct Parts<'s> {
    reading: Reading<'s>,
    shapes: Vec<&'s Shape>,
}

impl<'s> Parts<'s> {
    fn of(reading: Reading<'s>, shapes: &'s [Shape]) -> Parts<'s> {
        Parts { reading, shapes: shapes.iter().collect() }
    }
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} parts", self.shapes.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Value>, A::Error> {
        let mut values = Vec::new();
        for &shape in &self.shapes {
            let value = seq.next_element_seed(self.reading.of(shape))?;
            values.push(value.ok_or_else(|| A::Error::invalid_length(values.len(), &self))?);
        }
        Ok(values)
    }
}

/// Bytes as they are.
struct Raw;

impl Visitor<'_> for Raw {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
