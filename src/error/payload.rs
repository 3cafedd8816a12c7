//! What an error has inside: a [`Payload`], and with it, after a failed commit, the action log.
//!
//! The transactions add the log when a commit or an abort failed. The error stays the one it was,
//! so that it is matched like any other of its kind.
//!
//! # Invariants
//! - Only an error with no place for a log is wrapped, and only where the log has more to tell.

use super::{ActionLog, Error};
use std::error::Error as StdError;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A `Payload` is what an error tells. It derefs to that; beside it lies the action log of the
/// commit that failed with the error, where one did: [`Error::actions`].
///
/// ```
/// use perennial::Error;
/// let error = Error::Halted("the disk is gone".into());
/// assert!(matches!(&error, Error::Halted(why) if why.contains("disk")));
/// ```
pub struct Payload<T: ?Sized>(Box<Inner<T>>);

struct Inner<T: ?Sized> {
    what: Box<T>,
    actions: Option<ActionLog>,
}

impl<T: ?Sized> From<Box<T>> for Payload<T> {
    fn from(what: Box<T>) -> Payload<T> {
        Payload(Box::new(Inner { what, actions: None }))
    }
}

impl From<String> for Payload<str> {
    fn from(text: String) -> Payload<str> {
        text.into_boxed_str().into()
    }
}

impl From<&str> for Payload<str> {
    fn from(text: &str) -> Payload<str> {
        Box::<str>::from(text).into()
    }
}

impl<T: ?Sized> Payload<T> {
    /// Only what it tells.
    pub fn into_inner(self) -> Box<T> {
        self.0.what
    }
}

impl<T: ?Sized> Deref for Payload<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.what
    }
}

impl<T: ?Sized> DerefMut for Payload<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.what
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Payload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Payload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + StdError> StdError for Payload<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        (**self).source()
    }
}

/// A commit that failed with an error which has no place for the action log.
#[derive(thiserror::Error)]
#[error("{cause}")]
#[non_exhaustive]
pub struct CommitFailure {
    /// The error.
    pub cause: Error,
    /// What the data managers were asked to do, and how it went.
    pub actions: ActionLog,
}

impl fmt::Debug for CommitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.cause, Indented(&self.actions))
    }
}

/// The log, below an error.
pub(super) struct Indented<'a>(pub(super) &'a ActionLog);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\nthe data managers were called in this order:")?;
        let lines = self.0.to_string();
        lines.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The place for a log, in any error that has one, borrowed as the error is.
macro_rules! place {
    ($error:ident, $($borrow:tt)+) => {
        match $error {
            Error::Conflict(payload) => Some($($borrow)+ payload.0.actions),
            Error::NotFound(payload) => Some($($borrow)+ payload.0.actions),
            Error::Corrupt(payload) => Some($($borrow)+ payload.0.actions),
            Error::Damaged(payload) => Some($($borrow)+ payload.0.actions),
            Error::Io(payload) => Some($($borrow)+ payload.0.actions),
            Error::Codec(payload) => Some($($borrow)+ payload.0.actions),
            Error::Schema(payload) => Some($($borrow)+ payload.0.actions),
            Error::Locked(payload) => Some($($borrow)+ payload.0.actions),
            Error::AlreadyOpen(payload) => Some($($borrow)+ payload.0.actions),
            Error::NotADatabase(payload) => Some($($borrow)+ payload.0.actions),
            Error::Refused(payload) => Some($($borrow)+ payload.0.actions),
            Error::InDoubt(payload) => Some($($borrow)+ payload.0.actions),
            Error::TransactionFailed(payload) => Some($($borrow)+ payload.0.actions),
            Error::Other(payload) => Some($($borrow)+ payload.0.actions),
            Error::Halted(payload)
            | Error::Unknown(payload)
            | Error::Mixed(payload)
            | Error::AlreadyJoined(payload)
            | Error::AbortFailed(payload)
            | Error::Unsupported(payload)
            | Error::Panicked(payload)
            | Error::JobsFull(payload)
            | Error::Exhausted(payload)
            | Error::InvalidArgument(payload) => Some($($borrow)+ payload.0.actions),
            // Named one by one, so that no new variant is forgotten here.
            Error::ReadOnly(_)
            | Error::Closed
            | Error::Forked(_)
            | Error::NoTransaction(_)
            | Error::AlreadyInTransaction(_)
            | Error::TransactionOver(_)
            | Error::InProgress(_)
            | Error::Doomed(_)
            | Error::InvalidSavepoint(_)
            | Error::ForeignRef { .. }
            | Error::Busy { .. }
            | Error::ClaimLost { .. }
            | Error::CommitFailed(_) => None,
        }
    };
}

impl Error {
    /// What the data managers of the transaction were asked to do, and how it went, where this is
    /// the error of a commit or abort that reached any.
    ///
    /// A commit that fails with an error which is no more than a word, like [`Error::Closed`],
    /// tells its log in an [`Error::CommitFailed`]; where there is but one manager, which was
    /// aborted as it should, it returns the word alone.
    pub fn actions(&self) -> Option<&ActionLog> {
        if let Error::CommitFailed(failure) = self {
            return Some(&failure.actions);
        }
        place!(self, &).and_then(Option::as_ref)
    }

    /// What to match on: this error, or the one that made a commit fail.
    pub fn cause(&self) -> &Error {
        match self {
            Error::CommitFailed(failure) => failure.cause.cause(),
            _ => self,
        }
    }

    /// The same error, as that of a commit or abort which did these actions.
    pub(crate) fn with_actions(mut self, actions: ActionLog) -> Error {
        if actions.is_empty() {
            return self;
        }
        if let Error::CommitFailed(failure) = &mut self {
            failure.actions = actions;
            return self;
        }
        let error = &mut self;
        match place!(error, &mut) {
            Some(place) => *place = Some(actions),
            None if actions.is_a_story() => {
                return Error::CommitFailed(Box::new(CommitFailure { cause: self, actions }));
            }
            None => {}
        }
        self
    }
}
