//! Numbers and strings ↔ bytes: the alphabet of every structure in the file.
//!
//! [`Reader`] takes them from untrusted bytes and never goes beyond their end; the `put_…`
//! functions append them. Fixed numbers are little-endian.
//!
//! # Invariants
//! - No length from a file is believed before it was compared with what is left to read.
//! - A varint has one encoding: the shortest.
//!
//! Format: docs/format.md, "Numbers".

/// What is wrong with some bytes: a phrase that completes "at this offset: …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub Box<str>);

impl Malformed {
    /// Bytes that break the rule `what`.
    pub fn new(what: impl Into<Box<str>>) -> Malformed {
        Malformed(what.into())
    }
}

impl From<&str> for Malformed {
    fn from(what: &str) -> Malformed {
        Malformed(what.into())
    }
}

/// The longest varint: 64 bits, seven a byte.
pub const MAX_VARINT: usize = 10;

/// Appends `number`, seven bits a byte, the lowest first; the top bit says that more follow.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes [`put_varint`] appends for `number`.
pub fn varint_len(number: u64) -> usize {
    (64 - number.max(1).leading_zeros() as usize).div_ceil(7)
}

/// Appends the length of `bytes` as a varint, and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes structures from the front of untrusted bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Malformed::new(format!(
                "{length} bytes announced where {} are left",
                self.rest.len()
            ))),
        }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(Malformed::new(format!("{N} bytes expected, {} left", self.rest.len()))),
        }
    }

    /// The next byte.
    ///
    /// # Errors
    /// Where none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next fixed number of two bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next fixed number of four bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next fixed number of eight bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next varint.
    ///
    /// # Errors
    /// Where it does not end, exceeds 64 bits, or is not the shortest for its number.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for (index, &byte) in self.rest.iter().take(MAX_VARINT).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == MAX_VARINT - 1 && byte > 1 {
                return Err("a varint beyond 64 bits".into());
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err("a varint that is not the shortest".into());
                }
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err("a varint without an end".into())
    }

    /// The next varint, where it must fit 32 bits.
    ///
    /// # Errors
    /// As [`varint`](Reader::varint), and where it does not fit.
    pub fn varint32(&mut self) -> Result<u32, Malformed> {
        let number = self.varint()?;
        u32::try_from(number).map_err(|_| Malformed::new(format!("{number} exceeds 32 bits")))
    }

    /// The next bytes, after their length.
    ///
    /// # Errors
    /// Where fewer are left than announced.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The next string, after its length.
    ///
    /// # Errors
    /// As [`bytes`](Reader::bytes), and where it is not UTF-8.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a string that is not UTF-8".into())
    }
}
