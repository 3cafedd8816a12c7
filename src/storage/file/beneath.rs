//! What other programs may do to the file while it is open here: move, remove, replace or cut it, or
//! write over it.
//!
//! Nothing can forbid it, so it is looked for: the length is checked before anything is written, and
//! the name before anything is called durable. Either costs less than a hundredth of a sync. Who only
//! reads checks that what it has shown is still there, before it shows more.
//!
//! # Invariants
//! - Nothing is acknowledged as durable in a file that its name no longer leads to.
//! - Nothing is written behind a cut, where it would make the file look whole again.
//! - A reader never shows parts of two logs.

use super::core::Core;
use crate::error::{Error, Result};
use crate::format::FIRST_FRAME;
use std::io::{Error as IoError, ErrorKind};

impl Core {
    /// Refuses to go on where the name leads to another file, or to none.
    ///
    /// Where the directory no longer lets us look, nothing is known, and work goes on.
    pub(super) fn check_name(&self) -> Result<()> {
        match self.directory.identity(&self.name) {
            Ok(found) if found != self.identity => {
                Err(self.taken_away("another file has its name now"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(self.taken_away("it was moved or removed"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to go on where the file was cut below what is published. From then on it is read by
    /// position: to touch a map behind the cut would end the process.
    pub(super) fn check_length(&self) -> Result<()> {
        let failed = |error| Error::io("measure", self.path(), error);
        let (length, end) =
            (self.generation.log.file.len().map_err(failed)?, self.generation.published_end());
        if length >= end {
            return Ok(());
        }
        self.generation.log.leave_maps();
        Err(self.taken_away(&format!("it was cut at offset {length}, of {end}")))
    }

    /// Refuses to go on where the log is another one than that which was shown: an older copy was
    /// written over it, say. The last sum vouches for all frames, which are chained.
    pub(super) fn check_past(&self) -> Result<()> {
        let end = self.generation.published_end();
        let is_ours = end == FIRST_FRAME
            || self.generation.log.sum_before(end)? == Some(self.leader.lock().chain);
        match is_ours {
            true => Ok(()),
            false => Err(self.taken_away("what was read of it is not there any more")),
        }
    }

    fn taken_away(&self, what: &str) -> Error {
        let what = format!("{what}, while it was open here");
        Error::io("go on with", self.path(), IoError::other(what))
    }
}
