//! A record's value without its type: [`Value`].
//!
//! Tools print it, as text or as JSON; [`decode_by_shape`](super::decode_by_shape) makes it.
//!
//! # Invariants
//! - Text and JSON show everything that was in the bytes.

use super::text::{Name, list};
use crate::id::Oid;
use std::fmt::{self, Write as _};

/// A value as its shape describes it.
///
/// `Display` shows it on one line, much as the program would write it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A signed number, of whatever size.
    Int(i128),
    /// An unsigned number, of whatever size.
    Uint(u128),
    /// A number of 32 bits with a fraction.
    F32(f32),
    /// A number of 64 bits with a fraction.
    F64(f64),
    /// A character.
    Char(char),
    /// A string.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A reference to an object.
    Ref(Oid),
    /// One value, or none.
    Option(Option<Box<Value>>),
    /// The elements of a sequence.
    Seq(Vec<Value>),
    /// Keys and values.
    Map(Vec<(Value, Value)>),
    /// The elements of a tuple.
    Tuple(Vec<Value>),
    /// A struct and its content; without a name where it is the whole value.
    Struct(Option<Box<str>>, Content),
    /// A variant of an enum and its content.
    Variant(Box<str>, Content),
    /// Bytes that the shape does not explain.
    Opaque(Vec<u8>),
}

/// What is in a struct or variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Unit,
    /// Fields known by position.
    Positions(Vec<Value>),
    /// Fields known by name.
    Names(Vec<(Box<str>, Value)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::F32(value) => write!(f, "{value:?}"),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Char(value) => write!(f, "{value:?}"),
            Value::Str(value) => write!(f, "{value:?}"),
            Value::Bytes(bytes) => write!(f, "0x{}", Hex(bytes)),
            Value::Ref(oid) => write!(f, "Ref({oid})"),
            Value::Option(None) => f.write_str("None"),
            Value::Option(Some(value)) => write!(f, "Some({value})"),
            Value::Seq(items) => {
                f.write_char('[')?;
                list(f, items, |f, item| write!(f, "{item}"))?;
                f.write_char(']')
            }
            Value::Map(entries) => {
                f.write_char('{')?;
                list(f, entries, |f, (key, value)| write!(f, "{key} => {value}"))?;
                f.write_char('}')
            }
            Value::Tuple(items) => positions(f, items),
            Value::Struct(None, Content::Unit) => f.write_str("()"),
            Value::Struct(None, content) => content.fmt(f),
            Value::Struct(Some(name), content) | Value::Variant(name, content) => {
                write!(f, "{}{content}", Name(name))
            }
            Value::Opaque(bytes) => write!(f, "opaque 0x{}", Hex(bytes)),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Unit => Ok(()),
            Content::Positions(items) => positions(f, items),
            Content::Names(fields) => {
                f.write_char('{')?;
                list(f, fields, |f, (name, value)| write!(f, "{}: {value}", Name(name)))?;
                f.write_char('}')
            }
        }
    }
}

fn positions(f: &mut fmt::Formatter<'_>, items: &[Value]) -> fmt::Result {
    f.write_char('(')?;
    list(f, items, |f, item| write!(f, "{item}"))?;
    f.write_char(')')
}

/// Bytes as hexadecimal digits.
pub(super) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
