//! What a file remembers: the revisions of one object, and the transactions in order.

use super::generation::{Generation, into_owned};
use super::log::Log;
use super::window::Window;
use crate::error::Result;
use crate::format::{FIRST_FRAME, Fields, Frame, FrameHeader, FrameKind};
use crate::id::{Oid, Tid};
use crate::storage::{Change, StoredTransaction};

/// The published revisions of `oid`, newest first.
pub(super) fn changes(generation: &Generation, oid: Oid) -> Result<Vec<Change>> {
    let last = generation.last_tid();
    let mut changes = Vec::new();
    let mut next = generation.record_as_of(oid, last)?;
    // Each frame ends before the next: who forges them cannot have one text told many times.
    let mut bound = generation.published_end();
    while let Some((offset, record)) = next {
        let frame = generation.frame_of(offset, &record)?;
        let metadata = generation.log.fields(frame, bound)?.metadata;
        bound = frame;
        let size = record.content.as_ref().map(|content| content.data.len() as u64);
        changes.push(Change { tid: record.tid, metadata, size });
        next = match generation.earlier(offset, &record)? {
            0 => None,
            earlier => Some((earlier, generation.record(oid, earlier)?)),
        };
    }
    Ok(changes)
}

/// Where the frame starts that ends at `end`.
pub(super) fn frame_before(log: &Log, end: u64) -> Result<u64> {
    let length = log.bytes(end.saturating_sub(8), 8, end)?;
    let length = length.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    end.checked_sub(length)
        .filter(|&start| start >= FIRST_FRAME && length >= FrameHeader::MIN_FRAME)
        .ok_or_else(|| {
            log.corrupt(end.saturating_sub(8), "the length of the frame is wrong".into())
        })
}

/// The transactions of a file, from both ends.
///
/// From the front it goes from header to header; from the back by the lengths in the trailers.
#[derive(Debug)]
pub(super) struct FileTransactions<'a> {
    generation: &'a Generation,
    window: Window<'a>,
    after: Tid,
    upto: Tid,
    front: u64,
    back: u64,
}

impl<'a> FileTransactions<'a> {
    pub(super) fn new(generation: &'a Generation, after: Tid, upto: Tid) -> FileTransactions<'a> {
        // The tid first: what is published between the two reads lies beyond it.
        let upto = upto.min(generation.last_tid());
        let back = generation.published_end();
        let window = Window::new(&generation.log, back);
        FileTransactions { generation, window, after, upto, front: FIRST_FRAME, back }
    }

    fn forward(&mut self) -> Result<Option<StoredTransaction>> {
        while self.front < self.back {
            let at = self.front;
            let header = self.window.header(at)?;
            let header = header.map_err(|wrong| self.generation.log.corrupt(at, wrong))?;
            if header.tid > self.upto {
                break;
            }
            self.front = at.saturating_add(header.frame_len().unwrap_or(u64::MAX));
            if self.shows(&header) {
                return self.transaction(at).map(Some);
            }
        }
        self.front = self.back;
        Ok(None)
    }

    fn backward(&mut self) -> Result<Option<StoredTransaction>> {
        while self.front < self.back {
            let at = frame_before(&self.generation.log, self.back)?;
            let header = self.window.header(at)?;
            let header = header.map_err(|wrong| self.generation.log.corrupt(at, wrong))?;
            if header.tid <= self.after {
                break;
            }
            self.back = at;
            if self.shows(&header) {
                return self.transaction(at).map(Some);
            }
        }
        self.back = self.front;
        Ok(None)
    }

    fn shows(&self, header: &FrameHeader) -> bool {
        header.kind == FrameKind::Commit && header.tid > self.after && header.tid <= self.upto
    }

    fn transaction(&mut self, at: u64) -> Result<StoredTransaction> {
        let generation = self.generation;
        let wrong = |wrong| generation.log.corrupt(at, wrong);
        let frame: Frame<'_> = self.window.frame(at)?.map_err(wrong)?;
        let metadata = Fields::decode(frame.fields()).map_err(wrong)?.metadata;
        let records = frame
            .records(&generation.log.sums)
            .map(|record| {
                let (offset, record) = record.map_err(wrong)?;
                Ok((record.oid, generation.revision(offset, record).map(into_owned)))
            })
            .collect::<Result<_>>()?;
        Ok(StoredTransaction { tid: frame.header.tid, metadata, records })
    }

    /// An error is the last item.
    fn item(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<Option<StoredTransaction>>,
    ) -> Option<Result<StoredTransaction>> {
        let item = step(self).transpose();
        if matches!(item, Some(Err(_))) {
            self.front = self.back;
        }
        item
    }
}

impl Iterator for FileTransactions<'_> {
    type Item = Result<StoredTransaction>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item(Self::forward)
    }
}

impl DoubleEndedIterator for FileTransactions<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.item(Self::backward)
    }
}
