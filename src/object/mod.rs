//! Objects: values of your types that outlive the process, and the transactions that change them.
//!
//! The only bridge between storages and transactions. A [`Database`] stands on a storage; a
//! [`Connection`] reads and changes its objects in the transactions of a manager, a [`View`] reads
//! only. Below them, `codec` and `shape` turn values into bytes and back, and nobody else calls
//! serde and bincode; the storage sees bytes and oids. To read it, begin with `view`, then
//! `connection`, then `commit`.
//!
//! # Invariants
//! - A reference that lies in an object's bytes has been reported along with them.
//! - Bytes that were accepted once can be read back by the type that wrote them.
//! - Revisions are immutable, so decoded ones are shared and never invalidated.

mod attached;
mod cache;
pub mod codec;
mod commit;
mod connection;
mod core;
mod database;
mod doubts;
mod endings;
mod isolation;
mod kind;
mod options;
mod participant;
mod persistent;
mod pinned;
mod reference;
mod registry;
mod roots;
pub mod shape;
mod turn;
mod types;
mod view;
mod watch;
mod writes;

pub(crate) use attached::{Attached, WeakDatabase};
pub use codec::decode_as;
pub use connection::Connection;
pub use database::{Database, Settings};
pub use doubts::OnDoubt;
pub use isolation::Isolation;
pub use options::Options;
pub use persistent::Persistent;
pub use reference::Ref;
pub use view::View;
