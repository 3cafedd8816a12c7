//! Copying what is good of a damaged database file into a new one.
//!
//! The file is read twice. First `survey` decides what will be copied and what is lost, with `lost`
//! for revisions and `unsettled` for promises; then `copy` writes, and `reading` tells whether the
//! file was the same the second time. The new file is verified before it gets its name. `source`
//! opens the damaged one, and never writes it.
//!
//! # Invariants
//! - A transaction is copied whole or not at all, with its tid; what was never durable, or was
//!   given up, is not.
//! - Whatever is not copied is told.
//! - The new file has its name only when it is whole and durable.
//!
//! Format: docs/format.md.

mod copy;
mod loss;
mod lost;
mod reading;
mod source;
mod survey;
mod unsettled;

pub use loss::{Loss, LossKind};

use super::index_file::name_of;
use super::verify::{Finding, FrameCounts, verify};
use crate::error::{Error, NotADatabase, Result};
use crate::file::{Access, AppendFile, Directory};
use crate::id::{DatabaseId, GlobalId, Tid};
use copy::Copier;
use source::Source;
use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;
use survey::{Plan, Survey, passage};

/// What [`recover`] copied, and what it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The database; the new file is of the same one.
    pub database: DatabaseId,
    /// Bytes of the damaged file.
    pub length: u64,
    /// Bytes of the new one.
    pub copied_length: u64,
    /// Frames that were copied, by their kind. Seals are not: the new file has its own.
    pub frames: FrameCounts,
    /// Records that were copied, removals among them.
    pub records: u64,
    /// Objects that exist in the new file.
    pub objects: u64,
    /// The last transaction that was copied.
    pub last_tid: Tid,
    /// Global transactions to which the new file's promises are in doubt, as the old one's were.
    pub in_doubt: Vec<GlobalId>,
    /// What was not copied, in the order of its offsets.
    pub losses: Vec<Loss>,
    /// What is wrong with the new file: references to objects that do not exist in it.
    pub findings: Vec<Finding>,
}

impl Recovery {
    /// Whether everything was copied that was ever promised to be there.
    pub fn is_complete(&self) -> bool {
        self.losses.iter().all(Loss::is_harmless)
    }
}

/// Copies every undamaged transaction of the database file `name` into the new file `new` of
/// `target`, in their order, and tells all that is lost.
///
/// Tids and oids stay what they are, and so does the id of the database: the new file takes the
/// place of the old one, which is only read, and must not be open for writing. A transaction with
/// one damaged byte is left out whole; its objects are told, as far as they can still be named,
/// each with the revision that stands now. Behind the damage, a frame counts if its own sums are
/// right for its place, and if a later frame claims that everything in front of it was durable.
/// What a crash tore is not copied, as an opening would not show it either.
///
/// Promises, decisions and their ends are copied too. A promise that nothing settles stays in
/// doubt; one that was settled by something that is lost is left out, and told. If decisions may be
/// lost, the new file answers "unknown" to whoever asks for one that it does not have, and not
/// "aborted".
///
/// `progress` is told now and then how much is done, and of how much: the file is read twice, and
/// the new one once.
///
/// ```
/// use perennial::file::MemoryDirectory;
/// use perennial::storage::file::{FileOptions, recover};
/// use perennial::storage::{FileStorage, Storage};
/// use std::sync::Arc;
///
/// # fn main() -> perennial::Result<()> {
/// let directory = Arc::new(MemoryDirectory::new());
/// FileStorage::open(directory.clone(), "bank.db", FileOptions::default())?.close()?;
/// let (from, to) = ((&*directory as _, "bank.db"), (&*directory as _, "recovered.db"));
/// let recovery = recover(from, to, &mut |_done, _all| {})?;
/// assert!(recovery.is_complete());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Locked`] where somebody writes the damaged file, [`Error::NotADatabase`] where it is
/// none, or of a later format, or nothing of its header is left, [`Error::Io`], also where the
/// new name is taken or the disk gives other bytes when it is read again, [`Error::Exhausted`].
/// Then there is no new file.
pub fn recover(
    (directory, name): (&dyn Directory, &str),
    (target, new): (&dyn Directory, &str),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Recovery> {
    refuse_taken(target, new)?;
    let source = Source::open(directory, name)?;
    let length = source.length;
    let all = length.saturating_mul(3);
    let plan = Survey::new(&source).run(&mut |at| progress(at, all))?;
    if source.guessed && !plan.any_frame {
        let what = "both copies of its header are damaged, and nothing else is left";
        return Err(NotADatabase::new(&source.log.path, what).into());
    }
    let failed = |error| Error::io("create", target.path(new), error);
    let id = DatabaseId::random().map_err(failed)?;
    let temporary = format!("{new}.tmp-{id}");
    let file = target.open(&temporary, Access::CreateNew).map_err(failed)?;
    let new_file = (target, &*temporary);
    let made = copy(&source, plan, new_file, file, &mut |at| progress(at, all));
    let made = made.and_then(|recovery| {
        target.rename_new(&temporary, new).map_err(failed)?;
        target.sync().map_err(failed).inspect_err(|_| drop(target.remove(new)))?;
        Ok(recovery)
    });
    if made.is_err() {
        let _ = target.remove(&temporary);
    }
    progress(all, all);
    made
}

/// Refuses a name that is taken, or that an index snapshot waits for.
fn refuse_taken(target: &dyn Directory, new: &str) -> Result<()> {
    for name in [new.to_owned(), name_of(new)] {
        let error = match target.open(&name, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => error,
            Ok(_) => ErrorKind::AlreadyExists.into(),
        };
        return Err(Error::io("create", target.path(&name), error));
    }
    Ok(())
}

/// Copies what the plan says into `file`, which is named so, and verifies what became of it.
fn copy(
    source: &Source,
    plan: Plan,
    (target, name): (&dyn Directory, &str),
    file: Arc<dyn AppendFile>,
    progress: &mut dyn FnMut(u64),
) -> Result<Recovery> {
    let (log, length) = (&source.log, source.length);
    let path = target.path(name);
    let mut copier = Copier::begin(&plan, log, file, &path)?;
    let mut passage = passage(source);
    while passage.is_under_way() {
        progress(length.saturating_add(passage.mark().0.at));
        passage.step(&mut |spot| copier.meet(spot))?;
    }
    if copier.reading != plan.reading {
        let what = "it was not the same when it was read again: copy it to another disk first";
        return Err(Error::io("recover", &log.path, IoError::other(what)));
    }
    let copied_length = copier.end()?;
    let (frames, records) = (copier.frames, copier.records);
    // Its books take as much memory as those of the verification.
    drop(copier);
    let verification = verify(target, name, &mut |done, _| {
        progress(length.saturating_mul(2).saturating_add(done.min(length)));
    })?;
    Ok(Recovery {
        database: plan.header.database,
        length,
        copied_length,
        frames,
        records,
        objects: verification.objects,
        last_tid: verification.last_tid,
        in_doubt: plan.in_doubt,
        losses: plan.losses,
        findings: verification.findings,
    })
}
