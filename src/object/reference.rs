//! A typed name of an object: [`Ref`].
//!
//! Applications keep references in their structs, connections follow them, and the codec finds
//! them while a struct is being written.
//!
//! # Invariants
//! - In bytes, a reference is the number of its oid; what else it knows stays in memory.
//! - Whoever serializes a reference, by whatever serializer, is counted ([`serialized`]).

use crate::id::Oid;
use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// The name by which the codec knows a reference among newtype structs.
pub(crate) const NAME: &str = "perennial::Ref";

/// The tag of a reference that does not know its database.
pub(crate) const LOOSE: u32 = 0;

/// A `Ref<T>` names an object of type `T`, loaded or not.
///
/// It is as cheap as a number, and can be stored wherever a number can, whatever `T` is. It also
/// remembers, in memory, which open database it came from; using it with another is an error.
/// A `Ref` that was read from elsewhere, from JSON for instance, is *loose*: the database that it
/// is used with first is taken to be its own.
///
/// Two references are equal when they name the same object of the same open database. A loose
/// one therefore equals loose ones only: were it equal to those of any database, equality would
/// not be transitive, and a set of references to two databases would lose members.
pub struct Ref<T> {
    oid: Oid,
    tag: u32,
    /// A `Ref` owns no `T`: it is `Send` and `Sync` whatever `T` is.
    target: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    /// The reference to `oid` in the database of this tag.
    pub(crate) const fn new(oid: Oid, tag: u32) -> Ref<T> {
        Ref { oid, tag, target: PhantomData }
    }

    /// The object it names.
    pub const fn oid(self) -> Oid {
        self.oid
    }

    /// The open database it belongs to; zero where that is not known.
    pub(crate) const fn tag(self) -> u32 {
        self.tag
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Ref<T> {
        *self
    }
}

impl<T> Copy for Ref<T> {}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Ref<T>) -> bool {
        (self.oid, self.tag) == (other.oid, other.tag)
    }
}

impl<T> Eq for Ref<T> {}

impl<T> PartialOrd for Ref<T> {
    fn partial_cmp(&self, other: &Ref<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ref<T> {
    /// By oid first: the order within one database, and so the bytes of a set of references, do
    /// not depend on the tag, which is another each time the database is opened.
    fn cmp(&self, other: &Ref<T>) -> Ordering {
        (self.oid, self.tag).cmp(&(other.oid, other.tag))
    }
}

impl<T> Hash for Ref<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.oid, self.tag).hash(state);
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.oid)
    }
}

/// What [`Ref::serialize`] leaves behind in its thread.
#[derive(Clone, Copy, Default)]
struct Trail {
    /// How many references were serialized.
    count: u64,
    /// The last one, until somebody takes it.
    last: Option<(Oid, u32)>,
}

thread_local! {
    static TRAIL: Cell<Trail> = const { Cell::new(Trail { count: 0, last: None }) };
}

/// How many references this thread has serialized so far, by any serializer.
///
/// The codec compares the difference with the number it met itself. A reference that went through
/// another serializer, into a string of JSON for instance, would not be reported to the storage,
/// and pack would delete its target.
pub(crate) fn serialized() -> u64 {
    TRAIL.get().count
}

/// The reference that is being serialized, for a serializer that was just handed one.
///
/// Serde can carry a number, and the tag must not be part of it. `None` where the reference took
/// a detour through a buffer, and was not serialized just now.
pub(crate) fn take_last() -> Option<(Oid, u32)> {
    let trail = TRAIL.get();
    TRAIL.set(Trail { last: None, ..trail });
    trail.last
}

impl<T> Serialize for Ref<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = TRAIL.get().count.wrapping_add(1);
        TRAIL.set(Trail { count, last: Some((self.oid(), self.tag())) });
        serializer.serialize_newtype_struct(NAME, &self.oid.number())
    }
}

impl<'de, T> Deserialize<'de> for Ref<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ref<T>, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, RefVisitor(PhantomData))
    }
}

/// Oid and tag in one number: how the codec's deserializer hands over a reference.
pub(crate) fn join(oid: u64, tag: u32) -> u128 {
    u128::from(tag) << 64 | u128::from(oid)
}

struct RefVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T> Visitor<'de> for RefVisitor<T> {
    type Value = Ref<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of an object")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Ref<T>, D::Error> {
        u64::deserialize(inner).and_then(|number| self.visit_u64(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Ref<T>, E> {
        self.visit_u128(join(number, LOOSE))
    }

    fn visit_u128<E: serde::de::Error>(self, joined: u128) -> Result<Ref<T>, E> {
        let oid = Oid::new(joined as u64);
        if oid > Oid::MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(oid.number()), &self));
        }
        Ok(Ref::new(oid, (joined >> 64) as u32))
    }
}
