//! The laws of directories and files, held by the disk, by memory and by the tests' simulated disk
//! alike; then what only one of them has: other kinds of files, links, maps.

use crate::support::sim::SimDisk;
use perennial::file::{Access, AppendFile, Directory, DiskDirectory, MemoryDirectory, Slots};
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

type File = Arc<dyn AppendFile>;

/// The kind of error in `result`; a success is a failed test.
fn refusal<T: Debug>(result: io::Result<T>) -> ErrorKind {
    result.expect_err("this must be refused").kind()
}

fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0xEE; length];
    file.read_at(offset, &mut buffer).map(|()| buffer)
}

fn content(directory: &dyn Directory, name: &str) -> Vec<u8> {
    let file = directory.open(name, Access::Read).unwrap();
    read(&file, 0, file.len().unwrap() as usize).unwrap()
}

fn create(directory: &dyn Directory, name: &str, bytes: &[u8]) -> File {
    let file = directory.open(name, Access::CreateNew).unwrap();
    file.append(0, bytes).unwrap();
    file
}

fn sorted_names(directory: &dyn Directory) -> Vec<String> {
    let mut names = directory.names().unwrap();
    names.sort();
    names
}

macro_rules! file_laws {
    ($laws:ident, $given:expr) => {
        mod $laws {
            use super::*;

            #[test]
            fn what_was_appended_is_read_back() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"first ");

                file.append(6, b"second").unwrap();
                file.sync().unwrap();

                assert_eq!(content(&directory, "a"), b"first second");
                assert_eq!(read(&file, 3, 5).unwrap(), b"st se");
                assert_eq!(file.len().unwrap(), 12);
                assert!(!file.is_empty().unwrap());
            }

            #[test]
            fn appending_beyond_the_end_leaves_zeros_between() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"xy");

                file.append(5, b"z").unwrap();

                assert_eq!(content(&directory, "a"), b"xy\0\0\0z");
            }

            #[test]
            fn reading_past_the_end_is_an_unexpected_eof() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"abc");

                assert_eq!(refusal(read(&file, 1, 3)), ErrorKind::UnexpectedEof);
                assert_eq!(refusal(read(&file, 9, 1)), ErrorKind::UnexpectedEof);
                assert_eq!(read(&file, 9, 0).unwrap(), b"", "nothing is everywhere");
                assert_eq!(read(&file, 1, 2).unwrap(), b"bc");
            }

            #[test]
            fn zeroing_writes_zeros_over_all_of_the_range_and_nothing_else() {
                let (_keep, directory) = $given;
                let (before, length) = (100_000, 200_001);
                let file = create(&directory, "a", &vec![7; before]);

                file.zero(before as u64 - 10, length).unwrap();
                file.zero(3, 0).unwrap();

                let found = content(&directory, "a");
                assert_eq!(found.len() as u64, before as u64 - 10 + length);
                assert!(found[..before - 10].iter().all(|&byte| byte == 7));
                assert!(found[before - 10..].iter().all(|&byte| byte == 0));
            }

            #[test]
            fn a_range_beyond_every_file_is_refused() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"abc");

                assert_eq!(refusal(file.zero(u64::MAX, 2)), ErrorKind::InvalidInput);
                refusal(file.append(u64::MAX, b"z"));
                refusal(read(&file, u64::MAX, 2));
                assert_eq!(content(&directory, "a"), b"abc");
            }

            #[test]
            fn trimming_cuts_the_end_and_never_makes_a_file_longer() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"abcdef");

                file.trim(2).unwrap();

                assert_eq!(refusal(file.trim(3)), ErrorKind::InvalidInput);
                assert_eq!(content(&directory, "a"), b"ab");
                file.append(3, b"z").unwrap();
                assert_eq!(content(&directory, "a"), b"ab\0z", "what was cut does not come back");
            }

            #[test]
            fn rewriting_leaves_the_same_bytes() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"abcdef");

                file.rewrite(2, b"cd").unwrap();

                assert_eq!(content(&directory, "a"), b"abcdef");
            }

            #[test]
            fn opening_needs_the_name_and_creating_needs_it_free() {
                let (_keep, directory) = $given;

                assert_eq!(refusal(directory.open("a", Access::Read)), ErrorKind::NotFound);
                assert_eq!(refusal(directory.open("a", Access::Write)), ErrorKind::NotFound);
                create(&directory, "a", b"kept");
                let again = directory.open("a", Access::CreateNew);

                assert_eq!(refusal(again), ErrorKind::AlreadyExists);
                assert_eq!(content(&directory, "a"), b"kept");
            }

            #[test]
            fn a_file_opened_for_reading_cannot_be_changed() {
                let (_keep, directory) = $given;
                create(&directory, "a", b"kept");
                let file = directory.open("a", Access::Read).unwrap();

                refusal(file.append(4, b"!"));
                refusal(file.zero(0, 4));
                refusal(file.rewrite(0, b"k"));
                refusal(file.trim(0));

                assert_eq!(content(&directory, "a"), b"kept");
            }

            #[test]
            fn a_file_opened_for_writing_keeps_what_it_has() {
                let (_keep, directory) = $given;
                create(&directory, "a", b"kept");

                let file = directory.open("a", Access::Write).unwrap();
                file.append(4, b"!").unwrap();

                assert_eq!(content(&directory, "a"), b"kept!");
            }

            #[test]
            fn renaming_never_takes_a_name_from_another_file() {
                let (_keep, directory) = $given;
                create(&directory, "a", b"a");
                create(&directory, "b", b"b");

                assert_eq!(refusal(directory.rename_new("a", "b")), ErrorKind::AlreadyExists);
                assert_eq!(refusal(directory.rename_new("x", "c")), ErrorKind::NotFound);
                assert_eq!(content(&directory, "a"), b"a");
                assert_eq!(content(&directory, "b"), b"b");
                directory.rename_new("a", "c").unwrap();

                assert_eq!(sorted_names(&directory), ["b", "c"]);
                assert_eq!(content(&directory, "c"), b"a");
            }

            #[test]
            fn replacing_takes_the_name_and_leaves_the_old_file_to_its_handles() {
                let (_keep, directory) = $given;
                let old = create(&directory, "a", b"old");
                create(&directory, "a.tmp", b"new");

                assert_eq!(refusal(directory.replace("x", "a")), ErrorKind::NotFound);
                directory.replace("a.tmp", "a").unwrap();

                assert_eq!(sorted_names(&directory), ["a"]);
                assert_eq!(content(&directory, "a"), b"new");
                assert_eq!(read(&old, 0, 3).unwrap(), b"old");
            }

            #[test]
            fn a_removed_file_stays_readable_where_it_is_open() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"here");

                directory.remove("a").unwrap();
                directory.sync().unwrap();

                assert_eq!(refusal(directory.remove("a")), ErrorKind::NotFound);
                assert_eq!(refusal(directory.open("a", Access::Read)), ErrorKind::NotFound);
                assert_eq!(read(&file, 0, 4).unwrap(), b"here");
            }

            #[test]
            fn a_name_that_leaves_the_directory_is_refused() {
                let (_keep, directory) = $given;
                create(&directory, "a", b"a");

                for name in ["", ".", "..", "x/y", "/x", "x/", "./x"] {
                    let opened = directory.open(name, Access::CreateNew);
                    assert_eq!(refusal(opened), ErrorKind::InvalidInput, "{name:?}");
                    assert_eq!(refusal(directory.rename_new("a", name)), ErrorKind::InvalidInput);
                    assert_eq!(refusal(directory.replace("a", name)), ErrorKind::InvalidInput);
                }
                assert_eq!(sorted_names(&directory), ["a"]);
            }

            // R9: a second writer, also in this process, is kept out.
            #[test]
            fn a_lock_excludes_every_other_handle_until_it_is_dropped() {
                let (_keep, directory) = $given;
                let first = create(&directory, "a", b"");
                let second = directory.open("a", Access::Write).unwrap();

                assert!(first.try_lock().unwrap());
                assert!(first.try_lock().unwrap(), "who has the lock has it");
                assert!(!second.try_lock().unwrap());
                drop(directory.open("a", Access::Write).unwrap());
                assert!(!second.try_lock().unwrap(), "closing a handle without it frees nothing");
                drop(first);

                assert!(second.try_lock().unwrap());
            }

            #[test]
            fn a_lock_follows_the_file_and_not_its_name() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"");
                assert!(file.try_lock().unwrap());

                directory.rename_new("a", "b").unwrap();
                create(&directory, "a", b"");

                assert!(!directory.open("b", Access::Write).unwrap().try_lock().unwrap());
                assert!(directory.open("a", Access::Write).unwrap().try_lock().unwrap());
            }

            #[test]
            fn two_files_differ_in_identity_and_two_handles_do_not() {
                let (_keep, directory) = $given;
                let a = create(&directory, "a", b"");
                let b = create(&directory, "b", b"");

                let again = directory.open("a", Access::Read).unwrap();

                assert_eq!(a.identity().unwrap(), again.identity().unwrap());
                assert_ne!(a.identity().unwrap(), b.identity().unwrap());
                assert!(directory.path("a").ends_with("a"));
            }

            #[test]
            fn threads_append_and_read_at_their_own_places() {
                let (_keep, directory) = $given;
                let file = create(&directory, "a", b"");

                std::thread::scope(|scope| {
                    for thread in 0..4u8 {
                        let file = &file;
                        scope.spawn(move || {
                            for round in 0..50 {
                                let offset = (round * 4 + u64::from(thread)) * 8;
                                file.append(offset, &[thread; 8]).unwrap();
                                assert_eq!(read(file, offset, 8).unwrap(), [thread; 8]);
                            }
                        });
                    }
                });

                let found = content(&directory, "a");
                let at = |place: usize| (place / 8 % 4) as u8;
                assert!(found.iter().enumerate().all(|(place, &byte)| byte == at(place)));
            }
        }
    };
}

fn on_disk() -> (tempfile::TempDir, DiskDirectory) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = DiskDirectory::new(temporary.path());
    (temporary, directory)
}

file_laws!(disk, on_disk());
file_laws!(memory, ((), MemoryDirectory::new()));
file_laws!(simulated, ((), SimDisk::new()));

#[test]
fn a_clone_of_a_memory_directory_is_the_same_directory() {
    let directory = MemoryDirectory::new();

    create(&directory.clone(), "a", b"shared");

    assert_eq!(content(&directory, "a"), b"shared");
}

// R9: the lock is on the inode.
#[test]
fn a_lock_holds_under_a_hard_link_and_a_symlink_too() {
    let (temporary, directory) = on_disk();
    let file = create(&directory, "a", b"");
    let path = |name| temporary.path().join(name);
    std::fs::hard_link(path("a"), path("hard")).unwrap();
    std::os::unix::fs::symlink("a", path("soft")).unwrap();

    assert!(file.try_lock().unwrap());

    for name in ["hard", "soft"] {
        let other = directory.open(name, Access::Write).unwrap();
        assert_eq!(other.identity().unwrap(), file.identity().unwrap());
        assert!(!other.try_lock().unwrap(), "{name}");
    }
}

// R12: what is no regular file is refused, and without waiting for it.
#[test]
fn a_fifo_a_socket_and_a_device_are_refused_without_blocking() {
    let (temporary, directory) = on_disk();
    let path = |name| temporary.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path("device")).unwrap();

    for name in ["fifo", "socket", "device"] {
        for access in [Access::Read, Access::Write] {
            assert_eq!(refusal(directory.open(name, access)), ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(refusal(directory.open(name, Access::CreateNew)), ErrorKind::AlreadyExists);
    }
}

#[test]
fn a_directory_is_refused_as_one() {
    let (temporary, directory) = on_disk();
    std::fs::create_dir(temporary.path().join("d")).unwrap();

    assert_eq!(refusal(directory.open("d", Access::Read)), ErrorKind::IsADirectory);
    assert_eq!(refusal(directory.open("d", Access::Write)), ErrorKind::IsADirectory);
}

#[test]
fn symlinks_that_lead_nowhere_are_errors_and_are_not_written_through() {
    let (temporary, directory) = on_disk();
    std::os::unix::fs::symlink("absent", temporary.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", temporary.path().join("loop")).unwrap();

    assert_eq!(refusal(directory.open("dangling", Access::Write)), ErrorKind::NotFound);
    assert_eq!(refusal(directory.open("dangling", Access::CreateNew)), ErrorKind::AlreadyExists);
    refusal(directory.open("loop", Access::Read));
    assert!(!temporary.path().join("absent").exists());
}

#[test]
fn names_that_are_not_text_are_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let (temporary, directory) = on_disk();
    create(&directory, "a", b"");
    let strange = std::ffi::OsStr::from_bytes(b"\xFF\xFE");
    std::fs::write(temporary.path().join(strange), b"").unwrap();

    assert_eq!(sorted_names(&directory), ["a"]);
}

#[test]
fn zeros_on_disk_are_written_and_not_a_hole() {
    use std::os::unix::fs::MetadataExt;
    let (temporary, directory) = on_disk();
    let file = create(&directory, "a", b"");

    file.zero(0, 1 << 20).unwrap();
    file.sync().unwrap();

    let blocks = std::fs::metadata(temporary.path().join("a")).unwrap().blocks();
    assert!(blocks * 512 >= 1 << 20, "{blocks} blocks");
}

#[test]
fn the_empty_path_is_the_current_directory() {
    assert_eq!(DiskDirectory::new("").path("a"), std::path::Path::new("./a"));
    assert!(DiskDirectory::new("").names().unwrap().contains(&"Cargo.toml".to_owned()));
}

// No byte at or above the bound is handed out: there may be no page beneath it.
#[test]
fn a_map_gives_only_what_lies_below_the_bound() {
    let (_keep, directory) = on_disk();
    let file = create(&directory, "a", b"published, pending");

    let map = file.map(0, 1 << 20).unwrap();

    assert_eq!(map.len(), 1 << 20);
    assert_eq!(map.bytes(0, 9, 9), Some(&b"published"[..]));
    assert_eq!(map.bytes(4, 0, 9), Some(&b""[..]));
    assert_eq!(map.bytes(0, 10, 9), None);
    assert_eq!(map.bytes(9, 1, 9), None);
    assert_eq!(map.bytes(usize::MAX, 2, 9), None);
    assert_eq!(map.bytes(0, (1 << 20) + 1, usize::MAX), None, "the map ends too");
}

#[test]
fn a_file_grows_into_its_map() {
    let (_keep, directory) = on_disk();
    let file = create(&directory, "a", &[0; 1 << 16]);
    let map = file.map(1 << 16, 1 << 16).unwrap();

    file.append(1 << 16, b"later").unwrap();

    assert_eq!(map.bytes(0, 5, 5), Some(&b"later"[..]));
}

#[test]
fn numbers_are_mapped_as_they_stand_and_stores_stay_in_memory() {
    let (_keep, directory) = on_disk();
    let mut bytes = vec![0; 4096];
    bytes.extend((0..1000u64).flat_map(u64::to_le_bytes));
    let file = create(&directory, "a", &bytes);

    let slots = file.map_slots(4096, 1000).unwrap();
    slots[7].store(70, Relaxed);

    assert_eq!(slots.len(), 1000);
    assert_eq!((slots[6].load(Relaxed), slots[7].load(Relaxed)), (6, 70));
    assert_eq!(slots[999].load(Relaxed), 999);
    assert_eq!(content(&directory, "a"), bytes);
    assert_eq!(file.map_slots(4096, 1000).unwrap()[7].load(Relaxed), 7);
}

#[test]
fn numbers_that_the_file_does_not_hold_or_align_are_not_mapped() {
    let (_keep, directory) = on_disk();
    let file = create(&directory, "a", &[1; 8000]);

    assert!(file.map_slots(0, 1000).is_some());
    assert!(file.map_slots(0, 1001).is_none(), "there is no page for the last one");
    assert!(file.map_slots(4, 10).is_none(), "not aligned");
    assert!(file.map_slots(0, usize::MAX).is_none());
    assert!(file.map_slots(u64::MAX, 1).is_none());
}

#[test]
fn memory_has_no_maps() {
    let file = create(&MemoryDirectory::new(), "a", &[1; 8000]);

    assert!(file.map(0, 10).is_none());
    assert!(file.map_slots(0, 10).is_none());
}

#[test]
fn a_large_array_of_zeros_can_be_had_and_changed_anywhere() {
    // An interpreter has no pages that cost nothing.
    let count = if cfg!(miri) { 1 << 10 } else { 1 << 27 };
    let slots = Slots::zeroed(count).expect("address space");

    slots[count - 1].store(1, Relaxed);

    assert_eq!(slots.len(), count);
    assert_eq!((slots[0].load(Relaxed), slots[count - 1].load(Relaxed)), (0, 1));
    assert!(Slots::zeroed(0).expect("nothing").is_empty());
}

#[test]
fn an_array_that_no_memory_holds_is_refused() {
    assert!(Slots::zeroed(1 << 58).is_none());
    assert!(Slots::zeroed(usize::MAX).is_none());
}

#[test]
fn what_is_mapped_is_told_by_its_length_and_not_by_its_content() {
    let (_keep, directory) = on_disk();
    let file = create(&directory, "a", b"a secret of 16 b");
    let (map, slots) = (file.map(0, 16).unwrap(), file.map_slots(0, 2).unwrap());

    assert_eq!((map.len(), map.is_empty()), (16, false));
    assert_eq!(format!("{map:?} {slots:?}"), "Map { length: 16 } Slots { count: 2 }");
}
