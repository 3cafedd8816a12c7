//! What the laws of jobs say often.

use crate::support::databases::Account;
use perennial::file::MemoryDirectory;
use perennial::storage::FileStorage;
use perennial::storage::file::FileOptions;
use perennial::{
    Context, Database, Enqueued, Error, Failure, Job, JobInfo, Oid, Policy, Ref, RunMode, Runner,
    Settings,
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes that does not hang.
pub const LONG: Duration = Duration::from_secs(30);

/// A job that says what to do to an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pay {
    pub to: Option<Ref<Account>>,
    pub cents: i64,
}

impl Job for Pay {
    const KIND: &'static str = "laws.Pay";
}

pub fn pay(cents: i64) -> Pay {
    Pay { to: None, cents }
}

/// A job of which one for each name is pending at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remind {
    pub whom: String,
}

impl Job for Remind {
    const KIND: &'static str = "laws.Remind";

    fn dedupe_key(&self) -> Option<Vec<u8>> {
        Some(self.whom.clone().into_bytes())
    }
}

pub fn remind(whom: &str) -> Remind {
    Remind { whom: whom.into() }
}

/// A database whose file outlives it.
#[derive(Default)]
pub struct Home {
    directory: Arc<MemoryDirectory>,
}

impl Home {
    pub fn open(&self) -> Database {
        let storage = FileStorage::open(self.directory.clone(), "jobs.db", FileOptions::default());
        Database::with_storage(Arc::new(storage.unwrap()), &Settings::default())
    }

    /// Whether somebody has it open.
    pub fn is_locked(&self) -> bool {
        let options = FileOptions::default();
        let storage = FileStorage::open(self.directory.clone(), "jobs.db", options);
        matches!(storage, Err(Error::Locked(_)))
    }
}

/// Tries again at once, as it were, and keeps no breaker.
pub fn eager() -> Policy {
    let moment = Duration::from_millis(4);
    Policy { backoff: moment, backoff_cap: moment, breaker: u32::MAX, ..Policy::default() }
}

/// What handlers were given, in their order.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<i64>>>);

impl Seen {
    pub fn add(&self, cents: i64) {
        self.0.lock().unwrap().push(cents);
    }

    pub fn all(&self) -> Vec<i64> {
        self.0.lock().unwrap().clone()
    }

    pub fn sorted(&self) -> Vec<i64> {
        let mut all = self.all();
        all.sort_unstable();
        all
    }
}

/// A runner of payments that only notes them.
pub fn noting(db: &Database, mode: RunMode) -> (Runner, Seen) {
    let seen = Seen::default();
    let notes = seen.clone();
    let runner = paying(db, mode, eager(), move |_, job| {
        notes.add(job.cents);
        Ok(())
    });
    (runner, seen)
}

pub fn paying(
    db: &Database,
    mode: RunMode,
    policy: Policy,
    handle: impl Fn(&Context<'_>, Pay) -> Result<(), Failure> + Send + Sync + 'static,
) -> Runner {
    db.runner().on_with::<Pay>(policy, handle).mode(mode).start().unwrap()
}

/// Enqueues a job in a transaction of its own.
pub fn enqueue<J: Job>(db: &Database, job: &J) -> Oid {
    match db.transact(|conn| conn.enqueue(job)).unwrap() {
        Enqueued::New(id) => id,
        Enqueued::Duplicate(id) => panic!("job {id} was there already"),
    }
}

/// Enqueues a payment of each amount, in transactions of their own.
pub fn enqueue_all(db: &Database, cents: impl IntoIterator<Item = i64>) {
    for cents in cents {
        enqueue(db, &pay(cents));
    }
}

/// The only job there is.
pub fn only(db: &Database) -> JobInfo {
    let jobs = db.jobs().list().unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].clone()
}

pub fn assert_empty(db: &Database) {
    assert_eq!(db.jobs().list().unwrap(), []);
    let stats = db.jobs().stats().unwrap();
    assert_eq!((stats.running, stats.bytes), (0, 0));
}
