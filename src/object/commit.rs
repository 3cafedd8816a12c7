//! How the changes of a transaction become a batch, and the batch revisions: [`commit`]; or the
//! promise of them: [`prepare`].
//!
//! The participant calls it with a write set that nobody adds to any more. Everything is encoded
//! before the storage is asked, and outside every lock; where the storage names contenders, their
//! types' resolvers merge, and it is asked again.
//!
//! # Invariants
//! - What is stored differs from what it replaces; what can be read back is all that is stored.
//! - No object is stored that refers to one that never existed, unless it did so before.
//! - What foreign code does, destructors included, never makes an outcome unknown.
//! - The cache learns of objects only after they were published.

use super::cache::Cached;
use super::core::Core;
use super::kind::{Buffers, Kind, Object};
use super::writes::{Entry, State, Writes};
use crate::error::{Conflict, Error, NotFound, Result};
use crate::format::{self, Metadata, TypeId};
use crate::id::{Oid, Tid};
use crate::storage::{
    Batch, Contender, Durability, Intent, Load, Place, Promise, Receipt, Revision, Snapshot,
    Verdict,
};
use crate::tables::OidMap;
use crate::transaction::{Decision, Info, contain};
use std::cell::Cell;
use std::sync::Arc;

/// A commit of more than so many objects pushes nothing out of the cache, and its new objects are not
/// cached. Who fills a database does not read next what came first, nor does who changes all of it;
/// that would push out what is in use, and be thrown away itself when it has long left the
/// processor's own caches, which takes longer than to store it.
const LOAD: usize = 256;

/// How often one commit may merge with those that were faster.
const ROUNDS: usize = 100;

/// Commits `writes`; the tid, or `None` where there was nothing to store.
///
/// # Errors
/// [`Error::Conflict`] where others changed the same objects and no resolver helped; those of
/// encoding, and of the storage.
pub(super) fn commit(
    core: &Core,
    writes: Writes,
    info: &Info,
    decision: Option<&Decision>,
) -> Result<Option<Tid>> {
    let reached = Cell::new(Reached::Nothing);
    let committed = contain(format_args!("an object of a transaction"), || {
        let assembled = Commit::assemble((core, &reached), writes, info, decision)?;
        let Some((mut commit, batch)) = assembled else { return Ok(None) };
        let (receipt, batch) = commit.ask(batch, |batch| core.storage.commit(batch))?;
        let stored = !batch.is_empty() || batch.decision.is_some();
        let tid = stored.then_some(receipt.tid);
        reached.set(Reached::Committed(tid));
        publish(core, commit.items, &batch, &receipt);
        Ok(tid)
    });
    match (committed, reached.get()) {
        (Err(error), Reached::Committed(tid)) => {
            tracing::error!(%error, "committed all the same");
            Ok(tid)
        }
        (Err(error @ Error::Panicked(_)), Reached::Storage) => {
            Err(Error::Unknown(error.to_string().into()))
        }
        (committed, _) => committed,
    }
}

/// How far a commit came; what a panic in it means.
#[derive(Clone, Copy)]
enum Reached {
    /// No storage has been asked, or it declined.
    Nothing,
    /// The storage is at it.
    Storage,
    /// The storage has committed.
    Committed(Option<Tid>),
}

/// Promises `writes` to the transaction of `info`, which is decided elsewhere; `None` where there
/// is nothing to promise.
///
/// # Errors
/// As for [`commit`].
pub(super) fn prepare(core: &Core, writes: Writes, info: &Info) -> Result<Option<Promised>> {
    let reached = Cell::new(Reached::Nothing);
    contain(format_args!("an object of a transaction"), || {
        let assembled = Commit::assemble((core, &reached), writes, info, None)?;
        let Some((mut commit, batch)) = assembled else { return Ok(None) };
        let intent = intent(info);
        let (promise, batch) = commit.ask(batch, |batch| core.storage.prepare(batch, &intent))?;
        Ok(Some(Promised { items: commit.items, batch, promise }))
    })
}

/// A write set that was promised.
pub(super) struct Promised {
    items: Vec<Item>,
    batch: Arc<Batch>,
    promise: Box<dyn Promise>,
}

impl Promised {
    /// Commits it.
    pub(super) fn finish(self, core: &Core) -> Result<Tid> {
        let receipt = self.promise.finish()?;
        publish(core, self.items, &self.batch, &receipt);
        Ok(receipt.tid)
    }

    /// Takes the promise back.
    pub(super) fn abort(self) -> Result<()> {
        self.promise.abort()
    }

    /// Leaves it in doubt.
    pub(super) fn park(self) {
        self.promise.park();
    }
}

struct Commit<'a> {
    core: &'a Core,
    info: &'a Info,
    reached: &'a Cell<Reached>,
    snapshot: Arc<dyn Snapshot>,
    /// One for each write of the batch.
    items: Vec<Item>,
    buffers: Buffers,
    /// Who refers to objects that the storage has nothing of: new ones, or none.
    unknown: Vec<(Oid, Oid)>,
    /// What must stay as it was read, and is not merged.
    read: OidMap<Tid>,
}

/// What is to be stored.
struct Item {
    oid: Oid,
    kind: &'static dyn Kind,
    pinned: bool,
    /// What it becomes; `None`: it is removed.
    object: Option<Object>,
    /// What it was, for the resolver, where that is known.
    original: Option<Object>,
}

impl<'a> Commit<'a> {
    /// Makes a batch of `writes`; `None` where there is nothing in it.
    fn assemble(
        (core, reached): (&'a Core, &'a Cell<Reached>),
        mut writes: Writes,
        info: &'a Info,
        decision: Option<&Decision>,
    ) -> Result<Option<(Commit<'a>, Arc<Batch>)>> {
        let snapshot = match writes.snapshot.clone() {
            Some(snapshot) => snapshot,
            // Others have promised: it is decided also by who has nothing to store.
            None if decision.is_some() => core.storage.snapshot()?,
            None => return Ok(None),
        };
        let mut batch = Batch::default();
        batch.durability = match (writes.transaction, writes.durability) {
            (Some(this), Some((of, durability))) if of == this => durability,
            _ => core.durability,
        };
        batch.metadata = metadata(info);
        batch.decision = decision.map(decided);
        let mut checks = writes.checks();
        let (items, buffers, unknown) = Default::default();
        let read = std::mem::take(&mut writes.read);
        let mut commit = Commit { core, info, reached, snapshot, items, buffers, unknown, read };
        let entries = writes.into_entries();
        batch.reserve(entries.len());
        commit.items.reserve(entries.len());
        for (oid, entry) in entries {
            commit.add(&mut batch, oid, entry)?;
        }
        commit.check_references()?;
        // What is written is checked by its base, unless the change turned out to be none.
        checks.retain(|&(oid, _)| commit.item(oid).is_none());
        batch.reads = checks;
        if batch.is_empty() && batch.reads.is_empty() && batch.decision.is_none() {
            return Ok(None);
        }
        Ok(Some((commit, Arc::new(batch))))
    }

    /// Adds a changed object to the batch, if the change is one.
    fn add(&mut self, batch: &mut Batch, oid: Oid, entry: Entry) -> Result<()> {
        let Entry { kind, base, pinned, blank: original, state } = entry;
        let object = match state {
            State::Present(object) => Some(object),
            State::Removed => None,
            State::Taken(_) | State::Broken => return Err(Error::Busy { oid }),
        };
        match &object {
            None if base == Tid::ZERO => return Ok(()),
            None => batch.remove(oid, base, pinned),
            Some(object) => {
                let type_id = self.encode(kind, oid, object)?;
                let mut seen = None;
                if let Some(before) = self.before(oid, base)? {
                    if before.type_id == type_id && *before.data == *self.buffers.bytes {
                        return Ok(());
                    }
                    seen = (before.tid == base).then_some(before.place);
                }
                let Buffers { bytes, references, .. } = &self.buffers;
                let nowhere = |&target: &Oid| self.snapshot.place(target) == Place::NONE;
                let unknown = references.iter().copied().filter(nowhere);
                self.unknown.extend(unknown.map(|target| (oid, target)));
                batch.put((oid, base, pinned), type_id, references, bytes);
                if let Some(place) = seen {
                    batch.based_at(place);
                }
                if pinned && base == Tid::ZERO {
                    // Work outside the database begins as soon as this is committed: a power loss
                    // must not take away what it was begun for.
                    batch.durability = Durability::Sync;
                }
            }
        }
        self.items.push(Item { oid, kind, pinned, object, original });
        Ok(())
    }

    /// Refuses references to what neither the storage nor this transaction has: to an object that
    /// was rolled back, or whose transaction aborted. Its oid may become that of another object.
    fn check_references(&self) -> Result<()> {
        for &(oid, target) in &self.unknown {
            let is_new = self.item(target).is_some_and(|index| self.items[index].object.is_some());
            if is_new || self.referred_before(oid, target)? {
                continue;
            }
            // What cannot be looked up has no place either, and here it is said why.
            self.snapshot.load(target)?;
            let mut missing = NotFound::new(target, self.snapshot.tid());
            missing.referrer = Some(oid);
            return Err(missing.into());
        }
        Ok(())
    }

    /// Whether `oid` had this reference already: after a loss, what is left can still be changed.
    fn referred_before(&self, oid: Oid, target: Oid) -> Result<bool> {
        let Load::Found(revision) = self.snapshot.load(oid)? else { return Ok(false) };
        Ok(revision.references.iter().any(|reference| reference == Ok(target)))
    }

    /// Which write is that of `oid`.
    fn item(&self, oid: Oid) -> Option<usize> {
        self.items.binary_search_by_key(&oid, |item| item.oid).ok()
    }

    fn encode(&mut self, kind: &dyn Kind, oid: Oid, object: &Object) -> Result<TypeId> {
        kind.encode(self.core, (oid, object), &mut self.buffers)
    }

    /// What the object was before this transaction, if it was anything.
    fn before(&self, oid: Oid, base: Tid) -> Result<Option<Revision<'_>>> {
        if base == Tid::ZERO {
            return Ok(None);
        }
        Ok(match self.snapshot.load(oid)? {
            Load::Found(revision) => Some(revision),
            Load::Removed(_) | Load::Absent => None,
        })
    }

    /// Asks the storage until it takes the batch, or one of its objects cannot be merged.
    fn ask<T>(
        &mut self,
        mut batch: Arc<Batch>,
        ask: impl Fn(&Arc<Batch>) -> Result<Verdict<T>>,
    ) -> Result<(T, Arc<Batch>)> {
        let mut lost = None;
        for _ in 0..ROUNDS {
            self.reached.set(Reached::Storage);
            let contenders = match ask(&batch)? {
                Verdict::Passed(answer) => return Ok((answer, batch)),
                Verdict::Conflicts(contenders) => contenders,
            };
            self.reached.set(Reached::Nothing);
            for contender in contenders {
                lost = Some(self.merge(Arc::make_mut(&mut batch), contender)?);
            }
        }
        Err(lost.map_or_else(|| Error::other("the storage names no contender"), Error::from))
    }

    /// Merges this transaction's change with that of the contender. Returns the conflict that it
    /// would have been, as its error is where nothing can be merged.
    fn merge(&mut self, batch: &mut Batch, contender: Contender) -> Result<Conflict> {
        let oid = contender.oid;
        let index = self.item(oid).filter(|_| !contender.read);
        let conflict = self.conflict(&contender, index);
        let stays = contender.promised.is_some() || self.read.contains_key(&oid);
        let mergeable = index.filter(|_| !stays);
        let Some(index) = mergeable else { return Err(conflict.into()) };
        let (Some(mine), Some(revision)) = (&self.items[index].object, &contender.revision) else {
            return Err(conflict.into());
        };
        let Item { kind, .. } = self.items[index];
        let original = match &self.items[index].original {
            Some(original) => original.clone(),
            None => match self.snapshot.load(oid)? {
                Load::Found(base) => kind.decode(self.core, oid, &base)?,
                Load::Removed(_) | Load::Absent => return Err(conflict.into()),
            },
        };
        let committed = kind.decode(self.core, oid, revision)?;
        let Some(merged) = kind.resolve(&original, &committed, mine) else {
            return Err(conflict.into());
        };
        let type_id = self.encode(kind, oid, &merged)?;
        let Buffers { bytes, references, .. } = &self.buffers;
        batch.replace(index, contender.current, type_id, references, bytes);
        let item = &mut self.items[index];
        (item.object, item.original) = (Some(merged), Some(committed));
        tracing::debug!(%oid, type_name = %kind.name(), "merged with another transaction's change");
        Ok(conflict)
    }

    fn conflict(&self, contender: &Contender, index: Option<usize>) -> Conflict {
        let mut conflict = Conflict::new(contender.oid, contender.base, contender.current);
        conflict.read = contender.read;
        conflict.promised = contender.promised;
        conflict.mine = self.info.note.as_str().into();
        conflict.theirs = contender.note.as_str().into();
        let stored = || {
            let stored = self.core.storage.type_def(contender.revision.as_ref()?.type_id)?;
            Some(stored.name.clone())
        };
        conflict.type_name = match index {
            Some(index) => Some(self.items[index].kind.name().into()),
            None => stored(),
        };
        conflict
    }
}

/// Puts what was stored where readers look first.
fn publish(core: &Core, items: Vec<Item>, batch: &Batch, receipt: &Receipt) {
    let load = items.len() > LOAD;
    for ((item, write), &place) in items.into_iter().zip(batch.writes()).zip(&receipt.places) {
        if load && write.base == Tid::ZERO {
            continue;
        }
        let (Some(object), Some(content)) = (item.object, write.content) else { continue };
        let length = u32::try_from(content.data.len()).unwrap_or(u32::MAX);
        let (tid, pinned) = (receipt.tid, item.pinned);
        core.cache.insert(item.oid, Cached { place, tid, pinned, length, object }, load);
    }
}

fn metadata(info: &Info) -> Metadata {
    Metadata { user: info.user.clone(), note: info.note.clone(), extension: info.extension.clone() }
}

fn decided(decision: &Decision) -> format::Decision {
    let participants = decision.participants.iter().map(|participant| format::Participant {
        name: participant.name.clone(),
        database: participant.database,
    });
    format::Decision { gtid: decision.gtid, participants: participants.collect() }
}

fn intent(info: &Info) -> Intent {
    let coordinator = info.coordinator.as_ref().map(|coordinator| format::Coordinator {
        database: coordinator.database,
        last_tid: coordinator.last_tid,
        path: coordinator.path.clone(),
    });
    Intent { gtid: info.id, coordinator }
}
