//! Memory maps: of a log, for reading ([`Map`]), of an array of numbers ([`Slots`]), and of one
//! number that forks do not inherit ([`not_for_forks`]).
//!
//! The files of this room make them and the storage reads through them. This is the only module
//! with `unsafe` code: it turns mapped memory into slices and into atomics, and promises for each
//! what the compiler cannot see. It decides nothing about *which* bytes are good to read: that
//! is the bound, and the bound is the caller's.
//!
//! What the promises rest on, and who keeps it:
//! - The storage never changes the value of a published byte, and never trims below one
//!   ([`AppendFile`](super::AppendFile)); the bound it gives to [`Map::bytes`] is its published
//!   end. Rewriting equal bytes is done while opening, before anything is published.
//! - One process writes a log at a time, by the lock on its inode; a snapshot of the index is
//!   complete before it gets its name, and is never written again.
//! - That no *other* program writes into the file or cuts it cannot be kept by anybody here. It
//!   is out of contract: a cut ends the process with a signal, as does a disk that cannot read.
//!   Who cannot live with that reads with [`read_at`](super::AppendFile::read_at).
//!
//! # Invariants
//! - No page beyond the end of a file is touched: below a bound there is file, and all of a
//!   mapped array is file.
//! - No `&mut` and no `&[u8]` into `Slots` exists, not for a moment: a pointer that came from one
//!   may not be stored through. Of a `Map` there is none to what lies beyond the bound.
//! - No write goes through a `Map`.
#![expect(unsafe_code, reason = "mapped memory becomes slices and atomics nowhere else")]

use crate::sync::atomic::AtomicU64;
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use std::fmt;
use std::fs::File;
use std::ops::Deref;

/// A `Map` is a range of a file, for reading; the file may still have to grow into it.
///
/// Another program that writes into a mapped file or cuts it is out of contract: what is read may
/// then change, or the process is ended by a signal, as it is by a disk that cannot read.
///
/// The kernel's read-ahead is left as it is: replaying and packing read in order, and an object
/// read alone lies mostly in one page.
pub struct Map {
    memory: MmapRaw,
    length: usize,
}

impl Map {
    /// Maps `length` bytes from `offset` on; `None` where the system does not.
    pub(super) fn of(file: &File, offset: u64, length: usize) -> Option<Map> {
        offset.checked_add(u64::try_from(length).ok()?)?;
        let mut options = MmapOptions::new();
        let memory = options.offset(offset).len(length).map_raw_read_only(file).ok()?;
        Some(Map { memory, length })
    }

    /// The `length` bytes from `offset` (both within the map), if all lie below `bound`.
    ///
    /// `bound` counts from the map's beginning. The caller vouches for the bytes below it: they
    /// are in the file, published, and will neither change nor be cut off while the map lives.
    pub fn bytes(&self, offset: usize, length: usize, bound: usize) -> Option<&[u8]> {
        let end = offset.checked_add(length)?;
        if end > bound.min(self.length) {
            return None;
        }
        // SAFETY: offset + length ≤ the mapped length (just checked), so the range is one mapped
        // object, alive as long as `self`. Its bytes are below the published end, which the
        // caller vouches for: the storage writes only above it and trims only above it (see the
        // module's header), so the pages exist and no reference sees its bytes change.
        Some(unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(offset), length) })
    }

    /// How many bytes it spans.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it spans none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("length", &self.length).finish()
    }
}

/// `Slots` are an array of numbers that threads read and change at once, untorn.
///
/// They begin as what a file holds, or as zeros; what is stored into them stays in memory. A page
/// that nobody has touched costs nothing.
pub struct Slots {
    memory: Memory,
    count: usize,
}

/// What the numbers stand in.
enum Memory {
    Mapped(MmapRaw),
    Heap(Box<[AtomicU64]>),
}

const WIDTH: usize = size_of::<AtomicU64>();

/// Whether a number is its eight bytes and nothing else: those of a checker (`sync`) are more.
const PLAIN: bool = WIDTH == size_of::<u64>();

impl Slots {
    /// The `count` numbers that stand in `file` from `offset` on, little-endian; `None` where the
    /// system does not map them, the file ends before, or numbers have another form here.
    pub(super) fn of(file: &File, offset: u64, count: usize) -> Option<Slots> {
        if cfg!(target_endian = "big") || !PLAIN {
            return None;
        }
        let length = count.checked_mul(WIDTH)?;
        let end = offset.checked_add(u64::try_from(length).ok()?)?;
        if end > file.metadata().ok()?.len() {
            return None;
        }
        let mut options = MmapOptions::new();
        // SAFETY: a private map, so no store of ours reaches the file. Its pages exist (the end
        // was checked above), and the file is a finished snapshot that nobody writes or cuts (see
        // the module's header).
        let memory = unsafe { options.offset(offset).len(length).map_copy(file) }.ok()?;
        let memory = MmapRaw::from(memory);
        memory.as_mut_ptr().cast::<AtomicU64>().is_aligned().then_some(())?;
        Some(Slots { memory: Memory::Mapped(memory), count })
    }

    /// `count` zeros, of which only the pages that are touched cost memory; `None` where the
    /// system has no room for them.
    ///
    /// Where it maps nothing, they stand on the heap.
    pub fn zeroed(count: usize) -> Option<Slots> {
        let length = count.checked_mul(WIDTH).filter(|_| PLAIN);
        let mapped = length.and_then(|length| MmapMut::map_anon(length).ok());
        let mapped = mapped.map(MmapRaw::from);
        let aligned = mapped.filter(|memory| memory.as_mut_ptr().cast::<AtomicU64>().is_aligned());
        let memory = match aligned {
            Some(memory) => Memory::Mapped(memory),
            None => Memory::Heap(heap_zeros(count)?),
        };
        Some(Slots { memory, count })
    }
}

/// A number that begins as zero, and is zero again in every fork of the process; `None` where the
/// system has no memory of this kind, as none of an interpreter has.
#[cfg(all(target_os = "linux", not(miri)))]
pub(super) fn not_for_forks() -> Option<Slots> {
    use std::ffi::{c_int, c_void};
    const MADV_WIPEONFORK: c_int = 18;
    // SAFETY: it is declared as in the system's own header, `sys/mman.h`.
    unsafe extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    if !PLAIN {
        return None;
    }
    let memory = MmapRaw::from(MmapMut::map_anon(WIDTH).ok()?);
    // SAFETY: the range is one private, anonymous map of ours, of which the advice changes only
    // what a fork finds in its copy: zeros, which are as good a number as any.
    let refused = unsafe { madvise(memory.as_mut_ptr().cast::<c_void>(), WIDTH, MADV_WIPEONFORK) };
    let aligned = memory.as_mut_ptr().cast::<AtomicU64>().is_aligned();
    (refused == 0 && aligned).then_some(Slots { memory: Memory::Mapped(memory), count: 1 })
}

#[cfg(any(not(target_os = "linux"), miri))]
pub(super) fn not_for_forks() -> Option<Slots> {
    None
}

fn heap_zeros(count: usize) -> Option<Box<[AtomicU64]>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(count).ok()?;
    zeros.resize_with(count, AtomicU64::default);
    Some(zeros.into_boxed_slice())
}

impl Deref for Slots {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        match &self.memory {
            Memory::Heap(slots) => slots,
            // SAFETY: the map spans count × 8 bytes and is aligned for them (both constructors
            // check, and that numbers are `PLAIN`), is writable and alive as long as `self`; any
            // eight bytes are a valid AtomicU64; and nobody reaches this memory but through the
            // slice made here, whose elements synchronise all access themselves.
            Memory::Mapped(memory) => unsafe {
                std::slice::from_raw_parts(memory.as_mut_ptr().cast::<AtomicU64>(), self.count)
            },
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("count", &self.count).finish()
    }
}
