//! Who has the current transaction: [`TransactionManager`], and [`Epoch`], its number.
//!
//! An application makes one manager for each flow of control, and gives it to the connections and
//! other data managers that this flow uses. The manager knows only which transaction is current;
//! the transaction itself lies in `state`.
//!
//! # Invariants
//! - At most one transaction is current.
//! - The epoch's number is that of the current transaction, and is changed with it.
//! - Where the epoch says that a transaction takes work, it does.

use super::contain::contain;
use super::current::Current;
use super::data_manager::DataManager;
use super::gate::Glimpse;
use super::guard::Transaction;
use super::outcome::Status;
use super::state::State;
use super::synchronizer::Synchronizer;
use crate::error::{Error, Result};
use crate::id::GlobalId;
use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A `TransactionManager` gives out one transaction at a time, to one flow of control.
///
/// It is a handle: clones are the same manager. It may move between threads, and be called from
/// several, but they share the one transaction; for transactions side by side, make managers.
///
/// ```
/// use perennial::Error;
/// use perennial::transaction::TransactionManager;
///
/// let manager = TransactionManager::new();
/// assert!(matches!(manager.current(), Err(Error::NoTransaction(_))));
/// let transaction = manager.begin()?;
/// assert!(matches!(manager.begin(), Err(Error::AlreadyInTransaction(_))));
/// assert_eq!(manager.current()?.id(), transaction.id());
/// drop(transaction); // aborts
/// assert!(manager.begin().is_ok());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TransactionManager {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    epoch: Epoch,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    current: Option<Arc<State>>,
    last: u64,
    synchronizers: Vec<Weak<dyn Synchronizer>>,
}

/// An `Epoch` tells which transaction of a manager is current, at the price of one atomic load, and
/// whether it takes work, at that of another.
#[derive(Clone, Default)]
pub struct Epoch(Arc<Marks>);

/// Numbers of transactions; 0 for none.
#[derive(Default)]
struct Marks {
    current: AtomicU64,
    /// One that takes work. As a rule that is the current one, where it does.
    working: AtomicU64,
}

impl Epoch {
    /// The number of the current transaction. No two of a manager have the same one.
    #[inline]
    pub fn active(&self) -> Option<u64> {
        // Acquire: whoever sees the number also sees what was done before the transaction began.
        Some(self.0.current.load(Ordering::Acquire)).filter(|&number| number != 0)
    }

    /// Whether this transaction is known to take work now. Where it is not,
    /// [`check_usable`](TransactionManager::check_usable) knows, and says why.
    #[inline]
    pub fn takes_work(&self, transaction: u64) -> bool {
        self.0.working.load(Ordering::Acquire) == transaction
    }

    fn set(&self, current: Option<&Arc<State>>) {
        self.0.current.store(current.map_or(0, |state| state.number), Ordering::Release);
    }

    /// For `state`, under the lock of the transaction's work.
    pub(super) fn note_work(&self, transaction: u64, takes: bool) {
        let working = &self.0.working;
        if takes {
            working.store(transaction, Ordering::Release);
        } else {
            // Another one's is not ours to take away.
            let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
            working.compare_exchange(transaction, 0, release, relaxed).ok();
        }
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({:?})", self.active())
    }
}

impl TransactionManager {
    /// A manager with no transaction.
    pub fn new() -> TransactionManager {
        TransactionManager::default()
    }

    /// Begins a transaction. It lasts until its guard commits it, aborts it or is dropped.
    ///
    /// # Errors
    /// [`Error::AlreadyInTransaction`] while there is one. With several connections,
    /// [`Error::Unsupported`] from within a phase of a transaction of several databases, which the
    /// connections must not see the half of; others wait until it is over.
    pub fn begin(&self) -> Result<Transaction> {
        let id = GlobalId::random()
            .map_err(|error| Error::io("draw random numbers from", "the system", error))?;
        let _glimpse = if self.has_several_listeners()? { Some(Glimpse::take()?) } else { None };
        let state = {
            let mut slot = self.shared.slot.lock();
            if slot.current.is_some() {
                return Err(Error::AlreadyInTransaction("begin"));
            }
            slot.last += 1;
            let state = Arc::new(State::new(slot.last, id, self.epoch()));
            self.put(&mut slot, Some(state.clone()));
            state
        };
        tracing::debug!(transaction = %id, "begun");
        let transaction = Transaction { current: Current { manager: self.clone(), state } };
        self.tell("new transaction", |listener| listener.new_transaction(&transaction));
        Ok(transaction)
    }

    /// Whether several connections are to see one state; checked while none sees any.
    fn has_several_listeners(&self) -> Result<bool> {
        let slot = self.shared.slot.lock();
        if slot.current.is_some() {
            return Err(Error::AlreadyInTransaction("begin"));
        }
        let living = slot.synchronizers.iter().filter(|listener| listener.strong_count() > 0);
        Ok(living.count() > 1)
    }

    /// The current transaction.
    ///
    /// # Errors
    /// [`Error::NoTransaction`] where there is none.
    pub fn current(&self) -> Result<Current> {
        self.current_to("use the current transaction")
    }

    /// Lets `manager` take part in the current transaction: [`Current::join`].
    ///
    /// # Errors
    /// [`Error::NoTransaction`], and those of [`Current::join`].
    pub fn join(&self, manager: impl DataManager + 'static) -> Result<()> {
        self.current_to("join")?.join(manager)
    }

    /// Whether the current transaction takes work now. A data manager asks before it changes
    /// anything; `action` is the verb for its user.
    ///
    /// # Errors
    /// [`Error::NoTransaction`]; [`Error::TransactionFailed`], naming the first cause;
    /// [`Error::InProgress`] while a phase is running.
    pub fn check_usable(&self, action: &'static str) -> Result<()> {
        // Asked at every change: no handle is made for it.
        let slot = self.shared.slot.lock();
        match &slot.current {
            Some(state) => state.lock().check_work(action),
            None => Err(Error::NoTransaction(action)),
        }
    }

    /// Aborts the current transaction, also one whose guard was forgotten.
    ///
    /// # Errors
    /// [`Error::NoTransaction`], and those of [`Transaction::abort`].
    pub fn abort_current(&self) -> Result<()> {
        self.current_to("abort")?.abort()
    }

    /// How the current transaction stands; [`Status::Idle`] where there is none.
    pub fn status(&self) -> Status {
        let current = self.current();
        current.map_or(Status::Idle, |current| current.status())
    }

    /// Tells which transaction is current, without a lock.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch.clone()
    }

    /// Tells `synchronizer` of every transaction, for as long as somebody else keeps it; of the
    /// current one at once.
    pub fn add_synchronizer(&self, synchronizer: Weak<dyn Synchronizer>) {
        let late = synchronizer.upgrade();
        self.shared.slot.lock().synchronizers.push(synchronizer);
        if let (Some(late), Ok(current)) = (late, self.current()) {
            told("new transaction", || late.new_transaction(&current));
        }
    }

    fn current_to(&self, action: &'static str) -> Result<Current> {
        let current = self.shared.slot.lock().current.clone();
        let state = current.ok_or_else(|| Error::NoTransaction(action))?;
        Ok(Current { manager: self.clone(), state })
    }
}

/// For `ending`.
impl TransactionManager {
    /// From now on no transaction is current.
    pub(super) fn leave(&self) {
        self.put(&mut self.shared.slot.lock(), None);
    }

    /// `state` is current again.
    pub(super) fn return_to(&self, state: &Arc<State>) {
        self.put(&mut self.shared.slot.lock(), Some(state.clone()));
    }

    fn put(&self, slot: &mut Slot, current: Option<Arc<State>>) {
        self.shared.epoch.set(current.as_ref());
        slot.current = current;
    }

    /// Calls every synchronizer that is still there.
    pub(super) fn tell(&self, what: &str, call: impl Fn(&dyn Synchronizer)) {
        let mut listeners = Vec::new();
        self.shared.slot.lock().synchronizers.retain(|listener| {
            listeners.extend(listener.upgrade());
            listener.strong_count() > 0
        });
        for listener in listeners {
            told(what, || call(&*listener));
        }
    }
}

fn told(what: &str, call: impl FnOnce()) {
    let result = contain(format_args!("a synchronizer, told of {what},"), || {
        call();
        Ok(())
    });
    if let Err(error) = result {
        tracing::error!(%error, "a synchronizer failed");
    }
}

impl fmt::Debug for TransactionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionManager").field("status", &self.status()).finish()
    }
}
