//! What a layer above keeps for as long as a database is open, and how it does not keep it open:
//! [`Database::attached`], [`WeakDatabase`].
//!
//! The jobs come here: they may name the objects, and not the other way round.
//!
//! # Invariants
//! - A database has one attachment at most, made once.

use super::core::Core;
use super::database::Database;
use super::view::View;
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::any::Any;
use std::sync::{Arc, Weak};

/// The place of the attachment.
#[derive(Default)]
pub(super) struct Attachment(Mutex<Option<Arc<dyn Attached>>>);

/// What can be attached to a database.
pub(crate) trait Attached: Any + Send + Sync {
    /// Is told, under no lock, that promises which were in doubt may have been settled.
    fn doubts_settled(&self);
}

impl Attachment {
    /// Tells what is attached that promises in doubt may have been settled.
    pub fn tell_of_settling(&self) {
        let attached = self.0.lock().clone();
        if let Some(attached) = attached {
            attached.doubts_settled();
        }
    }
}

/// A handle that does not keep its database open.
#[derive(Clone)]
pub(crate) struct WeakDatabase(Weak<Core>);

impl WeakDatabase {
    /// The database, while somebody else keeps it open.
    pub(crate) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(|core| Database { core })
    }
}

impl Database {
    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.core))
    }

    /// The mark of this database on references.
    pub(crate) fn tag(&self) -> u32 {
        self.core.tag
    }

    /// Whether the database was opened for writing; `action` says what for.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub(crate) fn check_writable(&self, action: &'static str) -> Result<()> {
        self.core.storage.check_writable(action)
    }

    /// What is attached to the database; `make` makes it when it is asked for first, and others
    /// wait until it has. It is dropped when the last handle of the database is.
    ///
    /// # Errors
    /// Those of `make`, which is called again next time.
    pub(crate) fn attached<T: Attached>(&self, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut place = self.core.attachment.0.lock();
        let attached: Arc<dyn Any + Send + Sync> = match &*place {
            Some(attached) => attached.clone(),
            None => place.insert(Arc::new(make()?)).clone(),
        };
        attached.downcast().map_err(|_| Error::other("something else is attached to the database"))
    }
}

impl View {
    /// The database that it shows.
    pub(crate) fn database(&self) -> Database {
        Database { core: self.core.clone() }
    }
}
