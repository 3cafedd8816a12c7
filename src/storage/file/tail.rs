//! Mending the end of a log after a crash: what is torn is kept aside and cut, what is whole is
//! made durable before anybody sees it.
//!
//! Called once, when a file is opened for writing and was not closed cleanly. A crash while this
//! runs repeats it at the next opening, with the same verdict.
//!
//! # Invariants
//! - Whole frames above the proven mark are *written* again: after a failed sync the system may
//!   call lost pages clean, and a sync that writes nothing would prove nothing.
//! - Zeros are written up to the file's end, also where it reads as zeros, for the same reason;
//!   so no frame of before can continue the log of after.
//!
//! Format: docs/format.md, "Opening".

use super::log::Log;
use super::window::Window;
use crate::error::{Error, Result};
use crate::file::{Access, AppendFile, Directory};

/// How much is moved at once.
const STRETCH: usize = 1 << 20;

/// Mends the log between `proven`, below which all was durable, and the file's end at `length`;
/// its last whole frame ends at `end`.
pub(super) fn mend(
    directory: &dyn Directory,
    name: &str,
    log: &Log,
    (proven, end, length): (u64, u64, u64),
) -> Result<()> {
    let failed = |error| Error::io("mend the end of", &log.path, error);
    let torn_end = last_written(log, end, length)?;
    if torn_end > end {
        tracing::warn!(path = %log.path.display(), end, torn_end, "a torn end is cut");
        keep_aside(directory, name, log, end, torn_end)?;
    }
    let mut window = Window::new(log, end);
    let mut at = proven;
    while at < end {
        let bytes = window.get(at, STRETCH)?;
        log.file.rewrite(at, bytes).map_err(failed)?;
        at += bytes.len() as u64;
    }
    if length > end {
        log.file.zero(end, length - end).map_err(failed)?;
    }
    log.file.sync().map_err(failed)
}

/// Where the last byte between `start` and `length` ends that is not zero; `start` for none.
pub(super) fn last_written(log: &Log, start: u64, length: u64) -> Result<u64> {
    let mut window = Window::new(log, length);
    let (mut at, mut last) = (start, start);
    while at < length {
        let bytes = window.get(at, STRETCH)?;
        if let Some(within) = bytes.iter().rposition(|&byte| byte != 0) {
            last = at + within as u64 + 1;
        }
        at += bytes.len() as u64;
    }
    Ok(last)
}

/// Copies the bytes from `start` to `end` into a file of their own, durably.
fn keep_aside(
    directory: &dyn Directory,
    name: &str,
    log: &Log,
    start: u64,
    end: u64,
) -> Result<()> {
    let temporary = format!("{name}.tmp-torn");
    let failed =
        |error| Error::io("copy aside, before it is cut, the torn end of", &log.path, error);
    let _ = directory.remove(&temporary);
    let copy = directory.open(&temporary, Access::CreateNew).map_err(failed)?;
    let mut window = Window::new(log, end);
    let mut at = start;
    while at < end {
        let bytes = window.get(at, STRETCH)?;
        copy.append(at - start, bytes).map_err(failed)?;
        at += bytes.len() as u64;
    }
    copy.sync().map_err(failed)?;
    for number in 1.. {
        let target = match number {
            1 => format!("{name}.torn-{start}"),
            _ => format!("{name}.torn-{start}-{number}"),
        };
        match directory.rename_new(&temporary, &target) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if same(directory, &target, &*copy) {
                    let _ = directory.remove(&temporary);
                    break;
                }
            }
            outcome => {
                outcome.map_err(failed)?;
                break;
            }
        }
    }
    directory.sync().map_err(failed)
}

/// Whether the file `name` holds what `copy` holds: the same crash was being mended before.
fn same(directory: &dyn Directory, name: &str, copy: &dyn AppendFile) -> bool {
    let compare = || -> std::io::Result<bool> {
        let other = directory.open(name, Access::Read)?;
        let length = copy.len()?;
        if other.len()? != length {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (vec![0; STRETCH], vec![0; STRETCH]);
        for at in (0..length).step_by(STRETCH) {
            let step = (length - at).min(STRETCH as u64) as usize;
            copy.read_at(at, &mut ours[..step])?;
            other.read_at(at, &mut theirs[..step])?;
            if ours[..step] != theirs[..step] {
                return Ok(false);
            }
        }
        Ok(true)
    };
    compare().unwrap_or(false)
}
