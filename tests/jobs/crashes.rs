//! The crash points: the power goes, or the process dies, and somebody looks at what is left.

use super::kit::{Home, LONG, Seen, assert_empty, eager, enqueue, noting, only, pay, paying};
use crate::support::databases::Account;
use crate::support::rng::Rng;
use crate::support::sim::{Action, Failure as Fault, Kind, Policy as Loss, SimDisk, Times};
use perennial::file::DiskDirectory;
use perennial::storage::FileStorage;
use perennial::storage::file::FileOptions;
use perennial::{
    Connection, Database, Durability, Error, JobState, Ref, Result, RunMode, Runner, Settings,
};
use std::path::{Path, PathBuf};
use std::process::{Command, abort};
use std::sync::Arc;
use std::time::Duration;

/// K1: durable, and nothing of it started.
#[test]
fn a_job_that_was_handed_over_when_the_process_died_is_run_by_the_next() {
    let home = Home::default();
    let db = home.open();
    let (runner, _seen) = noting(&db, RunMode::Manual);
    enqueue(&db, &pay(1));
    assert_eq!(only(&db).state, JobState::Claimed, "born so");
    drop((runner, db));

    let db = home.open();
    let (runner, seen) = noting(&db, RunMode::Manual);
    assert_eq!((only(&db).state, only(&db).crashes), (JobState::Ready, 1));
    assert_eq!(db.jobs().stats().unwrap().counts.recovered, 1);
    assert_eq!(runner.run_due(), 1);
    assert_eq!(seen.all(), [1]);
    assert_empty(&db);
}

/// K10, K11: a start that is followed by no run charges nobody again.
#[test]
fn what_was_given_back_once_is_not_charged_by_later_starts() {
    let home = Home::default();
    let db = home.open();
    let _runner = noting(&db, RunMode::Manual);
    enqueue(&db, &pay(1));
    drop(db);

    for _ in 0..5 {
        let db = home.open();
        let _runner = noting(&db, RunMode::Manual);
        assert_eq!((only(&db).state, only(&db).crashes), (JobState::Ready, 1));
    }
}

/// K4, K7
#[test]
fn a_job_that_was_done_stays_done_after_a_kill() {
    let home = Home::default();
    let db = home.open();
    let (runner, seen) = noting(&db, RunMode::Manual);
    enqueue(&db, &pay(1));
    runner.run_due();
    drop(db);

    let db = home.open();
    let (runner, again) = noting(&db, RunMode::Manual);
    assert_eq!((runner.run_due(), seen.all(), again.all()), (0, vec![1], vec![]));
}

/// What was asked for and what was paid, which every transaction keeps in step.
struct Books {
    db: Database,
    asked: Ref<Account>,
    paid: Ref<Account>,
}

impl Books {
    fn open(disk: &SimDisk) -> Books {
        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        let storage = FileStorage::open(Arc::new(disk.clone()), "books.db", options).unwrap();
        let mut settings = Settings::default();
        settings.durability = Durability::Lazy;
        let db = Database::with_storage(Arc::new(storage), &settings);
        let new = |_: &Connection| Ok(Account { owner: "books".into(), cents: 0 });
        let root = |name: &str| db.transact(|conn| conn.root_or_init(name, new)).unwrap();
        let (asked, paid) = (root("asked"), root("paid"));
        Books { db, asked, paid }
    }

    fn ask(&self, cents: i64) {
        let asked = self.db.transact(|conn| {
            conn.modify(self.asked, |account| account.cents += cents)?;
            conn.enqueue(&pay(cents))
        });
        asked.unwrap();
    }

    /// A runner that pays in the transaction that removes the job; even amounts only when they
    /// are tried a second time.
    fn payer(&self) -> Runner {
        let paid = self.paid;
        paying(&self.db, RunMode::Manual, eager(), move |context, job| {
            if job.cents % 2 == 0 && context.attempt() == 1 {
                return Err("not at first".into());
            }
            context.complete(|conn| conn.modify(paid, |account| account.cents += job.cents))?;
            Ok(())
        })
    }

    fn totals(&self) -> (i64, i64) {
        let total =
            |account: Ref<Account>| self.db.view(|view| Ok(view.get(account)?.cents)).unwrap();
        (total(self.asked), total(self.paid))
    }
}

/// K0, K1, K2, K6–K11: effects in the database happen once for each job whose transaction
/// committed, wherever the power goes; and again wherever it goes in the recovery from that.
#[test]
fn wherever_the_power_goes_what_was_asked_for_is_paid_once() {
    let disk = SimDisk::new();
    let mut acknowledged = vec![(0, 0)];
    {
        let books = Books::open(&disk);
        let runner = books.payer();
        for cents in 1..=3 {
            books.ask(cents);
            acknowledged.push((disk.moment(), books.totals().0));
            runner.run_due();
        }
        assert!(runner.run_until_idle(LONG));
    }
    let mut rng = Rng::new(7);
    for moment in disk.moments() {
        for loss in Loss::ALL {
            let found = moment.crash(loss, rng.number());
            let least = acknowledged.iter().rev().find(|(when, _)| *when <= moment.number);
            let asked = settle(&found, 1);
            assert!(asked >= least.unwrap().1, "moment {}, {loss:?}", moment.number);
            let second = found.crash_at(rng.below(found.moment() as u64 + 1) as usize, loss, 1);
            assert!(settle(&second, 2) >= least.unwrap().1, "twice, {}, {loss:?}", moment.number);
        }
    }
}

/// Opens what is left, runs what is pending, and compares; what was asked for.
fn settle(disk: &SimDisk, crashes: u32) -> i64 {
    let books = Books::open(disk);
    let runner = books.payer();
    let jobs = books.db.jobs().list().unwrap();
    assert!(jobs.iter().all(|job| job.state == JobState::Ready && job.crashes <= crashes));
    assert!(runner.run_until_idle(LONG));
    let (asked, paid) = books.totals();
    assert_eq!(asked, paid);
    assert_empty(&books.db);
    asked
}

/// K0, K3, K4: effects elsewhere happen at least once; and none for a transaction that a power loss
/// takes back, though the database commits lazily.
#[test]
fn wherever_the_power_goes_no_effect_lacks_its_transaction() {
    let disk = SimDisk::new();
    let effects = Arc::new(std::sync::Mutex::new(Vec::new()));
    {
        let books = Books::open(&disk);
        let (sent, clock) = (effects.clone(), disk.clone());
        let runner = paying(&books.db, RunMode::Manual, eager(), move |_, job| {
            sent.lock().unwrap().push((clock.moment(), job.cents));
            Ok(())
        });
        for cents in [1, 2, 4, 8] {
            books.ask(cents);
            runner.run_due();
        }
    }
    let effects = effects.lock().unwrap();
    assert_eq!(effects.len(), 4);
    for moment in disk.moments() {
        let found = moment.crash(Loss::Nothing, 1);
        let books = Books::open(&found);
        let (runner, again) = noting(&books.db, RunMode::Manual);
        runner.run_due();
        let sent = effects.iter().filter(|(when, _)| *when <= moment.number);
        let sent: Vec<i64> = sent.map(|&(_, cents)| cents).collect();
        let (asked, _) = books.totals();
        assert_eq!(sent.iter().sum::<i64>() & !asked, 0, "moment {}", moment.number);
        let all: i64 = sent.iter().chain(&again.all()).fold(0, |all, cents| all | cents);
        assert_eq!(all, asked, "moment {}", moment.number);
    }
}

/// K5
#[test]
fn a_job_whose_removal_was_synced_is_never_run_again() {
    let disk = SimDisk::new();
    let books = Books::open(&disk);
    let (runner, seen) = noting(&books.db, RunMode::Manual);
    books.ask(1);
    runner.run_due();
    books.db.sync().unwrap();

    let books = Books::open(&disk.crash(Loss::Nothing, 1));
    let (runner, again) = noting(&books.db, RunMode::Manual);
    assert_eq!((runner.run_due(), seen.all(), again.all()), (0, vec![1], vec![]));
}

/// K9: should the process die again, it must be known who was claimed.
#[test]
fn the_claim_of_a_job_that_was_in_a_crash_outlives_a_power_loss() {
    let disk = SimDisk::new();
    {
        let books = Books::open(&disk);
        let _runner = noting(&books.db, RunMode::Manual);
        books.ask(1);
    }
    let found = Arc::new(std::sync::Mutex::new(None));
    {
        let books = Books::open(&disk);
        let (left, now) = (found.clone(), disk.clone());
        let runner = paying(&books.db, RunMode::Manual, eager(), move |context, _| {
            assert_eq!(context.crashes(), 1);
            *left.lock().unwrap() = Some(now.crash(Loss::Nothing, 1));
            Ok(())
        });
        assert_eq!(runner.run_due(), 1);
    }

    let found = found.lock().unwrap().take().expect("the power went in the handler");
    let books = Books::open(&found);
    let _runner = noting(&books.db, RunMode::Manual);
    assert_eq!(only(&books.db).crashes, 2);
}

/// A result that cannot be written is not tried again by the same runner: that would repeat the
/// effects for as long as the disk refuses.
#[test]
fn a_job_whose_removal_cannot_be_written_is_run_again_by_the_next_start_only() {
    let disk = SimDisk::new();
    let books = Books::open(&disk);
    let (failing, sent) = (disk.clone(), Seen::default());
    let notes = sent.clone();
    let runner = paying(&books.db, RunMode::Manual, eager(), move |_, job| {
        notes.add(job.cents);
        failing.fail(Kind::Write, 0, Fault::Io, Times::Always);
        Ok(())
    });
    books.ask(1);

    assert_eq!((runner.run_due(), runner.run_due()), (1, 0));
    assert_eq!(sent.all(), [1]);
    drop((runner, books));

    let books = Books::open(&disk.crash(Loss::Everything, 1));
    let (runner, again) = noting(&books.db, RunMode::Manual);
    assert_eq!((runner.run_due(), again.all()), (1, vec![1]));
}

/// J26, of what it says of cost: a job that is done at once is waited for once, in the commit of
/// the transaction that asked for it.
#[test]
fn a_job_costs_the_one_sync_of_its_transaction() {
    const JOBS: usize = 50;
    let disk = SimDisk::new();
    let books = Books::open(&disk);
    let (runner, seen) = noting(&books.db, RunMode::Manual);
    books.ask(0);
    runner.run_due();
    let syncs = || disk.actions().iter().filter(|a| matches!(a, Action::Sync { .. })).count();
    let before = syncs();

    for cents in 1..=JOBS as i64 {
        books.ask(cents);
        runner.run_due();
    }

    assert_eq!((seen.all().len(), syncs() - before), (1 + JOBS, JOBS));
}

/// K12
#[test]
fn a_job_whose_sync_fails_is_not_started() {
    let disk = SimDisk::new();
    let books = Books::open(&disk);
    let (runner, seen) = noting(&books.db, RunMode::Manual);
    books.db.sync().unwrap();
    disk.fail(Kind::Sync, 0, Fault::Lost, Times::Always);

    let unknown = books.db.transact(|conn| conn.enqueue(&pay(1)));

    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
    assert_eq!((runner.run_due(), seen.all()), (0, vec![]));
}

/// Names the directory to children of this process.
const CHILD: &str = "PERENNIAL_LAWS_CHILD";

fn home(directory: &Path) -> Database {
    let directory = Arc::new(DiskDirectory::new(directory));
    let storage = FileStorage::open(directory, "jobs.db", FileOptions::default()).unwrap();
    Database::with_storage(Arc::new(storage), &Settings::default())
}

/// Runs one of the tests below in a process of its own; whether that ended well.
fn child(directory: &Path, name: &str) -> bool {
    let test = format!("jobs::crashes::{name}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", &test]).env(CHILD, directory);
    command.output().unwrap().status.success()
}

/// The directory, in a child; elsewhere there is nothing for these tests to do.
fn child_home() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// The poison: the process dies of it. All others are paid.
const POISON: i64 = 0;

fn paid(db: &Database) -> Result<Ref<Account>> {
    let new = |_: &Connection| Ok(Account { owner: "paid".into(), cents: 0 });
    db.transact(|conn| conn.root_or_init("paid", new))
}

#[test]
#[ignore = "run by a_job_that_kills_the_process_is_dead_after_three_crashes"]
fn child_that_dies_of_poison() {
    let Some(directory) = child_home() else { return };
    let db = home(&directory);
    let paid = paid(&db).unwrap();
    let runner = paying(&db, RunMode::Pool(4), eager(), move |context, job| {
        if job.cents == POISON {
            abort();
        }
        context.complete(|conn| conn.modify(paid, |account| account.cents += job.cents))?;
        Ok(())
    });
    assert!(runner.run_until_idle(LONG));
}

/// J17, K2
#[test]
fn a_job_that_kills_the_process_is_dead_after_three_crashes() {
    let directory = tempfile::tempdir().unwrap();
    {
        let db = home(directory.path());
        // Claimed by a process that is gone, as though they all had been under way.
        let _runner = noting(&db, RunMode::Manual);
        super::kit::enqueue_all(&db, (0..=100).map(|cents| if cents == 50 { POISON } else { 1 }));
    }

    let crashes = (0..10).take_while(|_| !child(directory.path(), "child_that_dies_of_poison"));
    assert_eq!(crashes.count(), 2, "it was under way once before");

    let db = home(directory.path());
    let paid = paid(&db).unwrap();
    assert_eq!(db.view(|view| Ok(view.get(paid)?.cents)).unwrap(), 100);
    let dead = only(&db);
    assert_eq!((dead.state, dead.crashes), (JobState::Dead, 3));
}

#[test]
#[ignore = "run by an_effect_before_a_kill_is_repeated_under_the_same_key"]
fn child_that_dies_after_its_effect() {
    let Some(directory) = child_home() else { return };
    let (db, effects) = (home(&directory), directory.join("effects"));
    let (file, key) =
        (effects.clone(), |context: &perennial::Context<'_>| context.idempotency_key());
    let runner = paying(&db, RunMode::Pool(1), eager(), move |context, _| {
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, format!("{before}{} {}\n", key(context), context.crashes()))?;
        if context.crashes() == 0 { abort() } else { Ok(()) }
    });
    if !effects.exists() {
        enqueue(&db, &pay(1));
    }
    assert!(runner.run_until_idle(LONG));
}

/// K3
#[test]
fn an_effect_before_a_kill_is_repeated_under_the_same_key() {
    let directory = tempfile::tempdir().unwrap();

    assert!(!child(directory.path(), "child_that_dies_after_its_effect"));
    assert!(child(directory.path(), "child_that_dies_after_its_effect"));

    let effects = std::fs::read_to_string(directory.path().join("effects")).unwrap();
    let effects: Vec<_> = effects.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[0].0, effects[1].0, "one key");
    assert_eq!((effects[0].1, effects[1].1), ("0", "1"), "and one crash");
    assert_empty(&home(directory.path()));
}

/// J25: nobody else gives back what this process has claimed.
#[test]
fn a_job_that_could_not_be_given_back_when_its_runner_stopped_is_by_the_next_start() {
    let disk = SimDisk::new();
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    let storage = FileStorage::open(Arc::new(disk.clone()), "jobs.db", options).unwrap();
    let mut settings = Settings::default();
    settings.cache_bytes = 0;
    let db = Database::with_storage(Arc::new(storage), &settings);
    let (runner, _seen) = noting(&db, RunMode::Manual);
    enqueue(&db, &pay(1));
    assert_eq!(only(&db).state, JobState::Claimed, "born so");

    disk.fail(Kind::Read, 0, Fault::Io, Times::Once);
    let stopped = runner.stop(Duration::ZERO, Duration::ZERO);

    assert!(matches!(stopped, Err(Error::Io(_))), "{stopped:?}");
    let (runner, seen) = noting(&db, RunMode::Manual);
    assert_eq!(runner.run_due(), 1);
    assert_eq!(seen.all(), [1]);
    assert_eq!(db.jobs().stats().unwrap().counts.recovered, 0, "nobody died");
    assert_empty(&db);
}
