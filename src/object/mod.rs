//! Objects: how a value of one of your types becomes bytes and back, and how one names another.
//!
//! The bridge between types and storages. It calls serde and bincode, and nobody else does; the
//! storages below see bytes and oids only.
//!
//! # Invariants
//! - A reference that lies in an object's bytes has been reported along with them.
//! - Bytes that were accepted once can be read back by the type that wrote them.

pub mod codec;
mod persistent;
mod reference;
pub mod shape;

pub use codec::decode_as;
pub use persistent::Persistent;
pub use reference::Ref;
