//! [`Cell`]: a data manager that holds one number, writes down every call, and fails on demand.

use parking_lot::Mutex;
use perennial::error::Conflict;
use perennial::transaction::{
    DataManager, Decision, Info, ManagerId, Phase, Prepared, Saved, Transaction, TransactionManager,
};
use perennial::{DatabaseId, Error, Oid, Result, Tid};
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;

/// What happened, in order, told by all who share it.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn say(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    /// What was said since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A manager with a transaction in which the cells `a`, `b`, … were set to 1.
pub fn working<const N: usize>(names: [&str; N]) -> (Transaction, [Cell; N], Journal) {
    let (manager, journal) = (TransactionManager::new(), Journal::default());
    let transaction = manager.begin().unwrap();
    let cells = names.map(|name| Cell::new(name, &journal));
    for cell in &cells {
        cell.set(&manager, 1).unwrap();
    }
    (transaction, cells, journal)
}

/// How a phase goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Error,
    Conflict,
    Unknown,
    Panic,
}

/// A number that changes in transactions.
#[derive(Clone)]
pub struct Cell {
    id: ManagerId,
    name: String,
    journal: Journal,
    decides: Option<DatabaseId>,
    savepoints: bool,
    recovers: bool,
    stubborn: bool,
    state: Arc<Mutex<State>>,
}

type OnFlush = dyn FnMut() -> bool + Send;

#[derive(Default)]
struct State {
    committed: i64,
    pending: Option<i64>,
    faults: HashMap<Phase, Fault>,
    on_flush: Option<Arc<Mutex<OnFlush>>>,
    acts: HashMap<Phase, Box<dyn FnOnce() + Send>>,
    waits: usize,
    memories: usize,
    forgotten: Vec<usize>,
    last: Seen,
}

/// What the last commit told this manager.
#[derive(Clone, Default)]
pub struct Seen {
    pub info: Option<Info>,
    pub decision: Option<Decision>,
}

impl Cell {
    pub fn new(name: &str, journal: &Journal) -> Cell {
        Cell {
            id: ManagerId::new(),
            name: name.into(),
            journal: journal.clone(),
            decides: None,
            savepoints: true,
            recovers: false,
            stubborn: false,
            state: Arc::default(),
        }
    }

    /// It commits into the database whose id has only this byte.
    pub fn deciding(self, database: u8) -> Cell {
        Cell { decides: Some(DatabaseId::new([database; 16])), ..self }
    }

    pub fn recovering(self) -> Cell {
        Cell { recovers: true, ..self }
    }

    /// It calls every error retryable.
    pub fn stubborn(self) -> Cell {
        Cell { stubborn: true, ..self }
    }

    pub fn without_savepoints(self) -> Cell {
        Cell { savepoints: false, ..self }
    }

    /// Changes the number: joins at the first change, before it records the change.
    pub fn set(&self, manager: &TransactionManager, value: i64) -> Result<()> {
        manager.check_usable("change a cell")?;
        if self.state.lock().pending.is_none() {
            manager.join(self.handle())?;
        }
        self.state.lock().pending = Some(value);
        Ok(())
    }

    /// What is seen inside the transaction.
    pub fn value(&self) -> i64 {
        let state = self.state.lock();
        state.pending.unwrap_or(state.committed)
    }

    /// What is seen from outside.
    pub fn committed(&self) -> i64 {
        self.state.lock().committed
    }

    pub fn handle(&self) -> Handle {
        Handle(self.clone())
    }

    pub fn break_at(&self, phase: Phase, fault: Fault) {
        self.state.lock().faults.insert(phase, fault);
    }

    pub fn mend(&self) {
        self.state.lock().faults.clear();
    }

    /// Called in this phase, the next time it comes to it.
    pub fn at(&self, phase: Phase, act: impl FnOnce() + Send + 'static) {
        self.state.lock().acts.insert(phase, Box::new(act));
    }

    /// Nothing is called in a flush any more: what was may hold this cell.
    pub fn forget_flush(&self) {
        let forgotten = self.state.lock().on_flush.take();
        drop(forgotten);
    }

    /// Called in every flush; returns whether it changed anything.
    pub fn on_flush(&self, code: impl FnMut() -> bool + Send + 'static) {
        self.state.lock().on_flush = Some(Arc::new(Mutex::new(code)));
    }

    pub fn seen(&self) -> Seen {
        self.state.lock().last.clone()
    }

    /// How often a retry waited for this manager.
    pub fn waits(&self) -> usize {
        self.state.lock().waits
    }

    /// How many savepoints this manager remembers.
    pub fn memories(&self) -> usize {
        let state = self.state.lock();
        state.memories - state.forgotten.len()
    }

    /// Those that it remembers no longer, by number, in the order in which they were dropped.
    pub fn forgotten(&self) -> Vec<usize> {
        self.state.lock().forgotten.clone()
    }

    fn called(&self, phase: Phase) -> Result<()> {
        let name = &self.name;
        self.journal.say(format!("{name} {phase}"));
        let act = self.state.lock().acts.remove(&phase);
        act.into_iter().for_each(|act| act());
        let fault = {
            let mut state = self.state.lock();
            let fault = state.faults.get(&phase).copied();
            // Nothing more may be called after these, so here ends what was pending.
            let last = fault.is_some() && matches!(phase, Phase::CommitAlone | Phase::Finish);
            if last || matches!(phase, Phase::Abort | Phase::Park) {
                state.pending = None;
            }
            fault
        };
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(Error::other(format!("{name} cannot {phase}"))),
            Some(Fault::Conflict) => {
                Err(Conflict::new(Oid::new(1), Tid::new(1), Tid::new(2)).into())
            }
            Some(Fault::Unknown) => Err(Error::Unknown(format!("{name} lost its disk").into())),
            // A panic, but without a message on the terminal for each of thousands.
            Some(Fault::Panic) => resume_unwind(Box::new(format!("{name} panics in {phase}"))),
        }
    }

    fn publish(&self) -> Option<Tid> {
        let mut state = self.state.lock();
        if let Some(value) = state.pending.take() {
            state.committed = value;
        }
        self.decides.map(|database| Tid::new(database.bytes()[0].into()))
    }
}

/// What joins.
pub struct Handle(Cell);

impl DataManager for Handle {
    fn identity(&self) -> ManagerId {
        self.0.id
    }

    fn sort_key(&self) -> String {
        self.0.name.clone()
    }

    fn decides(&self) -> Option<DatabaseId> {
        self.0.decides
    }

    fn flush(&mut self) -> Result<bool> {
        let code = self.0.state.lock().on_flush.clone();
        let Some(code) = code else { return Ok(false) };
        self.0.called(Phase::Flush)?;
        let changed = code.lock()();
        Ok(changed)
    }

    fn prepare(&mut self, info: &Info) -> Result<Box<dyn Prepared>> {
        self.0.called(Phase::Prepare)?;
        self.0.state.lock().last = Seen { info: Some(info.clone()), decision: None };
        Ok(Box::new(Promise(self.0.clone())))
    }

    fn commit_alone(&mut self, info: &Info, decision: Option<&Decision>) -> Result<Option<Tid>> {
        self.0.called(Phase::CommitAlone)?;
        self.0.state.lock().last = Seen { info: Some(info.clone()), decision: decision.cloned() };
        Ok(self.0.publish())
    }

    fn abort(&mut self) -> Result<()> {
        self.0.called(Phase::Abort)
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        if !self.0.savepoints {
            return Err(Error::Unsupported(format!("{} has no savepoints", self.0.name).into()));
        }
        self.0.called(Phase::Savepoint)?;
        let mut state = self.0.state.lock();
        state.memories += 1;
        let (value, number) = (state.pending, state.memories);
        Ok(Box::new(Memory { cell: self.0.clone(), value, number }))
    }

    fn is_retryable(&self, error: &Error) -> bool {
        if self.0.stubborn {
            self.0.journal.say(format!("{} is asked: {error}", self.0.name));
        }
        self.0.stubborn || error.is_retryable()
    }

    fn before_retry(&self, error: &Error) -> Option<Box<dyn FnOnce() + Send>> {
        let state = self.0.state.clone();
        let conflict = matches!(error, Error::Conflict(_));
        conflict.then(|| Box::new(move || state.lock().waits += 1) as Box<dyn FnOnce() + Send>)
    }
}

struct Promise(Cell);

impl Prepared for Promise {
    fn finish(self: Box<Self>) -> Result<Option<Tid>> {
        self.0.called(Phase::Finish)?;
        Ok(self.0.publish())
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.0.called(Phase::Abort)
    }

    fn park(self: Box<Self>) {
        // A fault here can only be a panic.
        let _ = self.0.called(Phase::Park);
    }

    fn recovers(&self) -> bool {
        self.0.recovers
    }
}

struct Memory {
    cell: Cell,
    value: Option<i64>,
    number: usize,
}

impl Saved for Memory {
    fn rollback(&mut self) -> Result<()> {
        self.cell.called(Phase::Rollback)?;
        self.cell.state.lock().pending = self.value;
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.cell.state.lock().forgotten.push(self.number);
    }
}
