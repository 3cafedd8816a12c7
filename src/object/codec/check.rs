//! Whether what was encoded can be read back: [`check_round_trip`], and how often to ask:
//! [`RoundTrips`].
//!
//! Connections ask it at commit, before any byte is handed to the storage.
//!
//! # Invariants
//! - A type whose values come back in another order, such as a `HashMap`, is not refused for it.

use super::{Encoder, Fault, decode, encode};
use crate::error::{CodecFailure, Result};
use crate::id::Oid;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// A `RoundTrips` says which values to check: in a debug build all, in release the first of each
/// type, where a type that cannot be read back shows itself.
#[derive(Debug)]
pub struct RoundTrips {
    each: u32,
    checked: RwLock<HashMap<TypeId, AtomicU32>>,
}

impl RoundTrips {
    /// How many values of each type are checked in a release build.
    pub const FIRST: u32 = 16;

    /// Checks the first `each` values of each type; all of them where it is `u32::MAX`.
    pub fn first(each: u32) -> RoundTrips {
        RoundTrips { each, checked: RwLock::default() }
    }

    /// Whether the next value of type `T` is to be checked. Asking counts.
    pub fn is_due<T: 'static>(&self) -> bool {
        if self.each == u32::MAX {
            return true;
        }
        let id = TypeId::of::<T>();
        if let Some(count) = self.checked.read().get(&id) {
            // Reading first: a counter that has run out is no longer written, by any thread.
            return count.load(Ordering::Relaxed) < self.each
                && count.fetch_add(1, Ordering::Relaxed) < self.each;
        }
        let mut checked = self.checked.write();
        checked.entry(id).or_default().fetch_add(1, Ordering::Relaxed) < self.each
    }
}

impl Default for RoundTrips {
    fn default() -> RoundTrips {
        RoundTrips::first(if cfg!(debug_assertions) { u32::MAX } else { RoundTrips::FIRST })
    }
}
