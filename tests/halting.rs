//! A halted database: every call says why, nothing is written any more, and it opens again.

use crate::support::databases::{Account, account, cents};
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, FileStorage, Intent, Storage, TwoPhase, Verdict};
use perennial::transaction::TransactionManager;
use perennial::{Database, Durability, Error, GlobalId, Job, Ref, Result, RunMode, Settings, Tid};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

const NAME: &str = "halted.db";

/// What the disk says; every refusal repeats it.
const CAUSES: [&str; 2] = ["input/output error", "no storage space"];

fn open(disk: &SimDisk, housekeeping: bool) -> (Arc<FileStorage>, Database) {
    let options = FileOptions { housekeeping, ..FileOptions::default() };
    let storage = Arc::new(FileStorage::open(Arc::new(disk.clone()), NAME, options).unwrap());
    let db = Database::with_storage(storage.clone(), &Settings::default());
    (storage, db)
}

fn earn(db: &Database, account: Ref<Account>) -> Result<()> {
    db.transact(|conn| conn.modify(account, |account| account.cents += 1))
}

fn assert_halted<T: Debug>(what: &str, outcome: Result<T>) {
    let Err(error) = outcome else { panic!("{what}: {outcome:?}") };
    let told = error.to_string();
    assert!(matches!(error.cause(), Error::Halted(_) | Error::Unknown(_)), "{what}: {told}");
    assert!(CAUSES.iter().any(|cause| told.contains(cause)), "{what} says not why: {told}");
}

/// The ways in which a disk makes a database halt.
fn failures() -> impl Iterator<Item = (Kind, Failure, u64)> {
    let kinds = [
        (Kind::Sync, Failure::Io),
        (Kind::Sync, Failure::Lost),
        (Kind::Write, Failure::Io),
        (Kind::Write, Failure::Full),
    ];
    kinds.into_iter().flat_map(|(kind, failure)| (0..3).map(move |nth| (kind, failure, nth)))
}

/// Commits until the disk fails, which from then on works again; how many commits there were.
fn run_until_it_halts(disk: &SimDisk, db: &Database, account: Ref<Account>) -> i64 {
    for number in 1.. {
        if let Err(error) = earn(db, account) {
            assert!(matches!(error, Error::Unknown(_)), "{error}");
            assert_eq!(disk.failures(), 1);
            return number - 1;
        }
    }
    unreachable!("the disk fails");
}

// R10
#[test]
fn after_a_failed_write_or_sync_every_call_says_why_and_nothing_is_written() {
    for (kind, failure, nth) in failures() {
        let disk = SimDisk::new();
        let (storage, db) = open(&disk, false);
        let account = account(&db, 0);
        disk.fail(kind, nth, failure, Times::Once);
        let done = run_until_it_halts(&disk, &db, account);
        let halted = disk.moment();

        call_everything(&storage, &db, account);
        assert_eq!(cents(&db, account), done, "what was readable is");
        assert_halted("close", db.close());
        drop((storage, db));

        let after = disk.actions().split_off(halted);
        assert!(after.is_empty(), "{kind:?} {failure:?} {nth}: it went on: {after:?}");
        for policy in Policy::ALL {
            let (_storage, db) = open(&disk.crash(policy, nth), false);
            let found = cents(&db, loose(&db));
            assert!([done, done + 1].contains(&found), "{found} of {done}");
            earn(&db, loose(&db)).unwrap();
        }
    }
}

/// The account of a database that was opened again.
fn loose(db: &Database) -> Ref<Account> {
    account(db, 0)
}

#[derive(Debug, Serialize, Deserialize)]
struct Pay;

impl Job for Pay {
    const KIND: &'static str = "halting.Pay";
}

fn call_everything(storage: &FileStorage, db: &Database, account: Ref<Account>) {
    assert_halted("commit", earn(db, account));
    assert_halted("add", db.transact(|conn| conn.add(Account { owner: "x".into(), cents: 0 })));
    assert_halted(
        "lazy",
        db.transact(|conn| {
            conn.set_durability(Durability::Lazy)?;
            conn.modify(account, |account| account.cents += 1)
        }),
    );
    assert_halted("enqueue", db.transact(|conn| conn.enqueue(&Pay)));
    assert_halted("sync", db.sync());
    assert_halted("tend", storage.tend());
    assert_halted("write the index", storage.write_index());
    let gtid = GlobalId::new([7; 16]);
    let intent = Intent { gtid, coordinator: None };
    let mut batch = Batch::default();
    batch.remove(storage.new_oid().unwrap(), Tid::ZERO, false);
    assert_halted("prepare", storage.prepare(&Arc::new(batch), &intent).map(drop));
    let manager = TransactionManager::new();
    let conn = db.connect(&manager);
    let mut transaction = manager.begin().unwrap();
    conn.modify(account, |account| account.cents = 1000).unwrap();
    let here = transaction.savepoint().unwrap();
    conn.modify(account, |account| account.cents = 2000).unwrap();
    here.rollback().unwrap();
    assert_halted("commit by hand", transaction.commit());
    transaction.abort().unwrap();
}

// R10: what had been promised before is neither kept nor taken back.
#[test]
fn a_promise_made_before_is_left_in_doubt() {
    for end in 0..3 {
        let disk = SimDisk::new();
        let (storage, db) = open(&disk, false);
        let account = account(&db, 0);
        let mut batch = Batch::default();
        batch.remove(storage.new_oid().unwrap(), Tid::ZERO, false);
        let intent = Intent { gtid: GlobalId::new([9; 16]), coordinator: None };
        let promise = match storage.prepare(&Arc::new(batch), &intent).unwrap() {
            Verdict::Passed(promise) => promise,
            Verdict::Conflicts(_) => panic!("nobody else is here"),
        };
        disk.fail(Kind::Sync, 0, Failure::Lost, Times::Once);
        assert!(matches!(earn(&db, account), Err(Error::Unknown(_))));
        let halted = disk.moment();

        match end {
            0 => assert_halted("finish", promise.finish()),
            1 => assert_halted("abort", promise.abort()),
            _ => promise.park(),
        }
        drop((db, storage));

        assert_eq!(disk.moment(), halted, "it went on");
        let options =
            FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
        let again = FileStorage::open(Arc::new(disk), NAME, options).unwrap();
        assert_eq!(again.in_doubt().unwrap().len(), 1);
    }
}

// R10: whoever opens hears it, and not whoever comes to commit.
#[test]
fn an_opening_whose_write_fails_opens_nothing() {
    for nth in 0.. {
        let disk = SimDisk::new();
        let (storage, db) = open(&disk, false);
        let account = account(&db, 0);
        earn(&db, account).unwrap();
        drop((db, disk.kill(), storage));
        let disk = disk.kill();
        disk.fail(Kind::Write, nth, Failure::Full, Times::Once);

        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        let opened = FileStorage::open(Arc::new(disk.clone()), NAME, options);

        let failed = disk.failures() > 0;
        match opened {
            Ok(_) => assert!(!failed, "write {nth} failed"),
            Err(error) => assert!(failed && error.to_string().contains(CAUSES[1]), "{error}"),
        }
        if !failed {
            assert!(nth > 1, "it mends, and it seals");
            break;
        }
    }
}

// R10: the housekeeper would sync, seal, zero ahead and write snapshots.
#[test]
fn nothing_goes_on_in_the_background() {
    for (kind, failure, nth) in failures() {
        let disk = SimDisk::new();
        let (_storage, db) = open(&disk, true);
        let ran = Arc::new(AtomicU32::new(0));
        let count = ran.clone();
        let work = move |_: &perennial::Context<'_>, _: Pay| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let _runner = db.runner().on::<Pay>(work).mode(RunMode::Pool(1)).start().unwrap();
        let account = account(&db, 0);
        let soon = SystemTime::now() + Duration::from_millis(300);
        db.transact(|conn| conn.enqueue_at(&Pay, soon)).unwrap();
        disk.fail(kind, nth, failure, Times::Once);
        while earn(&db, account).is_ok() {}
        // What was under way when it halted comes to its end.
        sleep(Duration::from_millis(50));
        let halted = disk.moment();

        sleep(Duration::from_millis(400));

        assert_eq!(disk.moment(), halted, "{kind:?} {failure:?} {nth}: it went on");
        assert_eq!(ran.load(Ordering::Relaxed), 0, "a job was run whose end cannot be noted");
    }
}
