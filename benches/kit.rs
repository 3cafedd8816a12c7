//! What several benches measure with.

use perennial::{
    Connection, Database, Persistent, Ref, Savepoint, Transaction, TransactionManager,
};
use serde::{Deserialize, Serialize};

/// How far apart the objects are that are changed one after the other: a prime, so that all get
/// their turn, and far, so that none is found in a cache because of its neighbour.
const STRIDE: usize = 7_919;

/// A small object.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tally(pub u64);

impl Persistent for Tally {
    const NAME: &'static str = "benches.Tally";
}

/// A running transaction that has changed many objects.
pub struct Work {
    /// Those that go on changing.
    among: Vec<Ref<Tally>>,
    next: usize,
    transaction: Transaction,
    conn: Connection,
}

impl Work {
    /// With this many objects: the first half was stored before and is modified, the second is
    /// added. Some of them, `among` so many, go on changing.
    pub fn new(count: usize, among: usize) -> Work {
        let db = Database::in_memory().expect("there are random numbers");
        let add = |conn: &Connection| (0..count as u64 / 2).map(|n| conn.add(Tally(n))).collect();
        let mut objects: Vec<_> = db.transact(add).expect("the stored half");
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let transaction = manager.begin().expect("no other one runs");
        for &object in &objects {
            conn.modify(object, |tally| tally.0 += 1).expect("it is stored");
        }
        let added = (objects.len()..count).map(|n| conn.add(Tally(n as u64)).expect("a new one"));
        objects.extend(added);
        let among = objects.into_iter().step_by(count / among).collect();
        Work { among, next: 0, transaction, conn }
    }

    /// Remembers this place.
    pub fn savepoint(&self) -> Savepoint {
        self.transaction.savepoint().expect("the transaction goes on")
    }

    /// Changes one of the objects, another one each time.
    pub fn change(&mut self) {
        self.next = (self.next + STRIDE) % self.among.len();
        let object = self.among[self.next];
        self.conn.modify(object, |tally| tally.0 += 1).expect("it is in the transaction");
    }
}
