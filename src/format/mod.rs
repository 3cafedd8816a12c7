//! Headers ↔ bytes.

mod bytes;
mod types;

pub use bytes::{MAX_VARINT, Malformed, Reader, put_bytes, put_varint, varint_len};
pub use types::{Decision, Metadata, Participant, References, TypeDef, TypeId};
