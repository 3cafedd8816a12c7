//! [`Third`]: a data manager that does at one phase what a test wants, as dying.

use perennial::transaction::{DataManager, Info, ManagerId, Prepared};
use perennial::{Result, Tid, TransactionManager};
use std::sync::{Arc, Mutex};

/// Something to do at a phase.
type Deed = Box<dyn FnMut() -> Result<()> + Send>;

/// It comes before all others in the order, or after them.
#[derive(Clone)]
pub struct Third {
    name: &'static str,
    at_prepare: Arc<Mutex<Deed>>,
    at_finish: Arc<Mutex<Deed>>,
}

impl Third {
    /// It is asked to prepare, and to finish, before the others are.
    pub fn before() -> Third {
        Third::new("a third")
    }

    /// It is asked to prepare, and to finish, after the others were.
    pub fn after() -> Third {
        Third::new("zzz third")
    }

    fn new(name: &'static str) -> Third {
        let nothing = || Arc::new(Mutex::new(Box::new(|| Ok(())) as Deed));
        Third { name, at_prepare: nothing(), at_finish: nothing() }
    }

    pub fn at_prepare(self, deed: impl FnMut() -> Result<()> + Send + 'static) -> Third {
        Third { at_prepare: Arc::new(Mutex::new(Box::new(deed))), ..self }
    }

    pub fn at_finish(self, deed: impl FnMut() -> Result<()> + Send + 'static) -> Third {
        Third { at_finish: Arc::new(Mutex::new(Box::new(deed))), ..self }
    }

    pub fn join(self, manager: &TransactionManager) {
        manager.join(Handle { id: ManagerId::new(), third: self }).unwrap();
    }
}

struct Handle {
    id: ManagerId,
    third: Third,
}

impl DataManager for Handle {
    fn identity(&self) -> ManagerId {
        self.id
    }

    fn sort_key(&self) -> String {
        self.third.name.into()
    }

    fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
        (self.third.at_prepare.lock().unwrap())()?;
        Ok(Box::new(Promise(self.third.clone())))
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}

struct Promise(Third);

impl Prepared for Promise {
    fn finish(self: Box<Self>) -> Result<Option<Tid>> {
        (self.0.at_finish.lock().unwrap())()?;
        Ok(None)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    fn park(self: Box<Self>) {}
}
