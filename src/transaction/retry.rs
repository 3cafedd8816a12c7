//! Work that is tried again when somebody else was faster: [`TransactionManager::run`].
//!
//! `Database::transact` is built on it. Whether to try again is asked of the *transaction*: the
//! error that the work returns may be of any type, and may hide what happened.
//!
//! # Invariants
//! - Every try is a transaction of its own, which is over before the next one begins.

use super::contain::contain;
use super::current::Current;
use super::manager::TransactionManager;
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A `RetryPolicy` says how often work is tried, and how long to wait in between.
///
/// Each wait is drawn at random, up to a bound that doubles from one to the next until it reaches
/// a cap: tries that collided are unlikely to collide again.
///
/// ```
/// use perennial::transaction::RetryPolicy;
/// use std::time::Duration;
/// let patient = RetryPolicy::new(20).backoff(Duration::from_millis(5), Duration::from_secs(1));
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    tries: u32,
    first: Duration,
    cap: Duration,
    on_retry: Option<Arc<OnRetry>>,
}

type OnRetry = dyn Fn(&Retry<'_>) + Send + Sync;

/// A try that failed and will be followed by another.
#[derive(Debug)]
#[non_exhaustive]
pub struct Retry<'a> {
    /// How many tries have failed, at least 1.
    pub failed: u32,
    /// Why this one did: the first cause in its transaction.
    pub cause: &'a str,
    /// How long the wait is.
    pub delay: Duration,
}

impl RetryPolicy {
    /// At most `tries` tries; the first wait is up to 1 ms, and none beyond 100 ms.
    pub fn new(tries: u32) -> RetryPolicy {
        let (first, cap) = (Duration::from_millis(1), Duration::from_millis(100));
        RetryPolicy { tries, first, cap, on_retry: None }
    }

    /// Waits up to `first` before the second try, then up to twice that, but never beyond `cap`.
    pub fn backoff(self, first: Duration, cap: Duration) -> RetryPolicy {
        RetryPolicy { first, cap, ..self }
    }

    /// Calls `callback` before every wait, when no transaction is current.
    pub fn on_retry(self, callback: impl Fn(&Retry<'_>) + Send + Sync + 'static) -> RetryPolicy {
        RetryPolicy { on_retry: Some(Arc::new(callback)), ..self }
    }

    /// A random time up to the bound after `failed` tries.
    fn delay(&self, failed: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failed - 1));
        // Without random numbers the longest wait is as good as any.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        doubled.min(self.cap).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

impl Default for RetryPolicy {
    /// Ten tries.
    fn default() -> RetryPolicy {
        RetryPolicy::new(10)
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetryPolicy { tries, first, cap, .. } = self;
        write!(f, "RetryPolicy({tries} tries, waits from {first:?} to {cap:?})")
    }
}

impl TransactionManager {
    /// Runs `work` in a transaction and commits it; where a retryable error stands against it,
    /// again in a new one, as often as `policy` allows. An error that `work` returns makes its
    /// transaction fail with that cause. A panic aborts and goes on.
    ///
    /// # Errors
    /// The last try's. [`Error::InvalidArgument`] where the policy allows no try at all;
    /// [`Error::AlreadyInTransaction`] inside another transaction of this manager.
    pub fn run<T>(
        &self,
        policy: &RetryPolicy,
        mut work: impl FnMut(&Current) -> Result<T>,
    ) -> Result<T> {
        self.try_run(policy, |current| work(current).inspect_err(|error| current.fail(error)))
    }

    /// As [`run`](TransactionManager::run), for work with errors of its own. What it returns ends
    /// the work; it is tried again only where the transaction had failed with a retryable cause.
    ///
    /// # Errors
    /// As for [`run`](TransactionManager::run).
    pub fn try_run<T, E: From<Error>>(
        &self,
        policy: &RetryPolicy,
        mut work: impl FnMut(&Current) -> Result<T, E>,
    ) -> Result<T, E> {
        if policy.tries == 0 {
            return Err(Error::InvalidArgument("zero tries leave none for the work".into()).into());
        }
        let mut failed = 0;
        loop {
            let mut transaction = self.begin()?;
            let error = match work(&transaction) {
                Ok(value) => match transaction.commit() {
                    Ok(_) => return Ok(value),
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            let current = transaction.clone();
            // Aborts; what is wrong with that is logged, and worth less than the first error.
            drop(transaction);
            failed += 1;
            if failed == policy.tries || !current.wait_to_retry(policy, failed) {
                return Err(error);
            }
        }
    }
}

impl Current {
    /// Whether the transaction, which is over, failed for a cause that allows a retry; where it
    /// did, waits until it is time.
    fn wait_to_retry(&self, policy: &RetryPolicy, failed: u32) -> bool {
        let cause = self.state.lock().cause.take();
        let Some(cause) = cause.filter(|cause| cause.retryable) else { return false };
        let delay = policy.delay(failed);
        tracing::debug!(transaction = %self.id(), failed, cause = %cause.text, ?delay, "retrying");
        if let Some(callback) = &policy.on_retry {
            callback(&Retry { failed, cause: &cause.text, delay });
        }
        for wait in cause.waits {
            let waited = contain(format_args!("a data manager's wait before a retry"), || {
                wait();
                Ok(())
            });
            if let Err(error) = waited {
                tracing::error!(%error, "went on without waiting");
            }
        }
        std::thread::sleep(delay);
        true
    }
}
