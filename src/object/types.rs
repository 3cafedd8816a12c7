//! Whether what is stored is what the program means by a type: [`Types`].
//!
//! Views ask before a value is decoded, commits before one is stored. The first question about a
//! type compares its shape with the stored one; later ones cost a look into a table.
//!
//! # Invariants
//! - No value is returned that was stored as another type, an unknown version or another shape.

use super::core::Core;
use super::shape::Shape;

use super::{Persistent, codec};
use crate::error::{CodecFailure, Error, Result, SchemaMismatch};
use crate::format::{TypeDef, TypeId};
use crate::id::Oid;
use crate::storage::{Revision, Storage};
use crate::tables::TypeMap;
use parking_lot::RwLock;
use std::any;

/// A `Types` knows which stored type each type of the program is, in one database.
#[derive(Debug, Default)]
pub(super) struct Types {
    own: RwLock<TypeMap<TypeId>>,
}

impl Types {
    /// The stored type that values of `T` are stored as.
    ///
    /// # Errors
    /// [`SchemaMismatch::ShapeChanged`] where its name and version are stored with another shape.
    pub fn own<T: Persistent>(&self, storage: &dyn Storage) -> Result<TypeId> {
        let key = any::TypeId::of::<T>();
        if let Some(&id) = self.own.read().get(&key) {
            return Ok(id);
        }
        let id = storage.intern(&definition::<T>()?)?;
        self.own.write().insert(key, id);
        Ok(id)
    }
}

fn definition<T: Persistent>() -> Result<TypeDef> {
    let shape = Shape::of::<T>(T::NAME)?.to_string().into();
    Ok(TypeDef { name: T::type_name().into(), version: T::VERSION, shape })
}

impl Core {
    /// The value of a revision, brought to the version that the program has.
    pub(super) fn decode<T: Persistent>(&self, oid: Oid, revision: &Revision<'_>) -> Result<T> {
        let failed = |error| at(error, oid, revision);
        match self.older::<T>(oid, revision)? {
            None => codec::decode(T::NAME, &revision.data, self.tag).map_err(failed),
            Some(version) => {
                let value = T::upgrade(version, &revision.data);
                let value = value.map_err(|error| refused::<T>(error, version, oid, revision))?;
                self.adopt(value).map_err(failed)
            }
        }
    }

    /// The version of a revision that is older than the program's; `None` where it is the same.
    fn older<T: Persistent>(&self, oid: Oid, revision: &Revision<'_>) -> Result<Option<u32>> {
        let own = self.types.own::<T>(&*self.storage)?;
        if revision.type_id == own {
            return Ok(None);
        }
        let Some(stored) = self.storage.type_def(revision.type_id) else {
            let what = format!("its type, number {}, is not in the type table", revision.type_id.0);
            return Err(at(CodecFailure::new(T::NAME, what).into(), oid, revision));
        };
        if *stored.name != *T::type_name() && !T::ALIASES.contains(&&*stored.name) {
            return Err(wrong_type(oid, &stored.name, &T::type_name()));
        }
        if stored.version > T::VERSION {
            return Err(unknown_version::<T>(oid, stored.version, "this program is older".into()));
        }
        if stored.version < T::VERSION {
            return Ok(Some(stored.version));
        }
        // Stored under an alias: what an alias may differ in is the name.
        let here = definition::<T>()?.shape;
        if stored.shape == here {
            return Ok(None);
        }
        let (type_name, version) = (stored.name.clone(), stored.version);
        let stored = stored.shape.clone();
        Err(SchemaMismatch::ShapeChanged { type_name, version, stored, here }.into())
    }

    /// The value with this database's mark on every reference: an `upgrade` makes loose ones.
    fn adopt<T: Persistent>(&self, value: T) -> Result<T> {
        let (mut bytes, mut references) = (Vec::new(), Vec::new());
        codec::encode(T::NAME, &value, self.tag, &mut bytes, &mut references)?;
        codec::decode(T::NAME, &bytes, self.tag)
    }
}

/// The object `oid` is a `stored`, and was asked for as an `asked`.
pub(super) fn wrong_type(oid: Oid, stored: &str, asked: &str) -> Error {
    SchemaMismatch::WrongType { oid, stored: stored.into(), asked: asked.into() }.into()
}

fn unknown_version<T: Persistent>(oid: Oid, stored: u32, why: Box<str>) -> Error {
    let (type_name, known) = (T::type_name().into(), T::VERSION);
    SchemaMismatch::UnknownVersion { oid, type_name, stored, known, why }.into()
}

/// What `upgrade` said, with the object's name. Bytes that it could not decode as an older struct
/// are undecodable bytes; everything else means that it does not know the version.
fn refused<T: Persistent>(error: Error, version: u32, oid: Oid, revision: &Revision<'_>) -> Error {
    match error {
        Error::Codec(ref failure) if *failure.type_name != *T::NAME => at(error, oid, revision),
        error => unknown_version::<T>(oid, version, error.to_string().into()),
    }
}

/// Says which revision the codec failed on.
fn at(mut error: Error, oid: Oid, revision: &Revision<'_>) -> Error {
    if let Error::Codec(failure) = &mut error {
        (failure.oid, failure.tid) = (Some(oid), Some(revision.tid));
    }
    error
}
