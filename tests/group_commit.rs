//! Many threads commit at once, and the disk fails, or readers and housekeeping are under way.

use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::file::DiskDirectory;
use perennial::format::TypeDef;
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, Durability, FileStorage, Load, Snapshot, Storage, Verdict};
use perennial::{Error, Oid, Result, Tid};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const NAME: &str = "group.db";

fn open(disk: &SimDisk) -> FileStorage {
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    FileStorage::open(Arc::new(disk.clone()), NAME, options).unwrap()
}

fn batch(storage: &FileStorage, writes: &[(Oid, Tid)], pinned: bool, data: &[u8]) -> Batch {
    let definition = TypeDef { name: "group.Bytes".into(), version: 1, shape: "bytes".into() };
    let type_id = storage.intern(&definition).unwrap();
    let mut batch = Batch::default();
    writes.iter().for_each(|&(oid, base)| batch.put((oid, base, pinned), type_id, &[], data));
    batch
}

/// The tid of a commit; `None` where it met a conflict.
fn commit(storage: &FileStorage, batch: Batch) -> Result<Option<Tid>> {
    Ok(match storage.commit(&Arc::new(batch))? {
        Verdict::Passed(receipt) => Some(receipt.tid),
        Verdict::Conflicts(_) => None,
    })
}

fn found(snapshot: &dyn Snapshot, oid: Oid) -> Option<(Tid, bool, Vec<u8>)> {
    match snapshot.load(oid).unwrap() {
        Load::Found(found) => Some((found.tid, found.pinned, found.data.to_vec())),
        _ => None,
    }
}

/// What the threads were told of the objects they stored.
#[derive(Default)]
struct Told {
    committed: Vec<Oid>,
    unknown: Vec<Oid>,
    not_written: Vec<Oid>,
}

/// Stores object after object until the storage halts.
fn store_until_it_halts(storage: &FileStorage) -> Told {
    let mut told = Told::default();
    loop {
        let oid = storage.new_oid().unwrap();
        match commit(storage, batch(storage, &[(oid, Tid::ZERO)], false, &[7; 300])) {
            Ok(_) => told.committed.push(oid),
            Err(Error::Unknown(_)) => told.unknown.push(oid),
            Err(Error::Halted(_)) => {
                told.not_written.push(oid);
                return told;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn check_told(disk: &SimDisk, told: &[Told]) {
    let storage = open(disk);
    let snapshot = storage.snapshot().unwrap();
    let is_there = |oid: &Oid| found(&*snapshot, *oid).is_some();
    assert!(told.iter().flat_map(|told| &told.committed).all(is_there), "a commit is lost");
    assert!(!told.iter().flat_map(|told| &told.not_written).any(is_there), "told: not written");
}

// R10
#[test]
fn each_waiter_is_told_the_truth_when_the_disk_fails_for_all() {
    let failures = [
        (Kind::Sync, Failure::Io),
        (Kind::Sync, Failure::Lost),
        (Kind::Write, Failure::Io),
        (Kind::Write, Failure::Full),
    ];
    let mut unknown = 0;
    for (kind, failure) in failures {
        for (threads, nth) in [(1, 0), (1, 3), (2, 0), (2, 5), (64, 0), (64, 2), (64, 9)] {
            let disk = SimDisk::new();
            let storage = open(&disk);
            disk.fail(kind, nth, failure, Times::Once);
            let told: Vec<Told> = thread::scope(|scope| {
                let workers: Vec<_> =
                    (0..threads).map(|_| scope.spawn(|| store_until_it_halts(&storage))).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            let unsure = told.iter().map(|told| told.unknown.len()).sum::<usize>();
            assert!(unsure > 0, "those whose batch failed cannot know");
            unknown += unsure;
            let moment = disk.moment();
            assert!(storage.close().is_err(), "closing tells of the failure");
            assert_eq!(disk.moment(), moment, "a halted storage went on");
            for policy in Policy::ALL {
                check_told(&disk.crash(policy, nth), &told);
            }
            check_told(&disk, &told);
        }
    }
    println!("{unknown} commits were told that nobody knows");
}

// M5
#[test]
fn of_many_updates_of_one_base_one_passes() {
    let disk = SimDisk::new();
    let storage = open(&disk);
    let oid = storage.new_oid().unwrap();
    let mut base = Tid::ZERO;
    for _ in 0..40 {
        let start = Barrier::new(8);
        let update = || {
            let update = batch(&storage, &[(oid, base)], false, b"mine");
            start.wait();
            commit(&storage, update).unwrap()
        };
        let passed: Vec<Tid> = thread::scope(|scope| {
            let workers: Vec<_> = (0..8).map(|_| scope.spawn(update)).collect();
            workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(passed.len(), 1, "{passed:?}");
        base = passed[0];
    }
    assert_eq!(storage.history(oid).unwrap().len(), 40);
}

// M3
#[test]
fn pairs_are_seen_equal_while_housekeeping_runs_and_snapshots_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let directory = Arc::new(DiskDirectory::new(folder.path()));
        FileStorage::open(directory, NAME, FileOptions::default()).unwrap()
    };
    let storage = open();
    let [one, other] = [storage.new_oid().unwrap(), storage.new_oid().unwrap()];
    let both = |data: &[u8], base| batch(&storage, &[(one, base), (other, base)], false, data);
    commit(&storage, both(&0u64.to_le_bytes(), Tid::ZERO)).unwrap();
    let done = AtomicBool::new(false);
    let write = || {
        for number in 1..200u64 {
            loop {
                let snapshot = storage.snapshot().unwrap();
                let mut next = both(&number.to_le_bytes(), found(&*snapshot, one).unwrap().0);
                next.durability = Durability::Lazy;
                if commit(&storage, next).unwrap().is_some() {
                    break;
                }
            }
        }
    };
    let read = || {
        let mut reads = 0;
        while !done.load(Ordering::Relaxed) || reads == 0 {
            let snapshot = storage.snapshot().unwrap();
            assert_eq!(found(&*snapshot, one), found(&*snapshot, other));
            reads += 1;
        }
    };
    thread::scope(|scope| {
        let writers = [scope.spawn(write), scope.spawn(write)];
        scope.spawn(read);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                storage.write_index().unwrap();
                storage.tend().unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let last = found(&*storage.snapshot().unwrap(), one);
    storage.close().unwrap();
    assert_eq!(found(&*open().snapshot().unwrap(), other), last);
}

// A snapshot's tables once told of frames behind its mark, which a power loss may take away; and
// an oid that was given out between its mark and its end made the frames there look out of order.
#[test]
fn an_index_snapshot_tells_of_one_moment_while_commits_go_on() {
    let disk = SimDisk::new();
    let storage = open(&disk);
    let done = AtomicBool::new(false);
    let crashes: Vec<SimDisk> = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (oid, _unused) = (storage.new_oid().unwrap(), storage.new_oid().unwrap());
                let mut lazy = batch(&storage, &[(oid, Tid::ZERO)], true, b"a pinned object");
                lazy.durability = Durability::Lazy;
                commit(&storage, lazy).unwrap();
            }
        });
        let crash = |number: usize| {
            storage.write_index().unwrap();
            disk.crash(Policy::ALL[number % 5], number as u64)
        };
        let crashes = (0..60).map(crash).collect();
        done.store(true, Ordering::Relaxed);
        crashes
    });
    for crashed in crashes {
        let storage = open(&crashed);
        let snapshot = storage.snapshot().unwrap();
        let transactions = storage.transactions(Tid::ZERO, Tid::MAX).unwrap();
        let stored: BTreeSet<Oid> =
            transactions.flat_map(|it| it.unwrap().records).map(|(oid, _)| oid).collect();
        assert!(stored.iter().all(|&oid| found(&*snapshot, oid).is_some()));
        assert_eq!(storage.pinned().unwrap().into_iter().collect::<BTreeSet<_>>(), stored);
    }
}

// Closing while others commit: what they were told holds.
#[test]
fn closing_lets_racing_commits_pass_or_refuses_them() {
    for round in 0..20 {
        let disk = SimDisk::new();
        let storage = open(&disk);
        let store = || {
            let mut stored = Vec::new();
            loop {
                let Ok(oid) = storage.new_oid() else { return stored };
                let mut next = batch(&storage, &[(oid, Tid::ZERO)], false, b"mine");
                next.durability =
                    if oid.number() % 2 == 0 { Durability::Lazy } else { Durability::Sync };
                match commit(&storage, next) {
                    Ok(_) => stored.push(oid),
                    Err(Error::Closed) => return stored,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let tend = || while storage.tend().is_ok() && storage.write_index().is_ok() {};
        let stored: Vec<Vec<Oid>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..3).map(|_| scope.spawn(store)).collect();
            scope.spawn(tend);
            thread::sleep(std::time::Duration::from_micros(300 * round));
            let closers = [scope.spawn(|| storage.close()), scope.spawn(|| storage.close())];
            closers.into_iter().for_each(|closer| closer.join().unwrap().unwrap());
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let moment = disk.moment();
        assert!(storage.write_index().is_err() && storage.tend().is_err());
        assert_eq!(disk.moment(), moment, "a closed storage writes nothing");
        let after = disk.crash(Policy::Nothing, 0);
        let before = after.moment();
        let storage = open(&after);
        let snapshot = storage.snapshot().unwrap();
        assert!(stored.iter().flatten().all(|&oid| found(&*snapshot, oid).is_some()));
        let changed = after.actions().len() - before;
        assert_eq!(changed, 1, "after a clean close only the directory is synced: {after:?}");
    }
}
