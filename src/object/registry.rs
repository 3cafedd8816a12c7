//! The databases that are open in this process.
//!
//! A file and its copy carry one database id, and their references look alike; both open in one
//! process could be mixed up without anybody noticing. The same file may be open more than once:
//! the lock sees to it that only one handle writes. And who is in doubt about a transaction finds
//! the database here that decides it.

use super::core::Core;
use crate::error::{AlreadyOpen, Error, Result};
use crate::id::DatabaseId;
use crate::storage::{FileStorage, Storage};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// Whoever may be asked what was decided, in the order of opening.
static LIVING: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

/// The files, from before anybody can use them until they are closed.
static OPEN: Mutex<Vec<(DatabaseId, PathBuf)>> = Mutex::new(Vec::new());

/// Lets others find the database of `core`.
pub(super) fn announce(core: &Arc<Core>) {
    let mut living = LIVING.lock();
    living.retain(|core| core.strong_count() > 0);
    living.push(Arc::downgrade(core));
}

/// The database of this id, where it is open for writing in this process. Of several handles, the
/// last to be opened: the lock on the file says that those before are closed.
pub(super) fn living(id: DatabaseId) -> Option<Arc<Core>> {
    let all: Vec<_> = LIVING.lock().iter().filter_map(Weak::upgrade).collect();
    // Outside the lock: the last handle of a database may be dropped here.
    all.into_iter()
        .rfind(|core| core.storage.id() == id && core.storage.check_writable("decide").is_ok())
}

/// The entry of one open database, as long as it lives.
#[derive(Debug)]
pub(super) struct Registered(DatabaseId, PathBuf);

impl Registered {
    /// Enters the database in `storage`, whose file is at `path`.
    pub fn enter(storage: &FileStorage, path: PathBuf) -> Result<Registered> {
        let id = storage.id();
        let mut open = OPEN.lock();
        match open.iter().find(|(other, at)| *other == id && *at != path) {
            Some((_, at)) => {
                let refusal = AlreadyOpen::new(id, at.clone(), path);
                Err(Error::AlreadyOpen(Box::new(refusal).into()))
            }
            None => {
                open.push((id, path.clone()));
                Ok(Registered(id, path))
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = OPEN.lock();
        if let Some(place) = open.iter().position(|(id, at)| *id == self.0 && *at == self.1) {
            open.swap_remove(place);
        }
    }
}
