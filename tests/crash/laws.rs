//! Single losses, each told as it once happened.

use super::life::{NAME, open};
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::file::{Access, Directory, DiskDirectory};
use perennial::format::TypeDef;
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, Durability, FileStorage, Load, Storage, Verdict};
use perennial::{DatabaseId, Error, Oid, Tid};
use std::sync::Arc;
use std::time::Duration;

fn store(storage: &FileStorage, durability: Durability, data: &[u8]) -> perennial::Result<Oid> {
    let definition = TypeDef { name: "laws.Bytes".into(), version: 1, shape: "bytes".into() };
    let oid = storage.new_oid()?;
    let mut batch = Batch::default();
    batch.durability = durability;
    batch.put((oid, Tid::ZERO, false), storage.intern(&definition)?, &[], data);
    match storage.commit(&Arc::new(batch))? {
        Verdict::Passed(_) => Ok(oid),
        Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
    }
}

fn data(storage: &FileStorage, oid: Oid) -> Option<Vec<u8>> {
    match storage.snapshot().unwrap().load(oid).unwrap() {
        Load::Found(found) => Some(found.data.to_vec()),
        _ => None,
    }
}

// The name was synced by whoever created the file, and by nobody where that one had failed.
#[test]
fn a_database_whose_creation_failed_half_way_keeps_its_name() {
    let disk = SimDisk::new();
    disk.fail(Kind::SyncNames, 0, Failure::Io, Times::Once);
    open(&disk).expect_err("the directory cannot be synced");

    let storage = open(&disk).unwrap();
    let oid = store(&storage, Durability::Sync, b"kept").unwrap();

    let found = open(&disk.crash(Policy::Nothing, 0)).unwrap();
    assert_eq!(data(&found, oid).unwrap(), b"kept");
}

// A sync fails and drops its pages, the file is opened again, the power goes: no hole.
#[test]
fn what_an_opening_shows_after_a_lost_sync_is_durable() {
    for later in 0..3 {
        let disk = SimDisk::new();
        let storage = open(&disk).unwrap();
        store(&storage, Durability::Sync, b"first").unwrap();
        disk.fail(Kind::Sync, 0, Failure::Lost, Times::Once);
        let refused = store(&storage, Durability::Sync, b"second");
        assert!(matches!(refused, Err(Error::Unknown(_))));
        drop(storage);

        let storage = open(&disk).unwrap();
        let shown = storage.last_tid();
        let oids: Vec<Oid> =
            (0..later).map(|_| store(&storage, Durability::Sync, b"third").unwrap()).collect();

        let found = open(&disk.crash(Policy::Nothing, 0)).unwrap();
        assert!(found.last_tid() >= shown);
        assert!(oids.iter().all(|&oid| data(&found, oid).is_some()));
    }
}

// A snapshot once named a type whose only definition stood in a frame that the power took away;
// the next frames used the type without defining it, and were unreadable without the snapshot.
#[test]
fn after_an_opening_the_first_to_use_a_type_defines_it_again() {
    let disk = SimDisk::new();
    let grown = |storage: &FileStorage| {
        let before = storage.facts().log_end;
        store(storage, Durability::Sync, b"data").unwrap();
        storage.facts().log_end - before
    };
    let storage = open(&disk).unwrap();
    let (defines, uses) = (grown(&storage), grown(&storage));
    assert!(defines > uses);
    storage.close().unwrap();

    let storage = open(&disk).unwrap();
    assert_eq!(grown(&storage), defines);
}

// R7: an oid was given out and never stored; the snapshot knew of it, the next frames did not,
// and looked out of order behind it.
#[test]
fn an_older_snapshot_put_back_changes_no_answer() {
    let disk = SimDisk::new();
    let storage = open(&disk).unwrap();
    let oid = store(&storage, Durability::Sync, b"first").unwrap();
    storage.new_oid().unwrap();
    storage.write_index().unwrap();
    let disk = disk.crash(Policy::Everything, 0);
    let index = format!("{NAME}.index");
    disk.replace(&index, "older").unwrap();

    let storage = open(&disk).unwrap();
    let mut batch = Batch::default();
    batch.remove(oid, storage.last_tid(), false);
    assert!(matches!(storage.commit(&Arc::new(batch)).unwrap(), Verdict::Passed(_)));
    let last = storage.last_tid();
    storage.close().unwrap();
    disk.replace("older", &index).unwrap();

    let storage = open(&disk).unwrap();
    assert_eq!(storage.last_tid(), last, "a commit was taken for torn");
    assert_eq!(data(&storage, oid), None);
}

// R10: a commit that is faster than the snapshot fails, and the snapshot was ready but for its name.
#[test]
fn a_database_that_halts_meanwhile_gives_no_snapshot_its_name() {
    let disk = SimDisk::new();
    let storage = Arc::new(open(&disk).unwrap());
    store(&storage, Durability::Sync, b"first").unwrap();
    let (failing, committing) = (disk.clone(), storage.clone());
    disk.interrupt(Kind::Write, 2, move || {
        failing.fail(Kind::Sync, 0, Failure::Io, Times::Once);
        let unknown = store(&committing, Durability::Sync, b"second");
        assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
    });

    let halted = storage.write_index();

    assert!(matches!(halted, Err(Error::Halted(_))), "{halted:?}");
    let index = format!("{NAME}.index");
    assert!(!disk.names().unwrap().contains(&index), "it has got its name");
}

// A frame may end beyond what one memory map covers.
#[test]
fn a_record_that_crosses_the_end_of_a_map_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(DiskDirectory::new(folder.path()));
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    let open = || FileStorage::open(directory.clone(), NAME, options).unwrap();
    let storage = open();
    let (filler, crossing) = (vec![1; (64 << 20) - 9000], vec![2; 20_000]);
    store(&storage, Durability::Lazy, &filler).unwrap();
    let oid = store(&storage, Durability::Sync, &crossing).unwrap();
    let after = store(&storage, Durability::Sync, b"after").unwrap();
    assert!(storage.facts().log_end > 64 << 20);

    let check = |storage: &FileStorage| {
        assert!(data(storage, oid).unwrap() == crossing);
        assert_eq!(data(storage, after).unwrap(), b"after");
    };
    check(&storage);
    storage.close().unwrap();
    check(&open());
}

// R10: what cannot be read is an error, for as long as it cannot.
#[test]
fn a_disk_that_cannot_read_makes_errors_and_no_losses() {
    let disk = SimDisk::new();
    let storage = open(&disk).unwrap();
    let oids: Vec<Oid> =
        (0..5).map(|_| store(&storage, Durability::Sync, b"kept").unwrap()).collect();
    let (torn, closed) = (disk.crash(Policy::Everything, 0), disk.clone());
    storage.close().unwrap();

    for disk in [torn, closed] {
        for nth in 0..30 {
            let disk = disk.crash(Policy::Everything, nth);
            disk.fail(Kind::Read, nth, Failure::Io, Times::Once);
            match open(&disk) {
                Err(error) => assert!(matches!(error, Error::Io(_)), "{error}"),
                Ok(storage) => {
                    for &oid in &oids {
                        match storage.snapshot().unwrap().load(oid) {
                            Ok(Load::Found(found)) => assert_eq!(*found.data, *b"kept"),
                            Err(error) => assert!(matches!(error, Error::Io(_)), "{error}"),
                            Ok(other) => panic!("{other:?}"),
                        }
                    }
                }
            }
            disk.heal();
            let storage = open(&disk).unwrap();
            assert!(oids.iter().all(|&oid| data(&storage, oid).is_some()), "{nth}");
        }
    }
}

// What was torn must never be taken for the continuation of what is written after it.
#[test]
fn behind_a_mended_end_stand_durable_zeros() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    let file = disk.open(NAME, Access::Write).unwrap();
    let end = file.len().unwrap();
    file.append(end, &[0xAA; 3000]).unwrap();

    let storage = open(&disk).unwrap();
    let log_end = storage.facts().log_end;

    let found = disk.crash(Policy::Nothing, 0).open(NAME, Access::Read).unwrap();
    let mut bytes = vec![1; (end + 3000 - log_end) as usize];
    found.read_at(log_end, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0), "{bytes:?}");
    let aside = disk.open(&format!("{NAME}.torn-{end}"), Access::Read).unwrap();
    assert_eq!(aside.len().unwrap(), 3000);
}

#[test]
fn an_empty_database_is_opened_again_and_again() {
    let disk = SimDisk::new();
    for closed in [false, true, false, true, true] {
        let storage = open(&disk).unwrap();
        assert_eq!(storage.last_tid(), Tid::ZERO);
        if closed {
            storage.close().unwrap();
        }
    }
    let mut names = disk.names().unwrap();
    names.sort();
    assert_eq!(names, [NAME.into(), format!("{NAME}.index")]);
}

#[test]
fn what_dead_openings_left_is_removed_and_nothing_else() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    let id = DatabaseId::new([0xa5; 16]).to_string();
    let own = ["index", "torn", &id].map(|end| format!("{NAME}.tmp-{end}"));
    let strange = ["life.db-tmp", "life.dbx.tmp-index", "tmp-index", "life.db.torn-5"];
    let all = own.iter().map(String::as_str).chain(strange);
    all.for_each(|name| drop(disk.open(name, Access::CreateNew).unwrap()));

    drop(open(&disk).unwrap());

    let names = disk.names().unwrap();
    assert!(own.iter().all(|name| !names.contains(name)), "{names:?}");
    assert!(strange.iter().all(|name| names.iter().any(|other| other == name)), "{names:?}");
}

#[test]
fn a_large_commit_is_lost_or_kept_whole() {
    let disk = SimDisk::new();
    let storage = open(&disk).unwrap();
    store(&storage, Durability::Sync, b"first").unwrap();
    let large: Vec<u8> = (0..3 << 20).map(|number: u32| (number >> 8) as u8).collect();
    let start = disk.moment();
    let oid = store(&storage, Durability::Sync, &large).unwrap();
    let acknowledged = disk.moment();

    for moment in disk.moments().skip(start) {
        for (seed, policy) in Policy::ALL.into_iter().enumerate() {
            let found = open(&moment.crash(policy, seed as u64)).unwrap();
            match data(&found, oid) {
                Some(data) => assert!(data == large),
                None => assert!(moment.number < acknowledged),
            }
        }
    }
}

#[test]
fn waiting_without_a_bound_is_possible() {
    let storage = open(&SimDisk::new()).unwrap();
    assert!(storage.wait_published(Tid::ZERO, Duration::MAX).unwrap());
}
