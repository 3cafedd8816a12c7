//! Edits of bytes, as a fuzzer makes them up.

use arbitrary::Arbitrary;

/// One change of some bytes. Places are taken modulo the length.
#[derive(Debug, Clone, Arbitrary)]
pub enum Edit {
    /// Another byte.
    Byte(u16, u8),
    /// Another number of four bytes.
    Short(u16, u32),
    /// Another number of eight bytes.
    Long(u16, u64),
    /// Adds to the number of eight bytes there.
    Add(u16, i8),
    /// Zeros.
    Zeros(u16, u16),
    /// The bytes of one place at another one.
    Copy { from: u16, to: u16, length: u16 },
    /// More bytes.
    Insert(u16, Vec<u8>),
    /// Fewer bytes.
    Remove(u16, u8),
    /// No bytes from there on.
    Cut(u16),
    /// Zeros at the end.
    Grow(u8),
}

impl Edit {
    /// Changes `bytes`.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        let place = |at: u16| usize::from(at) % length;
        match self {
            Edit::Byte(at, byte) => put(bytes, place(*at), &[*byte]),
            Edit::Short(at, number) => put(bytes, place(*at), &number.to_le_bytes()),
            Edit::Long(at, number) => put(bytes, place(*at), &number.to_le_bytes()),
            Edit::Add(at, more) => {
                let at = place(*at) & !7;
                if let Some(old) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
                    let sum = u64::from_le_bytes(*old).wrapping_add_signed(i64::from(*more));
                    put(bytes, at, &sum.to_le_bytes());
                }
            }
            Edit::Zeros(at, count) => put(bytes, place(*at), &vec![0; usize::from(*count)]),
            Edit::Copy { from, to, length } => {
                let from = place(*from);
                let end = (from + usize::from(*length)).min(bytes.len());
                let piece = bytes[from.min(end)..end].to_vec();
                put(bytes, place(*to), &piece);
            }
            Edit::Insert(at, more) => {
                let at = place(*at).min(bytes.len());
                drop(bytes.splice(at..at, more.iter().copied()));
            }
            Edit::Remove(at, count) => {
                let at = place(*at).min(bytes.len());
                let end = (at + usize::from(*count)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            Edit::Cut(at) => bytes.truncate(place(*at)),
            Edit::Grow(by) => bytes.resize(bytes.len() + usize::from(*by) * 8, 0),
        }
    }
}

/// Puts `piece` at `at`, as far as there is room.
fn put(bytes: &mut [u8], at: usize, piece: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(piece) {
        *byte = *new;
    }
}
