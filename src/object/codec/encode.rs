//! From a value to bytes: [`Encoder`].
//!
//! A serializer that writes bincode's bytes and watches the structure. What there is most of, whole
//! numbers and strings, it writes itself, a byte at once where one is enough; bincode the rest.
//!
//! # Invariants
//! - The bytes are those of bincode's standard configuration.
//! - What it accepts has exactly as many fields and elements as it announced.

use super::{CONFIG, Fault, MAX_DEPTH, MAX_EMPTY, too_deep, too_many_empty};
use crate::id::Oid;
use crate::object::reference;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use serde::ser::{self, Serialize, Serializer};

/// Writes one value.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    references: &'a mut Vec<Oid>,
    tag: u32,
    depth: usize,
    empty: usize,
    /// Whether elements are put in the order of their bytes; then where each begins, of those of
    /// the outer ones first.
    sorting: bool,
    starts: Vec<usize>,
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
        let (starts, variants) = Default::default();
        Encoder { out, references, tag, depth: 0, empty: 0, sorting: false, starts, variants }
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

    fn put(&mut self, value: impl Encode) -> Result<(), Fault> {
        Ok(value.encode(&mut EncoderImpl::new(Output(self.out), CONFIG))?)
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A number, in as few bytes as bincode takes: one, or a mark and two, four or eight.
    #[inline]
    fn number(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(byte) if byte < U16_FOLLOWS => self.byte(byte),
            _ => self.wide(number),
        }
    }

    fn wide(&mut self, number: u64) {
        let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
        match number {
            0..=0xffff => self.out.extend_from_slice(&[U16_FOLLOWS, a, b]),
            0x1_0000..=0xffff_ffff => self.out.extend_from_slice(&[U32_FOLLOWS, a, b, c, d]),
            _ => self.out.extend_from_slice(&[U64_FOLLOWS, a, b, c, d, e, f, g, h]),
        }
    }

    /// A number that may be negative: those near zero are the small ones.
    #[inline]
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63).cast_unsigned());
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Which variant of the enum `name` follows.
    fn variant(&mut self, name: &'static str, index: u32) {
        // The elements of a sequence are often alike, and their names are the same bytes.
        let is_last = |&(met, number): &Variant| number == index && std::ptr::eq(met, name);
        if !self.variants.last().is_some_and(is_last) && !self.variants.contains(&(name, index)) {
            self.variants.push((name, index));
        }
        self.number(u64::from(index));
    }

    /// `value`, one level deeper.
    #[inline]
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    #[inline]
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

    #[inline]
    fn begin<'b>(&'b mut self, kind: Kind, announced: usize) -> Result<Parts<'b, 'a>, Fault> {
        self.enter()?;
        let outer = self.starts.len();
        Ok(Parts { encoder: self, kind, announced, given: 0, outer })
    }

    fn begin_counted<'b>(&'b mut self, announced: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        let announced = announced.ok_or_else(|| {
            Fault::new(
                "a sequence or map does not know its length, and bincode cannot read it back \
                 (is there a #[serde(flatten)]?)",
            )
        })?;
        self.number(announced as u64);
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
    /// How many of the places where elements begin are of outer ones.
    outer: usize,
}

impl Parts<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.given += 1;
        match self.kind {
            Kind::Fixed => value.serialize(&mut *self.encoder),
            Kind::Counted => self.element(value),
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let start = self.encoder.out.len();
        if self.encoder.sorting {
            self.encoder.starts.push(start);
        }
        value.serialize(&mut *self.encoder)?;
        if self.encoder.out.len() == start {
            self.encoder.empty += 1;
            if self.encoder.empty > MAX_EMPTY {
                return Err(too_many_empty());
            }
        }
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        if self.given != self.announced {
            return Err(miscounted(self.announced, self.given));
        }
        if self.encoder.sorting {
            self.encoder.sort(self.outer);
        }
        self.encoder.depth -= 1;
        Ok(())
    }
}

impl Encoder<'_> {
    /// Puts the elements written last in order, all but those of the `outer` ones.
    fn sort(&mut self, outer: usize) {
        let mut starts = self.starts.split_off(outer);
        let Some(&first) = starts.first() else { return };
        let bytes = self.out.split_off(first);
        starts.push(first + bytes.len());
        let bounds = starts.iter().map(|start| start - first);
        let mut elements: Vec<&[u8]> = bounds
            .clone()
            .zip(bounds.skip(1))
            .map(|(from, to)| bytes.get(from..to).unwrap_or_default())
            .collect();
        elements.sort_unstable();
        elements.into_iter().for_each(|element| self.out.extend_from_slice(element));
    }
}

/// Serializes values as this method of the encoder does.
macro_rules! plain {
    ($($method:ident: $type:ty),* as $wide:ty: $write:ident) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<(), Fault> {
            self.$write(<$wide>::from(value));
            Ok(())
        })*
    };
}

/// Serializes values as bincode does.
macro_rules! by_bincode {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Fault> { self.put(value) })*
    };
}

/// The first byte of a number that takes more than one.
const U16_FOLLOWS: u8 = 251;
const U32_FOLLOWS: u8 = 252;
const U64_FOLLOWS: u8 = 253;

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

    plain! { serialize_bool: bool, serialize_u8: u8 as u8: byte }
    plain! { serialize_u16: u16, serialize_u32: u32, serialize_u64: u64 as u64: number }
    plain! { serialize_i16: i16, serialize_i32: i32, serialize_i64: i64 as i64: signed }
    by_bincode! {
        serialize_i8: i8, serialize_i128: i128, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64, serialize_char: char
    }

    fn serialize_str(self, text: &str) -> Result<(), Fault> {
        self.text(text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        self.text(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.byte(0);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.byte(1);
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
        self.variant(name, index);
        self.inner(&())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name == reference::NAME { self.reference(value) } else { self.inner(value) }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(name, index);
        self.inner(value).map_err(|fault| fault.within(variant))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        self.begin_counted(length)
    }

    #[inline]
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
        self.variant(name, index);
        self.begin(Kind::Fixed, length)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'b, 'a>, Fault> {
        self.begin_counted(length)
    }

    #[inline]
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
        self.variant(name, index);
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

            #[inline]
            fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.part(value).map_err(|fault| within(fault, self.given - 1))
            }

            #[inline]
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

            #[inline]
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
        value.serialize(&mut *self.encoder).map_err(|fault| within(fault, index))
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

// What goes wrong is kept out of what is done for each element.

#[cold]
fn within(fault: Fault, index: usize) -> Fault {
    fault.within(index.to_string())
}

#[cold]
fn miscounted(announced: usize, given: usize) -> Fault {
    Fault::new(format!("announced {announced} parts and gave {given}"))
}

#[cold]
fn skipped() -> Fault {
    Fault::new(
        "it was skipped, and bincode cannot read back what is only sometimes there; \
         remove the skip_serializing_if",
    )
}
