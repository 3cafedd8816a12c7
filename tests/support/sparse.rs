//! The bytes of a simulated file: blocks that clones share until one of them changes, so that a
//! disk of megabytes is copied in microseconds; blocks of zeros stand nowhere.

use std::ops::Range;
use std::sync::Arc;

const BLOCK: u64 = 4096;

type Block = Option<Arc<[u8; BLOCK as usize]>>;

/// Bytes that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sparse {
    blocks: Vec<Block>,
    length: u64,
}

impl Sparse {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from `offset` on; whether there were enough bytes.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.length && !buffer.is_empty() {
            return false;
        }
        for (index, inside, outside) in pieces(offset, buffer.len() as u64) {
            match &self.blocks[index] {
                Some(block) => buffer[outside].copy_from_slice(&block[inside]),
                None => buffer[outside].fill(0),
            }
        }
        true
    }

    /// Puts `bytes` at `offset`, growing where needed.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let length = bytes.len() as u64;
        self.reach(offset, length);
        for (index, inside, outside) in pieces(offset, length) {
            let block = self.blocks[index].get_or_insert_with(|| Arc::new([0; BLOCK as usize]));
            Arc::make_mut(block)[inside].copy_from_slice(&bytes[outside]);
        }
    }

    /// Puts `length` zeros at `offset`, growing where needed.
    pub fn zero(&mut self, offset: u64, length: u64) {
        self.reach(offset, length);
        for (index, inside, _) in pieces(offset, length) {
            match &mut self.blocks[index] {
                block if inside.len() as u64 == BLOCK => *block = None,
                Some(block) => Arc::make_mut(block)[inside].fill(0),
                None => {}
            }
        }
    }

    /// Grows to where `length` bytes from `offset` end, if they are any.
    fn reach(&mut self, offset: u64, length: u64) {
        if length > 0 {
            self.resize(self.length.max(offset + length));
        }
    }

    /// Cuts it to `length`, or adds zeros up to it.
    pub fn resize(&mut self, length: u64) {
        self.blocks.resize(length.div_ceil(BLOCK) as usize, None);
        if length < self.length
            && !length.is_multiple_of(BLOCK)
            && let Some(Some(block)) = self.blocks.last_mut()
        {
            Arc::make_mut(block)[(length % BLOCK) as usize..].fill(0);
        }
        self.length = length;
    }
}

/// The range of `length` bytes from `offset`, block by block: which block, where in it, and where
/// in the range.
fn pieces(offset: u64, length: u64) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done;
        let step = (BLOCK - at % BLOCK).min(length - done);
        let (inside, outside) = ((at % BLOCK) as usize, done as usize);
        done += step;
        let step = step as usize;
        let piece = ((at / BLOCK) as usize, inside..inside + step, outside..outside + step);
        (step > 0).then_some(piece)
    })
}
