//! Which process this is: [`Process`].
//!
//! A fork has a copy of everything its parent had, open files included, and none of its threads.
//! What must be done by one process only, such as writing a log, letting its lock go, or waiting
//! for a thread, asks here first.

use std::process;

/// A `Process` is the one that it was made in, and not a fork of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The one that calls.
    pub(crate) fn this() -> Process {
        Process(process::id())
    }

    /// Whether it is the one that calls.
    pub(crate) fn is_this(self) -> bool {
        self == Process::this()
    }

    /// The number by which the system knows it.
    pub(crate) fn number(self) -> u32 {
        self.0
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
