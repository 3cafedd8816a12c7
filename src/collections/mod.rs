//! Big things made of small objects: [`BTree`], [`TreeSet`], [`Counter`].
//!
//! Each is a handle that lives inside your structs and names objects of its own. They are built of
//! nothing but what applications have, too: objects that connections add and modify, and resolvers
//! that merge what two transactions did to one of them. Neither storage nor codec knows of them.
//!
//! # Invariants
//! - A handle is as small as a reference, and is one in bytes: who keeps a handle keeps what it
//!   names.
//! - Where concurrent changes were merged, the result is that of the transactions one after the
//!   other; where that cannot be told, the later one conflicts.

pub mod btree;
mod combine;
mod counter;
mod element;
mod set;
mod verify;

pub use btree::BTree;
pub use combine::Combined;
pub use counter::Counter;
pub use element::{Element, Key};
pub use set::TreeSet;
pub use verify::verify;
