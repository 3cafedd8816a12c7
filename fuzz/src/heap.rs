//! How much memory is in use, and was at most: [`Counting`] stands before the system's allocator.
//!
//! Room for the index of objects is asked for in large zeroed pieces, of which only touched pages
//! cost memory; what is asked for in zeros is therefore not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// An allocator that counts. A target makes it the global one.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed).wrapping_add(layout.size());
        if now < usize::MAX / 2 {
            PEAK.fetch_max(now, Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        NOW.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
}

/// Runs `work` on files of `length` bytes; panics where the memory in use is out of proportion.
pub fn in_proportion<T>(length: usize, work: impl FnOnce() -> T) -> T {
    /// What has no length in the files: the stretches in which they are read.
    const STRETCHES: usize = 24 << 20;
    within(64 * length + STRETCHES, work)
}

/// Runs `work`; panics where it had more than `most` bytes in use beyond those of before.
pub fn within<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(used <= most, "{used} bytes were in use where {most} must do");
    result
}
