//! Who runs the jobs: [`Runner`], and how it is made: [`RunnerBuilder`].
//!
//! A start hands the handlers to the board, lets `recovery` look through the file, and starts the
//! pool's threads, which do what `work` says.
//!
//! # Invariants
//! - A database has one runner at a time.
//! - A runner does not keep its database open; the threads end with the last handle of it.

use super::board::Board;
use super::engine::{Engine, after};
use super::handler::Handler;
use super::job::{Failure, Job};
use super::policy::Policy;
use super::{context::Context, recovery, work};
use crate::error::{Error, Result};
use crate::object::{Database, WeakDatabase};
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Where jobs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// In this many threads of the runner's own: a commit hands over its jobs and goes on.
    Pool(usize),
    /// In the thread that commits, before the commit returns: for scripts. Retries run along with
    /// a later commit, or in [`Runner::run_due`].
    Inline,
    /// Where and when [`Runner::run_due`] or [`Runner::run_until_idle`] is called: for tests.
    Manual,
}

/// A runner that is not started yet. Made by [`Database::runner`].
#[must_use = "no job runs before `start` is called"]
pub struct RunnerBuilder {
    database: Database,
    mode: RunMode,
    handlers: Vec<Arc<Handler>>,
}

/// A `Runner` runs the jobs of a database. Made by [`RunnerBuilder::start`].
///
/// It is a handle: dropping it changes nothing. The jobs run until it is
/// [stopped](Runner::stop), or until the last handle of the database is dropped. The latter does
/// not wait for jobs that were handed over: to the next start they look like those of a process
/// that died.
pub struct Runner {
    engine: Arc<Engine>,
    database: WeakDatabase,
    generation: u64,
}

impl Database {
    /// A runner for this database's jobs, to be told what to do and [started](RunnerBuilder::start).
    ///
    /// ```
    /// use perennial::{Database, Job, RunMode};
    /// use serde::{Deserialize, Serialize};
    /// use std::time::Duration;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Greet { whom: String }
    /// impl Job for Greet { const KIND: &'static str = "app.Greet"; }
    ///
    /// let db = Database::in_memory()?;
    /// let runner = db
    ///     .runner()
    ///     .on::<Greet>(|_, job| {
    ///         println!("hello, {}", job.whom);
    ///         Ok(())
    ///     })
    ///     .mode(RunMode::Pool(2))
    ///     .start()?;
    /// db.transact(|conn| conn.enqueue(&Greet { whom: "world".into() }))?;
    /// assert!(runner.run_until_idle(Duration::from_secs(10)));
    /// # Ok::<(), perennial::Error>(())
    /// ```
    pub fn runner(&self) -> RunnerBuilder {
        RunnerBuilder { database: self.clone(), mode: RunMode::Pool(2), handlers: Vec::new() }
    }
}

impl RunnerBuilder {
    /// Runs jobs of type `J` with this closure, by the usual policy.
    ///
    /// A job may be run more than once, be it that the process dies or that its result is lost:
    /// effects elsewhere should carry [`Context::idempotency_key`]. A closure that owns a
    /// [`Database`] keeps it open until the runner is stopped; use [`Context::database`].
    pub fn on<J: Job>(
        self,
        handle: impl Fn(&Context<'_>, J) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> RunnerBuilder {
        self.on_with(Policy::default(), handle)
    }

    /// Runs jobs of type `J` with this closure, as `policy` says.
    pub fn on_with<J: Job>(
        mut self,
        policy: Policy,
        handle: impl Fn(&Context<'_>, J) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> RunnerBuilder {
        self.handlers.push(Arc::new(Handler::new(policy, handle)));
        self
    }

    /// Where jobs run: in two threads, unless told.
    pub fn mode(self, mode: RunMode) -> RunnerBuilder {
        RunnerBuilder { mode, ..self }
    }

    /// Starts: recovers what a dead process left, and runs what is due.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where two handlers know one kind, or a pool has no threads;
    /// [`Error::Unsupported`] where the database has a runner; [`Error::ReadOnly`]; those of recovery, which leave the
    /// database without one.
    pub fn start(self) -> Result<Runner> {
        let RunnerBuilder { database, mode, handlers } = self;
        check(mode, &handlers)?;
        database.check_writable("run jobs")?;
        let engine = Engine::of(&database)?;
        let generation = {
            let mut inner = engine.lock();
            if inner.board.mode.is_some() {
                let what = "the database has a runner already; stop that one first";
                return Err(Error::Unsupported(what.into()));
            }
            inner.board.begin(mode, &handlers);
            inner.board.generation
        };
        let runner = Runner { engine, database: database.downgrade(), generation };
        let begun = recovery::recover(&runner.engine, &database).and_then(|()| match mode {
            RunMode::Pool(threads) => runner.start_threads(threads),
            RunMode::Inline | RunMode::Manual => Ok(()),
        });
        match begun {
            Ok(()) => Ok(runner),
            Err(error) => {
                let ended = runner.engine.end();
                if let Err(error) = work::release(&runner.engine, &database, &ended.claimed) {
                    tracing::warn!(%error, "jobs are given back by the next start only");
                }
                ended.join();
                Err(error)
            }
        }
    }
}

fn check(mode: RunMode, handlers: &[Arc<Handler>]) -> Result<()> {
    if mode == RunMode::Pool(0) {
        return Err(Error::InvalidArgument("a pool of no threads runs nothing".into()));
    }
    let mut names: Vec<_> = handlers.iter().flat_map(|handler| handler.names()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let what = format!("two handlers were given for jobs of kind {}", pair[0]);
            Err(Error::InvalidArgument(what.into()))
        }
        None => Ok(()),
    }
}

impl Runner {
    fn start_threads(&self, threads: usize) -> Result<()> {
        for number in 0..threads {
            let (engine, generation) = (self.engine.clone(), self.generation);
            let thread = thread::Builder::new().name(format!("perennial-jobs-{number}"));
            let thread = thread.spawn(move || work::work(&engine, generation));
            self.engine.keep(thread.map_err(|error| Error::io("start", "a thread", error))?);
        }
        Ok(())
    }

    /// Runs, in this thread, all jobs that are due; how many attempts that were. For
    /// [`RunMode::Manual`] and [`RunMode::Inline`]; beside a pool it helps.
    pub fn run_due(&self) -> usize {
        let Some(database) = self.current() else { return 0 };
        work::run_due(&self.engine, &database)
    }

    /// Returns when no job of the runner's kinds is pending, retries and delayed ones included,
    /// or after `bound`; whether none is. Dead jobs do not count. Where there is no pool, runs the
    /// jobs in this thread.
    pub fn run_until_idle(&self, bound: Duration) -> bool {
        let until = after(bound);
        let pool = matches!(self.engine.lock().board.mode, Some(RunMode::Pool(_)));
        loop {
            if !pool {
                self.run_due();
            }
            if self.engine.lock().board.is_idle() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            let soon = if pool { until } else { after(PAUSE).min(until) };
            self.engine.wait(soon, Board::is_idle);
        }
    }

    /// Stops: no further job is started. Waits up to `soft` for those that run, then tells them
    /// that they are [cancelled](Context::is_cancelled) and waits up to `hard`. Jobs that were
    /// handed over and not started are given back, uncharged.
    ///
    /// Returns how many handlers still run; what they return is applied when they do, or, where
    /// the process ends first, they are run again after the next start.
    ///
    /// # Errors
    /// Those of writing down that jobs were given back.
    pub fn stop(self, soft: Duration, hard: Duration) -> Result<usize> {
        let Some(database) = self.current() else { return Ok(0) };
        let ended = self.engine.end();
        let released = work::release(&self.engine, &database, &ended.claimed);
        if !self.engine.wait(after(soft), |board| board.running() == 0) {
            self.engine.lock().board.cancel_all();
            self.engine.wait(after(hard), |board| board.running() == 0);
        }
        let running = self.engine.lock().board.running();
        if running == 0 {
            ended.join();
        }
        released.map(|()| running)
    }

    /// The database, while this runner is the one that runs its jobs.
    fn current(&self) -> Option<Database> {
        let current = self.engine.lock().board.generation == self.generation;
        self.database.upgrade().filter(|_| current)
    }
}

/// How long a waiting thread that also runs the jobs sleeps between looks at what is due.
const PAUSE: Duration = Duration::from_millis(5);

impl fmt::Debug for RunnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.handlers.iter().map(|handler| handler.kind).collect();
        f.debug_struct("RunnerBuilder").field("mode", &self.mode).field("kinds", &kinds).finish()
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("generation", &self.generation).finish_non_exhaustive()
    }
}
