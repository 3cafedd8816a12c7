//! The objects that are kept, and what they should be.

use super::story::Story;
use crate::support::databases::loose;
use perennial::{Connection, Oid, Persistent, Ref, Result, Tid, View, decode_as};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An object. There are several types of it, which differ in their names only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item<const KIND: u8> {
    pub stamp: u64,
    pub bytes: Vec<u8>,
    pub next: Option<Ref<Item<0>>>,
}

impl<const KIND: u8> Persistent for Item<KIND> {
    const NAME: &'static str = "simulation.Item";

    fn type_name() -> Cow<'static, str> {
        format!("{}<{KIND}>", Self::NAME).into()
    }
}

/// A number to which concurrent changes add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sum(pub i64);

impl Persistent for Sum {
    const NAME: &'static str = "simulation.Sum";

    fn resolve_conflict(original: &Sum, committed: &Sum, mine: &Sum) -> Option<Sum> {
        Some(Sum(committed.0 + mine.0 - original.0))
    }
}

/// What is in an object, without its references.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Item(u8, u64, Vec<u8>),
    Sum(i64),
}

/// Does something with the type of this number.
macro_rules! of_kind {
    ($kind:expr, $item:ident => $body:expr) => {
        match $kind {
            0 => {
                type $item = Item<0>;
                $body
            }
            1 => {
                type $item = Item<1>;
                $body
            }
            _ => {
                type $item = Item<2>;
                $body
            }
        }
    };
}

/// How many types of items there are.
pub const KINDS: u64 = 3;

/// Which type of item has this name.
fn kind_of(name: &str) -> Option<u8> {
    let number = name.strip_prefix("simulation.Item<")?.strip_suffix('>')?;
    number.parse().ok()
}

/// What the story says an object is as of `tid`; `None` where it is nothing, or none of ours.
pub fn told(story: &Story, oid: Oid, tid: Tid) -> Option<Value> {
    let (entry, number) = story.content(oid, tid)?;
    let name = entry.types[number].as_deref()?;
    let write = entry.batch.write(number);
    let data = write.content.as_ref().map(|content| content.data)?;
    if name == Sum::NAME {
        return Some(Value::Sum(decode_as::<Sum>(data).expect("a sum").0));
    }
    let kind = kind_of(name)?;
    let item = decode_as::<Item<0>>(data).expect("an item");
    Some(Value::Item(kind, item.stamp, item.bytes))
}

/// What a view shows of an object that should be `like`.
pub fn seen(view: &View, oid: Oid, like: &Value) -> Result<Value> {
    Ok(match like {
        Value::Sum(_) => Value::Sum(view.get(loose::<Sum>(oid))?.0),
        Value::Item(kind, ..) => of_kind!(kind, It => {
            let item = view.get(loose::<It>(oid))?;
            Value::Item(*kind, item.stamp, item.bytes.clone())
        }),
    })
}

/// Makes a new item.
pub fn add(conn: &Connection, value: &Value, pinned: bool, next: Option<Oid>) -> Result<Oid> {
    let Value::Item(kind, stamp, bytes) = value else {
        return Ok(conn.add(Sum(0))?.oid());
    };
    let (stamp, bytes, next) = (*stamp, bytes.clone(), next.map(loose));
    of_kind!(kind, It => {
        let item = It { stamp, bytes, next };
        let made = if pinned { conn.add_pinned(item)? } else { conn.add(item)? };
        Ok(made.oid())
    })
}

/// Makes another item of it.
pub fn change(conn: &Connection, oid: Oid, value: &Value) -> Result<()> {
    match value {
        Value::Sum(sum) => conn.modify(loose::<Sum>(oid), |it| it.0 = *sum),
        Value::Item(kind, stamp, bytes) => of_kind!(kind, It => {
            conn.modify(loose::<It>(oid), |it| {
                it.stamp = *stamp;
                it.bytes.clone_from(bytes);
            })
        }),
    }
}

pub fn remove(conn: &Connection, oid: Oid, value: &Value) -> Result<()> {
    let Value::Item(kind, ..) = value else { return Ok(()) };
    of_kind!(kind, It => conn.remove_pinned(loose::<It>(oid)))
}

pub fn check(conn: &Connection, oid: Oid, value: &Value) -> Result<()> {
    let Value::Item(kind, ..) = value else { return Ok(()) };
    of_kind!(kind, It => conn.check_current(loose::<It>(oid)))
}

/// What a transaction made of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Mine {
    Is(Value),
    /// It had this many added.
    Added(i64),
    Removed,
}

/// What a transaction made of objects.
pub type Changes = BTreeMap<Oid, Mine>;
