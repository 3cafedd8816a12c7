//! Verifying a database file: all of it is read, and held against itself.
//!
//! [`verify`] opens the file by itself, read-only, beside a running writer too. `scan` is its
//! course, `tally` holds each frame against those before it, `objects` and `promises` keep the books,
//! `snapshot` compares the index snapshot with them, `graph` follows the references from the roots.
//! It opens no storage, repairs nothing and decodes no object.
//!
//! # Invariants
//! - Nothing in the directory is changed.
//! - No bad spot ends the scan, except one that a crash may have left: nothing behind that was
//!   ever promised.
//! - Memory grows with the number of objects and the longest frame, not with the file.
//!
//! Format: docs/format.md.

mod finding;
mod graph;
mod objects;
mod promises;
mod reserved;
mod scan;
mod snapshot;
mod tally;

pub use finding::{Finding, FindingKind};
pub use graph::{Examined, Examiner};
pub(super) use reserved::{Promised, Reserved};

use super::create::read_header;
use super::log::{Log, Reads};
use super::opening::has_writer;
use crate::error::{Damage, Error, Result};
use crate::file::{Access, AppendFile, Directory};
use crate::format::{FIRST_FRAME, FileHeader, FrameKind, HEADER_COPY, Sums};
use crate::id::{DatabaseId, GlobalId, Tid};
use scan::Scan;
use std::path::Path;

/// What [`verify`] found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The database.
    pub database: DatabaseId,
    /// Bytes of the file.
    pub length: u64,
    /// Where the last whole frame ends, in bytes.
    pub log_end: u64,
    /// Everything below was durable once, in bytes.
    pub proven: u64,
    /// Bytes above that are not zero: whole frames, and what is torn.
    pub unproven_bytes: u64,
    /// The last transaction that was read.
    pub last_tid: Tid,
    /// Whole frames, by their kind.
    pub frames: FrameCounts,
    /// Records that were read, removals among them.
    pub records: u64,
    /// Objects that exist at the log's end.
    pub objects: u64,
    /// Bytes of the newest records of these objects.
    pub live_bytes: u64,
    /// Bytes of earlier records, and of removals.
    pub garbage_bytes: u64,
    /// Objects that exist, and to which no way leads from the roots: a pack would drop them.
    pub unreachable: u64,
    /// Bytes of the newest records of these.
    pub unreachable_bytes: u64,
    /// Transactions to which a promise is open at the log's end.
    pub in_doubt: Vec<GlobalId>,
    /// Decisions made here that have no end.
    pub open_decisions: u64,
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
}

/// How many frames of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FrameCounts {
    /// Transactions.
    pub commits: u64,
    /// Parts of global transactions, prepared.
    pub prepares: u64,
    /// Global transactions given up.
    pub aborts: u64,
    /// Global transactions done.
    pub ends: u64,
    /// Witnesses of what precedes them.
    pub seals: u64,
}

impl FrameCounts {
    pub(super) fn count(&mut self, kind: FrameKind) {
        *match kind {
            FrameKind::Commit => &mut self.commits,
            FrameKind::Prepare => &mut self.prepares,
            FrameKind::Abort => &mut self.aborts,
            FrameKind::End => &mut self.ends,
            FrameKind::Seal => &mut self.seals,
            FrameKind::Later(_) => return,
        } += 1;
    }
}

impl Verification {
    /// Whether every finding is harmless.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(Finding::is_harmless)
    }
}

/// Reads all of the database file `name` and tells everything that is wrong with it.
///
/// It looks at both copies of the file header, at every frame, record and sum, at the order of
/// transactions, at the way from each record to the previous one of its object, at the types that
/// records name, at promises and what settles them, at references to objects that do not exist, at
/// what can be reached from the roots, and at the index snapshot. After a bad spot it goes on at
/// the next good frame. Beside a running writer, what was not durable yet is no damage.
///
/// It does not know what objects mean: `collections::verify` also looks into trees.
///
/// `progress` is told now and then how many bytes are done, and of how many.
///
/// ```
/// use perennial::file::MemoryDirectory;
/// use perennial::storage::file::{FileOptions, verify};
/// use perennial::storage::{FileStorage, Storage};
/// use std::sync::Arc;
///
/// # fn main() -> perennial::Result<()> {
/// let directory = Arc::new(MemoryDirectory::new());
/// FileStorage::open(directory.clone(), "bank.db", FileOptions::default())?.close()?;
/// let verification = verify(&*directory, "bank.db", &mut |_done, _all| {})?;
/// assert!(verification.is_sound());
/// assert_eq!(verification.frames.commits, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NotADatabase`], also for a frame of a later format, [`Error::Io`],
/// [`Error::Exhausted`]: the file cannot be read at all.
/// What is wrong with its content is in the [`Verification`].
pub fn verify(
    directory: &dyn Directory,
    name: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification> {
    verify_with(directory, name, &mut (), progress)
}

/// [`verify`], with somebody who looks into the objects that can be reached.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    directory: &dyn Directory,
    name: &str,
    examiner: &mut dyn Examiner,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification> {
    let path = directory.path(name);
    let file = directory.open(name, Access::Read).map_err(|it| Error::io("open", &path, it))?;
    let (header, damage) = read_header(&path, &*file)?;
    let mut findings = Vec::new();
    check_header_page(&path, &*file, damage, &mut findings)?;
    let sums = Sums::new(header.database, header.generation);
    // Before the length: what the snapshot says to be durable is in the file when it is measured.
    let told = snapshot::read(directory, name, &header, &sums, &mut findings);
    let living = has_writer(directory, name);
    let length = file.len().map_err(|it| Error::io("measure", &path, it))?;
    let log = Log::new(file, path, sums, Reads::Pread);
    let report = blank(&header, length, findings);
    Scan::new(&log, &header, report, living, told).run(examiner, progress)
}

fn blank(header: &FileHeader, length: u64, findings: Vec<Finding>) -> Verification {
    Verification {
        database: header.database,
        length,
        log_end: FIRST_FRAME,
        proven: FIRST_FRAME,
        unproven_bytes: 0,
        last_tid: header.last_tid,
        frames: FrameCounts::default(),
        records: 0,
        objects: 0,
        live_bytes: 0,
        garbage_bytes: 0,
        unreachable: 0,
        unreachable_bytes: 0,
        in_doubt: Vec::new(),
        open_decisions: 0,
        findings,
    }
}

/// Looks at the bytes before the first frame: two copies of the header, and zeros.
fn check_header_page(
    path: &Path,
    file: &dyn AppendFile,
    damage: Option<Damage>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let failed = |error| Error::io("read", path, error);
    findings.extend(damage.map(|it| Finding::new(FindingKind::Header, it.offset, &*it.what)));
    let length = file.len().map_err(failed)?.min(FIRST_FRAME);
    for (start, end) in [(0, HEADER_COPY), (HEADER_COPY, FIRST_FRAME)] {
        let start = start + FileHeader::LEN as u64;
        let length = end.min(length).saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_at(start, &mut bytes).map_err(failed)?;
        if let Some(within) = bytes.iter().position(|&byte| byte != 0) {
            let what = "a byte that should be zero is not";
            findings.push(Finding::new(FindingKind::Header, start + within as u64, what));
        }
    }
    Ok(())
}
