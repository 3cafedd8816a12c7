//! The types whose objects are stored: [`TypeTable`].
//!
//! Every storage keeps one. Records name a type by a small number; the table gives the number its
//! name, version and shape. It only grows.
//!
//! # Invariants
//! - A number, once given, means the same type for as long as the database lives.
//! - A name and version have one shape.
//!
//! Format: docs/format.md, "Types".

use crate::error::{Error, Result, SchemaMismatch};
use crate::format::{Malformed, TypeDef, TypeId};
use crate::sync::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// A `TypeTable` gives numbers to types.
#[derive(Debug, Default)]
pub struct TypeTable {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    definitions: HashMap<TypeId, Arc<TypeDef>>,
    numbers: HashMap<(Box<str>, u32), TypeId>,
    /// Greater than every number that a type has: beyond 32 bits where there is none left.
    next: u64,
}

impl TypeTable {
    /// The number of this type; a new one where it has none.
    ///
    /// # Errors
    /// [`SchemaMismatch::ShapeChanged`] where its name and version stand for another shape.
    pub fn intern(&self, definition: &TypeDef) -> Result<TypeId> {
        let key = (definition.name.clone(), definition.version);
        // The guard must go before the write below: a thread that waits for itself waits for ever.
        let known = self.inner.read().known(&key, definition);
        if let Some(known) = known {
            return known;
        }
        let mut inner = self.inner.write();
        if let Some(known) = inner.known(&key, definition) {
            return known;
        }
        let exhausted = |what: &str| Error::Exhausted(what.into());
        let number = u32::try_from(inner.next);
        let id = TypeId(number.map_err(|_| exhausted("type numbers exhausted"))?);
        inner.insert(id, definition.clone()).map_err(|wrong| exhausted(&wrong.0))?;
        Ok(id)
    }

    /// Takes a definition read from a file.
    ///
    /// # Errors
    /// Where it contradicts one that is known.
    pub fn learn(&self, id: TypeId, definition: TypeDef) -> Result<(), Malformed> {
        let mut inner = self.inner.write();
        match inner.definitions.get(&id) {
            Some(known) if **known == definition => Ok(()),
            Some(known) => Err(contradiction(id, known, &definition)),
            None => inner.insert(id, definition),
        }
    }

    /// The type of this number.
    pub fn get(&self, id: TypeId) -> Option<Arc<TypeDef>> {
        self.inner.read().definitions.get(&id).cloned()
    }

    /// All types, by number.
    pub fn all(&self) -> Vec<(TypeId, Arc<TypeDef>)> {
        let inner = self.inner.read();
        let mut all: Vec<_> =
            inner.definitions.iter().map(|(&id, definition)| (id, definition.clone())).collect();
        all.sort_by_key(|&(id, _)| id);
        all
    }
}

impl Inner {
    /// The number of a type that has one, if its shape is the same.
    fn known(&self, key: &(Box<str>, u32), definition: &TypeDef) -> Option<Result<TypeId>> {
        let &id = self.numbers.get(key)?;
        Some(match self.definitions.get(&id) {
            Some(stored) if stored.shape != definition.shape => {
                Err(shape_changed(stored, definition))
            }
            _ => Ok(id),
        })
    }

    fn insert(&mut self, id: TypeId, definition: TypeDef) -> Result<(), Malformed> {
        let key = (definition.name.clone(), definition.version);
        if let Some(other) = self.numbers.get(&key).filter(|&&other| other != id) {
            let known = self.definitions.get(other).cloned().unwrap_or_default();
            return Err(contradiction(*other, &known, &definition));
        }
        self.next = self.next.max(u64::from(id.0) + 1);
        self.numbers.insert(key, id);
        self.definitions.insert(id, Arc::new(definition));
        Ok(())
    }
}

fn shape_changed(stored: &TypeDef, here: &TypeDef) -> Error {
    SchemaMismatch::ShapeChanged {
        type_name: stored.name.clone(),
        version: stored.version,
        stored: stored.shape.clone(),
        here: here.shape.clone(),
    }
    .into()
}

fn contradiction(id: TypeId, known: &TypeDef, other: &TypeDef) -> Malformed {
    let (known, other) = (brief(known), brief(other));
    Malformed::new(format!("type number {} is {known}, and then {other}", id.0))
}

/// The definition in a few words: a file may contradict a long one as often as it likes.
fn brief(definition: &TypeDef) -> TypeDef {
    const MOST: usize = 300;
    let cut = |text: &str| match text.split_at_checked(text.floor_char_boundary(MOST)) {
        Some((front, rest)) if !rest.is_empty() => format!("{front}…").into(),
        _ => text.into(),
    };
    TypeDef { name: cut(&definition.name), shape: cut(&definition.shape), ..*definition }
}
