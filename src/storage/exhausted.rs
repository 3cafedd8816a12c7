//! What is said where the numbers come to their end, alike by every storage.
//!
//! # Invariants
//! - Nothing wraps: whoever asks for one number more gets one of these errors.

use crate::error::Error;
use crate::id::{Oid, Tid};

/// No oid is left that was never given out.
pub(super) fn oids() -> Error {
    let last = Oid::MAX;
    let what = format!(
        "no object can be added: every oid up to {last}, the greatest, was given out, and none is \
         given twice; what is there can be changed and removed, and new objects go into another \
         database"
    );
    Error::Exhausted(what.into())
}

/// No tid is left that could follow the last one.
pub(super) fn tids() -> Error {
    let last = Tid::MAX.number();
    let what = format!(
        "nothing can be committed: the last transaction has tid {last}, the greatest; what is there \
         can be read, and copied into a new database"
    );
    Error::Exhausted(what.into())
}
