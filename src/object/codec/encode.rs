//! From a value to bytes: [`Encoder`].
//!
//! A serializer whose numbers and strings are bincode's, and whose structure is watched.
//!
//! # Invariants
//! - What it accepts has exactly as many fields and elements as it announced.

use super::{CONFIG, Fault, MAX_DEPTH, MAX_EMPTY, too_deep, too_many_empty};
use crate::id::Oid;
use crate::object::reference;
use bincode::config::Configuration;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, Encoder as _, EncoderImpl};
use bincode::error::EncodeError;
use serde::ser::{self, Serialize, Serializer};

/// Writes one value.
pub(super) struct Encoder<'a> {
    bincode: EncoderImpl<Output<'a>, Configuration>,
    references: &'a mut Vec<Oid>,
    tag: u32,
    depth: usize,
    empty: usize,
    /// Whether elements are put in the order of their bytes.
    sorting: bool,
    variants: Vec<Variant>,
}

/// A variant of an enum: the enum's name, and the variant's number.
pub(super) type Variant = (&'static str, u32);

/// The end of the bytes written so far.
struct Output<'a>(&'a mut Vec<u8>);

impl Writer for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl<'a> Encoder<'a> {
    /// Appends to `out`, and every reference of the database `tag` that it meets to `references`.
    pub fn new(out: &'a mut Vec<u8>, references: &'a mut Vec<Oid>, tag: u32) -> Encoder<'a> {
        let bincode = EncoderImpl::new(Output(out), CONFIG);
        Encoder {
            bincode,
            references,
            tag,
            depth: 0,
            empty: 0,
            sorting: false,
            variants: Vec::new(),
        }
    }

    /// The same, but with the elements of sequences and maps in the order of their bytes: equal
    /// for values that differ in the order of elements only.
    pub fn sorting(mut self) -> Encoder<'a> {
        self.sorting = true;
        self
    }

    /// The variants of enums that were met, each once.
    pub fn into_variants(self) -> Vec<Variant> {
        self.variants
    }

    fn out(&mut self) -> &mut Vec<u8> {
        self.bincode.writer().0
    }

    fn put(&mut self, value: impl Encode) -> Result<(), Fault> {
        Ok(value.encode(&mut self.bincode)?)
    }

    /// Which variant of the enum `name` follows.
    fn variant(&mut self, name: &'static str, index: u32) -> Result<(), Fault> {
        // The last ones first: the elements of a sequence are often alike.
        if !self.variants.iter().rev().any(|&met| met == (name, index)) {
            self.variants.push((name, index));
        }
        self.put(index)
    }

    /// `value`, one level deeper.
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
    }

    /// `number` is what a reference serializes itself as.
    fn reference<T: Serialize + ?Sized>(&mut self, number: &T) -> Result<(), Fault> {
        let (oid, tag) = reference::take_last().ok_or_else(|| {
            Fault::new("a reference was kept in a buffer on its way; serialize it directly")
        })?;
        let loose = tag == reference::LOOSE || self.tag == reference::LOOSE;
        if !loose && tag != self.tag {
            return Err(Fault::foreign(oid));
        }
        self.references.push(oid);
        number.serialize(self)
    }

    fn begin<'b>(&'b mut self, kind: Kind, announced: usize) -> Result<Parts<'b, 'a>, Fault> {
        self.enter()?;
        Ok(Parts { encoder: self, kind, announced, given: 0, starts: Vec::new() })
    }

    fn begin_counted<'b>(&'b mut self, announced: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        let announced = announced.ok_or_else(|| {
            Fault::new(
                "a sequence or map does not know its length, and bincode cannot read it back \
                 (is there a #[serde(flatten)]?)",
            )
        })?;
        self.put(announced)?;
        self.begin(Kind::Counted, announced)
    }
}

/// Who knows how many parts there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The type: of a struct, a tuple, a variant.
    Fixed,
    /// The bytes: of a sequence or a map, whose parts are its elements, or its keys.
    Counted,
}

/// The parts of a value, as they come.
pub(super) struct Parts<'b, 'a> {
    encoder: &'b mut Encoder<'a>,
    kind: Kind,
    announced: usize,
    given: usize,
    /// Where each element begins, if they are to be sorted.
    starts: Vec<usize>,
}

impl Parts<'_, '_> {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.given += 1;
        if self.kind == Kind::Fixed {
            return value.serialize(&mut *self.encoder);
        }
        let start = self.encoder.out().len();
        if self.encoder.sorting {
            self.starts.push(start);
        }
        value.serialize(&mut *self.encoder)?;
        if self.encoder.out().len() == start {
            self.encoder.empty += 1;
            if self.encoder.empty > MAX_EMPTY {
                return Err(too_many_empty());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Fault> {
        if self.given != self.announced {
            let (announced, given) = (self.announced, self.given);
            return Err(Fault::new(format!("announced {announced} parts and gave {given}")));
        }
        self.sort();
        self.encoder.depth -= 1;
        Ok(())
    }

    fn sort(&mut self) {
        let Some(&first) = self.starts.first() else { return };
        let out = self.encoder.out();
        let bytes = out.split_off(first);
        self.starts.push(first + bytes.len());
        let bounds = self.starts.iter().map(|start| start - first);
        let mut elements: Vec<&[u8]> = bounds
            .clone()
            .zip(bounds.skip(1))
            .map(|(from, to)| bytes.get(from..to).unwrap_or_default())
            .collect();
        elements.sort_unstable();
        elements.into_iter().for_each(|element| out.extend_from_slice(element));
    }
}

/// Serializes numbers and strings as bincode does.
macro_rules! plain {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), Fault> { self.put(value) })*
    };
}

impl<'b, 'a> Serializer for &'b mut Encoder<'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts<'b, 'a>;
    type SerializeTuple = Parts<'b, 'a>;
    type SerializeTupleStruct = Parts<'b, 'a>;
    type SerializeTupleVariant = Parts<'b, 'a>;
    type SerializeMap = Parts<'b, 'a>;
    type SerializeStruct = Parts<'b, 'a>;
    type SerializeStructVariant = Parts<'b, 'a>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.put(0u8)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.put(1u8)?;
        self.inner(value)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Fault> {
        self.variant(name, index)?;
        self.inner(&())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name == reference::NAME { self.reference(value) } else { self.inner(value) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(name, index)?;
        self.inner(value).map_err(|fault| fault.within(variant))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        self.begin_counted(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'b, 'a>, Fault> {
        self.begin(Kind::Fixed, length)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'b, 'a>, Fault> {
        self.begin(Kind::Fixed, length)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'b, 'a>, Fault> {
        self.variant(name, index)?;
        self.begin(Kind::Fixed, length)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        self.begin_counted(length)
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Parts<'b, 'a>, Fault> {
        self.begin(Kind::Fixed, length)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'b, 'a>, Fault> {
        self.variant(name, index)?;
        self.begin(Kind::Fixed, length)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Serde has a trait for every kind of compound; their parts are handled alike.
macro_rules! by_position {
    ($($compound:ident: $part:ident),*) => {$(
        impl ser::$compound for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault;

            fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                let index = self.given;
                self.part(value).map_err(|fault| fault.within(index.to_string()))
            }

            fn end(self) -> Result<(), Fault> {
                self.finish()
            }
        }
    )*};
}

by_position! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
}

macro_rules! by_name {
    ($($compound:ident),*) => {$(
        impl ser::$compound for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Fault> {
                self.part(value).map_err(|fault| fault.within(name))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), Fault> {
                Err(skipped().within(name))
            }

            fn end(self) -> Result<(), Fault> {
                self.finish()
            }
        }
    )*};
}

by_name!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        let index = self.given;
        self.part(key).map_err(|fault| fault.within(format!("key {index}")))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let index = self.given.saturating_sub(1);
        value.serialize(&mut *self.encoder).map_err(|fault| fault.within(index.to_string()))
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

fn skipped() -> Fault {
    Fault::new(
        "it was skipped, and bincode cannot read back what is only sometimes there; \
         remove the skip_serializing_if",
    )
}
