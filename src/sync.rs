//! What threads meet at: locks, conditions, cells that are set once, atomics, and threads.
//!
//! They are those of `parking_lot` and of the standard library. Under `--cfg shuttle` they are
//! those of a checker, which runs a program again and again and decides at each of them which
//! thread goes on (`model`): so the code that runs in production is the one that is checked.
//! `file`, `storage` and the shared cache take theirs from here.

#[cfg(shuttle)]
mod model;

#[cfg(shuttle)]
pub(crate) use model::*;

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{OnceLock, atomic};
#[cfg(not(shuttle))]
pub(crate) use std::thread;
