//! Opening a file: from the index snapshot and the end of the log to a [`Core`].
//!
//! For writing, the verdict on the log's end is final: damage is refused, a torn end is mended.
//! For reading only, nothing is written and nothing is locked; beside a living writer only what
//! is proven durable is shown, and of a damaged file what precedes the damage.
//!
//! Format: docs/format.md, "Opening".

use super::core::{Core, LeaderState, Ordered, State};
use super::create::{Held, hold, read_header, remove_leftovers};
use super::generation::Generation;
use super::housekeeping::{Look, Rest};
use super::index::Index;
use super::log::Log;
use super::pending::Pending;
use super::promises::Promises;
use super::walk::{Mark, Walked, walk};
use super::{FileOptions, Mode, index_file, tail};
use crate::error::{Damage, Error, InDoubt, Result};
use crate::file::{Access, AppendFile, Directory, FileIdentity, Process};
use crate::format::{
    FIRST_FRAME, Fields, FileHeader, Frame, FrameHeader, FrameKind, IndexHeader, Malformed, Sums,
    TypeId,
};
use crate::id::{GlobalId, Oid};
use crate::storage::{DurableMark, TypeTable};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Condvar, Mutex};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a reader looks beside a writer before it gives a verdict, and how long it pauses
/// between.
pub(super) const TRIES: usize = 5;
pub(super) const PAUSE: Duration = Duration::from_millis(2);

/// Opens the database file `name` of `directory`, or creates it.
pub(super) fn open(
    directory: Arc<dyn Directory>,
    name: &str,
    options: FileOptions,
) -> Result<Arc<Core>> {
    let Held { file, lock } = hold(&*directory, name, &options)?;
    let path = directory.path(name);
    let (header, broken) = read_header(&path, &*file)?;
    let identity = file.identity().map_err(|error| Error::io("open", &path, error))?;
    let name = name.to_owned();
    let subject = Subject { directory, name, identity, options, path, file, header };
    if subject.options.mode == Mode::ReadOnly {
        return subject.open_read_only(broken);
    }
    match broken {
        Some(damage) => Err(damage.into()),
        None => subject.open_for_writing(lock),
    }
}

/// Whether somebody has the file `name` open for writing.
pub(super) fn has_writer(directory: &dyn Directory, name: &str) -> bool {
    probe(directory, name).is_ok_and(|free| !free)
}

/// Whether somebody may have it: so it is where nobody can find out.
pub(super) fn may_have_writer(directory: &dyn Directory, name: &str) -> bool {
    match probe(directory, name) {
        Ok(free) => !free,
        // Where there are no locks there is no writer.
        Err(error) => error.kind() != ErrorKind::Unsupported,
    }
}

/// Whether the lock on the file can be had.
fn probe(directory: &dyn Directory, name: &str) -> std::io::Result<bool> {
    directory.open(name, Access::Read)?.try_lock()
}

/// The file that is being opened.
struct Subject {
    directory: Arc<dyn Directory>,
    name: String,
    identity: FileIdentity,
    options: FileOptions,
    path: PathBuf,
    file: Arc<dyn AppendFile>,
    header: FileHeader,
}

/// What the snapshot and the walk have told so far.
struct Replay {
    generation: Generation,
    types: TypeTable,
    defined: HashMap<TypeId, u64>,
    pinned: HashSet<Oid>,
    decisions: BTreeMap<GlobalId, u64>,
    prepared: BTreeMap<GlobalId, u64>,
    /// Where the walk starts.
    mark: Mark,
    /// Everything below was durable once.
    proven: u64,
    /// So the snapshot says, also where nothing else of it is believed.
    vouched: u64,
}

impl Subject {
    fn open_for_writing(self, lock: Option<Arc<dyn AppendFile>>) -> Result<Arc<Core>> {
        remove_leftovers(&*self.directory, &self.name);
        let length = self.length()?;
        let mut replay = self.replay(true)?;
        if length < replay.vouched && self.options.accept_shorter {
            let given_out = replay.mark.next_oid;
            replay = Replay { vouched: FIRST_FRAME, ..self.replay(false)? };
            replay.mark.next_oid = replay.mark.next_oid.max(given_out);
            // It would contradict what is about to be written over the missing end.
            let failed = |error| Error::io("remove the index snapshot of", &self.path, error);
            index_file::forget(&*self.directory, &self.name).map_err(failed)?;
        }
        let vouched = replay.vouched;
        if length < vouched {
            return Err(Damage::new(&self.path, length, vouched, "the file ends there").into());
        }
        let clean = replay.mark.at == length && replay.proven == length;
        let walked = replay.walk(length)?;
        let end = walked.mark.at;
        let proven = walked.proven.max(vouched);
        if end < proven {
            return Err(walked.damage(&self.path, proven).into());
        }
        let prepared = replay.prepared.clone();
        if let Some((&gtid, &offset)) = prepared.first_key_value()
            && !self.options.hold_in_doubt
        {
            let why = "the database that decides it must be asked";
            return Err(Error::InDoubt(
                Box::new(InDoubt::new(&self.path, gtid, offset, why)).into(),
            ));
        }
        let sealed = clean && end > FIRST_FRAME || walked.last == Some(FrameKind::Seal);
        let core = self.core(replay, walked.mark, sealed, lock, length);
        // Before anything is written: a promise that cannot be taken up refuses the file as it is.
        core.take_up(&prepared)?;
        if !clean {
            let marks = (walked.proven, end, length);
            tail::mend(&*core.directory, &core.name, &core.generation.log, marks)?;
        }
        if !sealed && end > FIRST_FRAME {
            core.seal()?;
        }
        Ok(core)
    }

    fn open_read_only(self, broken: Option<Damage>) -> Result<Arc<Core>> {
        if let Some(damage) = broken {
            tracing::warn!(%damage, "reading from the other copy");
        }
        let (mut replay, walked) = self.walk_read_only()?;
        let (at, proven) = (walked.mark.at, walked.proven.max(replay.vouched));
        if at < proven {
            tracing::warn!(path = %self.path.display(), at, proven, "damaged; showing what precedes");
        }
        replay.proven = proven;
        let sealed = walked.last == Some(FrameKind::Seal);
        Ok(self.core(replay, walked.mark, sealed, None, at))
    }

    /// Walks as far as may be shown.
    fn walk_read_only(&self) -> Result<(Replay, Walked)> {
        let mut tried = 0;
        loop {
            tried += 1;
            let last = tried == TRIES;
            match self.try_walk(!last) {
                Ok((replay, walked, settled)) if settled || last => return Ok((replay, walked)),
                Err(error) if last => return Err(error),
                // A writer may have been at work where we read: look again before any verdict.
                _ if has_writer(&*self.directory, &self.name) => std::thread::sleep(PAUSE),
                _ => {}
            }
        }
    }

    /// Walks once as far as may be shown; whether it found no damage on the way, and no writer who
    /// was not there before.
    fn try_walk(&self, snapshot: bool) -> Result<(Replay, Walked, bool)> {
        let living = may_have_writer(&*self.directory, &self.name);
        let length = self.length()?;
        let mut replay = self.replay(snapshot)?;
        let mut shown = length;
        if living && replay.proven <= length {
            shown = replay.probe(length)?.proven.min(length);
        }
        let reached = replay.mark.at <= shown;
        let walked = replay.walk(shown)?;
        // What was cut off may be in the pages of the snapshot.
        let mut settled = reached && walked.mark.at >= walked.proven;
        // One that came meanwhile may have written what was read, and nothing of it is durable.
        settled &= living || !may_have_writer(&*self.directory, &self.name);
        Ok((replay, walked, settled))
    }

    fn length(&self) -> Result<u64> {
        self.file.len().map_err(|error| Error::io("measure", &self.path, error))
    }

    /// Where the walk begins: at the snapshot's mark, if it is to be used and there is one.
    fn replay(&self, snapshot: bool) -> Result<Replay> {
        let sums = Sums::new(self.header.database, self.header.generation);
        let told =
            index_file::read(&*self.directory, &self.name, self.options.reads, &self.header, &sums);
        let log = Log::new(self.file.clone(), self.path.clone(), sums, self.options.reads);
        let vouched = told.as_ref().map_or(FIRST_FRAME, |told| told.header.valid_upto);
        let told = match told {
            Some(told)
                if snapshot
                    && (self.length()? < vouched || self.leads_to(&log, &told.header)?) =>
            {
                Some(told)
            }
            _ => None,
        };
        let (number, history_from) = (self.header.generation, self.header.history_from);
        let generation = |index| Generation::new(number, log, index, history_from);
        let Some(told) = told else {
            return Ok(Replay {
                generation: generation(Index::empty()),
                types: TypeTable::default(),
                defined: HashMap::new(),
                pinned: HashSet::new(),
                decisions: BTreeMap::new(),
                prepared: BTreeMap::new(),
                mark: Mark::start(&self.header, self.header.sum()),
                proven: FIRST_FRAME,
                vouched,
            });
        };
        let index_file::Told { header, tables, types, index } = told;
        let at = header.scan_from;
        Ok(Replay {
            generation: generation(index),
            types,
            defined: tables.types.into_iter().map(|(id, _)| (id, 0)).collect(),
            pinned: tables.pinned.into_iter().collect(),
            decisions: tables.decisions.into_iter().collect(),
            prepared: tables.prepared.into_iter().collect(),
            mark: Mark { at, chain: header.chain, tid: header.tid, next_oid: header.next_oid },
            proven: vouched,
            vouched,
        })
    }

    /// Whether the log came by where the snapshot says that it did. A copy of the file that went
    /// another way has other frames there, perhaps as long; then nothing of the snapshot counts
    /// but that the log was so long: what stands there may as well be damaged.
    fn leads_to(&self, log: &Log, snapshot: &IndexHeader) -> Result<bool> {
        let at = snapshot.scan_from;
        let sum = match at {
            FIRST_FRAME => Some(self.header.sum()),
            _ => log.sum_before(at)?,
        };
        let leads = sum == Some(snapshot.chain);
        if !leads {
            tracing::warn!(path = %self.path.display(), at, "the index snapshot is of another log");
        }
        Ok(leads)
    }

    fn core(
        self,
        replay: Replay,
        mark: Mark,
        sealed: bool,
        lock: Option<Arc<dyn AppendFile>>,
        length: u64,
    ) -> Arc<Core> {
        let content_end =
            if sealed { mark.at.saturating_sub(FrameHeader::MIN_FRAME) } else { mark.at };
        let ordered = Ordered {
            end: mark.at,
            last_tid: mark.tid,
            content_end,
            queue: Vec::new(),
            pending: Pending::default(),
            promises: Promises::default(),
            defined: replay.defined,
            zeroed: length.max(mark.at),
            zeroing: false,
            large_frames: false,
            leading: false,
            clock_ran_back: false,
            state: State::Open,
        };
        // What a reader found beyond the proven mark may still be lost; a writer has mended it.
        let durable = if lock.is_some() { mark.at } else { replay.proven };
        let durable_mark = DurableMark::default();
        if durable >= content_end {
            durable_mark.raise(mark.tid);
        }
        Arc::new(Core {
            process: Process::this(),
            directory: self.directory,
            name: self.name,
            identity: self.identity,
            options: self.options,
            header: self.header,
            generation: Arc::new(replay.generation),
            types: replay.types,
            next_oid: AtomicU64::new(mark.next_oid.number()),
            durable: AtomicU64::new(durable),
            durable_mark,
            ordered: Mutex::new(ordered),
            moved: Condvar::new(),
            leader: Mutex::new(LeaderState { chain: mark.chain, buffer: Vec::new() }),
            pinned: Mutex::new(replay.pinned),
            decisions: Mutex::new(replay.decisions),
            prepared: Mutex::new(replay.prepared),
            snapshot_upto: AtomicU64::new(replay.mark.at),
            lock: Mutex::new(lock),
            rest: Rest::default(),
            look: Mutex::new(Look::at(mark.at)),
            closed: AtomicBool::new(false),
        })
    }
}

impl Replay {
    /// Walks the log below `length` and takes in every good frame.
    fn walk(&mut self, length: u64) -> Result<Walked> {
        let Replay { generation, types, defined, pinned, decisions, prepared, .. } = self;
        let (mark, proven) = (self.mark, self.proven);
        generation.publish(mark.at, mark.tid, std::iter::empty());
        let generation = &*generation;
        walk(&generation.log, length, mark, proven, |frame| {
            let wrong = |wrong| generation.log.corrupt(frame.offset, wrong);
            let fields = Fields::decode(frame.fields()).map_err(wrong)?;
            for (id, definition) in fields.types {
                types.learn(id, definition).map_err(wrong)?;
                defined.insert(id, frame.offset);
            }
            let decided = !fields.participants.is_empty();
            note_global(frame, fields.gtid, decided, decisions, prepared).map_err(wrong)?;
            take_records(generation, frame, pinned)
        })
    }

    /// Walks without taking anything in, for what the log proves.
    fn probe(&self, length: u64) -> Result<Walked> {
        walk(&self.generation.log, length, self.mark, self.proven, |_| Ok(()))
    }
}

/// Publishes the records of a frame.
pub(super) fn take_records(
    generation: &Generation,
    frame: &Frame<'_>,
    pinned: &mut HashSet<Oid>,
) -> Result<()> {
    let mut offsets = Vec::new();
    if frame.header.kind == FrameKind::Commit {
        for record in frame.records(&generation.log.sums) {
            let (at, record) = record.map_err(|it| generation.log.corrupt(frame.offset, it))?;
            generation.index.reserve(record.oid)?;
            // Checks the page before something is stored into it.
            generation.offset_of(record.oid)?;
            match record.pinned && record.content.is_some() {
                true => pinned.insert(record.oid),
                false => pinned.remove(&record.oid),
            };
            offsets.push((record.oid, at));
        }
    }
    generation.publish(frame.end(), frame.header.tid, offsets.into_iter());
    Ok(())
}

/// Keeps the books on the global transaction that a frame is about.
pub(super) fn note_global(
    frame: &Frame<'_>,
    gtid: Option<GlobalId>,
    decided: bool,
    decisions: &mut BTreeMap<GlobalId, u64>,
    prepared: &mut BTreeMap<GlobalId, u64>,
) -> Result<(), Malformed> {
    let kind = frame.header.kind;
    let Some(gtid) = gtid else {
        return match kind.needs_gtid() {
            true => Err("the frame names no global transaction".into()),
            false => Ok(()),
        };
    };
    match kind {
        FrameKind::Prepare => {
            if prepared.insert(gtid, frame.offset).is_some() {
                return Err("something is promised to the transaction already".into());
            }
        }
        FrameKind::Commit if decided => {
            decisions.insert(gtid, frame.offset);
        }
        FrameKind::Commit | FrameKind::Abort => {
            prepared.remove(&gtid);
        }
        FrameKind::End => {
            decisions.remove(&gtid);
        }
        FrameKind::Seal | FrameKind::Later(_) => {}
    }
    Ok(())
}
