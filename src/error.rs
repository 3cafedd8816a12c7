//! What can go wrong, in one enum: [`Error`].
//!
//! Every layer returns it. A variant says what the *caller* can do about it; its payload names
//! the object, the type, the file, the offset and the transaction concerned.
//!
//! # Invariants
//! - An `Error` is at most 24 bytes, so that a `Result` stays cheap to return.
//! - `Debug` prints what `Display` prints, then the sources: `fn main() -> Result<()>` shows it.

use crate::id::{DatabaseId, GlobalId, Oid, Tid};
use std::fmt;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of somebody else: of a data manager, of an application's closure, of serde.
pub type ForeignError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong.
///
/// ```
/// use perennial::Error;
/// let error = Error::other("the mail server is asleep");
/// assert_eq!(error.to_string(), "the mail server is asleep");
/// assert!(!error.is_retryable());
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else committed the object first, and no resolver helped: begin again.
    #[error(transparent)]
    Conflict(Box<Conflict>),

    /// The object has no revision in this view: it was never stored, removed, or packed away.
    #[error(transparent)]
    NotFound(Box<NotFound>),

    /// Bytes in a file break a rule of the format; nothing was returned from them.
    #[error(transparent)]
    Corrupt(Box<Corruption>),

    /// The file lost or changed something that it once held durably; it was left as it is.
    #[error(transparent)]
    Damaged(Box<Damage>),

    /// The system said no.
    #[error(transparent)]
    Io(Box<IoFailure>),

    /// An object could not be turned into bytes, or bytes into an object.
    #[error(transparent)]
    Codec(Box<CodecFailure>),

    /// What is stored and what the program's type says of it are at odds.
    #[error(transparent)]
    Schema(Box<SchemaMismatch>),

    /// An earlier write or sync failed: the database takes nothing more until it is opened again.
    #[error("the database is halted ({0}); close and reopen it")]
    Halted(Box<str>),

    /// The sync of this commit failed: after the next opening it is there, or it is not.
    #[error("the outcome of the commit is unknown ({0}); reopen the database and look")]
    Unknown(Box<str>),

    /// Some data managers committed and others, which cannot recover by themselves, did not.
    #[error("the transaction was committed by some of its data managers only: {0}")]
    Mixed(Box<str>),

    /// Another process, or another handle in this one, has the database open for writing.
    #[error("{} is locked: another handle has it open for writing", .0.display())]
    Locked(Box<PathBuf>),

    /// Two files with one database id, a file and its copy, cannot be open in one process.
    #[error(transparent)]
    AlreadyOpen(Box<AlreadyOpen>),

    /// The database was opened for reading only.
    #[error("cannot {0}: the database was opened for reading only")]
    ReadOnly(&'static str),

    /// The file is not a database, or of a format this program does not know.
    #[error(transparent)]
    NotADatabase(Box<NotADatabase>),

    /// The file holds a part of a global transaction whose outcome is not known here.
    #[error(transparent)]
    InDoubt(Box<InDoubt>),

    /// The database was closed.
    #[error("the database is closed")]
    Closed,

    /// There is no current transaction.
    #[error("cannot {0}: there is no active transaction")]
    NoTransaction(&'static str),

    /// There is a current transaction already.
    #[error("cannot {0}: a transaction is already active")]
    AlreadyInTransaction(&'static str),

    /// The transaction that was asked is over; another one may be active.
    #[error("cannot {0}: this transaction is over")]
    TransactionOver(&'static str),

    /// The transaction is in the middle of something else, from whose inside this was asked.
    #[error(
        "cannot {0} while a commit, abort, savepoint or rollback of the transaction is running"
    )]
    InProgress(&'static str),

    /// An earlier step of this transaction failed: only abort is accepted.
    #[error(transparent)]
    TransactionFailed(Box<FailedTransaction>),

    /// The transaction was doomed: it can only be aborted.
    #[error("cannot {0}: the transaction is doomed; abort it")]
    Doomed(&'static str),

    /// A data manager joined a transaction that it had joined already.
    #[error("the data manager {0} has already joined this transaction")]
    AlreadyJoined(Box<str>),

    /// The savepoint was rolled back past, or its transaction is over.
    #[error("the savepoint is no longer valid: {0}")]
    InvalidSavepoint(&'static str),

    /// A data manager failed while the transaction was being aborted; all were reached.
    #[error("abort failed: {0}")]
    AbortFailed(Box<str>),

    /// A participant cannot do what was asked of it.
    #[error("{0}")]
    Unsupported(Box<str>),

    /// A reference of another database was used.
    #[error("the reference to object {oid} belongs to another database")]
    ForeignRef {
        /// The object it names there.
        oid: Oid,
    },

    /// The object is being modified: its closure is still running.
    #[error("object {oid} is being modified by a closure that is still running")]
    Busy {
        /// The object.
        oid: Oid,
    },

    /// User code panicked where the panic could be contained.
    #[error("{0}")]
    Panicked(Box<str>),

    /// The bucket of pending jobs is full; the transaction can still commit other work.
    #[error("the job bucket is full: {0}")]
    JobsFull(Box<str>),

    /// A limit of the format or of the address space was reached.
    #[error("{0}")]
    Exhausted(Box<str>),

    /// An argument makes no sense.
    #[error("{0}")]
    InvalidArgument(Box<str>),

    /// An error of the application or of a foreign data manager.
    #[error(transparent)]
    Other(ForeignError),
}

const _: () = assert!(size_of::<Error>() <= 24);

impl Error {
    /// An error of somebody else, or a message.
    pub fn other(error: impl Into<ForeignError>) -> Error {
        Error::Other(error.into())
    }

    /// The system's refusal of `action` on the file `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io(Box::new(IoFailure { action, path: path.into(), source }))
    }

    /// Whether the same work, begun again in a new transaction, may succeed.
    ///
    /// True of conflicts; never of [`Error::Unknown`] and [`Error::Mixed`], whose work may be done.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Conflict(_))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            write!(f, "\n  because: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Two transactions changed one object, or one changed what the other relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The object.
    pub oid: Oid,
    /// The name of its type, where known.
    pub type_name: Option<Box<str>>,
    /// Whether the object was only checked, not changed, by the transaction that lost.
    pub read: bool,
    /// The revision that the loser's work was based on.
    pub base: Tid,
    /// The revision that it lost to.
    pub current: Tid,
    /// The loser's note.
    pub mine: Box<str>,
    /// The winner's note, where known.
    pub theirs: Box<str>,
}

impl Conflict {
    /// A conflict over `oid`: based on `base`, it lost to `current`.
    pub fn new(oid: Oid, base: Tid, current: Tid) -> Conflict {
        let (mine, theirs) = Default::default();
        Conflict { oid, type_name: None, read: false, base, current, mine, theirs }
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Error {
        Error::Conflict(Box::new(conflict))
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.read { "read conflict" } else { "conflict" };
        write!(f, "{kind} on object {}", self.oid)?;
        if let Some(name) = &self.type_name {
            write!(f, " of type {name}")?;
        }
        write!(f, ": based on tid {}, lost to tid {}", self.base.number(), self.current.number())?;
        for (whose, note) in [("ours", &self.mine), ("theirs", &self.theirs)] {
            if !note.is_empty() {
                write!(f, "; {whose}: {note:?}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Conflict {}

/// An object that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotFound {
    /// The object.
    pub oid: Oid,
    /// The view it was looked for in.
    pub at: Tid,
    /// Who removed it, where known.
    pub removed: Option<Tid>,
    /// The object through which it was reached, where known.
    pub referrer: Option<Oid>,
}

impl NotFound {
    /// Nothing of `oid` in the view at `at`.
    pub fn new(oid: Oid, at: Tid) -> NotFound {
        NotFound { oid, at, removed: None, referrer: None }
    }
}

impl From<NotFound> for Error {
    fn from(missing: NotFound) -> Error {
        Error::NotFound(Box::new(missing))
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} does not exist as of tid {}", self.oid, self.at.number())?;
        if let Some(tid) = self.removed {
            write!(f, ", removed by tid {}", tid.number())?;
        }
        if let Some(oid) = self.referrer {
            write!(f, ", referred to by object {oid}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotFound {}

/// Bytes that break a rule of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The rule that is broken.
    pub what: Box<str>,
    /// The object concerned, where known.
    pub oid: Option<Oid>,
    /// The transaction concerned, where known.
    pub tid: Option<Tid>,
}

impl Corruption {
    /// A broken rule at `offset` of the file `path`.
    pub fn new(path: impl Into<PathBuf>, offset: u64, what: impl Into<Box<str>>) -> Corruption {
        Corruption { path: path.into(), offset, what: what.into(), oid: None, tid: None }
    }
}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Error {
        Error::Corrupt(Box::new(corruption))
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is corrupt at offset {}: {}", self.path.display(), self.offset, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, ", in object {oid}")?;
        }
        if let Some(tid) = self.tid {
            write!(f, ", of tid {}", tid.number())?;
        }
        Ok(())
    }
}

/// A file that lost something it once held durably.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at offset {offset}: {what}, while everything below offset {proven} was durable; \
     open it read-only, or recover it into a new file", path.display()
)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first bad place, or the file's length where its end is missing.
    pub offset: u64,
    /// Everything below was once known to be durable.
    pub proven: u64,
    /// What was found there.
    pub what: Box<str>,
}

impl Damage {
    /// Damage at `offset` of a file that was durable up to `proven`.
    pub fn new(
        path: impl Into<PathBuf>,
        offset: u64,
        proven: u64,
        what: impl Into<Box<str>>,
    ) -> Damage {
        Damage { path: path.into(), offset, proven, what: what.into() }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Error {
        Error::Damaged(Box::new(damage))
    }
}

/// What was asked of a transaction that has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action}: the transaction has failed ({cause}); abort it")]
#[non_exhaustive]
pub struct FailedTransaction {
    /// What was asked for: a verb.
    pub action: &'static str,
    /// The first failure.
    pub cause: Box<str>,
}

impl FailedTransaction {
    /// `action` was asked for, after the transaction had failed with `cause`.
    pub fn new(action: &'static str, cause: impl Into<Box<str>>) -> FailedTransaction {
        FailedTransaction { action, cause: cause.into() }
    }
}

impl From<FailedTransaction> for Error {
    fn from(failed: FailedTransaction) -> Error {
        Error::TransactionFailed(Box::new(failed))
    }
}

/// What the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
#[non_exhaustive]
pub struct IoFailure {
    /// What was tried: a verb.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's words.
    pub source: std::io::Error,
}

/// An object that could not be turned into bytes, or back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub struct CodecFailure {
    /// The stable name of the type.
    pub type_name: Box<str>,
    /// The object, once it has a name.
    pub oid: Option<Oid>,
    /// The revision, when one was being read.
    pub tid: Option<Tid>,
    /// What was at fault.
    pub what: Box<str>,
}

impl CodecFailure {
    /// A failure to code or decode a value of the type `type_name`.
    pub fn new(type_name: impl Into<Box<str>>, what: impl Into<Box<str>>) -> CodecFailure {
        CodecFailure { type_name: type_name.into(), oid: None, tid: None, what: what.into() }
    }
}

impl From<CodecFailure> for Error {
    fn from(failure: CodecFailure) -> Error {
        Error::Codec(Box::new(failure))
    }
}

impl fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {}: {}", self.type_name, self.what)?;
        if let Some(oid) = self.oid {
            write!(f, " (object {oid}")?;
            if let Some(tid) = self.tid {
                write!(f, ", tid {}", tid.number())?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// What is stored and what the program says of it are at odds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaMismatch {
    /// A value of one type was asked for as another.
    #[error("object {oid} is a {stored}, not a {asked}")]
    WrongType {
        /// The object.
        oid: Oid,
        /// The name of the type it was stored as.
        stored: Box<str>,
        /// The name of the type that was asked for.
        asked: Box<str>,
    },
    /// A collection's keys or values are of another type than its handle says.
    #[error("the {collection} of object {oid} holds {stored}, not {asked}")]
    WrongElements {
        /// What kind of collection.
        collection: &'static str,
        /// Its root object.
        oid: Oid,
        /// The types it was created with.
        stored: Box<str>,
        /// The types of the handle.
        asked: Box<str>,
    },
    /// The stored version of the type is one that the program cannot upgrade.
    #[error(
        "object {oid} is version {stored} of type {type_name}, which is at version {known} here: \
         {why}"
    )]
    UnknownVersion {
        /// The object.
        oid: Oid,
        /// The name of its type.
        type_name: Box<str>,
        /// The version it was stored as.
        stored: u32,
        /// The version the program has.
        known: u32,
        /// Why the one cannot become the other.
        why: Box<str>,
    },
    /// The type's fields changed while its name and version stayed.
    #[error(
        "the shape of type {type_name} version {version} changed: stored as {stored}, here {here}; \
         give it a new VERSION and an upgrade"
    )]
    ShapeChanged {
        /// The name of the type.
        type_name: Box<str>,
        /// Its version.
        version: u32,
        /// The shape in the file.
        stored: Box<str>,
        /// The shape in the program.
        here: Box<str>,
    },
}

impl From<SchemaMismatch> for Error {
    fn from(mismatch: SchemaMismatch) -> Error {
        Error::Schema(Box::new(mismatch))
    }
}

/// A file and its copy, in one process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} and {} are copies of one database ({id}): only one of them can be open in this process",
    open.display(), asked.display()
)]
#[non_exhaustive]
pub struct AlreadyOpen {
    /// The id that both carry.
    pub id: DatabaseId,
    /// The one that is open.
    pub open: PathBuf,
    /// The one that was to be opened.
    pub asked: PathBuf,
}

impl AlreadyOpen {
    /// Both carry `id`; `open` is open.
    pub fn new(id: DatabaseId, open: PathBuf, asked: PathBuf) -> AlreadyOpen {
        AlreadyOpen { id, open, asked }
    }
}

/// A file that this program cannot take for a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be opened as a database: {what}", path.display())]
#[non_exhaustive]
pub struct NotADatabase {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub what: Box<str>,
}

impl NotADatabase {
    /// `path` is none, because of `what`.
    pub fn new(path: impl Into<PathBuf>, what: impl Into<Box<str>>) -> NotADatabase {
        NotADatabase { path: path.into(), what: what.into() }
    }
}

impl From<NotADatabase> for Error {
    fn from(refusal: NotADatabase) -> Error {
        Error::NotADatabase(Box::new(refusal))
    }
}

/// A global transaction whose outcome this file alone does not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} holds the undecided part of the global transaction {gtid} at offset {offset}", path.display())]
#[non_exhaustive]
pub struct InDoubt {
    /// The file.
    pub path: PathBuf,
    /// The transaction.
    pub gtid: GlobalId,
    /// Where its part stands.
    pub offset: u64,
}

impl InDoubt {
    /// `path` holds a part of `gtid` at `offset`, and no outcome.
    pub fn new(path: impl Into<PathBuf>, gtid: GlobalId, offset: u64) -> InDoubt {
        InDoubt { path: path.into(), gtid, offset }
    }
}
