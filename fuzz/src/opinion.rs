//! A second opinion: what the frames of a file say, read as simply as it can be said.

use perennial::format::{
    FIRST_FRAME, FileHeader, Frame, FrameHeader, FrameKind, HEADER_COPY, Sums,
};
use perennial::storage::{FileStorage, Load, Storage};
use perennial::{Error, Oid, Tid};
use std::collections::BTreeMap;

/// A transaction: what it stored; `None` where it removed the object.
pub type Stored = (Tid, Vec<(Oid, Option<Vec<u8>>)>);

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opinion {
    /// The transactions up to the first frame that is not whole, or does not follow.
    pub transactions: Vec<Stored>,
}

impl Opinion {
    /// The opinion on this file; `None` where its header is no good.
    pub fn of(file: &[u8]) -> Option<Opinion> {
        let copy = |start: usize| file.get(start..)?.first_chunk().map(FileHeader::decode);
        let header = [0, HEADER_COPY as usize].into_iter().find_map(|it| copy(it)?.ok())?;
        let sums = Sums::new(header.database, header.generation);
        let (mut at, mut chain) = (FIRST_FRAME, header.sum());
        let mut opinion = Opinion::default();
        while let Some(frame) = frame_at(&sums, at, file) {
            if frame.header.chain != chain {
                break;
            }
            if frame.header.kind == FrameKind::Commit {
                let Some(stored) = records(&sums, &frame) else { break };
                opinion.transactions.push((frame.header.tid, stored));
            }
            (at, chain) = (frame.end(), frame.sum);
        }
        Some(opinion)
    }

    /// The newest state of every object that was ever stored.
    pub fn newest(&self) -> BTreeMap<Oid, Option<&Vec<u8>>> {
        let all = self.transactions.iter().flat_map(|(_, records)| records);
        all.map(|(oid, data)| (*oid, data.as_ref())).collect()
    }

    /// The last transaction.
    pub fn last(&self) -> Option<Tid> {
        self.transactions.last().map(|(tid, _)| *tid)
    }

    /// Reads everything: what can be read is what the frames say.
    ///
    /// What cannot be read must be an error of damaged bytes; whether there was none.
    pub fn check(&self, storage: &FileStorage) -> bool {
        let mut whole = true;
        let mut seen = Vec::new();
        for transaction in storage.transactions(Tid::ZERO, Tid::MAX).expect("it is open") {
            match transaction {
                Ok(it) => {
                    let data =
                        |(oid, revision): (Oid, Option<perennial::storage::Revision<'_>>)| {
                            (oid, revision.map(|revision| revision.data.into_owned()))
                        };
                    seen.push((it.tid, it.records.into_iter().map(data).collect::<Vec<_>>()));
                }
                Err(error) => {
                    whole = damaged(&error);
                    break;
                }
            }
        }
        assert!(self.transactions.starts_with(&seen), "{seen:?} instead of {self:?}");
        assert!(!whole || seen == self.transactions, "transactions are lost in silence");
        whole & self.check_newest(storage)
    }

    fn check_newest(&self, storage: &FileStorage) -> bool {
        let mut whole = true;
        let snapshot = storage.snapshot().expect("it is open");
        for (oid, expected) in self.newest() {
            match snapshot.load(oid) {
                Ok(Load::Found(it)) => assert_eq!(Some(&it.data.to_vec()), expected, "{oid}"),
                Ok(Load::Removed(_)) => assert_eq!(None, expected, "{oid}"),
                Ok(Load::Absent) => panic!("object {oid} is lost in silence"),
                Err(error) => whole = damaged(&error),
            }
            if let Err(error) = storage.history(oid) {
                whole = damaged(&error);
            }
        }
        whole
    }

    /// Reads every object as of every transaction.
    pub fn check_history(&self, storage: &FileStorage) {
        let mut state = BTreeMap::new();
        for (tid, records) in &self.transactions {
            state.extend(records.iter().map(|(oid, data)| (*oid, data.as_ref())));
            let snapshot = storage.snapshot_at(*tid).expect("it is there");
            for (oid, expected) in &state {
                match snapshot.load(*oid) {
                    Ok(Load::Found(it)) => assert_eq!(Some(&it.data.to_vec()), *expected),
                    Ok(_) => assert_eq!(None, *expected, "{oid} as of {tid:?}"),
                    Err(error) => drop(damaged(&error)),
                }
            }
        }
    }
}

/// Checks that the error tells of damaged bytes; that there was one.
fn damaged(error: &Error) -> bool {
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    false
}

fn frame_at<'a>(sums: &Sums, at: u64, file: &'a [u8]) -> Option<Frame<'a>> {
    let rest = file.get(usize::try_from(at).ok()?..)?;
    let header = FrameHeader::decode(sums, at, rest.first_chunk()?).ok()?;
    let length = usize::try_from(header.frame_len()?).ok()?;
    Frame::decode(sums, at, rest.get(..length)?).ok()
}

fn records(sums: &Sums, frame: &Frame<'_>) -> Option<Vec<(Oid, Option<Vec<u8>>)>> {
    let record = |record: Result<(u64, perennial::format::Record<'_>), _>| {
        let (_, record) = record.ok()?;
        Some((record.oid, record.content.map(|content| content.data.into_owned())))
    };
    frame.records(sums).map(record).collect()
}
