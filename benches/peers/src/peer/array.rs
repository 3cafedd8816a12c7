//! The limit of hot reads: an array of `Arc`, and a clone of one for each read.

use super::{Contender, Peer, Role, See, Shared, Tuning};
use crate::object::{Item, Linked, NotOffered, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, RwLock};

pub const CONTENDER: Contender = Contender {
    name: super::ARRAY,
    package: "",
    role: Role::Limit,
    syncs: true,
    settings: "an `Arc` is cloned for each read",
    open,
};

#[derive(Default)]
struct Array(RwLock<Vec<Arc<Linked>>>);

fn open(_: &Path, _: Tuning) -> Result<Shared> {
    Ok(Arc::new(Array::default()))
}

impl Peer for Array {
    fn put(&self, keys: Range<u64>, _durable: bool) -> Result<()> {
        let new = keys.map(|key| Arc::new(Linked { item: Item::new(key), next: None }));
        self.0.write().expect("no panic").extend(new);
        Ok(())
    }

    fn update(&self, _: &[u64], _: bool) -> Result<()> {
        Err(NotOffered.into())
    }

    fn read(&self, keys: &[u64], see: See) -> Result<()> {
        let array = self.0.read().expect("no panic");
        for &key in keys {
            let object = array[key as usize].clone();
            see(key, &std::hint::black_box(object).item);
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }
}
