//! A number that everybody may add to at once: [`Counter`].
//!
//! Applications keep the handle; the number is an object of its own, whose resolver adds up.
//!
//! # Invariants
//! - The number is the sum of what committed transactions added.

use crate::error::{Error, Result};
use crate::id::Oid;
use crate::object::{Connection, Persistent, Ref, View};
use serde::{Deserialize, Serialize};

/// A `Counter` is a number that concurrent transactions add to without conflicts.
///
/// It is a handle: copies are the same counter. What the number is at the moment is worth little to
/// somebody who adds to it, since others do so, too; `add` does not tell.
///
/// ```
/// use perennial::{Database, Persistent, collections::Counter};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Page { text: String, visits: Counter }
/// impl Persistent for Page { const NAME: &'static str = "site.Page"; }
///
/// let db = Database::in_memory()?;
/// let page = db.transact(|conn| {
///     let visits = Counter::create(conn)?;
///     conn.root_or_init("home", |_| Ok(Page { text: "hello".into(), visits }))
/// })?;
/// db.transact(|conn| conn.get(page)?.visits.add(conn, 1))?;
/// assert_eq!(db.view(|view| view.get(page)?.visits.get(view))?, 1);
/// # Ok::<(), perennial::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counter {
    count: Ref<Count>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Count {
    total: i64,
}

impl Persistent for Count {
    const NAME: &'static str = "perennial.Counter";

    /// Both added to the original; a sum beyond the numbers there are is a conflict, and the
    /// error comes when the later one tries again.
    fn resolve_conflict(original: &Count, committed: &Count, mine: &Count) -> Option<Count> {
        let [original, committed, mine] =
            [original, committed, mine].map(|count| i128::from(count.total));
        let total = i64::try_from(committed + (mine - original)).ok()?;
        Some(Count { total })
    }
}

impl Counter {
    /// A new counter, at zero.
    ///
    /// # Errors
    /// Those of [`Connection::add`].
    pub fn create(conn: &Connection) -> Result<Counter> {
        Ok(Counter { count: conn.add(Count { total: 0 })? })
    }

    /// The number, as this view has it.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn get(self, view: &View) -> Result<i64> {
        Ok(view.get(self.count)?.total)
    }

    /// Adds `amount`, which may be negative. Adding zero changes nothing.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where the sum does not fit, and then nothing is added; those of
    /// [`Connection::modify`].
    pub fn add(self, conn: &Connection, amount: i64) -> Result<()> {
        let total = self.get(conn)?.checked_add(amount).ok_or_else(|| {
            let what = format!("{amount} more would be too much for counter {}", self.oid());
            Error::Exhausted(what.into())
        })?;
        if amount == 0 {
            return Ok(());
        }
        conn.modify(self.count, |count| count.total = total)
    }

    /// The object that holds the number.
    pub fn oid(self) -> Oid {
        self.count.oid()
    }
}
