//! Headers ↔ bytes.

mod types;
pub use types::{Decision, Metadata, Participant, References, TypeDef, TypeId};
