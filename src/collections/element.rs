//! What can be kept in a collection: [`Element`], and what it can be found by: [`Key`].
//!
//! Nobody implements these: every type that has what they ask for is one.
//!
//! # Invariants
//! - Neither has methods: they are names for lists of bounds.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose values can be kept in a collection.
///
/// It needs no name, unlike a [`Persistent`](crate::Persistent) one: its values lie inside the
/// collection's objects. What is large, or changes by itself, is better an object of its own, and
/// its [`Ref`](crate::Ref) the element.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a collection",
    label = "this type is not an `Element`",
    note = "derive `Clone`, `serde::Serialize` and `serde::Deserialize` for it; it must be `Send` \
            and `Sync`, and borrow nothing"
)]
pub trait Element: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Element for T {}

/// A type whose values can be the keys of a [`BTree`](super::BTree).
///
/// Keys are equal where their order says so; `==` is never asked.
///
/// Its order is as much a part of the file as its bytes. A program with another order finds keys
/// at places where they are not, and [`check`](super::BTree::check) finds such trees.
///
/// ```compile_fail
/// # use perennial::{Database, collections::BTree};
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Unordered(u32);
/// let db = Database::in_memory()?;
/// db.transact(|conn| BTree::<Unordered, u32>::create(conn))?;
/// # Ok::<(), perennial::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a collection",
    label = "this type is not a `Key`",
    note = "derive `PartialEq`, `Eq`, `PartialOrd`, `Ord`, `Clone`, `serde::Serialize` and \
            `serde::Deserialize` for it; it must be `Send` and `Sync`, and borrow nothing"
)]
pub trait Key: Ord + Element {}

#[diagnostic::do_not_recommend]
impl<T: Ord + Element> Key for T {}
