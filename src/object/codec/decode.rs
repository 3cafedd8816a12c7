//! From bytes to a value: [`Decoder`].
//!
//! A deserializer whose numbers and strings are bincode's, and whose structure is watched.
//!
//! # Invariants
//! - It never announces more elements than there are bytes left for.
//! - It takes a bounded part of the stack, whatever the frames of the types it calls.
//! - Strings and byte strings are slices of the input until the type copies them.

use super::{CONFIG, Fault, MAX_DEPTH, MAX_EMPTY, too_deep, too_many_empty};
use crate::object::reference;
use bincode::config::Configuration;
use bincode::de::read::{BorrowReader, Reader};
use bincode::de::{BorrowDecode, Decode, Decoder as _, DecoderImpl};
use bincode::error::DecodeError;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

/// The name of the newtype struct that stands for all bytes left, in shapes.
pub(in crate::object) const REST: &str = "perennial::rest";

/// How many bytes of the stack reading one value may take.
///
/// The depth alone does not bound it: a derived `Deserialize` holds its fields in its frame, in a
/// debug build several times over. Half of the 2 MiB that a thread has by default.
const MAX_STACK: usize = 1 << 20;

/// Reads one value.
pub(super) struct Decoder<'de> {
    bincode: DecoderImpl<Input<'de>, Configuration, ()>,
    tag: u32,
    depth: usize,
    empty: usize,
    /// Where on the stack reading began.
    stack: usize,
}

/// An address on the stack, near its end.
fn stack() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}

/// The bytes not read yet.
struct Input<'de>(&'de [u8]);

impl Reader for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let taken = self.take_bytes(bytes.len())?;
        bytes.copy_from_slice(taken);
        Ok(())
    }

    fn peek_read(&mut self, length: usize) -> Option<&[u8]> {
        self.0.get(..length)
    }

    fn consume(&mut self, length: usize) {
        self.0 = self.0.get(length..).unwrap_or_default();
    }
}

impl<'de> BorrowReader<'de> for Input<'de> {
    fn take_bytes(&mut self, length: usize) -> Result<&'de [u8], DecodeError> {
        let missing = || DecodeError::UnexpectedEnd { additional: length - self.0.len() };
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(missing)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'de> Decoder<'de> {
    /// Reads from `bytes`, and gives every reference the tag.
    pub fn new(bytes: &'de [u8], tag: u32) -> Decoder<'de> {
        let bincode = DecoderImpl::new(Input(bytes), CONFIG, ());
        Decoder { bincode, tag, depth: 0, empty: 0, stack: stack() }
    }

    /// How many bytes are left.
    pub fn left(&mut self) -> usize {
        self.bincode.reader().0.len()
    }

    fn take<T: Decode<()>>(&mut self) -> Result<T, Fault> {
        Ok(T::decode(&mut self.bincode)?)
    }

    fn slice<T: BorrowDecode<'de, ()>>(&mut self) -> Result<T, Fault> {
        Ok(T::borrow_decode(&mut self.bincode)?)
    }

    /// The length of a sequence or map, which must be one that the bytes left can hold.
    fn length(&mut self) -> Result<usize, Fault> {
        let length: usize = self.take()?;
        let left = self.left();
        // A type may go on after it was told that there were too many.
        let empty = MAX_EMPTY.saturating_sub(self.empty);
        if length > left.saturating_add(empty) {
            return Err(Fault::new(format!("{length} elements in the {left} bytes left")));
        }
        Ok(length)
    }

    /// What `read` reads, one level deeper.
    fn inner<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Fault>) -> Result<R, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if stack().abs_diff(self.stack) > MAX_STACK {
            let what = format!("takes more than {MAX_STACK} bytes of stack to read");
            return Err(Fault::new(format!("{what}; make several objects of it")));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn parts<'b>(&'b mut self, length: usize) -> Parts<'b, 'de> {
        let bytes = self.left();
        Parts { decoder: self, left: length, given: 0, names: &[], counted: false, bytes }
    }

    fn counted<'b>(&'b mut self, length: usize) -> Parts<'b, 'de> {
        Parts { counted: true, ..self.parts(length) }
    }

    fn named<'b>(&'b mut self, names: &'static [&'static str]) -> Parts<'b, 'de> {
        Parts { names, ..self.parts(names.len()) }
    }
}

/// The parts of a value, as they are asked for.
struct Parts<'b, 'de> {
    decoder: &'b mut Decoder<'de>,
    left: usize,
    given: usize,
    names: &'static [&'static str],
    /// Whether their number came from the bytes.
    counted: bool,
    /// How many bytes were left when the first one was asked for.
    bytes: usize,
}

impl<'de> Parts<'_, 'de> {
    fn part<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let before = self.decoder.left();
        let value = seed.deserialize(&mut *self.decoder).map_err(|fault| self.locate(fault))?;
        self.given += 1;
        if self.counted && self.decoder.left() == before {
            self.decoder.empty += 1;
            if self.decoder.empty > MAX_EMPTY {
                return Err(too_many_empty());
            }
        }
        Ok(Some(value))
    }

    fn locate(&self, fault: Fault) -> Fault {
        match self.names.get(self.given) {
            Some(&name) => fault.within(name),
            None => fault.within(self.given.to_string()),
        }
    }

    /// A type may allocate this many elements at once: no more than there are bytes.
    fn hint(&self) -> usize {
        self.left.min(self.bytes)
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.part(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.decoder)
            .map_err(|fault| fault.within(self.given.saturating_sub(1).to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// Reads numbers as bincode does.
macro_rules! plain {
    ($($method:ident: $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.take()?)
        })*
    };
}

/// Refuses what asks the bytes what they are.
macro_rules! refused {
    ($($method:ident: $why:literal),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
            Err(Fault::new(concat!("bincode cannot read it back: ", $why)))
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Fault;

    plain! {
        deserialize_bool: visit_bool,
        deserialize_i8: visit_i8, deserialize_i16: visit_i16, deserialize_i32: visit_i32,
        deserialize_i64: visit_i64, deserialize_i128: visit_i128,
        deserialize_u8: visit_u8, deserialize_u16: visit_u16, deserialize_u32: visit_u32,
        deserialize_u64: visit_u64, deserialize_u128: visit_u128,
        deserialize_f32: visit_f32, deserialize_f64: visit_f64,
        deserialize_char: visit_char,
    }

    refused! {
        deserialize_any: "it asks the bytes for their type (untagged or internally tagged enum, \
                          flatten, or a value of any type)",
        deserialize_ignored_any: "it skips over what it does not know",
        deserialize_identifier: "it looks for names, which are not in the bytes",
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.slice()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.slice()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => self.inner(|decoder| visitor.visit_some(decoder)),
            other => Err(Fault::new(format!("{other} tells neither none nor some"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match name {
            reference::NAME => visitor.visit_u128(reference::join(self.take()?, self.tag)),
            REST => {
                let left = self.left();
                visitor.visit_borrowed_bytes(self.bincode.reader().take_bytes(left)?)
            }
            _ => self.inner(|decoder| visitor.visit_newtype_struct(decoder)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.length()?;
        self.inner(|decoder| visitor.visit_seq(decoder.counted(length)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inner(|decoder| visitor.visit_seq(decoder.parts(length)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.length()?;
        self.inner(|decoder| visitor.visit_map(decoder.counted(length)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inner(|decoder| visitor.visit_seq(decoder.named(fields)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inner(|decoder| visitor.visit_enum(decoder))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> de::EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let index: u32 = self.take()?;
        let variant = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.parts(length))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.named(fields))
    }
}
