//! When a failed job is tried again, and when no more: [`Policy`], and the [`Breaker`] of a kind.
//!
//! `board` asks the breaker before it starts a job, `work` the policy after one has failed. All
//! waiting is monotonic; nothing here looks at a clock.
//!
//! # Invariants
//! - No delay is longer than its cap, nor shorter than half of what its bound is.
//! - While a breaker is open, one probe at a time is under way.

use std::time::{Duration, Instant};

/// How the jobs of one kind are run and retried.
///
/// ```
/// use perennial::Policy;
/// let patient = Policy { concurrency: 4, max_attempts: Some(20), ..Policy::default() };
/// assert!(patient.delay(3) >= patient.backoff * 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How many jobs of this kind may run at once, at least one. By default as many as there are
    /// threads.
    pub concurrency: usize,
    /// The bound of the wait after the first failure; it doubles from one failure to the next. By
    /// default one second.
    pub backoff: Duration,
    /// What no such bound exceeds, by default 15 minutes.
    pub backoff_cap: Duration,
    /// How long after it was due a job that still fails is given up, and dead. By default 72 hours.
    pub give_up_after: Duration,
    /// After how many failures it is given up, whatever its age. By default no number is enough.
    pub max_attempts: Option<u32>,
    /// How many times it may have been under way when the process died, before it is dead.
    /// By default three times.
    pub max_crashes: u32,
    /// After what time an attempt is told to stop; by default it is not. See [`Context::is_cancelled`].
    ///
    /// [`Context::is_cancelled`]: super::Context::is_cancelled
    pub timeout: Option<Duration>,
    /// After how many failures in a row, of whichever jobs, the kind's breaker opens: then one
    /// job at a time is tried, until one succeeds. By default five.
    pub breaker: u32,
    /// How long an open breaker waits before its first probe; it doubles from probe to probe. By
    /// default one second.
    pub probe: Duration,
    /// What no such wait exceeds, by default one minute.
    pub probe_cap: Duration,
    /// Whether the removal of a job that is done waits for the disk. It does not by default: a
    /// power loss may repeat what was done in about the last 100 ms.
    pub durable_completion: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        const MINUTE: u64 = 60;
        Policy {
            concurrency: usize::MAX,
            backoff: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(15 * MINUTE),
            give_up_after: Duration::from_secs(72 * 60 * MINUTE),
            max_attempts: None,
            max_crashes: 3,
            timeout: None,
            breaker: 5,
            probe: Duration::from_secs(1),
            probe_cap: Duration::from_secs(MINUTE),
            durable_completion: false,
        }
    }
}

impl Policy {
    /// How long to wait after this many failures: a random time between half the bound and the
    /// bound, so that jobs that failed together do not come back together.
    pub fn delay(&self, failures: u32) -> Duration {
        let bound = doubled(self.backoff, failures, self.backoff_cap);
        // Without random numbers the longest wait is as good as any.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        bound.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }

    /// Whether a job that failed this often, and was due this long ago, is given up.
    pub(super) fn gives_up(&self, failures: u32, age: Duration) -> bool {
        age >= self.give_up_after || self.max_attempts.is_some_and(|most| failures >= most)
    }
}

fn doubled(first: Duration, times: u32, cap: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(cap)
}

/// Keeps a kind whose target is down from trying every job.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// Where it is open: when the next probe may go.
    open: Option<Instant>,
    probing: bool,
    probes: u32,
}

/// What an attempt says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// Nothing.
    Silent,
}

impl Breaker {
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// The earliest time at which a job that waits since `at` may start; `None` while a probe is
    /// under way.
    pub fn gate(&self, at: Instant) -> Option<Instant> {
        match self.open {
            None => Some(at),
            Some(_) if self.probing => None,
            Some(open) => Some(open.max(at)),
        }
    }

    /// A job is started; whether it is a probe.
    pub fn started(&mut self) -> bool {
        self.probing = self.open.is_some();
        self.probing
    }

    /// A job has ended, which was a probe or was not: one may have been started before the breaker
    /// opened, and end while a probe is under way.
    pub fn ended(&mut self, signal: Signal, probe: bool, policy: &Policy, now: Instant) {
        self.probing &= !probe;
        match signal {
            Signal::Up => *self = Breaker::default(),
            Signal::Silent => {}
            Signal::Down => {
                self.failures = self.failures.saturating_add(1);
                let says_more = probe || self.is_closed();
                if says_more && self.failures >= policy.breaker {
                    self.probes = self.probes.saturating_add(1);
                    self.open =
                        now.checked_add(doubled(policy.probe, self.probes, policy.probe_cap));
                }
            }
        }
    }
}
