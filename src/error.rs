//! What can go wrong, in one enum: [`Error`].
//!
//! Every layer returns it. A variant says what the *caller* can do about it; its payload names
//! the object, the type, the file, the offset and the transaction concerned.
//!
//! # Invariants
//! - An `Error` is at most 24 bytes, so that a `Result` stays cheap to return.
//! - `Debug` prints what `Display` prints, then the sources, then the action log of a failed commit:
//!   `fn main() -> Result<()>` shows it.

mod actions;
mod file;
mod object;
mod payload;

pub use actions::{Action, ActionLog, Phase};
pub use file::{AlreadyOpen, Corruption, Damage, InDoubt, IoFailure, NotADatabase};
pub use object::{CodecFailure, Conflict, NotFound, SchemaMismatch};
pub use payload::{CommitFailure, Payload};

use crate::id::{GlobalId, Oid};
use payload::Indented;
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
    Conflict(Payload<Conflict>),

    /// The object has no revision in this view: it was never stored, removed, or packed away.
    #[error(transparent)]
    NotFound(Payload<NotFound>),

    /// Bytes in a file break a rule of the format; nothing was returned from them.
    #[error(transparent)]
    Corrupt(Payload<Corruption>),

    /// The file lost or changed something that it once held durably; it was left as it is.
    #[error(transparent)]
    Damaged(Payload<Damage>),

    /// The system said no.
    #[error(transparent)]
    Io(Payload<IoFailure>),

    /// An object could not be turned into bytes, or bytes into an object.
    #[error(transparent)]
    Codec(Payload<CodecFailure>),

    /// What is stored and what the program's type says of it are at odds.
    #[error(transparent)]
    Schema(Payload<SchemaMismatch>),

    /// An earlier write or sync failed: the database takes nothing more until it is opened again.
    #[error("the database is halted ({0}); close and reopen it")]
    Halted(Payload<str>),

    /// The write or sync of this commit failed, a full disk included: after the next opening it is
    /// there, or it is not.
    #[error("the outcome of the commit is unknown ({0}); reopen the database and look")]
    Unknown(Payload<str>),

    /// Some data managers committed and others, which cannot recover by themselves, did not.
    #[error("the transaction was committed by some of its data managers only: {0}")]
    Mixed(Payload<str>),

    /// Another process, or another handle in this one, has the database open for writing.
    #[error("{} is locked: another handle has it open for writing", .0.display())]
    Locked(Payload<PathBuf>),

    /// Two files with one database id, a file and its copy, cannot be open in one process.
    #[error(transparent)]
    AlreadyOpen(Payload<AlreadyOpen>),

    /// The database was opened for reading only.
    #[error("cannot {0}: the database was opened for reading only")]
    ReadOnly(&'static str),

    /// The file is not a database, or of a format this program does not know.
    #[error(transparent)]
    NotADatabase(Payload<NotADatabase>),

    /// The file holds a part of a global transaction whose outcome is not known here.
    #[error(transparent)]
    InDoubt(Payload<InDoubt>),

    /// The transaction was to decide for others, after somebody who asked had been told that it
    /// was given up.
    #[error("the global transaction {0} was given up: somebody asked for it before it was decided")]
    Refused(Payload<GlobalId>),

    /// The database was opened by this process, of which the one that calls is a fork: it can open
    /// the file itself, once the other one has closed it.
    #[error(
        "the database was opened by process {0}, of which this one is a fork: a fork must open it \
         itself"
    )]
    Forked(u32),

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
    TransactionFailed(Payload<FailedTransaction>),

    /// The transaction was doomed: it can only be aborted.
    #[error("cannot {0}: the transaction is doomed; abort it")]
    Doomed(&'static str),

    /// A data manager joined a transaction that it had joined already.
    #[error("the data manager {0} has already joined this transaction")]
    AlreadyJoined(Payload<str>),

    /// The savepoint was rolled back past, or its transaction is over.
    #[error("the savepoint is no longer valid: {0}")]
    InvalidSavepoint(&'static str),

    /// A data manager failed while the transaction was being aborted; all were reached.
    #[error("abort failed: {0}")]
    AbortFailed(Payload<str>),

    /// A participant cannot do what was asked of it.
    #[error("{0}")]
    Unsupported(Payload<str>),

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
    Panicked(Payload<str>),

    /// The bucket of pending jobs is full; the transaction can still commit other work.
    #[error("the job bucket is full: {0}")]
    JobsFull(Payload<str>),

    /// The job is not this attempt's any more: it was discarded, or given to another one.
    #[error("the claim on job {job} was lost")]
    ClaimLost {
        /// The job.
        job: Oid,
    },

    /// A limit of the format or of the address space was reached.
    #[error("{0}")]
    Exhausted(Payload<str>),

    /// An argument makes no sense.
    #[error("{0}")]
    InvalidArgument(Payload<str>),

    /// A commit failed with an error that has no place for the action log, and several data
    /// managers took part, or one failed to abort. What to match on is its [`Error::cause`].
    #[error(transparent)]
    CommitFailed(Box<CommitFailure>),

    /// An error of the application or of a foreign data manager.
    #[error(transparent)]
    Other(Payload<dyn std::error::Error + Send + Sync>),
}

const _: () = assert!(size_of::<Error>() <= 24);

impl Error {
    /// An error of somebody else, or a message.
    pub fn other(error: impl Into<ForeignError>) -> Error {
        Error::Other(error.into().into())
    }

    /// The system's refusal of `action` on the file `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io(Box::new(IoFailure { action, path: path.into(), source }).into())
    }

    /// Whether the same work, begun again in a new transaction, may succeed.
    ///
    /// True of conflicts; never of [`Error::Unknown`] and [`Error::Mixed`], whose work may be done.
    pub fn is_retryable(&self) -> bool {
        matches!(self.cause(), Error::Conflict(_))
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
        self.actions().map_or(Ok(()), |actions| write!(f, "{}", Indented(actions)))
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
        Error::TransactionFailed(Box::new(failed).into())
    }
}
