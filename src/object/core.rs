//! What all handles, views and connections of one open database share: [`Core`].
//!
//! It owns nothing that belongs to a transaction. `Database` makes one; whoever reads or commits
//! holds it, so that a database lives as long as somebody uses it.
//!
//! # Invariants
//! - No two databases that were opened in this process have one tag.

use super::attached::Attachment;
use super::cache::Cache;
use super::codec::RoundTrips;
use super::database::Settings;
use super::doubts::Search;
use super::endings::Endings;
use super::isolation::Isolation;
use super::registry::Registered;
use super::types::Types;
use crate::id::DatabaseId;
use crate::storage::{Durability, Storage};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The inside of an open database.
pub(super) struct Core {
    pub storage: Arc<dyn Storage>,
    /// What its participants are called, in the order of which managers commit.
    pub sort_key: String,
    /// Its id, if it remembers for others what it decided.
    pub decides: Option<DatabaseId>,
    /// The mark of this database on references, in memory.
    pub tag: u32,
    pub cache: Cache,
    pub types: Types,
    pub round_trips: RoundTrips,
    /// What commits wait for that say nothing else.
    pub durability: Durability,
    pub isolation: Isolation,
    pub attachment: Attachment,
    pub endings: Endings,
    /// Where those are looked for who decide what is in doubt here.
    pub search: Search,
    /// Its entry among the databases that are open in this process, until it closes.
    pub registered: Mutex<Option<Registered>>,
}

impl Core {
    pub fn new(storage: Arc<dyn Storage>, settings: &Settings, search: Search) -> Core {
        Core {
            sort_key: format!("perennial {}", storage.id()),
            decides: storage.coordinator().map(|coordinator| coordinator.database),
            storage,
            tag: next_tag(),
            cache: Cache::new(settings.cache_bytes),
            types: Types::default(),
            round_trips: RoundTrips::default(),
            durability: settings.durability,
            isolation: settings.isolation,
            attachment: Attachment::default(),
            endings: Endings::default(),
            search,
            registered: Mutex::new(None),
        }
    }
}

/// A mark that no other database has; 0 is that of loose references.
fn next_tag() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let tag = NEXT.fetch_add(1, Ordering::Relaxed);
    // The four thousand millionth opening would make references of two databases look alike.
    assert!(tag != 0, "databases were opened too often for one process");
    tag
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("storage", &self.storage).finish_non_exhaustive()
    }
}
