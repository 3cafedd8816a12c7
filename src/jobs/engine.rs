//! The jobs of one open database: [`Engine`].
//!
//! Made at the first use, and kept in the database's memory for as long as that is open. It has
//! the lock around the [`Board`] and the [`Ledger`], and lets workers sleep; what is done with a
//! job is for `work` to say. It holds the database weakly: threads that sleep keep nothing open.
//!
//! # Invariants
//! - The boot id is drawn anew each time the database is opened: whoever claimed a job under
//!   another one is dead.
//! - No lock is held while the database is read or written, or foreign code runs; but for the first
//!   reading, at which whoever else asks for the engine waits.

use super::board::{Board, Next, Picked};
use super::enqueue::Permit;
use super::handler::Handler;
use super::ledger::Ledger;
use super::policy::Signal;
use super::record::Head;
use super::recovery;
use crate::error::{Error, Result};
use crate::file::Process;
use crate::id::Oid;
use crate::object::codec::RoundTrips;
use crate::object::{Attached, Database, WeakDatabase};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The jobs of one open database.
pub(super) struct Engine {
    /// Names this opening in claims.
    pub boot: u64,
    pub database: WeakDatabase,
    /// Where its threads are.
    process: Process,
    /// Which payloads to read back before they are stored.
    pub round_trips: RoundTrips,
    inner: Mutex<Inner>,
    /// There is something to start, or a reason to stop.
    startable: Condvar,
    /// Something ended.
    progress: Condvar,
}

/// What the lock guards.
#[derive(Default)]
pub(super) struct Inner {
    pub board: Board,
    pub ledger: Ledger,
    /// What is reserved for jobs of transactions whose outcome is not known.
    pub in_doubt: Vec<Permit>,
    threads: Vec<JoinHandle<()>>,
}

/// The database's hold on its engine: when the database goes, the threads do.
struct Hold(Arc<Engine>);

impl Attached for Hold {
    fn doubts_settled(&self) {
        recovery::settled(&self.0);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.0.process.is_this() {
            // The threads are those of the process that this one is a fork of, and so may be who
            // holds the lock.
            std::mem::forget(self.0.clone());
            return;
        }
        // They hold the engine.
        let in_doubt = std::mem::take(&mut self.0.lock().in_doubt);
        drop(in_doubt);
        self.0.end().join();
    }
}

/// What a runner that ended leaves behind. To be dropped where no lock is held: the handlers are
/// foreign code.
pub(super) struct Ended {
    /// Jobs that this process has claimed and not started.
    pub claimed: Vec<Oid>,
    handlers: Vec<Arc<Handler>>,
    process: Process,
    threads: Vec<JoinHandle<()>>,
}

impl Ended {
    /// Waits for the workers, which have a reason to end; not for the thread that calls, which may
    /// be one of them.
    pub fn join(self) {
        drop(self.handlers);
        let this = thread::current().id();
        for thread in self.threads.into_iter().filter(|other| other.thread().id() != this) {
            if self.process.join(thread, JoinHandle::join).is_some_and(|ended| ended.is_err()) {
                tracing::error!("a worker of the job bucket panicked");
            }
        }
    }
}

impl Engine {
    /// The engine of this database.
    ///
    /// # Errors
    /// Those of reading the jobs that are there.
    pub fn of(database: &Database) -> Result<Arc<Engine>> {
        let hold = database.attached(|| {
            let boot = getrandom::u64().map_err(|error| {
                Error::io("draw random numbers from", "the system", error.into())
            })?;
            let inner = Mutex::new(Inner { ledger: read(database)?, ..Inner::default() });
            let (startable, progress) = (Condvar::new(), Condvar::new());
            let (database, round_trips) = (database.downgrade(), RoundTrips::default());
            let process = Process::this();
            let engine =
                Engine { boot, database, process, round_trips, inner, startable, progress };
            Ok(Hold(Arc::new(engine)))
        })?;
        Ok(hold.0.clone())
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Something may be started that could not be before, or somebody need not wait any more.
    pub fn wake(&self) {
        self.startable.notify_all();
        self.progress.notify_all();
    }

    /// A job was put on the board.
    pub fn wake_one(&self) {
        self.startable.notify_one();
    }

    /// The next job, when it is due; `None` when the runner of this generation has ended.
    pub fn next(&self, generation: u64) -> Option<Picked> {
        let mut inner = self.lock();
        loop {
            if inner.board.generation != generation {
                return None;
            }
            match inner.board.next(Instant::now()) {
                Next::Run(picked) => return Some(picked),
                Next::Wait(Some(until)) => {
                    self.startable.wait_until(&mut inner, until);
                }
                Next::Wait(None) => self.startable.wait(&mut inner),
            }
        }
    }

    /// A job that was due at `now`.
    pub fn next_due(&self, now: Instant) -> Option<Picked> {
        let next = self.lock().board.next(now);
        match next {
            Next::Run(picked) => Some(picked),
            Next::Wait(_) => None,
        }
    }

    /// The job runs no more. `tally` says in the ledger, and on the board, what became of it.
    pub fn ended(&self, id: Oid, signal: Signal, tally: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        inner.board.ended(id, signal, Instant::now());
        tally(&mut inner);
        drop(inner);
        self.wake();
    }

    /// Waits until `is_over`, or `until`; whether it is.
    pub fn wait(&self, until: Instant, is_over: impl Fn(&Board) -> bool) -> bool {
        let mut inner = self.lock();
        while !is_over(&inner.board) {
            if self.progress.wait_until(&mut inner, until).timed_out() {
                return is_over(&inner.board);
            }
        }
        true
    }

    pub fn keep(&self, thread: JoinHandle<()>) {
        self.lock().threads.push(thread);
    }

    /// Ends the runner that there may be: nothing is started any more.
    pub fn end(&self) -> Ended {
        let mut inner = self.lock();
        let (claimed, handlers) = inner.board.end();
        let threads = std::mem::take(&mut inner.threads);
        drop(inner);
        self.wake();
        Ended { claimed, handlers, process: self.process, threads }
    }
}

/// What the file knows of jobs.
fn read(database: &Database) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    database.view(|view| {
        for job in view.pinned::<Head>()? {
            let head = view.get(job)?;
            ledger.found(job.oid(), &head);
        }
        Ok(())
    })?;
    Ok(ledger)
}

/// How long from now an instant is that lies `delay` ahead; far ones are ten years away.
pub(super) fn after(delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
    Instant::now() + delay.min(FAR)
}
