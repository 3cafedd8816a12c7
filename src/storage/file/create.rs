//! Creating a database file, and getting hold of one: name, header, lock.
//!
//! # Invariants
//! - A database file is whole before it has its name, and locked before anybody can find it.
//! - The lock is on the file itself: other names of it lead to the same lock.
//!
//! Format: docs/format.md, "File header".

use super::{FileOptions, Mode};
use crate::error::{Damage, Error, NotADatabase, Result};
use crate::file::{Access, AppendFile, Directory};
use crate::format::{FIRST_FRAME, FileHeader, HEADER_COPY, HeaderFault};
use crate::id::DatabaseId;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a file may change its name beneath us before we give up.
const TRIES: usize = 16;

/// Who reads only takes the lock for an instant, to see whether somebody writes: for as long as
/// this, in milliseconds, a lock may be such a reader's.
const GLIMPSE: u64 = 20;

/// A database file that is open, and nobody else's.
pub(super) struct Held {
    pub(super) file: Arc<dyn AppendFile>,
    /// The handle that carries the lock; `None` for reading only.
    pub(super) lock: Option<Arc<dyn AppendFile>>,
}

/// Opens the file `name`, or creates it where the options say so.
pub(super) fn hold(directory: &dyn Directory, name: &str, options: &FileOptions) -> Result<Held> {
    let failed = |error| Error::io("open", directory.path(name), error);
    if options.mode == Mode::ReadOnly {
        let file = directory.open(name, Access::Read).map_err(failed)?;
        return Ok(Held { file, lock: None });
    }
    for _ in 0..TRIES {
        let lock = match directory.open(name, Access::Write) {
            Ok(_) if options.mode == Mode::CreateNew => {
                return Err(failed(ErrorKind::AlreadyExists.into()));
            }
            Ok(file) if lock(&*file).map_err(failed)? => file,
            Ok(_) => return Err(Error::Locked(Box::new(directory.path(name)).into())),
            Err(error) if error.kind() == ErrorKind::NotFound && options.mode != Mode::Existing => {
                match create(directory, name)? {
                    Some(file) => file,
                    None => continue,
                }
            }
            Err(error) => return Err(failed(error)),
        };
        // The name may have passed to another file before the lock was ours.
        let file = directory.open(name, Access::Write).map_err(failed)?;
        if file.identity().map_err(failed)? == lock.identity().map_err(failed)? {
            // Whoever created the file may have come to an end, or failed, before its name was
            // durable: then everything committed into it would be lost with the name.
            directory.sync().map_err(failed)?;
            return Ok(Held { file, lock: Some(lock) });
        }
    }
    Err(failed(std::io::Error::other("the file keeps being replaced")))
}

/// Takes the lock, unless it is held for longer than a reader's glimpse; whether it is ours.
pub(super) fn lock(file: &dyn AppendFile) -> std::io::Result<bool> {
    for _ in 0..GLIMPSE {
        if file.try_lock()? {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Creates the file `name` and locks it; its name is not durable yet. `None` where somebody else
/// was first.
fn create(directory: &dyn Directory, name: &str) -> Result<Option<Arc<dyn AppendFile>>> {
    let failed = |error| Error::io("create", directory.path(name), error);
    let id = DatabaseId::random().map_err(failed)?;
    let temporary = format!("{name}.tmp-{id}");
    let made = fill(directory, &temporary, id).and_then(|file| {
        directory.rename_new(&temporary, name)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok(Some(file)),
        Err(error) => {
            let _ = directory.remove(&temporary);
            // Gone: another opening took ours for the leftover of a dead one.
            let lost = [ErrorKind::AlreadyExists, ErrorKind::NotFound].contains(&error.kind());
            if lost && directory.open(name, Access::Read).is_ok() {
                return Ok(None);
            }
            Err(failed(error))
        }
    }
}

fn fill(
    directory: &dyn Directory,
    temporary: &str,
    id: DatabaseId,
) -> std::io::Result<Arc<dyn AppendFile>> {
    let file = directory.open(temporary, Access::CreateNew)?;
    if !file.try_lock()? {
        return Err(std::io::Error::other("a new file is locked by somebody else"));
    }
    file.append(0, &FileHeader::new(id).encode_file())?;
    file.sync()?;
    Ok(file)
}

/// Removes what dead openings left unfinished beside the database.
pub(super) fn remove_leftovers(directory: &dyn Directory, name: &str) {
    let names = directory.names().unwrap_or_default();
    for leftover in names.iter().filter(|other| is_leftover(name, other)) {
        if let Err(error) = directory.remove(leftover) {
            tracing::warn!(leftover, %error, "a leftover file cannot be removed");
        }
    }
}

/// Whether `other` is a name that the database `name` gives to what is unfinished. Not every name
/// that begins so is one: somebody may keep his own file, or another database, as `X.tmp-old`.
fn is_leftover(name: &str, other: &str) -> bool {
    let end = other.strip_prefix(name).and_then(|it| it.strip_prefix(".tmp-"));
    let is_id = |text: &str| {
        let digits = text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        digits && text.len() == 2 * size_of::<DatabaseId>()
    };
    end.is_some_and(|end| end == "index" || end == "torn" || is_id(end))
}

/// The header of the file, and what is wrong with one of its copies.
pub(super) fn read_header(
    path: &PathBuf,
    file: &dyn AppendFile,
) -> Result<(FileHeader, Option<Damage>)> {
    let failed = |error| Error::io("read", path, error);
    let length = file.len().map_err(failed)?;
    let copy = |start: u64| -> Result<Result<FileHeader, HeaderFault>> {
        let mut bytes = [0; FileHeader::LEN];
        if start + FileHeader::LEN as u64 > length {
            return Ok(Err(HeaderFault::Foreign));
        }
        file.read_at(start, &mut bytes).map_err(failed)?;
        Ok(FileHeader::decode(&bytes))
    };
    let refusal = |what: &str| Err(NotADatabase::new(path, what).into());
    let damaged =
        |offset| Some(Damage::new(path, offset, FIRST_FRAME, "a copy of the file header is bad"));
    match (copy(0)?, copy(HEADER_COPY)?) {
        (Ok(first), Ok(second)) if first == second && length >= FIRST_FRAME => Ok((first, None)),
        (Ok(_), _) | (_, Ok(_)) if length < FIRST_FRAME => refusal("it ends within its header"),
        (Ok(first), _) => Ok((first, damaged(HEADER_COPY))),
        (Err(HeaderFault::Unsupported(what)), _) | (_, Err(HeaderFault::Unsupported(what))) => {
            refusal(&what)
        }
        (Err(_), Ok(second)) => Ok((second, damaged(0))),
        (Err(HeaderFault::Damaged), Err(_)) | (Err(_), Err(HeaderFault::Damaged)) => {
            refusal("both copies of its header are damaged")
        }
        (Err(HeaderFault::Foreign), Err(_)) if length == 0 => refusal("it is empty"),
        (Err(HeaderFault::Foreign), Err(_)) => {
            refusal("it does not begin as a Perennial database does")
        }
    }
}
