//! native_db.
//!
//! Rows with a primary key, over redb 2; encoded by its own `native_model` with bincode 1, since
//! that is how it stores objects. All its commits are durable, so it has no column where nothing
//! is synced, nor any for the map, whose rows could only be put in by durable commits.

use super::{Contender, Peer, Role, See, Shared, Tuning, found};
use crate::object::{Item, NotOffered, Result};
use native_db::{Builder, Database, Models, ToKey, native_db};
use native_model::{Model, native_model};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

pub const CONTENDER: Contender = Contender {
    name: "native_db",
    package: "native_db",
    role: Role::Peer,
    syncs: true,
    settings: "defaults (over redb 2, bincode 1); always durable",
    open,
};

#[derive(Serialize, Deserialize)]
#[native_model(id = 1, version = 1)]
#[native_db]
struct Row {
    #[primary_key]
    key: u64,
    item: Item,
    next: Option<u64>,
}

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let mut models = Models::new();
    models.define::<Row>().expect("the model is sound");
    models
});

struct Native(Database<'static>);

fn open(path: &Path, _: Tuning) -> Result<Shared> {
    Ok(Arc::new(Native(Builder::new().create(&MODELS, path.join("objects.native"))?)))
}

impl Peer for Native {
    fn put(&self, keys: Range<u64>, durable: bool) -> Result<()> {
        if !durable {
            return Err(NotOffered.into());
        }
        let transaction = self.0.rw_transaction()?;
        for key in keys {
            transaction.insert(Row { key, item: Item::new(key), next: key.checked_sub(1) })?;
        }
        Ok(transaction.commit()?)
    }

    fn update(&self, keys: &[u64], durable: bool) -> Result<()> {
        if !durable {
            return Err(NotOffered.into());
        }
        let transaction = self.0.rw_transaction()?;
        for &key in keys {
            let mut row: Row = found(transaction.get().primary(key)?, key)?;
            row.item.changes += 1;
            transaction.upsert(row)?;
        }
        Ok(transaction.commit()?)
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let transaction = self.0.r_transaction()?;
        for &key in keys {
            see(key, &found(transaction.get().primary::<Row>(key)?, key)?.item);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }
}
