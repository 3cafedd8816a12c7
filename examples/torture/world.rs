//! The objects of the torture: what `write` stores and `check` looks at.

use crate::script::{SLOTS, Shelf, Step, content, play, script};
use perennial::collections::BTree;
use perennial::{Connection, Error, Job, Persistent, Ref, Result};
use serde::{Deserialize, Serialize};

/// The root: every run there was, and a lane for each thread.
#[derive(Clone, Serialize, Deserialize)]
pub struct World {
    pub runs: Vec<Run>,
    pub lanes: Vec<Ref<Lane>>,
    /// How often the job of a commit has run.
    pub effects: BTree<u64, u64>,
}

impl Persistent for World {
    const NAME: &'static str = "torture.World";
}

/// One run of `write`: thread t wrote the numbers above `start` that leave t when divided by
/// `threads`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Run {
    pub start: u64,
    pub threads: u64,
}

/// What one thread works on.
#[derive(Clone, Serialize, Deserialize)]
pub struct Lane {
    /// The last commit of every run that wrote here: (number of the run, commit).
    pub last: Vec<(u64, u64)>,
    pub slots: Vec<Option<Ref<Item>>>,
    pub tree: BTree<u64, u64>,
}

impl Persistent for Lane {
    const NAME: &'static str = "torture.Lane";
}

/// A thing on a shelf.
#[derive(Clone, Serialize, Deserialize)]
pub struct Item {
    pub serial: u64,
    /// The commit that wrote it last.
    pub commit: u64,
    pub data: Vec<u8>,
    pub link: Option<Ref<Item>>,
}

impl Persistent for Item {
    const NAME: &'static str = "torture.Item";
}

/// The job of a commit: it counts itself.
#[derive(Serialize, Deserialize)]
pub struct Count {
    pub commit: u64,
}

impl Job for Count {
    const KIND: &'static str = "torture.Count";
}

impl Run {
    /// The commits of thread `thread` in this run, up to `last`.
    pub fn commits(self, thread: u64, last: u64) -> impl Iterator<Item = u64> {
        let first = (self.start + 1..).find(move |n| n % self.threads == thread);
        first.into_iter().flat_map(move |first| (first..=last).step_by(self.threads as usize))
    }
}

/// The world; a new one where there is none.
pub fn world(conn: &Connection) -> Result<Ref<World>> {
    conn.root_or_init("torture", |conn| {
        Ok(World { runs: Vec::new(), lanes: Vec::new(), effects: BTree::create(conn)? })
    })
}

/// A lane that nobody has worked on.
pub fn new_lane(conn: &Connection) -> Result<Ref<Lane>> {
    let tree = BTree::create(conn)?;
    conn.add(Lane { last: Vec::new(), slots: vec![None; SLOTS], tree })
}

/// Does everything that commit `n` of run number `run` is.
pub fn perform(conn: &Connection, lane: Ref<Lane>, run: u64, n: u64) -> Result<()> {
    let transaction = conn.transaction()?;
    transaction.note(&format!("commit {n}"))?;
    let tree = conn.get(lane)?.tree;
    play(&mut Stored { conn, lane, tree }, n, &script(n))?;
    conn.modify(lane, |lane| match lane.last.last_mut() {
        Some((last_run, last)) if *last_run == run => *last = n,
        _ => lane.last.push((run, n)),
    })
}

/// The shelf of a lane, in the database.
struct Stored<'a> {
    conn: &'a Connection,
    lane: Ref<Lane>,
    tree: BTree<u64, u64>,
}

impl Stored<'_> {
    fn on(&self, slot: usize) -> Result<Option<Ref<Item>>> {
        Ok(self.conn.get(self.lane)?.slots[slot])
    }
}

impl Shelf for Stored<'_> {
    type Error = Error;

    fn put(&mut self, slot: usize, serial: u64, commit: u64, len: usize) -> Result<()> {
        let data = content(serial, commit, len);
        let item = self.conn.add(Item { serial, commit, data, link: None })?;
        self.conn.modify(self.lane, |lane| lane.slots[slot] = Some(item))
    }

    fn change(&mut self, slot: usize, commit: u64, len: usize) -> Result<()> {
        let Some(item) = self.on(slot)? else { return Ok(()) };
        self.conn.modify(item, |item| {
            item.commit = commit;
            item.data = content(item.serial, commit, len);
        })
    }

    fn drop(&mut self, slot: usize) -> Result<()> {
        self.conn.modify(self.lane, |lane| lane.slots[slot] = None)
    }

    fn link(&mut self, from: usize, to: usize) -> Result<()> {
        if let (Some(from), Some(to)) = (self.on(from)?, self.on(to)?) {
            self.conn.modify(from, |item| item.link = Some(to))?;
        }
        Ok(())
    }

    fn note(&mut self, key: u64, value: Option<u64>) -> Result<()> {
        match value {
            Some(value) => self.tree.insert(self.conn, key, value)?,
            None => self.tree.remove(self.conn, &key)?,
        };
        Ok(())
    }

    fn job(&mut self, commit: u64) -> Result<()> {
        self.conn.enqueue(&Count { commit })?;
        Ok(())
    }

    fn in_vain(&mut self, commit: u64, steps: &[Step]) -> Result<()> {
        let here = self.conn.transaction()?.savepoint()?;
        play(self, commit, steps)?;
        self.conn.enqueue(&Count { commit: u64::MAX })?;
        here.rollback()
    }
}
