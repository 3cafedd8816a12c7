//! Which process this is: [`Process`].
//!
//! A fork has a copy of everything its parent had, open files included, and none of its threads.
//! What must be done by one process only, such as writing a log, letting its lock go, or waiting
//! for a thread, asks here first.
//!
//! Asking the system for the number of the process takes longer than beginning a transaction. So
//! each process gives itself a mark, once, and keeps it in memory that a fork finds wiped.

use super::Slots;
use super::mmap::not_for_forks;
use crate::sync::atomic;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where this process keeps its mark, if the system has memory that forks find wiped.
static OWN: OnceLock<Option<Slots>> = OnceLock::new();

/// The last mark that this process, or one that it is a fork of, has given itself.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A `Process` is the one that it was made in, and not a fork of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    number: u32,
    mark: u64,
}

impl Process {
    /// The one that calls.
    pub(crate) fn this() -> Process {
        let number = process::id();
        let Some(own) = own() else { return Process { number, mark: 0 } };
        if own.load(Ordering::Acquire) == 0 {
            let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            // Another thread may have been first; then its mark is as good.
            let _ = own.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire);
        }
        Process { number, mark: own.load(Ordering::Acquire) }
    }

    /// Whether it is the one that calls.
    pub(crate) fn is_this(self) -> bool {
        match own() {
            Some(own) => own.load(Ordering::Relaxed) == self.mark,
            None => process::id() == self.number,
        }
    }

    /// The number by which the system knows it.
    pub(crate) fn number(self) -> u32 {
        self.number
    }

    /// Waits for a thread of this process, as `wait` does. A fork has no thread to wait for: `None`.
    pub(crate) fn join<H, T>(self, thread: H, wait: impl FnOnce(H) -> T) -> Option<T> {
        if self.is_this() {
            return Some(wait(thread));
        }
        // Not even to be dropped: the system would be told about a thread that is not there.
        std::mem::forget(thread);
        None
    }
}

fn own() -> Option<&'static atomic::AtomicU64> {
    OWN.get_or_init(not_for_forks).as_ref()?.first()
}
