//! Mail that is sent if a transaction commits: by a data manager, and by a job.
//!
//! ```console
//! $ cargo run --example outbox
//! ```
//!
//! The data manager is short, and right about everything but what it is for. A data manager
//! promises, before the decision, to finish after it; and nobody can promise that a mail server
//! will be well. So here is also the job that does it, which promises nothing and gets there.

use perennial::transaction::{DataManager, Decision, Info, ManagerId, Prepared, Saved};
use perennial::{
    Connection, Database, Error, Job, Outcome, Result, RunMode, Runner, Tid, TransactionManager,
};
use serde::{Deserialize, Serialize};
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Sends one message, or says why not.
pub type Post = Arc<dyn Fn(&str) -> Result<()> + Send + Sync>;

/// Messages that are sent when the transaction commits. Not for use: see [`Mail`].
pub struct Outbox {
    shared: Arc<Shared>,
    manager: TransactionManager,
}

struct Shared {
    id: ManagerId,
    post: Post,
    messages: Mutex<Vec<String>>,
}

impl Outbox {
    /// An outbox that takes part in the transactions of `manager`.
    pub fn new(manager: &TransactionManager, post: Post) -> Outbox {
        let shared = Shared { id: ManagerId::new(), post, messages: Mutex::default() };
        Outbox { shared: Arc::new(shared), manager: manager.clone() }
    }

    /// Sends a message, if the transaction commits.
    pub fn send(&self, message: &str) -> Result<()> {
        self.manager.check_usable("send a message")?;
        // Joins first: a message that is listed by nobody who has joined would wait for the next
        // transaction, and be sent with that.
        match self.manager.join(Handle(self.shared.clone())) {
            Ok(()) | Err(Error::AlreadyJoined(_)) => {}
            Err(error) => return Err(error),
        }
        self.shared.messages().push(message.into());
        Ok(())
    }
}

impl Shared {
    fn messages(&self) -> MutexGuard<'_, Vec<String>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all of them; those behind one that cannot be sent are lost.
    fn deliver(&self) -> Result<()> {
        let messages = take(&mut *self.messages());
        messages.iter().try_for_each(|message| (self.post)(message))
    }
}

/// What joins.
struct Handle(Arc<Shared>);

impl DataManager for Handle {
    fn identity(&self) -> ManagerId {
        self.0.id
    }

    fn sort_key(&self) -> String {
        "outbox".into()
    }

    fn prepare(&mut self, _: &Info) -> Result<Box<dyn Prepared>> {
        // Everything that can fail should be done here; but to send is all there is to do.
        Ok(Box::new(Promise(self.0.clone())))
    }

    fn commit_alone(&mut self, _: &Info, _: Option<&Decision>) -> Result<Option<Tid>> {
        // An error would say that nothing was sent, which is only sure where one was tried.
        self.0.deliver().map_err(|error| Error::Unknown(error.to_string().into()))?;
        Ok(None)
    }

    fn abort(&mut self) -> Result<()> {
        self.0.messages().clear();
        Ok(())
    }

    fn savepoint(&mut self) -> Result<Box<dyn Saved>> {
        let count = self.0.messages().len();
        Ok(Box::new(Place { shared: self.0.clone(), count }))
    }
}

struct Place {
    shared: Arc<Shared>,
    count: usize,
}

impl Saved for Place {
    fn rollback(&mut self) -> Result<()> {
        self.shared.messages().truncate(self.count);
        Ok(())
    }
}

struct Promise(Arc<Shared>);

impl Prepared for Promise {
    fn finish(self: Box<Self>) -> Result<Option<Tid>> {
        self.0.deliver()?;
        Ok(None)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.0.messages().clear();
        Ok(())
    }

    fn park(self: Box<Self>) {
        // Sent or not, one of them would be wrong.
        self.0.messages().clear();
    }
}

/// A message as a job: it is written by the commit itself, and stays until it was sent.
#[derive(Serialize, Deserialize)]
pub struct Mail {
    /// What it says.
    pub text: String,
}

impl Job for Mail {
    const KIND: &'static str = "outbox.Mail";
}

/// Sends a message, if the transaction commits.
pub fn send(conn: &Connection, message: &str) -> Result<()> {
    conn.enqueue(&Mail { text: message.into() }).map(drop)
}

/// Who sends them. What fails is tried again, after longer and longer waits; what was under way
/// when a process died is tried again by the next.
pub fn postman(db: &Database, post: Post) -> Result<Runner> {
    db.runner().on::<Mail>(move |_, mail| Ok(post(&mail.text)?)).mode(RunMode::Pool(1)).start()
}

/// Sends one message each way, while the post office is closed.
pub fn main() -> Result<()> {
    let (sent, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (list, is_open) = (sent.clone(), open.clone());
    let post: Post = Arc::new(move |message: &str| {
        if !is_open.load(Ordering::Relaxed) {
            return Err(Error::other("the post office is closed"));
        }
        list.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
        Ok(())
    });
    let db = Database::in_memory()?;

    let manager = TransactionManager::new();
    let (conn, outbox) = (db.connect(&manager), Outbox::new(&manager, post.clone()));
    let mut transaction = manager.begin()?;
    conn.root_or_init("orders", |_| Ok(Orders(1)))?;
    outbox.send("by data manager")?;
    let error = transaction.commit().expect_err("the post office is closed");
    println!("data manager: {error}");
    assert!(matches!(transaction.outcome(), Some(Outcome::Mixed(_))), "the order is there");
    drop(transaction);

    let runner = postman(&db, post)?;
    db.transact(|conn| send(conn, "by job"))?;
    open.store(true, Ordering::Relaxed);
    assert!(runner.run_until_idle(Duration::from_secs(60)), "it is tried until it succeeds");
    let sent = take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    println!("sent: {sent:?}");
    assert_eq!(sent, ["by job"], "and what the data manager had is lost");
    Ok(())
}

#[derive(Clone, Serialize, Deserialize)]
struct Orders(u32);

impl perennial::Persistent for Orders {
    const NAME: &'static str = "shop.Orders";
}
