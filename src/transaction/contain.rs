//! Foreign code run so that its panics are errors.
//!
//! Everything in this room that calls a manager, a hook or a synchronizer goes through here, and
//! so does the object layer where a stored type's own code could come between a commit and its
//! outcome.
//!
//! # Invariants
//! - No panic escapes: it would leave a transaction half ended, with nobody to end it.

use crate::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code`; where it panics, the error says that `who` did.
pub(crate) fn contain<T>(who: fmt::Arguments<'_>, code: impl FnOnce() -> Result<T>) -> Result<T> {
    // The transaction never looks into what foreign code may have left half done.
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|payload| {
        Err(Error::Panicked(format!("{who} panicked: {}", message(&*payload)).into()))
    })
}

/// Drops what foreign code made; a panic there is logged, since nobody could act on it.
pub(crate) fn discard<T>(what: T) {
    let dropped = contain(format_args!("a destructor"), || {
        drop(what);
        Ok(())
    });
    if let Err(error) = dropped {
        tracing::error!(%error, "panic while dropping");
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(no message)",
    }
}
