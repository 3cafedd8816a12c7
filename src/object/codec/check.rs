//! Whether what was encoded can be read back: [`check_round_trip`], and of which values to ask:
//! [`RoundTrips`].
//!
//! Connections ask it at commit, before any byte is handed to the storage.
//!
//! # Invariants
//! - A type whose values come back in another order, such as a `HashMap`, is not refused for it.

use super::encode::Variant;
use super::{Encoder, Fault, decode, encode};
use crate::error::{CodecFailure, Result};
use crate::id::Oid;
use crate::tables::TypeMap;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::HashSet;

/// Refuses a value that does not survive: `bytes` and `references` are what [`encode()`] made of
/// `value`; decoded and encoded again they must come out the same.
///
/// A `HashMap` comes back in another order, and is none the worse for it. So where the bytes
/// differ, both values are encoded once more with the elements of every sequence and map in the
/// order of their bytes, and those are compared: the same elements, in whatever order. Sequences
/// must be treated like maps, since serde tells a set from a list no more than bincode does. A
/// type that writes a list backwards passes therefore; one that swaps two fields does not.
///
/// # Errors
/// [`Codec`](crate::Error::Codec), naming the type.
pub fn check_round_trip<T: Serialize + DeserializeOwned>(
    type_name: &str,
    value: &T,
    bytes: &[u8],
    references: &[Oid],
    tag: u32,
) -> Result<()> {
    let refuse = |what: String| CodecFailure::new(type_name, what);
    let back: T = decode(type_name, bytes, tag)
        .map_err(|error| refuse(format!("it cannot be read back: {error}")))?;
    let (mut again, mut referred) = (Vec::with_capacity(bytes.len()), Vec::new());
    encode(type_name, &back, tag, &mut again, &mut referred)?;
    if referred != references {
        let what = format!("it refers to {references:?}, and when read back to {referred:?}");
        return Err(refuse(what).into());
    }
    let same = again == bytes || {
        let sorted = |value| sorted(value, tag).map_err(|fault| fault.of_type(type_name));
        sorted(value)? == sorted(&back)?
    };
    if same { Ok(()) } else { Err(refuse(difference(bytes, &again)).into()) }
}

fn sorted<T: Serialize>(value: &T, tag: u32) -> Result<Vec<u8>, Fault> {
    let (mut out, mut references) = (Vec::new(), Vec::new());
    value.serialize(&mut Encoder::new(&mut out, &mut references, tag).sorting())?;
    Ok(out)
}

fn difference(bytes: &[u8], again: &[u8]) -> String {
    let at = bytes.iter().zip(again).take_while(|(a, b)| a == b).count();
    let (length, other) = (bytes.len(), again.len());
    format!(
        "read back and encoded again it is another value: {length} bytes became {other}, \
         different from byte {at} on; Serialize and Deserialize do not agree"
    )
}

/// A `RoundTrips` says which values to check: in a debug build all; in release, of each type, the
/// first ones and the first with each variant of an enum, where a type that cannot be read back
/// shows itself.
#[derive(Debug)]
pub struct RoundTrips {
    each: u32,
    passed: RwLock<TypeMap<Passed>>,
}

/// Of which type the last value was, where of that type no more are due but those with new variants.
#[derive(Debug, Default)]
pub(crate) struct Settled(Option<TypeId>);

/// The values of one type that were checked and found good.
#[derive(Debug, Default)]
struct Passed {
    count: u32,
    variants: HashSet<Variant>,
}

impl RoundTrips {
    /// How many values of each type are checked in a release build.
    pub const FIRST: u32 = 16;

    /// Checks the first `each` values of each type; all of them where it is `u32::MAX`.
    pub fn first(each: u32) -> RoundTrips {
        RoundTrips { each, passed: RwLock::default() }
    }

    /// Does what [`encode()`] does, and what [`check_round_trip`] does where it is due. A value
    /// that was refused counts for nothing: its like is refused again.
    ///
    /// # Errors
    /// Those of both.
    pub fn encode<T: Serialize + DeserializeOwned + 'static>(
        &self,
        type_name: &str,
        value: &T,
        tag: u32,
        out: &mut Vec<u8>,
        references: &mut Vec<Oid>,
    ) -> Result<()> {
        self.encode_next(type_name, value, tag, (out, references), &mut Settled::default())
    }

    /// The same, for one of many values, which as a rule are alike: no lock is taken then.
    pub(crate) fn encode_next<T: Serialize + DeserializeOwned + 'static>(
        &self,
        type_name: &str,
        value: &T,
        tag: u32,
        (out, references): (&mut Vec<u8>, &mut Vec<Oid>),
        settled: &mut Settled,
    ) -> Result<()> {
        let (start, first) = (out.len(), references.len());
        let variants = super::encode_noting(type_name, value, tag, out, references)?;
        let this = Some(TypeId::of::<T>());
        if variants.is_empty() && settled.0 == this {
            return Ok(());
        }
        if self.is_due::<T>(&variants) {
            let (bytes, references) = (&out[start..], &references[first..]);
            check_round_trip(type_name, value, bytes, references, tag)?;
            self.pass::<T>(variants);
        } else {
            settled.0 = this;
        }
        Ok(())
    }

    fn is_due<T: 'static>(&self, variants: &[Variant]) -> bool {
        self.each == u32::MAX
            || self.passed.read().get(&TypeId::of::<T>()).is_none_or(|passed| {
                passed.count < self.each
                    || variants.iter().any(|variant| !passed.variants.contains(variant))
            })
    }

    fn pass<T: 'static>(&self, variants: Vec<Variant>) {
        if self.each != u32::MAX {
            let mut passed = self.passed.write();
            let passed = passed.entry(TypeId::of::<T>()).or_default();
            passed.count = passed.count.saturating_add(1);
            passed.variants.extend(variants);
        }
    }
}

impl Default for RoundTrips {
    fn default() -> RoundTrips {
        RoundTrips::first(if cfg!(debug_assertions) { u32::MAX } else { RoundTrips::FIRST })
    }
}
