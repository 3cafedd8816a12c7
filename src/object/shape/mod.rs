//! What the values of a type look like in bytes: [`Shape`], and records read without the type:
//! [`Value`].
//!
//! The storage keeps a shape's text beside each type's name and version, so that a change of
//! fields without a change of version is noticed, and so that tools can print objects without
//! the application's types. Connections ask for it once per type.
//!
//! # Invariants
//! - Two types have one text exactly if serde describes them alike, whatever the outermost type
//!   is called in the program.
//! - The text of a shape reads back as that shape.
//!
//! Format: docs/format.md, "Shapes".

mod choice;
mod dummy;
mod json;
mod seed;
mod sketch;
mod text;
mod trace;
mod value;

use crate::error::{CodecFailure, Result};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

pub use seed::decode_by_shape;
pub use value::{Content, Value};

/// The shape of a type's values.
///
/// Its text, `Display` and [`parse`](Shape::parse), is what a file keeps:
///
/// ```
/// use perennial::shape::Shape;
/// #[derive(serde::Deserialize)]
/// struct Account { owner: String, cents: i64, kind: Kind }
/// #[derive(serde::Deserialize)]
/// enum Kind { Private, Company(Option<u32>) }
///
/// let shape = Shape::of::<Account>("bank.Account")?;
/// let text = "{owner: str, cents: i64, kind: enum Kind {Private, Company(Option<u32>)}}";
/// assert_eq!(shape.to_string(), text);
/// assert_eq!(Shape::parse(text)?, *shape);
/// # perennial::Result::<()>::Ok(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// A number, a truth value, a character, a string or bytes.
    Scalar(Scalar),
    /// A reference to an object.
    Ref,
    /// One value or none.
    Option(Box<Shape>),
    /// Any number of elements.
    Seq(Box<Shape>),
    /// Any number of keys and values.
    Map(Box<Shape>, Box<Shape>),
    /// A fixed number of elements.
    Tuple(Vec<Shape>),
    /// A struct; without a name where it is the whole shape.
    Struct(Option<Box<str>>, Fields),
    /// An enum and its variants; without a name where it is the whole shape.
    Enum(Option<Box<str>>, Vec<(Box<str>, Fields)>),
    /// The definition of this number once more. Definition 0 is the whole shape; every struct and
    /// enum below is one, numbered as they come in the text.
    Same(usize),
    /// Serde could not tell: the type refuses every value that was tried.
    Opaque,
}

/// What a struct or a variant consists of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fields {
    /// Of nothing.
    Unit,
    /// Of fields known by position.
    Positions(Vec<Shape>),
    /// Of fields known by name.
    Names(Vec<(Box<str>, Shape)>),
}

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Scalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
}

/// Shapes traced so far in this process, or why there is none.
type Traced = HashMap<TypeId, Result<Arc<Shape>, Box<str>>>;

static TRACED: LazyLock<RwLock<Traced>> = LazyLock::new(RwLock::default);

impl Shape {
    /// The shape of `T`, as its `Deserialize` describes it.
    ///
    /// It is found by deserializing made-up values, once per type and process. Where a type
    /// refuses all of them, the shape is [`Opaque`](Shape::Opaque) from there on.
    ///
    /// # Errors
    /// [`Codec`](crate::Error::Codec) for a type that asks the bytes what they are, and so can
    /// never be read back; `type_name` is for this message.
    pub fn of<T: DeserializeOwned + 'static>(type_name: &str) -> Result<Arc<Shape>> {
        let id = TypeId::of::<T>();
        let known = TRACED.read().get(&id).cloned();
        // Traced outside the lock: a Deserialize may come here again.
        let shape = known.unwrap_or_else(|| {
            let shape = trace::trace::<T>().map(Arc::new).map_err(|f| f.to_string().into());
            TRACED.write().entry(id).or_insert(shape).clone()
        });
        shape.map_err(|what| CodecFailure::new(type_name, what).into())
    }

    /// The shape of this text.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for text that is not a shape.
    pub fn parse(text: &str) -> Result<Shape> {
        text::parse(text)
    }

    /// The definitions that [`Same`](Shape::Same) counts.
    fn definitions(&self) -> Vec<&Shape> {
        let mut found = vec![self];
        self.children().into_iter().for_each(|child| child.define(&mut found));
        found
    }

    fn define<'a>(&'a self, found: &mut Vec<&'a Shape>) {
        if matches!(self, Shape::Struct(..) | Shape::Enum(..)) {
            found.push(self);
        }
        self.children().into_iter().for_each(|child| child.define(found));
    }

    /// Bytes of the names that a value of this shape repeats, but for those of its parts.
    fn own_names(&self) -> usize {
        match self {
            Shape::Struct(name, fields) => {
                name.as_ref().map_or(0, |name| name.len()) + fields.own_names()
            }
            _ => 0,
        }
    }

    fn children(&self) -> Vec<&Shape> {
        match self {
            Shape::Scalar(_) | Shape::Ref | Shape::Same(_) | Shape::Opaque => Vec::new(),
            Shape::Option(inner) | Shape::Seq(inner) => vec![inner],
            Shape::Map(key, value) => vec![key, value],
            Shape::Tuple(items) => items.iter().collect(),
            Shape::Struct(_, fields) => fields.shapes(),
            Shape::Enum(_, variants) => {
                variants.iter().flat_map(|(_, fields)| fields.shapes()).collect()
            }
        }
    }
}

impl Fields {
    /// Bytes of the names that a value of these fields repeats.
    fn own_names(&self) -> usize {
        match self {
            Fields::Unit | Fields::Positions(_) => 0,
            Fields::Names(fields) => fields.iter().map(|(name, _)| name.len()).sum(),
        }
    }

    fn shapes(&self) -> Vec<&Shape> {
        match self {
            Fields::Unit => Vec::new(),
            Fields::Positions(shapes) => shapes.iter().collect(),
            Fields::Names(fields) => fields.iter().map(|(_, shape)| shape).collect(),
        }
    }
}

impl Scalar {
    /// All of them.
    pub const ALL: [Scalar; 16] = {
        use Scalar::*;
        [Bool, I8, I16, I32, I64, I128, U8, U16, U32, U64, U128, F32, F64, Char, Str, Bytes]
    };

    /// Its word in a shape's text.
    pub const fn word(self) -> &'static str {
        match self {
            Scalar::Bool => "bool",
            Scalar::I8 => "i8",
            Scalar::I16 => "i16",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::I128 => "i128",
            Scalar::U8 => "u8",
            Scalar::U16 => "u16",
            Scalar::U32 => "u32",
            Scalar::U64 => "u64",
            Scalar::U128 => "u128",
            Scalar::F32 => "f32",
            Scalar::F64 => "f64",
            Scalar::Char => "char",
            Scalar::Str => "str",
            Scalar::Bytes => "bytes",
        }
    }
}
