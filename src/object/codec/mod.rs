//! How a value becomes bytes and back.
//!
//! The one place that knows serde and bincode. Connections call it for every object, the job
//! bucket for every payload, tools for what they print. It knows no storage and no transaction.
//!
//! The encoding is bincode's: little endian, integers of variable length (`config::standard()`),
//! a struct as its fields in order without names, a sequence as its length and its elements, an
//! enum as the number of its variant and its content. Everything about a *value's structure* is
//! done here rather than there, because this is where bincode trusts too much: it takes a length
//! for granted, nests without bound, and drops what it cannot represent.
//!
//! # Invariants
//! - Every reference in the bytes is in the list of references, and belongs to the database.
//! - Decoding allocates in proportion to the bytes that are there, never to a length they claim.
//! - Neither direction nests deeper than [`MAX_DEPTH`].
//!
//! Format: docs/format.md, "Values".

mod check;
mod decode;
mod encode;
mod fault;

use crate::error::Result;
use crate::id::Oid;
use crate::object::reference;
use bincode::config::Configuration;
use decode::Decoder;
pub(in crate::object) use decode::REST;
use encode::{Encoder, Variant};
pub(in crate::object) use fault::Fault;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};
use std::marker::PhantomData;

pub(super) use check::Settled;
pub use check::{RoundTrips, check_round_trip};

/// How many structs, enums, options, sequences, tuples and maps may contain each other.
///
/// Each level takes stack while a value is written or read; the bound makes too deep a value, or
/// bytes made to look like one, an error instead of an overflow. What nests deeper is made of
/// several objects.
pub const MAX_DEPTH: usize = 128;

/// How many elements that take no bytes, such as the `()` of a `Vec<()>`, one value may have.
///
/// Such elements are the one case in which a length cannot be compared with the bytes left.
pub const MAX_EMPTY: usize = 1 << 16;

/// The one configuration of bincode in use.
const CONFIG: Configuration = bincode::config::standard();

/// Appends the bytes of `value` to `out`, and the objects it refers to, sorted and each once,
/// to `references`.
///
/// `type_name` is for messages. `tag` is the mark of the open database that the value is for
/// (0: for none, which accepts every reference).
///
/// ```
/// use perennial::codec;
/// let (mut bytes, mut references) = (Vec::new(), Vec::new());
/// codec::encode("greeting", &("hello", 7u32), 0, &mut bytes, &mut references)?;
/// assert_eq!(bytes, [5, b'h', b'e', b'l', b'l', b'o', 7]);
/// assert!(references.is_empty());
/// # perennial::Result::<()>::Ok(())
/// ```
///
/// # Errors
/// [`ForeignRef`](crate::Error::ForeignRef) for a reference of another database;
/// [`Codec`](crate::Error::Codec) for a value that could not be read back, and for one that hands
/// a reference to another serializer, where its target would be lost to pack. Nothing has been
/// appended then.
pub fn encode<T: Serialize + ?Sized>(
    type_name: &str,
    value: &T,
    tag: u32,
    out: &mut Vec<u8>,
    references: &mut Vec<Oid>,
) -> Result<()> {
    encode_noting(type_name, value, tag, out, references).map(drop)
}

/// Does what [`encode()`] does; the variants of enums that it met.
fn encode_noting<T: Serialize + ?Sized>(
    type_name: &str,
    value: &T,
    tag: u32,
    out: &mut Vec<u8>,
    references: &mut Vec<Oid>,
) -> Result<Vec<Variant>> {
    let start = out.len();
    // As a rule it is empty, and may have room.
    let mut met = if references.is_empty() { std::mem::take(references) } else { Vec::new() };
    match run(value, tag, out, &mut met) {
        Ok(variants) => {
            met.sort_unstable();
            met.dedup();
            match references.is_empty() {
                true => *references = met,
                false => references.append(&mut met),
            }
            Ok(variants)
        }
        Err(fault) => {
            out.truncate(start);
            Err(fault.of_type(type_name))
        }
    }
}

fn run<T: Serialize + ?Sized>(
    value: &T,
    tag: u32,
    out: &mut Vec<u8>,
    met: &mut Vec<Oid>,
) -> Result<Vec<Variant>, Fault> {
    let before = reference::serialized();
    let mut encoder = Encoder::new(out, met, tag);
    value.serialize(&mut encoder)?;
    let variants = encoder.into_variants();
    let passed = reference::serialized().wrapping_sub(before);
    // This counts the references inside a nested call of `encode`, too: its list is not ours.
    match passed.checked_sub(met.len() as u64) {
        Some(0) => Ok(variants),
        _ => Err(Fault::new(format!(
            "of {passed} references {} went through another serializer, where the database \
             cannot see them; keep references as they are",
            passed.saturating_sub(met.len() as u64)
        ))),
    }
}

/// The value that `bytes` encode, all of them.
///
/// `type_name` is for messages; `tag` is the mark that the references in it get (0: loose).
///
/// # Errors
/// [`Codec`](crate::Error::Codec) for bytes that are not those of a `T`, and for types that cannot
/// be read without names in the bytes.
pub fn decode<T: DeserializeOwned>(type_name: &str, bytes: &[u8], tag: u32) -> Result<T> {
    decode_seed(PhantomData::<T>, bytes, tag).map_err(|fault| fault.of_type(type_name))
}

/// The value of an older version of a type; for [`Persistent::upgrade`](crate::Persistent::upgrade).
///
/// References in it are loose: they belong to the database that the new value is stored in.
///
/// # Errors
/// [`Codec`](crate::Error::Codec) for bytes that are not those of an `Old`.
pub fn decode_as<Old: DeserializeOwned>(state: &[u8]) -> Result<Old> {
    decode(std::any::type_name::<Old>(), state, reference::LOOSE)
}

/// What `seed` makes of `bytes`, all of them.
pub(in crate::object) fn decode_seed<'de, S: DeserializeSeed<'de>>(
    seed: S,
    bytes: &'de [u8],
    tag: u32,
) -> Result<S::Value, Fault> {
    let mut decoder = Decoder::new(bytes, tag);
    let value = seed.deserialize(&mut decoder)?;
    match decoder.left() {
        0 => Ok(value),
        left => Err(Fault::new(format!("{left} bytes are left over after the value"))),
    }
}

/// The fault of nesting deeper than [`MAX_DEPTH`].
#[cold]
fn too_deep() -> Fault {
    Fault::new(format!("nests deeper than {MAX_DEPTH} levels; make several objects of it"))
}

/// The fault of more than [`MAX_EMPTY`] elements without bytes.
#[cold]
fn too_many_empty() -> Fault {
    Fault::new(format!("more than {MAX_EMPTY} elements take no bytes"))
}
