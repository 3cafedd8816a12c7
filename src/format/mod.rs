//! Headers ↔ bytes: the layout of everything on disk.
//!
//! The storage calls it to put frames together and to take them apart. It does no I/O, keeps no
//! state and believes nothing that it reads: every length is compared with what is there, every
//! sum is checked before its content is returned, and what is wrong is a [`Malformed`], to which
//! the caller adds file and offset.
//!
//! # Invariants
//! - `docs/format.md` says what these modules do; tests/format.rs holds the two together.
#![warn(clippy::indexing_slicing)]

mod bytes;
mod fields;
mod frame;
mod header;
mod index;
mod record;
mod sums;
mod types;

pub use bytes::{MAX_VARINT, Malformed, Reader, put_bytes, put_varint, varint_len};
pub use fields::{Coordinator, Fields, IGNORABLE};
pub use frame::{FRAME_MAGIC, Frame, FrameBuilder, FrameHeader, FrameKind};
pub use header::{
    Additions, CODEC_BINCODE_2, FILE_MAGIC, FIRST_FRAME, FORMAT_VERSION, FileHeader, HEADER_COPY,
    HeaderFault,
};
pub use index::{
    INDEX_MAGIC, INDEX_VERSION, IndexHeader, IndexTables, PAGE_LEN, PAGE_SLOTS, PAGES_START,
    page_sum,
};
pub use record::{Record, RecordContent, RecordHead};
pub use sums::{Sums, plain_sum};
pub use types::{Decision, Metadata, Participant, References, TypeDef, TypeId};
