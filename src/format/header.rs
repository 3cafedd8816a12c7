//! The file header: which database this is, and in which format.
//!
//! Written twice when a file is created, and never again: one copy can be damaged and the rest of
//! the file is still read. Knows nothing of frames but where the first one stands.
//!
//! Format: docs/format.md, "File header".

use super::bytes::{Malformed, Reader};
use super::sums::plain_sum;
use crate::id::{DatabaseId, Oid, Tid};

/// The first bytes of every database: no text, and mangled by whatever mangles line ends.
pub const FILE_MAGIC: [u8; 8] = *b"\x89PRNL\r\n\x1a";

/// The format written by this program.
pub const FORMAT_VERSION: u16 = 1;

/// The codec of the objects: bincode 2, little-endian, with variable-length integers.
pub const CODEC_BINCODE_2: u32 = 1;

/// Where the second copy of the header stands.
pub const HEADER_COPY: u64 = 2048;

/// Where the first frame stands.
pub const FIRST_FRAME: u64 = 4096;

/// What stands at the start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The database.
    pub database: DatabaseId,
    /// Counts the files this database was rewritten into: 1 for the first.
    pub generation: u64,
    /// The codec of the objects.
    pub codec: u32,
    /// History before this transaction was dropped; [`Tid::ZERO`] where none was.
    pub history_from: Tid,
    /// The last transaction before this file's first frame.
    pub last_tid: Tid,
    /// Every oid below was given out before this file's first frame.
    pub next_oid: Oid,
    /// Decisions older than this transaction were forgotten.
    pub forgot_before: Tid,
    /// What later versions say here without changing what this one reads.
    pub additions: Additions,
}

/// What a later version of the format may say in a file header to those who understand it.
///
/// This version says nothing and keeps what it finds: the first frame is chained to the sum over
/// all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Additions {
    /// The format's minor version.
    pub minor: u16,
    /// Features that a reader may pass over.
    pub compatible: u32,
    /// What these features keep.
    pub bytes: [u8; 32],
}

/// Why a file header was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFault {
    /// These are not the bytes of a database.
    Foreign,
    /// It is one, damaged.
    Damaged,
    /// It is one, in a format this program does not know: what is at odds.
    Unsupported(Box<str>),
}

impl FileHeader {
    /// Bytes of one copy.
    pub const LEN: usize = 128;

    /// The header of a new database.
    pub fn new(database: DatabaseId) -> FileHeader {
        FileHeader {
            database,
            generation: 1,
            codec: CODEC_BINCODE_2,
            history_from: Tid::ZERO,
            last_tid: Tid::ZERO,
            next_oid: Oid::new(1),
            forgot_before: Tid::ZERO,
            additions: Additions::default(),
        }
    }

    /// Its bytes, the sum last.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&FILE_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.additions.minor.to_le_bytes());
        out.extend_from_slice(&self.codec.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.additions.compatible.to_le_bytes());
        out.extend_from_slice(&self.database.bytes());
        for number in [
            self.generation,
            self.history_from.number(),
            self.last_tid.number(),
            self.next_oid.number(),
            self.forgot_before.number(),
            FIRST_FRAME,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.additions.bytes);
        let sum = plain_sum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.try_into().expect("a header has its length by construction")
    }

    /// Both copies, and the zeros up to the first frame.
    pub fn encode_file(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(FIRST_FRAME as usize);
        for end in [HEADER_COPY, FIRST_FRAME] {
            file.extend_from_slice(&self.encode());
            file.resize(end as usize, 0);
        }
        file
    }

    /// Its sum, to which the first frame is chained.
    pub fn sum(&self) -> u64 {
        let bytes = self.encode();
        bytes.split_last_chunk().map_or(0, |(_, sum)| u64::from_le_bytes(*sum))
    }

    /// The header in these bytes.
    ///
    /// # Errors
    /// Why there is none.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<FileHeader, HeaderFault> {
        let Some((covered, sum)) = bytes.split_last_chunk::<8>() else {
            return Err(HeaderFault::Foreign);
        };
        if !covered.starts_with(&FILE_MAGIC) {
            return Err(HeaderFault::Foreign);
        }
        if plain_sum(covered) != u64::from_le_bytes(*sum) {
            return Err(HeaderFault::Damaged);
        }
        Self::decode_covered(covered).map_err(|_| HeaderFault::Damaged)?
    }

    fn decode_covered(covered: &[u8]) -> Result<Result<FileHeader, HeaderFault>, Malformed> {
        let mut reader = Reader::new(covered);
        reader.take(FILE_MAGIC.len())?;
        let (version, minor) = (reader.u16()?, reader.u16()?);
        let codec = reader.u32()?;
        let (incompatible, compatible) = (reader.u32()?, reader.u32()?);
        let database = DatabaseId::new(reader.array()?);
        let generation = reader.u64()?;
        let history_from = Tid::new(reader.u64()?);
        let last_tid = Tid::new(reader.u64()?);
        let next_oid = Oid::new(reader.u64()?);
        let forgot_before = Tid::new(reader.u64()?);
        let first_frame = reader.u64()?;
        let additions = Additions { minor, compatible, bytes: reader.array()? };
        let header = FileHeader {
            database,
            generation,
            codec,
            history_from,
            last_tid,
            next_oid,
            forgot_before,
            additions,
        };
        Ok(header.supported(version, incompatible, first_frame))
    }

    fn supported(
        self,
        version: u16,
        incompatible: u32,
        first_frame: u64,
    ) -> Result<FileHeader, HeaderFault> {
        let refusal = |what: String| Err(HeaderFault::Unsupported(what.into()));
        if version != FORMAT_VERSION {
            return refusal(format!(
                "it is in format version {version}, this program knows version {FORMAT_VERSION}"
            ));
        }
        if self.codec != CODEC_BINCODE_2 {
            return refusal(format!(
                "its objects are in codec {}, this program knows codec {CODEC_BINCODE_2}",
                self.codec
            ));
        }
        if incompatible != 0 {
            return refusal(format!("it uses features {incompatible:#x}, which are unknown here"));
        }
        if first_frame != FIRST_FRAME {
            return refusal(format!(
                "its frames start at offset {first_frame}, not at {FIRST_FRAME}"
            ));
        }
        Ok(self)
    }
}

const _: () = {
    let numbers = 2 + 2 + 4 + 4 + 4 + 6 * 8;
    assert!(FileHeader::LEN == FILE_MAGIC.len() + numbers + 16 + 32 + 8, "no byte is left over");
    assert!(FileHeader::LEN as u64 <= HEADER_COPY);
    assert!(HEADER_COPY + FileHeader::LEN as u64 <= FIRST_FRAME);
};
