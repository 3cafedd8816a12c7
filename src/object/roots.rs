//! The named roots: [`Roots`], the object from which all others are reached.
//!
//! Views look names up in it, connections add them. It is an object like any other, of a type that
//! merges the changes of different names.
//!
//! # Invariants
//! - There is one, of [`Oid::ROOT`]; it comes into being with the first name.

use super::Ref;
use super::connection::Connection;
use super::persistent::Persistent;
use crate::error::Result;
use crate::id::Oid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The named objects of a database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Roots {
    names: BTreeMap<String, Ref<Anything>>,
}

/// What a name stands for: the reader says, and is checked then.
#[derive(Debug)]
struct Anything;

impl Roots {
    pub fn get(&self, name: &str) -> Option<Oid> {
        self.names.get(name).map(|root| root.oid())
    }

    pub fn list(&self) -> Vec<(String, Oid)> {
        self.names.iter().map(|(name, root)| (name.clone(), root.oid())).collect()
    }
}

impl Persistent for Roots {
    const NAME: &'static str = "perennial.Roots";

    /// Names that only one side changed are as that side has them.
    fn resolve_conflict(original: &Roots, committed: &Roots, mine: &Roots) -> Option<Roots> {
        let sides = [&original.names, &committed.names, &mine.names];
        let all: BTreeSet<&String> = sides.iter().flat_map(|names| names.keys()).collect();
        let mut names = BTreeMap::new();
        for name in all {
            let [was, theirs, ours] = sides.map(|names| names.get(name));
            let merged = match () {
                () if theirs == was => ours,
                () if ours == was || ours == theirs => theirs,
                () => return None,
            };
            names.extend(merged.map(|&root| (name.clone(), root)));
        }
        Some(Roots { names })
    }
}

impl Connection {
    /// The object under this name; where there is none, the one that `init` makes.
    ///
    /// When two transactions race to make it, one of them conflicts, and finds it when it is
    /// tried again. Different names never conflict.
    ///
    /// # Errors
    /// Those of [`root`](super::View::root), of `init` and of [`add`](Connection::add).
    pub fn root_or_init<T: Persistent>(
        &self,
        name: &str,
        init: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<Ref<T>> {
        if let Some(root) = self.root(name)? {
            return Ok(root);
        }
        let root = self.add(init(self)?)?;
        self.set_root(name, root)?;
        Ok(root)
    }

    /// Lets the name stand for this object from now on.
    ///
    /// # Errors
    /// Those of [`modify`](Connection::modify).
    pub fn set_root<T: Persistent>(&self, name: &str, root: Ref<T>) -> Result<()> {
        let root = Ref::new(self.core.own(root)?, self.core.tag);
        self.change_roots(|roots| {
            roots.names.insert(name.into(), root);
        })
    }

    /// Takes the name away; whether it was there. The object stays for as long as others refer
    /// to it.
    ///
    /// # Errors
    /// Those of [`modify`](Connection::modify).
    pub fn remove_root(&self, name: &str) -> Result<bool> {
        if self.named()?.is_none_or(|roots| roots.get(name).is_none()) {
            return Ok(false);
        }
        self.change_roots(|roots| {
            roots.names.remove(name);
        })?;
        Ok(true)
    }

    fn change_roots(&self, change: impl FnOnce(&mut Roots)) -> Result<()> {
        if self.named()?.is_some() {
            return self.modify(Ref::new(Oid::ROOT, self.core.tag), change);
        }
        let mut roots = Roots::default();
        change(&mut roots);
        // Another transaction may make this object, too: then both started from no names.
        self.create(Oid::ROOT, roots, Some(Roots::default()))
    }
}
