//! The threads that make history, and note what they see.

use super::check::{Ended, History, Transaction};
use crate::support::rng::Rng;
use perennial::storage::Storage;
use perennial::{
    Connection, Database, Durability, Error, Isolation, Persistent, Ref, Result, Tid,
    TransactionManager,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How history is made.
#[derive(Debug)]
pub struct Settings {
    pub isolation: Isolation,
    pub threads: usize,
    pub transactions: usize,
    pub seed: u64,
}

/// An object that tells who stored it: no value is stored twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    value: u64,
    filling: Vec<u8>,
}

impl Persistent for Mark {
    const NAME: &'static str = "laws.Mark";
}

/// What all threads share.
struct World {
    db: Database,
    marks: Vec<Ref<Mark>>,
    /// The last commit that anybody was told of.
    acknowledged: AtomicU64,
}

/// Makes history in a new database; what the threads recorded.
pub fn run(storage: Arc<dyn Storage>, settings: &Settings) -> History {
    let mut rng = Rng::new(settings.seed ^ settings.threads as u64);
    // Few objects are fought over, of many some are not cached.
    let count = [4, 16, 64, 400][rng.below(4) as usize];
    let world = World::new(storage, settings, count, rng.coin());
    let share = settings.transactions.div_ceil(settings.threads);
    let mut transactions = vec![world.first()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..settings.threads)
            .map(|number| {
                let client = Client::new(&world, number, rng.number());
                scope.spawn(move || client.run(share))
            })
            .collect();
        clients.into_iter().for_each(|client| transactions.extend(client.join().unwrap()));
    });
    let history = History { isolation: settings.isolation, transactions };
    world.check_storage(&history);
    history
}

impl World {
    fn new(storage: Arc<dyn Storage>, settings: &Settings, count: u64, small: bool) -> World {
        let mut opened = perennial::Settings::default();
        (opened.isolation, opened.durability) = (settings.isolation, Durability::Lazy);
        opened.cache_bytes = if small { 20_000 } else { opened.cache_bytes };
        let db = Database::with_storage(storage, &opened);
        let add = |conn: &Connection| {
            (0..count).map(|number| conn.add(Mark { value: number, filling: Vec::new() })).collect()
        };
        let marks = db.transact(add).unwrap();
        let acknowledged = AtomicU64::new(db.last_tid().number());
        World { db, marks, acknowledged }
    }

    /// The transaction that made the objects.
    fn first(&self) -> Transaction {
        let ended = Ended::Committed(self.db.last_tid());
        let writes = (0..self.marks.len()).map(|number| (number, number as u64)).collect();
        let (snapshot, floor) = (Tid::ZERO, Tid::ZERO);
        Transaction { snapshot, floor, ended, reads: Vec::new(), writes }
    }

    fn acknowledged(&self) -> Tid {
        Tid::new(self.acknowledged.load(Ordering::SeqCst))
    }

    /// The storage tells the same history as its clients.
    fn check_storage(&self, history: &History) {
        let objects = history.objects();
        for (number, &mark) in self.marks.iter().enumerate() {
            let told = self.db.history(mark).unwrap();
            let stored = told.iter().rev().map(|change| change.tid);
            assert!(stored.eq(objects[&number].iter().map(|&(tid, _)| tid)), "object {number}");
            let (tid, value) = *objects[&number].last().unwrap();
            let found = self.db.view(|view| Ok((view.stored_by(mark)?, view.get(mark)?.value)));
            assert_eq!(found.unwrap(), (tid, value), "object {number}");
        }
    }
}

/// One thread.
struct Client<'a> {
    world: &'a World,
    manager: TransactionManager,
    conn: Connection,
    rng: Rng,
    /// The last value it stored, or wanted to.
    last: u64,
    /// What its last transactions saw.
    past: Vec<Tid>,
}

/// What a transaction has seen and stored so far.
#[derive(Default)]
struct Notes {
    reads: Vec<(usize, u64)>,
    writes: Vec<(usize, u64)>,
}

impl<'a> Client<'a> {
    fn new(world: &'a World, number: usize, seed: u64) -> Client<'a> {
        let manager = TransactionManager::new();
        let conn = world.db.connect(&manager);
        let (rng, last) = (Rng::new(seed), (number as u64 + 1) << 40);
        Client { world, manager, conn, rng, last, past: vec![world.acknowledged()] }
    }

    fn run(mut self, transactions: usize) -> Vec<Transaction> {
        let run = |_| match self.rng.below(10) {
            0 => self.view(),
            1 => self.view_of_the_past(),
            _ => self.transaction(),
        };
        (0..transactions).map(run).collect()
    }

    fn transaction(&mut self) -> Transaction {
        let floor = self.world.acknowledged();
        let mut transaction = self.manager.begin().unwrap();
        let snapshot = self.conn.tid().unwrap();
        self.past.push(snapshot);
        if self.past.len() > 100 {
            self.past.swap_remove(self.rng.below(100) as usize);
        }
        let mut notes = Notes::default();
        for _ in 0..=self.rng.below(5) {
            self.step(&mut notes).unwrap();
        }
        let ended = match self.rng.below(20) {
            0 => transaction.abort().map(|()| Ended::Aborted).unwrap(),
            _ => self.ended(transaction.commit().map(|report| report.tid)),
        };
        drop(transaction);
        let Notes { reads, writes } = notes;
        Transaction { snapshot, floor, ended, reads, writes }
    }

    /// Reads an object, or changes it.
    fn step(&mut self, notes: &mut Notes) -> Result<()> {
        let object = self.rng.below(self.world.marks.len() as u64) as usize;
        let mark = self.world.marks[object];
        if self.rng.below(8) == 0 {
            thread::yield_now();
        }
        if self.rng.coin() {
            notes.note(object, self.conn.get(mark)?.value);
            return Ok(());
        }
        self.last += 1;
        let (value, length) = (self.last, self.rng.below(200) as usize);
        let before = self.conn.modify(mark, |mark| {
            mark.filling = vec![7; length];
            std::mem::replace(&mut mark.value, value)
        })?;
        notes.note(object, before);
        notes.writes.retain(|&(of, _)| of != object);
        notes.writes.push((object, value));
        Ok(())
    }

    fn ended(&self, result: Result<Option<Tid>>) -> Ended {
        match result {
            Ok(None) => Ended::ReadOnly,
            Ok(Some(tid)) => {
                self.world.acknowledged.fetch_max(tid.number(), Ordering::SeqCst);
                Ended::Committed(tid)
            }
            Err(Error::Conflict(conflict)) => {
                let object = self.world.marks.iter().position(|mark| mark.oid() == conflict.oid);
                Ended::Conflict { with: conflict.current, object: object.unwrap() }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn view(&mut self) -> Transaction {
        let floor = self.world.acknowledged();
        let db = &self.world.db;
        let read = |view: &perennial::View| Ok((view.tid()?, self.read(view)?));
        let (snapshot, reads) = db.view(read).unwrap();
        Transaction { snapshot, floor, ended: Ended::ReadOnly, reads, writes: Vec::new() }
    }

    /// A view of what some earlier transaction saw.
    fn view_of_the_past(&mut self) -> Transaction {
        let snapshot = self.past[self.rng.below(self.past.len() as u64) as usize];
        let reads = self.world.db.view_at(snapshot, |view| self.read(view)).unwrap();
        let floor = Tid::ZERO;
        Transaction { snapshot, floor, ended: Ended::ReadOnly, reads, writes: Vec::new() }
    }

    fn read(&self, view: &perennial::View) -> Result<Vec<(usize, u64)>> {
        let mut rng = self.rng.clone();
        let one = |_| {
            let object = rng.below(self.world.marks.len() as u64) as usize;
            Ok((object, view.get(self.world.marks[object])?.value))
        };
        (0..4).map(one).collect()
    }
}

impl Notes {
    /// What was found of an object: what this transaction has stored of it, or what others had.
    fn note(&mut self, object: usize, found: u64) {
        match self.writes.iter().find(|&&(of, _)| of == object) {
            Some(&(_, mine)) => assert_eq!(found, mine, "it does not see its own change"),
            None => self.reads.push((object, found)),
        }
    }
}
