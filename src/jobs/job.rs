//! What applications say of their work: [`Job`], and how a handler fails: [`Failure`].
//!
//! `enqueue` writes jobs, `handler` reads them back and hands them to the application. Nothing
//! here knows of a database.
//!
//! # Invariants
//! - A stored job is known by [`Job::KIND`], never by its path in the program.

use crate::error::{CodecFailure, Error, ForeignError, Result};
use crate::id::Oid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// A piece of work that exists if, and only if, the transaction that asked for it commits.
///
/// ```
/// use perennial::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt { to: String }
/// impl Job for SendReceipt { const KIND: &'static str = "bank.SendReceipt"; }
/// ```
///
/// Its value says what to do, and is written with the job: at most 64 KiB. References in it keep
/// their objects alive for as long as the job is there.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be enqueued",
    label = "this type is not a `Job`",
    note = "derive `serde::Serialize` and `serde::Deserialize`, and give it a kind: \
            `impl Job for {Self} {{ const KIND: &'static str = \"app.Name\"; }}`"
)]
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The name under which its jobs are stored, for ever: the Rust type may be renamed and moved.
    const KIND: &'static str;

    /// Counts the changes of its fields, kinds and order of fields included.
    const VERSION: u32 = 0;

    /// Kinds under which jobs of this type were stored in the past.
    const ALIASES: &'static [&'static str] = &[];

    /// Reads a job that was stored as an older version; `payload` is what
    /// [`decode_as`](crate::decode_as) takes.
    ///
    /// # Errors
    /// What the implementation says: the job is dead then. The default knows no older version.
    fn upgrade(version: u32, payload: &[u8]) -> Result<Self> {
        let what = format!(
            "version {version} ({} bytes) cannot be upgraded to version {}: it has no upgrade",
            payload.len(),
            Self::VERSION
        );
        Err(CodecFailure::new(Self::KIND, what).into())
    }

    /// Where this is something, at most one job of this kind with this key is pending.
    fn dedupe_key(&self) -> Option<Vec<u8>> {
        None
    }
}

/// What became of an enqueued job. Its id is the oid of the object it is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enqueued {
    /// It is a new job, once the transaction commits.
    New(Oid),
    /// This job of the same kind and key is pending, or about to run, already.
    Duplicate(Oid),
}

impl Enqueued {
    /// The job that is there now, new or not.
    pub fn id(self) -> Oid {
        match self {
            Enqueued::New(id) | Enqueued::Duplicate(id) => id,
        }
    }
}

/// Why a handler did not do its job, and what shall become of it.
///
/// Every error and every message converts into [`Failure::Retry`], so that handlers can use `?`.
/// A panic counts as one, too.
///
/// ```
/// use perennial::Failure;
/// fn deliver(address: &str) -> Result<(), Failure> {
///     if address.is_empty() {
///         return Err(Failure::permanent("no address"));
///     }
///     let _number: u32 = address.parse()?;
///     Ok(())
/// }
/// assert!(matches!(deliver("?"), Err(Failure::Retry(_))));
/// ```
pub enum Failure {
    /// Try again, later and later, until the policy gives up.
    Retry(ForeignError),
    /// Try again after this time.
    RetryAfter(Duration, ForeignError),
    /// No retry will help: the job is dead.
    Permanent(ForeignError),
    /// Not yet: again after this time. Counts as no failure.
    Snooze(Duration),
}

impl Failure {
    /// Try again after `delay`, because of `error`.
    pub fn retry_after(delay: Duration, error: impl Into<ForeignError>) -> Failure {
        Failure::RetryAfter(delay, error.into())
    }

    /// No retry will help against `error`.
    pub fn permanent(error: impl Into<ForeignError>) -> Failure {
        Failure::Permanent(error.into())
    }
}

impl<E: Into<ForeignError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Retry(error.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Retry(error) => write!(f, "retry: {error}"),
            Failure::RetryAfter(delay, error) => write!(f, "retry after {delay:?}: {error}"),
            Failure::Permanent(error) => write!(f, "permanent: {error}"),
            Failure::Snooze(delay) => write!(f, "snooze for {delay:?}"),
        }
    }
}

/// A panic's message, as the error of the attempt that it ended.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> Failure {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "(no message)",
    };
    Failure::from(Error::Panicked(format!("the handler panicked: {text}").into()))
}
