//! What every storage must do: each law runs over every storage there is.
//!
//! A storage says where it lives ([`Home`]) and is named once, at the end of this file.

mod commits;
mod history;
mod kit;
mod model;
mod promises;
mod races;
mod reads;

use perennial::file::{Directory, DiskDirectory, MemoryDirectory};
use perennial::storage::file::{FileOptions, Reads};
use perennial::storage::{FileStorage, MemoryStorage, Storage};
use std::cell::Cell;
use std::sync::Arc;

/// A place where storages of one kind live.
pub trait Home {
    /// An empty place.
    fn new() -> Self
    where
        Self: Sized;

    /// A new, empty storage in it.
    fn fresh(&self) -> Arc<dyn Storage>;

    /// The same storage, closed and opened again, where it outlives being closed.
    fn reopen(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        storage
    }
}

/// Makes a test of each law, for the storages that live in `$home`.
macro_rules! storage_laws {
    ($kind:ident, $home:ty: $($chapter:ident { $($law:ident)* })*) => {
        mod $kind {
            $(mod $chapter {
                use super::super::*;
                $(#[test]
                fn $law() {
                    super::super::$chapter::$law(&<$home as Home>::new());
                })*
            })*
        }
    };
    ($($kind:ident: $home:ty),* $(,)?) => {
        $(storage_laws!($kind, $home:
            commits {
                a_new_storage_is_empty
                a_committed_revision_is_read_back_whole
                an_object_may_be_empty_or_large
                metadata_are_read_back
                tids_strictly_increase
                changes_of_different_objects_do_not_meet
                of_two_changes_from_one_base_the_second_conflicts
                a_refused_batch_leaves_nothing
                all_contenders_are_told_at_once
                a_checked_read_that_is_outdated_conflicts
                a_batch_that_only_checks_stores_nothing
                a_removed_object_is_told_from_one_that_never_was
                a_removed_object_comes_back_on_the_base_of_its_removal
                a_batch_that_writes_an_object_twice_is_refused
                a_type_number_that_was_never_given_is_refused
                a_type_has_one_number_and_one_shape
                a_lazy_commit_is_published_at_once
                oids_never_repeat
                a_closed_storage_says_so
            }
            reads {
                a_snapshot_never_changes
                each_revision_is_found_at_its_tid
                a_snapshot_of_the_future_is_refused
                places_tell_revisions_apart
                pinned_objects_are_enumerated
                snapshots_outlive_closing
                waiting_ends_when_the_transaction_is_published
                waiting_is_bounded
            }
            history {
                history_lists_newest_first
                transactions_are_sliced_exactly
                transactions_are_read_from_both_ends
                an_iterator_does_not_show_what_came_later
                a_copy_of_all_transactions_compares_equal
            }
            promises {
                a_promise_is_seen_by_nobody_until_it_is_kept
                a_promise_that_is_taken_back_leaves_nothing
                a_promise_on_an_old_base_is_refused
                what_is_promised_is_changed_and_relied_on_by_nobody_else
                what_a_promise_relies_on_is_changed_by_nobody_and_relied_on_by_others
                a_promise_that_only_relies_stores_nothing
                a_promise_in_doubt_is_settled_on_a_word
                nobody_waits_for_what_is_in_doubt
                one_transaction_is_promised_one_batch
                a_promise_that_somebody_holds_is_settled_by_nobody_else
                a_decision_is_told_for_ever_and_open_until_it_is_ended
                a_decision_without_changes_is_one
                what_was_asked_for_before_it_was_decided_is_never_decided
                who_can_refuse_no_more_decisions_says_that_it_cannot_tell
                who_does_not_hold_a_transaction_tells_nothing_of_what_came_after_it
            }
            races {
                objects_changed_together_are_always_seen_equal
                racing_increments_lose_nothing
                racing_threads_never_share_an_oid
                naming_known_and_new_types_at_once_gives_each_one_number
            }
            model {
                random_batches_do_what_a_map_does
            }
        );)*
    };
}

/// Nowhere but in memory.
pub struct Memory;

impl Home for Memory {
    fn new() -> Memory {
        Memory
    }

    fn fresh(&self) -> Arc<dyn Storage> {
        Arc::new(MemoryStorage::new().expect("random numbers"))
    }
}

storage_laws!(memory: Memory);
/// In files, read through maps or by position.
pub struct Files<const PREAD: bool> {
    directory: tempfile::TempDir,
    count: Cell<u32>,
}

impl<const PREAD: bool> Files<PREAD> {
    fn open(&self, name: &str) -> Arc<dyn Storage> {
        let reads = if PREAD { Reads::Pread } else { Reads::Map };
        let options = FileOptions { reads, ..FileOptions::default() };
        let directory = Arc::new(DiskDirectory::new(self.directory.path()));
        Arc::new(FileStorage::open(directory, name, options).expect("it opens"))
    }
}

impl<const PREAD: bool> Home for Files<PREAD> {
    fn new() -> Self {
        Files { directory: tempfile::tempdir().expect("a directory"), count: Cell::new(0) }
    }

    fn fresh(&self) -> Arc<dyn Storage> {
        self.count.set(self.count.get() + 1);
        self.open(&format!("laws-{}.db", self.count.get()))
    }

    fn reopen(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        storage.close().expect("it closes");
        drop(storage);
        self.open(&format!("laws-{}.db", self.count.get()))
    }
}

storage_laws!(file: Files<false>);
storage_laws!(file_by_position: Files<true>);

/// In files that are kept in memory: what runs where there is no operating system to ask.
pub struct FilesInMemory {
    directory: MemoryDirectory,
    count: Cell<u32>,
}

impl FilesInMemory {
    fn open(&self) -> Arc<dyn Storage> {
        let directory: Arc<dyn Directory> = Arc::new(self.directory.clone());
        let name = format!("laws-{}.db", self.count.get());
        // An interpreter takes minutes for the zeros that housekeeping writes ahead.
        let options = FileOptions { housekeeping: !cfg!(miri), ..FileOptions::default() };
        Arc::new(FileStorage::open(directory, &name, options).expect("it opens"))
    }
}

impl Home for FilesInMemory {
    fn new() -> FilesInMemory {
        FilesInMemory { directory: MemoryDirectory::new(), count: Cell::new(0) }
    }

    fn fresh(&self) -> Arc<dyn Storage> {
        self.count.set(self.count.get() + 1);
        self.open()
    }

    fn reopen(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        storage.close().expect("it closes");
        drop(storage);
        self.open()
    }
}

storage_laws!(file_in_memory: FilesInMemory);
