//! What the process knows of its jobs: [`Board`], the order in which they are due.
//!
//! The engine keeps it behind its lock. Hooks and recovery put jobs on it, workers take the next
//! one off and say how it went. It is rebuilt from the file whenever a runner starts, and touches
//! nothing but itself.
//!
//! # Invariants
//! - A job waits in one place at most, and not while it runs here.
//! - Of the jobs that were under way when a process died, one runs at a time.

use super::handler::Handler;
use super::policy::{Breaker, Policy, Signal};
use super::runner::RunMode;
use crate::id::Oid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How many jobs may be on their way from a commit to a worker.
const PLACES: usize = 1024;

/// The jobs in memory.
#[derive(Default)]
pub(super) struct Board {
    /// How the runner runs, while there is one.
    pub mode: Option<RunMode>,
    /// Counts the starts and stops of runners.
    pub generation: u64,
    pub paused: HashSet<String>,
    /// Claimed by this process, and handed over when there was no runner.
    pub strays: HashSet<Oid>,
    lanes: Vec<Lane>,
    /// By kind and alias.
    names: HashMap<String, usize>,
    waiting: HashMap<Oid, (usize, Instant)>,
    running: HashMap<Oid, Running>,
    /// Of [`PLACES`], those reserved by transactions, and those of claimed jobs that wait.
    places: usize,
    suspect_runs: bool,
}

/// The jobs of one kind.
struct Lane {
    handler: Arc<Handler>,
    waiting: BTreeMap<(Instant, Oid), Waiting>,
    running: usize,
    breaker: Breaker,
}

/// How a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    /// Whether this process has it claimed.
    pub claimed: bool,
    /// Whether it was under way when a process died.
    pub suspect: bool,
}

/// A job to run now.
pub(super) struct Picked {
    pub id: Oid,
    pub claimed: bool,
    pub suspect: bool,
    pub handler: Arc<Handler>,
    pub flag: Arc<Flag>,
}

/// Tells a handler to stop.
#[derive(Debug)]
pub(super) struct Flag {
    cancelled: AtomicBool,
    deadline: Option<Instant>,
}

struct Running {
    lane: Option<usize>,
    suspect: bool,
    /// Whether it was started to see whether the target is back.
    probe: bool,
    flag: Arc<Flag>,
}

/// What a worker is to do next.
pub(super) enum Next {
    Run(Picked),
    /// Nothing before this time, or before something changes.
    Wait(Option<Instant>),
}

impl Flag {
    pub fn is_raised(&self) -> bool {
        self.is_stopped() || self.is_late()
    }

    /// Whether somebody raised it, rather than time.
    pub fn is_stopped(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn raise(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Runners.
impl Board {
    pub fn begin(&mut self, mode: RunMode, handlers: &[Arc<Handler>]) {
        self.mode = Some(mode);
        self.generation += 1;
        for handler in handlers {
            for name in handler.names() {
                self.names.insert(name.into(), self.lanes.len());
            }
            let (waiting, breaker) = Default::default();
            self.lanes.push(Lane { handler: handler.clone(), waiting, running: 0, breaker });
        }
    }

    /// No job is started any more. Returns those that this process has claimed and not started,
    /// and the handlers, for the caller to drop: they are foreign code.
    pub fn end(&mut self) -> (Vec<Oid>, Vec<Arc<Handler>>) {
        self.mode = None;
        self.generation += 1;
        self.names.clear();
        self.waiting.clear();
        self.running.values_mut().for_each(|running| running.lane = None);
        let (mut claimed, mut handlers) = (Vec::new(), Vec::new());
        for Lane { handler, waiting, .. } in self.lanes.drain(..) {
            handlers.push(handler);
            let waiting = waiting.into_iter().filter(|(_, how)| how.claimed);
            claimed.extend(waiting.map(|((_, id), _)| id));
        }
        self.places -= claimed.len();
        (claimed, handlers)
    }

    pub fn policy(&self, kind: &str) -> Policy {
        let lane = self.names.get(kind).map(|&lane| &self.lanes[lane]);
        lane.map_or_else(Policy::default, |lane| lane.handler.policy.clone())
    }
}

/// Jobs that wait.
impl Board {
    /// Whether a job of this kind, due now, is born claimed; its place is reserved then.
    pub fn reserve(&mut self, kind: &str) -> bool {
        let Some(&lane) = self.names.get(kind) else { return false };
        let Lane { handler, breaker, .. } = &self.lanes[lane];
        let ready = breaker.is_closed() && !self.paused.contains(handler.kind);
        let reserved = ready && self.places < PLACES;
        self.places += usize::from(reserved);
        reserved
    }

    /// Gives a place back that [`reserve`](Board::reserve) gave.
    pub fn free(&mut self) {
        self.places -= 1;
    }

    /// Lets a job wait until `at`, if there is a handler for it. Who runs it says what becomes of
    /// it: one that runs here is left alone.
    pub fn put(&mut self, id: Oid, kind: &str, at: Instant, how: Waiting) {
        if self.running.contains_key(&id) {
            return;
        }
        self.take_off(id);
        let Some(&lane) = self.names.get(kind) else {
            self.strays.extend(how.claimed.then_some(id));
            return;
        };
        self.places += usize::from(how.claimed);
        self.lanes[lane].waiting.insert((at, id), how);
        self.waiting.insert(id, (lane, at));
    }

    /// Whether the job waits, or runs.
    pub fn knows(&self, id: Oid) -> bool {
        self.waiting.contains_key(&id) || self.running.contains_key(&id)
    }

    fn take_off(&mut self, id: Oid) {
        let Some((lane, at)) = self.waiting.remove(&id) else { return };
        let waiting = self.lanes[lane].waiting.remove(&(at, id));
        self.places -= usize::from(waiting.is_some_and(|waiting| waiting.claimed));
    }

    /// The job is no more: nobody shall start it, and who runs it shall stop.
    pub fn forget(&mut self, id: Oid) {
        self.take_off(id);
        if let Some(running) = self.running.get(&id) {
            running.flag.raise();
        }
    }

    /// The job that is due first, of those that may run.
    pub fn next(&mut self, now: Instant) -> Next {
        let suspects = !self.suspect_runs;
        let first = |(index, lane): (usize, &Lane)| {
            let Policy { concurrency, .. } = lane.handler.policy;
            if lane.running >= concurrency.max(1) || self.paused.contains(lane.handler.kind) {
                return None;
            }
            let (&(at, id), &how) =
                lane.waiting.iter().find(|(_, how)| suspects || !how.suspect)?;
            Some((lane.breaker.gate(at)?, at, id, how, index))
        };
        match self.lanes.iter().enumerate().filter_map(first).min() {
            Some((gate, _, id, how, lane)) if gate <= now => {
                Next::Run(self.start(lane, id, how, now))
            }
            later => Next::Wait(later.map(|(gate, ..)| gate)),
        }
    }

    fn start(&mut self, index: usize, id: Oid, how: Waiting, now: Instant) -> Picked {
        let lane = &mut self.lanes[index];
        let Waiting { claimed, suspect } = how;
        lane.running += 1;
        let probe = lane.breaker.started();
        let handler = lane.handler.clone();
        let deadline = handler.policy.timeout.and_then(|timeout| now.checked_add(timeout));
        let flag = Arc::new(Flag { cancelled: AtomicBool::new(false), deadline });
        self.take_off(id);
        self.suspect_runs |= suspect;
        self.running.insert(id, Running { lane: Some(index), suspect, probe, flag: flag.clone() });
        Picked { id, claimed, suspect, handler, flag }
    }
}

/// Jobs that run.
impl Board {
    /// The job runs no more.
    pub fn ended(&mut self, id: Oid, signal: Signal, now: Instant) {
        let Some(Running { lane, suspect, probe, .. }) = self.running.remove(&id) else { return };
        self.suspect_runs &= !suspect;
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
            lane.running -= 1;
            lane.breaker.ended(signal, probe, &lane.handler.policy, now);
        }
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many run beyond their time.
    pub fn stuck(&self) -> usize {
        self.running.values().filter(|running| running.flag.is_late()).count()
    }

    pub fn cancel_all(&self) {
        self.running.values().for_each(|running| running.flag.raise());
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}
