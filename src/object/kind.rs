//! What the layer does to an object whose type it has forgotten: [`Kind`].
//!
//! Write sets hold objects of many types side by side; each is kept with its kind, which knows the
//! type and calls the codec, the type's resolver and the check of its stored type. Nothing here
//! touches a transaction.
//!
//! # Invariants
//! - An object is only handed to the kind it was kept with.

use super::Persistent;
use super::codec::Settled;
use super::core::Core;
use crate::error::{Error, Result};
use crate::format::TypeId;
use crate::id::Oid;
use crate::storage::Revision;
use crate::transaction::contain;
use std::any::{self, Any};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

/// An object of some type, shared by all who read it.
pub(super) type Object = Arc<dyn Any + Send + Sync>;

/// A record longer than this is logged: its object should be made of several.
const LARGE: usize = 16 << 20;

/// The bytes and references of the object at hand; and what is known of its type, since the next
/// one will be alike.
#[derive(Default)]
pub(super) struct Buffers {
    pub bytes: Vec<u8>,
    pub references: Vec<Oid>,
    own: Option<(any::TypeId, TypeId)>,
    settled: Settled,
}

impl Buffers {
    fn own<T: Persistent>(&mut self, core: &Core) -> Result<TypeId> {
        let key = any::TypeId::of::<T>();
        match self.own {
            Some((known, id)) if known == key => Ok(id),
            _ => Ok(self.own.insert((key, core.types.own::<T>(&*core.storage)?)).1),
        }
    }
}

/// The type of an object, as far as its storing goes.
pub(super) trait Kind: Send + Sync {
    /// The stable name, in full.
    fn name(&self) -> Cow<'static, str>;

    /// Fills the buffers with the object, and says of which stored type that is.
    fn encode(&self, core: &Core, object: (Oid, &Object), buffers: &mut Buffers) -> Result<TypeId>;

    /// The object that a revision holds.
    fn decode(&self, core: &Core, oid: Oid, revision: &Revision<'_>) -> Result<Object>;

    /// What the type's resolver makes of two changes of `original`; `None` where it declines.
    fn resolve(&self, original: &Object, committed: &Object, mine: &Object) -> Option<Object>;
}

/// The kind of the type `T`.
pub(super) fn kind<T: Persistent>() -> &'static dyn Kind {
    &Of::<T>(PhantomData)
}

struct Of<T>(PhantomData<fn() -> T>);

impl<T: Persistent> Kind for Of<T> {
    fn name(&self) -> Cow<'static, str> {
        T::type_name()
    }

    fn encode(
        &self,
        core: &Core,
        (oid, object): (Oid, &Object),
        buffers: &mut Buffers,
    ) -> Result<TypeId> {
        let value = typed::<T>(object);
        let type_id = buffers.own::<T>(core)?;
        let Buffers { bytes, references, settled, .. } = buffers;
        bytes.clear();
        references.clear();
        contain(format_args!("object {oid} of type {}, being encoded,", T::NAME), || {
            core.round_trips.encode_next(T::NAME, value, core.tag, (bytes, references), settled)
        })
        .map_err(|error| named(error, oid))?;
        if bytes.len() > LARGE {
            let (size, type_name) = (bytes.len(), T::NAME);
            tracing::warn!(%oid, type_name, size, "a very large object; make several of it");
        }
        Ok(type_id)
    }

    fn decode(&self, core: &Core, oid: Oid, revision: &Revision<'_>) -> Result<Object> {
        contain(format_args!("object {oid} of type {}, being decoded,", T::NAME), || {
            Ok(Arc::new(core.decode::<T>(oid, revision)?) as Object)
        })
    }

    fn resolve(&self, original: &Object, committed: &Object, mine: &Object) -> Option<Object> {
        let (original, committed, mine) = (typed::<T>(original), typed(committed), typed(mine));
        let merged = contain(format_args!("the resolver of {}", T::NAME), || {
            Ok(T::resolve_conflict(original, committed, mine))
        });
        let merged = merged.inspect_err(|error| tracing::error!(%error, "nothing is merged"));
        merged.ok().flatten().map(|value| Arc::new(value) as Object)
    }
}

fn typed<T: Persistent>(object: &Object) -> &T {
    object.downcast_ref().expect("an object is kept with the kind of its own type")
}

/// Says which object the codec failed on.
fn named(mut error: Error, oid: Oid) -> Error {
    if let Error::Codec(failure) = &mut error {
        failure.oid = Some(oid);
    }
    error
}
