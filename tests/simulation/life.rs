//! Databases at work on a simulated disk, as a seed says, and the stories of their files.

use super::flow::{Flow, Pay};
use super::group;
use super::model::{self, KINDS, Sum, Value};
use super::story::{Shared, Story};
use super::tally::Seen;
use super::witness::Witness;
use crate::support::databases::loose;
use crate::support::rng::Rng;
use crate::support::sim::{Kind, SimDisk};
use perennial::file::{Access, Directory};
use perennial::format::FileHeader;
use perennial::storage::FileStorage;
use perennial::storage::file::{FileOptions, Mode};
use perennial::{
    Connection, Database, DatabaseId, Durability, Error, Oid, Policy, Ref, Result, RunMode, Runner,
    Settings, Tid, View,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The files.
pub const NAMES: [&str; 2] = ["a.db", "b.db"];

/// What is decided before a life begins, and goes for those that follow a crash of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many databases there are.
    pub sides: usize,
    /// How many flows of control.
    pub flows: usize,
    /// Whether there are jobs.
    pub jobs: bool,
    /// Whether some objects are large.
    pub large: bool,
    /// Whether somebody does the housekeeping.
    pub tended: bool,
    /// Whether several threads commit at once, now and then.
    pub groups: bool,
}

impl Plan {
    pub fn of(rng: &mut Rng) -> Plan {
        Plan {
            sides: 1 + usize::from(rng.below(3) == 0),
            flows: 1 + rng.below(3) as usize,
            jobs: rng.below(4) == 0,
            large: rng.below(16) == 0,
            tended: rng.below(4) == 0,
            groups: rng.below(4) == 0,
        }
    }
}

/// One database.
pub struct Side {
    pub name: &'static str,
    pub db: Database,
    pub witness: Arc<Witness>,
    pub runner: Option<Runner>,
    /// What was asked for; it equals what was paid and what pending jobs will pay.
    pub asked: Ref<Sum>,
    pub paid: Ref<Sum>,
    large: bool,
}

/// Opens a file without a housekeeper, whatever is in doubt.
pub fn quiet(disk: &SimDisk, name: &str, mode: Mode) -> Result<FileStorage> {
    let options =
        FileOptions { mode, housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    FileStorage::open(Arc::new(disk.clone()), name, options)
}

impl Side {
    /// Opens the file, which must hold what the story says.
    fn open(disk: &SimDisk, name: &'static str, story: &Shared, plan: &Plan) -> Result<Side> {
        let file = quiet(disk, name, Mode::OpenOrCreate)?;
        let witness = Arc::new(Witness::of(file, disk, story));
        let mut settings = Settings::default();
        settings.cache_bytes = 1 << 16;
        let db = Database::with_storage(witness.clone(), &settings);
        // The sums are looked for once nothing is in doubt.
        let (asked, paid) = (loose(Oid::ROOT), loose(Oid::ROOT));
        Ok(Side { name, db, witness, runner: None, asked, paid, large: plan.large })
    }

    /// Finds the sums, and starts who runs the jobs.
    fn settle_in(&mut self, plan: &Plan) -> Result<()> {
        let found = self.db.view(|view| Ok((view.root("asked")?, view.root("paid")?)))?;
        (self.asked, self.paid) = match found {
            (Some(asked), Some(paid)) => (asked, paid),
            (None, None) => self.db.transact(|conn| {
                let new = |_: &Connection| Ok(Sum(0));
                Ok((conn.root_or_init("asked", new)?, conn.root_or_init("paid", new)?))
            })?,
            other => panic!("half of a transaction is there: {other:?}"),
        };
        self.check_books(plan)?;
        if plan.jobs {
            let paid = self.paid;
            // A job that failed waits longer than the run takes: no clock decides what happens.
            let hour = Duration::from_secs(3600);
            let mut policy = Policy { backoff: hour, backoff_cap: hour, ..Policy::default() };
            policy.breaker = u32::MAX;
            let runner = self.db.runner().on_with::<Pay>(policy, move |context, job| {
                Seen::Job.note();
                context.complete(|conn| conn.modify(paid, |sum| sum.0 += job.cents))?;
                Ok(())
            });
            self.runner = Some(runner.mode(RunMode::Manual).start()?);
        }
        Ok(())
    }

    /// Checks that what was asked for is paid, or will be.
    fn check_books(&self, plan: &Plan) -> Result<()> {
        let pending = match plan.jobs {
            true => self.pending()?,
            false => 0,
        };
        let sums = self.db.view(|view| Ok((view.get(self.asked)?.0, view.get(self.paid)?.0)))?;
        assert_eq!(sums.0, sums.1 + pending, "asked for, and paid or pending");
        Ok(())
    }

    fn pending(&self) -> Result<i64> {
        let jobs = self.db.jobs();
        let mut pending = 0;
        for job in jobs.list()? {
            pending += jobs.read::<Pay>(job.id)?.map_or(0, |pay| pay.cents);
        }
        Ok(pending)
    }

    /// Some object that is there as of `tid`, and what it is.
    pub fn pick(&self, rng: &mut Rng, tid: Tid) -> Option<(Oid, Value)> {
        let story = self.witness.story();
        // A few are in demand.
        let count = (story.objects.len() as u64).max(1);
        let among = if rng.coin() { count.min(6) } else { count };
        let number = rng.below(among) as usize;
        let (&oid, _) = story.objects.iter().nth(number)?;
        model::told(&story, oid, tid).map(|value| (oid, value))
    }

    pub fn is_pinned(&self, oid: Oid) -> bool {
        let story = self.witness.story();
        story.objects.get(&oid).is_some_and(|revisions| {
            let (_, entry, number) = &revisions[0];
            entry.batch.write(*number).pinned
        })
    }

    /// What an object may become.
    pub fn value(&self, rng: &mut Rng, stamp: u64) -> Value {
        let length = match rng.below(32) {
            0 if self.large => 70_000,
            1 => 1 + rng.below(5000),
            2..6 => 1 + rng.below(900),
            _ => 1 + rng.below(60),
        };
        let mut bytes = vec![stamp as u8; length as usize];
        if rng.below(8) == 0 {
            self.copy_log(rng, &mut bytes);
        }
        Value::Item(rng.below(KINDS) as u8, stamp, bytes)
    }

    /// Fills `bytes` with a piece of the log: what an object holds must not be taken for a frame.
    fn copy_log(&self, rng: &mut Rng, bytes: &mut [u8]) {
        let end = self.witness.file.facts().log_end;
        let longest = end.saturating_sub(4096).min(bytes.len() as u64);
        let start = 4096 + rng.below(end - 4096 - longest + 1) / 8 * 8;
        let length = longest.min(end - start) as usize;
        self.witness.log(start, &mut bytes[..length]);
    }
}

/// Databases at work.
pub struct Life {
    pub disk: SimDisk,
    pub stories: Vec<Shared>,
    pub plan: Plan,
    /// Whether the disk may fail, so that errors are expected.
    pub tolerant: bool,
    sides: Vec<Side>,
    flows: Vec<Flow>,
    rng: Rng,
    stamp: u64,
}

/// New stories of as many files.
pub fn stories(count: usize) -> Vec<Shared> {
    (0..count).map(|_| Arc::new(Mutex::new(Story::new()))).collect()
}

/// Puts an empty database on the disk, of which everything follows from the seed: its id, and its
/// tids, which count on from one that no clock has reached.
pub fn place(disk: &SimDisk, name: &str, rng: &mut Rng) {
    let id = [rng.number(), rng.number()].map(u64::to_le_bytes).concat();
    let mut header = FileHeader::new(DatabaseId::new(id.try_into().expect("sixteen bytes")));
    header.last_tid = Tid::new(1 << 52);
    let file = disk.open(name, Access::CreateNew).expect("a new file");
    file.append(0, &header.encode_file()).expect("a header");
    file.sync().expect("it is synced");
    disk.sync().expect("and so is its name");
}

impl Life {
    /// Opens the databases on `disk`, in some order.
    pub fn open(
        disk: &SimDisk,
        (stories, plan): (&[Shared], &Plan),
        tolerant: bool,
        seed: u64,
    ) -> Result<Life> {
        let (rng, stamp) = (Rng::new(seed), seed.wrapping_mul(1000));
        let mut life = Life {
            disk: disk.clone(),
            stories: stories.to_vec(),
            plan: plan.clone(),
            tolerant,
            sides: Vec::new(),
            flows: Vec::new(),
            rng,
            stamp,
        };
        life.open_sides()?;
        Ok(life)
    }

    fn open_sides(&mut self) -> Result<()> {
        let mut order: Vec<usize> = (0..self.plan.sides).collect();
        self.rng.shuffle(&mut order);
        let mut sides = Vec::new();
        for number in order {
            let story = &self.stories[number];
            sides.push(Side::open(&self.disk, NAMES[number], story, &self.plan)?);
        }
        sides.sort_by_key(|side| side.name);
        self.sides = sides;
        for side in &self.sides {
            let open = side.db.resolve_in_doubt()?;
            if let Some(doubt) = open.first() {
                assert!(self.tolerant, "{} is still in doubt: {doubt:?}", side.name);
                return Err(Error::Unknown("who decides cannot be read".into()));
            }
        }
        self.check_shares();
        self.sides.iter_mut().try_for_each(|side| side.settle_in(&self.plan))?;
        let count = self.sides.len();
        for _ in 0..self.plan.flows {
            // One side, or more often all.
            let only = self.rng.below(2 * count as u64) as usize;
            let flow = Flow::new(&self.sides, |number| only >= count || only == number);
            self.flows.push(flow);
        }
        Ok(())
    }

    /// Checks that transactions of several databases are in all of them, or in none.
    fn check_shares(&self) {
        let [one, other] = &self.sides[..] else { return };
        let (one, other) = (one.witness.story(), other.witness.story());
        for (here, there) in [(&one, &other), (&other, &one)] {
            for gtid in here.entries().filter_map(|entry| entry.gtid) {
                // Who decides stores a transaction of its own in any case.
                let expected = here.shares.contains(&gtid) || there.shares.contains(&gtid);
                let found = there.entries().any(|entry| entry.gtid == Some(gtid));
                assert!(found || !expected, "{gtid} is in one database only");
            }
        }
    }

    /// One thing of many; what fails is told by the stories.
    pub fn step(&mut self) {
        self.stamp += 1;
        // Who is halted is asked for what it must not do any more.
        let halted = self.is_halted();
        let number = self.rng.below(self.sides.len() as u64) as usize;
        let outcome = match self.rng.below(if halted { 12 } else { 40 }) {
            0 => self.sides[number].db.sync(),
            1 => self.tend(number),
            2 => self.write_index(number),
            3 => self.follow(number),
            4 => return self.begin_again(),
            5 => self.run_jobs(number),
            6 => self.look_back(number),
            7 => self.look_while_writing(number),
            8 | 9 if halted || self.plan.tended => self.tend(number),
            10 | 11 if self.plan.groups => return self.commit_together(number),
            _ => self.flow(),
        };
        self.expect(outcome);
    }

    fn expect(&self, outcome: Result<()>) {
        let Err(error) = outcome else { return };
        assert!(self.tolerant, "nothing was to fail: {error:?}");
        assert!(is_the_disks(&error), "no answer to a disk that fails: {error:?}");
    }

    fn flow(&mut self) -> Result<()> {
        let number = self.rng.below(self.flows.len() as u64) as usize;
        let flow = &mut self.flows[number];
        let outcome = flow.step(&self.sides, &mut self.rng, self.stamp);
        if outcome.is_err() {
            flow.abort();
        }
        outcome
    }

    /// A commit that waits for the disk.
    pub fn commit_durably(&mut self) {
        self.stamp += 1;
        for number in 0..self.sides.len() {
            let side = &self.sides[number];
            let value = side.value(&mut self.rng, self.stamp);
            let made = side.db.transact(|conn| model::add(conn, &value, false, None));
            self.expect(made.map(drop));
        }
    }

    /// Commits what several threads want.
    fn commit_together(&mut self, number: usize) {
        let (disk, side) = (self.disk.clone(), &self.sides[number]);
        for outcome in group::commit(&disk, side, &mut self.rng, self.stamp) {
            if !matches!(outcome, Err(Error::Conflict(_))) {
                self.expect(outcome);
            }
        }
    }

    /// How much of each file is durable, for certain.
    pub fn durable(&self) -> Vec<u64> {
        self.sides.iter().map(|side| side.witness.file.facts().durable).collect()
    }

    fn tend(&mut self, number: usize) -> Result<()> {
        self.sides[number].witness.settling(|file| file.tend()).map(drop)
    }

    /// Writes the index snapshot, and commits something meanwhile.
    fn write_index(&mut self, number: usize) -> Result<()> {
        let side = &self.sides[number];
        let value = side.value(&mut self.rng, self.stamp);
        let (db, lazy) = (side.db.clone(), self.rng.coin());
        let moments = [(Kind::Create, 0), (Kind::Write, 0), (Kind::Write, 1), (Kind::Write, 2)];
        let moments = [&moments[..], &[(Kind::Rename, 0), (Kind::SyncNames, 0)]].concat();
        let (kind, nth) = moments[self.rng.below(moments.len() as u64) as usize];
        if self.rng.coin() {
            self.disk.interrupt(kind, nth, move || {
                // Where the disk fails, the story tells.
                let _ = db.transact(|conn| {
                    conn.set_durability(if lazy { Durability::Lazy } else { Durability::Sync })?;
                    model::add(conn, &value, false, None)
                });
            });
        }
        Seen::Snapshot.note();
        let outcome = side.witness.settling(|file| file.write_index());
        self.disk.leave_alone();
        outcome
    }

    /// Opens a file for reading, beside its writer.
    fn follow(&mut self, number: usize) -> Result<()> {
        look(&self.disk, NAMES[number], &self.stories[number], true)
    }

    /// The same in the middle of what the next step does.
    fn look_while_writing(&mut self, number: usize) -> Result<()> {
        let kind = if self.rng.coin() { Kind::Write } else { Kind::Sync };
        let (disk, story) = (self.disk.clone(), self.stories[number].clone());
        self.disk.interrupt(kind, 0, move || {
            // A disk that fails shows nothing.
            let _ = look(&disk, NAMES[number], &story, true);
        });
        let outcome = self.flow();
        self.disk.leave_alone();
        outcome
    }

    fn run_jobs(&mut self, number: usize) -> Result<()> {
        let side = &self.sides[number];
        if let Some(runner) = &side.runner {
            runner.run_due();
        }
        side.check_books(&self.plan)
    }

    /// Compares some earlier state with what the story says of it.
    fn look_back(&mut self, number: usize) -> Result<()> {
        let side = &self.sides[number];
        let story = side.witness.story();
        let tids: Vec<Tid> = story.entries().filter_map(|entry| entry.tid()).collect();
        if tids.is_empty() {
            return Ok(());
        }
        let tid = tids[self.rng.below(tids.len() as u64) as usize];
        let known: Vec<Oid> = story.objects.keys().copied().collect();
        drop(story);
        side.db.view_at(tid, |view: &View| {
            for oid in known {
                let told = model::told(&side.witness.story(), oid, tid);
                if let Some(value) = told {
                    assert_eq!(model::seen(view, oid, &value)?, value, "{oid} as of {tid}");
                }
            }
            Ok(())
        })
    }

    pub fn is_halted(&self) -> bool {
        self.sides.iter().any(|side| side.witness.story().halted.is_some())
    }

    /// Closes the databases, or kills the process, and opens them again.
    fn begin_again(&mut self) {
        if self.rng.coin() {
            self.close()
        } else {
            self.die()
        }
        let mut opened = self.open_sides();
        if let Err(error) = &opened {
            assert!(self.tolerant && is_the_disks(error), "it does not open: {error:?}");
            self.disk.heal();
            self.die();
            opened = self.open_sides();
        }
        opened.expect("it opens on a disk that works");
    }

    /// Closes the databases.
    pub fn close(&mut self) {
        self.let_go();
        for side in std::mem::take(&mut self.sides) {
            let outcome = side.db.close();
            self.expect(outcome);
        }
        self.check_halted();
    }

    /// Ends the process.
    pub fn die(&mut self) {
        self.check_halted();
        self.disk = self.disk.kill();
        self.let_go();
        self.sides.clear();
        // What the dead try in their last moments is not worth a word.
        self.stories.iter().for_each(|it| it.lock().expect("no panic before").halted = None);
    }

    fn let_go(&mut self) {
        self.flows.drain(..).for_each(|mut flow| flow.abort());
    }

    /// Checks that what halted has written nothing since.
    fn check_halted(&self) {
        for (name, story) in NAMES.iter().zip(&self.stories) {
            let halted = story.lock().expect("no panic before").halted.take();
            if let Some(halted) = halted {
                let written = self.disk.actions_on(name, halted);
                assert!(written.is_empty(), "{name} is halted, and went on: {written:?}");
            }
        }
    }
}

/// Opens a file for reading only and compares.
fn look(disk: &SimDisk, name: &str, story: &Shared, beside_writer: bool) -> Result<()> {
    let follower = quiet(disk, name, Mode::ReadOnly)?;
    Seen::Look.note();
    let mut story = story.lock().expect("no panic before");
    disk.calmly(|| story.shown(disk.moment(), &follower, beside_writer));
    Ok(())
}

/// Whether an error is one that a disk that fails may lead to.
pub fn is_the_disks(error: &Error) -> bool {
    let error = error.cause();
    matches!(
        error,
        Error::Io(_)
            | Error::Unknown(_)
            | Error::Halted(_)
            | Error::TransactionFailed(_)
            | Error::Conflict(_)
            | Error::InDoubt(_)
    )
}
