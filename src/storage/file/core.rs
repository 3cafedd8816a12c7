//! What all parts of an open file storage share: [`Core`].
//!
//! Committing threads, the leader among them, the housekeeper and the handle that the application
//! holds all work on one `Core`. Here is what they share and which lock guards it; what they do is
//! in `commit`, `leader` and `housekeeping`.
//!
//! # Invariants
//! - `ordered ≥ published` and `ordered ≥ durable`; each only grows.
//! - Locks are taken in the order `look`, `leader`, `ordered`, then any other. No foreign code but
//!   the directory's under any of them, events included, and no I/O under `ordered`: the index
//!   pages that are looked at there were checked before.

use super::FileOptions;
use super::generation::Generation;
use super::housekeeping::{Look, Rest};
use super::pending::Pending;
use super::promises::Promises;
use crate::error::{Error, Result};
use crate::file::{AppendFile, Directory, FileIdentity, Process};
use crate::format::{FileHeader, FrameBuilder, TypeId};
use crate::id::{DatabaseId, GlobalId, Oid, Tid};
use crate::storage::{Batch, DurableMark, TypeTable};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// What all parts of an open file storage share.
#[derive(Debug)]
pub(super) struct Core {
    /// Who opened it, and alone may use it.
    pub(super) process: Process,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) name: String,
    /// Which file that name led to.
    pub(super) identity: FileIdentity,
    pub(super) options: FileOptions,
    pub(super) header: FileHeader,
    pub(super) generation: Arc<Generation>,
    pub(super) types: TypeTable,
    pub(super) next_oid: AtomicU64,
    /// Everything below survives a power loss.
    pub(super) durable: AtomicU64,
    /// So does this transaction, and all before it.
    pub(super) durable_mark: DurableMark,
    pub(super) ordered: Mutex<Ordered>,
    /// Signalled whenever a mark moved or the storage halted.
    pub(super) moved: Condvar,
    /// Held by the leader while it leads.
    pub(super) leader: Mutex<LeaderState>,
    pub(super) pinned: Mutex<HashSet<Oid>>,
    /// Global transactions decided here whose participants may not all have finished, and where
    /// the deciding Commit stands.
    pub(super) decisions: Mutex<BTreeMap<GlobalId, u64>>,
    /// Global transactions whose Prepare is published and not settled, and where it stands.
    pub(super) prepared: Mutex<BTreeMap<GlobalId, u64>>,
    /// An opening would replay the log from here.
    pub(super) snapshot_upto: AtomicU64,
    /// The handle that carries the lock; dropped when the storage closes.
    pub(super) lock: Mutex<Option<Arc<dyn AppendFile>>>,
    pub(super) rest: Rest,
    /// Held by whoever does housekeeping, writes the index snapshot, follows a writer or closes.
    pub(super) look: Mutex<Look>,
    pub(super) closed: AtomicBool,
}

/// The ordered section's state: the future of the log as it is decided already.
#[derive(Debug)]
pub(super) struct Ordered {
    /// Where the next frame will stand.
    pub(super) end: u64,
    /// The last transaction that has a place.
    pub(super) last_tid: Tid,
    /// Where the last frame that is not a Seal ends.
    pub(super) content_end: u64,
    /// Frames that have a place and wait for a leader.
    pub(super) queue: Vec<Placed>,
    /// Revisions that have a place and are not published.
    pub(super) pending: Pending,
    /// What is promised to global transactions.
    pub(super) promises: Promises,
    /// Where each type was last defined.
    pub(super) defined: HashMap<TypeId, u64>,
    /// The file is written with zeros up to here.
    pub(super) zeroed: u64,
    /// Zeros are being written from `zeroed` on.
    pub(super) zeroing: bool,
    /// Frames are too long to be worth zeroing for.
    pub(super) large_frames: bool,
    /// Somebody writes a batch.
    pub(super) leading: bool,
    pub(super) clock_ran_back: bool,
    pub(super) state: State,
}

/// Whether the storage takes commits.
#[derive(Debug, Clone)]
pub(super) enum State {
    Open,
    /// Nothing new is taken; what closing itself writes still is.
    Closed,
    /// A write or sync failed: up to which transaction the outcome is unknown, and why.
    Halted(Tid, Arc<str>),
}

/// A frame that has its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) builder: FrameBuilder,
    pub(super) offset: u64,
    /// Where the next frame stands.
    pub(super) end: u64,
    pub(super) tid: Tid,
    /// Whether somebody waits for the disk.
    pub(super) sync: bool,
    pub(super) act: Act,
}

/// What a frame changes when it is published.
#[derive(Debug)]
pub(super) enum Act {
    /// Nothing.
    Seal,
    /// The batch is committed, which may keep the promise made to a global transaction.
    Commit(Arc<Batch>, Option<GlobalId>),
    /// Something is promised to the global transaction.
    Prepare(GlobalId),
    /// The promise is taken back.
    Abort(GlobalId),
    /// The decision need not be remembered any more.
    End(GlobalId),
}

impl Placed {
    /// What it commits.
    pub(super) fn batch(&self) -> Option<&Arc<Batch>> {
        match &self.act {
            Act::Commit(batch, _) => Some(batch),
            _ => None,
        }
    }
}

/// What only the leader touches.
#[derive(Debug)]
pub(super) struct LeaderState {
    /// The sum of the last frame published.
    pub(super) chain: u64,
    /// Frames on their way to the file.
    pub(super) buffer: Vec<u8>,
}

impl Core {
    pub(super) fn id(&self) -> DatabaseId {
        self.header.database
    }

    pub(super) fn path(&self) -> &Path {
        &self.generation.log.path
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses what a fork asks, before any lock is taken: one that another thread of its parent
    /// held stays locked in the fork for ever.
    pub(super) fn check_process(&self) -> Result<()> {
        match self.process.is_this() {
            true => Ok(()),
            false => Err(Error::Forked(self.process.number())),
        }
    }

    /// Takes nothing more, and returns when what has a place is published or failed.
    pub(super) fn stop_commits(&self) {
        self.closed.store(true, Ordering::Release);
        let mut ordered = self.ordered.lock();
        if matches!(ordered.state, State::Open) {
            ordered.state = State::Closed;
        }
        while ordered.leading || !ordered.queue.is_empty() || ordered.zeroing {
            self.moved.wait(&mut ordered);
        }
    }

    /// Refuses what a storage that is not open cannot do.
    pub(super) fn check_open(&self, ordered: &Ordered) -> Result<()> {
        match &ordered.state {
            State::Closed => Err(Error::Closed),
            _ => self.check_running(ordered),
        }
    }

    /// Refuses what a halted storage must not do; one that is being closed still may.
    pub(super) fn check_running(&self, ordered: &Ordered) -> Result<()> {
        match &ordered.state {
            State::Open | State::Closed => Ok(()),
            State::Halted(_, cause) => Err(Error::Halted((**cause).into())),
        }
    }

    /// As [`check_running`](Core::check_running), for who is not in the ordered section.
    pub(super) fn check_going(&self) -> Result<()> {
        self.check_running(&self.ordered.lock())
    }

    /// Takes the place at the log's end for a frame of `length` bytes, of which `own` are kept free
    /// for it; `None` where the section had to be left meanwhile.
    ///
    /// Waits for zeros being written where the frame would end beyond them: no zero may be
    /// written over a frame. Behind the frame there is room for all that is promised.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; [`Error::Io`] where there is no room for frame and promises.
    pub(super) fn take_place(
        &self,
        ordered: &mut MutexGuard<'_, Ordered>,
        length: u64,
        own: u64,
    ) -> Result<Option<u64>> {
        let offset = ordered.end;
        let end = offset
            .checked_add(length)
            .filter(|&end| end < 1 << 48)
            .ok_or_else(|| Error::Exhausted("the file has reached its greatest length".into()))?;
        let others = ordered.promises.room - own;
        if others > 0 && end + others > ordered.zeroed {
            self.make_room(ordered, end + others)?;
            return Ok(None);
        }
        if end > ordered.zeroed && ordered.zeroing {
            self.moved.wait(ordered);
            return Ok(None);
        }
        ordered.zeroed = ordered.zeroed.max(end);
        ordered.end = end;
        Ok(Some(offset))
    }
}

/// Tells those who listen to events something, in the middle of what must come to its end: a panic
/// of theirs, of which the panic hook has been told, is kept from going on.
pub(super) fn tell(event: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(event));
}
