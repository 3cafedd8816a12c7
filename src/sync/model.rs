//! The locks, conditions and cells of a checker, in the form of those that they stand for.
//!
//! The checker runs one thread at a time, and knows neither time nor weak memory: what is waited
//! for with a bound comes, or does not, as it pleases, and all atomics are in one order.
//!
//! # Invariants
//! - Whatever another thread could notice, the checker may let another thread do first.

pub use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard, atomic};
pub use shuttle::thread;

use shuttle::rand::Rng;
use shuttle::sync as checked;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::Instant;

/// As that of `parking_lot`.
#[derive(Debug, Default)]
pub struct Mutex<T>(checked::Mutex<T>);

/// As that of `parking_lot`.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Nothing, while it is unlocked.
    held: Option<checked::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(checked::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.take()) }
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { mutex: self, held: Some(held) })
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> checked::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> MutexGuard<'_, T> {
    pub fn unlocked<U>(guard: &mut Self, act: impl FnOnce() -> U) -> U {
        guard.held = None;
        let done = act();
        guard.held = Some(guard.mutex.take());
        done
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_deref().expect("it is locked")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_deref_mut().expect("it is locked")
    }
}

/// As that of `parking_lot`.
#[derive(Debug, Default)]
pub struct Condvar(checked::Condvar);

/// Whether a wait ended because its bound had passed.
pub struct Waited(bool);

impl Waited {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub const fn new() -> Condvar {
        Condvar(checked::Condvar::new())
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("it is locked");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Passes the bound at once, or never.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _until: Instant) -> Waited {
        let passes = shuttle::rand::thread_rng().r#gen();
        match passes {
            true => MutexGuard::unlocked(guard, || ()),
            false => self.wait(guard),
        }
        Waited(passes)
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// As that of `parking_lot`.
#[derive(Debug, Default)]
pub struct RwLock<T>(checked::RwLock<T>);

impl<T> RwLock<T> {
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As that of the standard library.
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    /// Locked while it is set; read where it is looked at, so that the checker sees that.
    set: checked::Mutex<()>,
    seen: atomic::AtomicBool,
}

impl<T> OnceLock<T> {
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            value: std::sync::OnceLock::new(),
            set: checked::Mutex::new(()),
            seen: atomic::AtomicBool::new(false),
        }
    }

    pub fn get(&self) -> Option<&T> {
        self.seen.load(atomic::Ordering::Acquire);
        self.value.get()
    }

    pub fn set(&self, value: T) -> Result<(), T> {
        let _setting = self.set.lock();
        self.value.set(value)
    }

    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _setting = self.set.lock();
        if let Some(value) = self.value.get() {
            return value;
        }
        let value = make();
        self.value.get_or_init(|| value)
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
