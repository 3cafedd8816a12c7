//! The power goes: in a life that a seed tells, in many ways, again while what is left is opened,
//! and in the lives that follow.

use super::damage::damage;
use super::life::{Life, NAMES, Plan, place, stories};
use super::story::Shared;
use crate::support::rng::Rng;
use crate::support::sim::{Action, Failure, Kind, Moment, Policy, SimDisk, Times};
use perennial::file::{Access, Directory};
use perennial::storage::file::{FindingKind, verify};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// How many states of a disk were opened and compared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub states: u64,
    /// Of these, how many were opened while the disk failed.
    pub faulty: u64,
    /// Of these, how many were left by a crash of what another crash had left.
    pub again: u64,
    /// What was done to disks, in one number: equal for equal runs.
    pub mark: u64,
}

impl Count {
    pub fn add(&mut self, other: Count) {
        self.states += other.states;
        self.faulty += other.faulty;
        self.again += other.again;
        self.mark ^= other.mark.rotate_left(self.states as u32);
    }

    /// Takes in what was done to a disk: what, where and how much; not which bytes, since the
    /// names of transactions are drawn by the system.
    fn note(&mut self, disk: &SimDisk) {
        let (mut hasher, mut aside) = (DefaultHasher::new(), BTreeSet::new());
        self.mark.hash(&mut hasher);
        for action in disk.actions() {
            match action {
                // How long a torn end is depends on its last bytes.
                Action::Create { name, inode } if name.ends_with("torn") => {
                    aside.insert(inode);
                }
                Action::Write { inode, .. } if aside.contains(&inode) => {}
                // The name of what is being created has the id in it.
                Action::Create { inode, .. } => (0, inode).hash(&mut hasher),
                Action::Rename { inode, .. } => (1, inode).hash(&mut hasher),
                Action::Remove { inode, .. } => (2, inode).hash(&mut hasher),
                Action::Write { inode, offset, bytes } => {
                    (3, inode, offset, bytes.len()).hash(&mut hasher);
                }
                Action::Trim { inode, length } => (4, inode, length).hash(&mut hasher),
                Action::Sync { inode } => (5, inode).hash(&mut hasher),
                Action::Lose { inode, kept } => (6, inode, kept).hash(&mut hasher),
                Action::SyncNames => 7.hash(&mut hasher),
                Action::Refused => 8.hash(&mut hasher),
            }
        }
        self.mark = hasher.finish();
    }
}

/// What can fail, and how.
const FAULTS: [(Kind, Failure); 14] = [
    (Kind::Write, Failure::Io),
    (Kind::Write, Failure::Full),
    (Kind::Sync, Failure::Io),
    (Kind::Sync, Failure::Full),
    (Kind::Sync, Failure::Lost),
    (Kind::Sync, Failure::Torn),
    (Kind::Trim, Failure::Io),
    (Kind::Create, Failure::Io),
    (Kind::Create, Failure::Full),
    (Kind::Rename, Failure::Io),
    (Kind::Rename, Failure::Full),
    (Kind::Remove, Failure::Io),
    (Kind::SyncNames, Failure::Io),
    (Kind::Read, Failure::Io),
];

/// Plans a failure within about the next `soon` things of its kind.
fn plan_a_fault(disk: &SimDisk, rng: &mut Rng, soon: u64) {
    let (kind, failure) = FAULTS[rng.below(FAULTS.len() as u64) as usize];
    let times = if rng.below(3) == 0 { Times::Always } else { Times::Once };
    let soon = match kind {
        Kind::Write | Kind::Sync | Kind::Read => soon,
        _ => 1 + soon / 8,
    };
    disk.fail(kind, rng.below(soon), failure, times);
}

/// Lives as `seed` says, and looks at what crashes leave of it.
pub fn explore(seed: u64) -> Count {
    let mut rng = Rng::new(seed);
    let (plan, disk) = (Plan::of(&mut rng), SimDisk::new());
    // Of a database that is created here the system draws the id, and of two ids the smaller one
    // decides.
    if plan.sides > 1 || rng.below(8) > 0 {
        NAMES[..plan.sides].iter().for_each(|name| place(&disk, name, &mut rng));
    }
    let (told, fails) = (stories(plan.sides), rng.below(3) == 0);
    let start = disk.moment();
    if fails {
        plan_a_fault(&disk, &mut rng, 40);
    }
    let mut life = match Life::open(&disk, (&told, &plan), fails, rng.number()) {
        Ok(life) => life,
        Err(error) => {
            assert!(fails, "a new database does not open: {error:?}");
            disk.heal();
            let disk = disk.kill();
            let seed = rng.number();
            Life::open(&disk, (&told, &plan), true, seed).expect("it opens on a disk that works")
        }
    };
    (0..20 + rng.below(60)).for_each(|_| life.step());
    if rng.coin() {
        life.close()
    } else {
        life.die()
    }
    let mut count = Count::default();
    count.note(&life.disk);
    crashes(&life, start, 6, &mut rng, 0, &mut count);
    count
}

/// Crashes at some moments of a life from `start` on.
fn crashes(life: &Life, start: usize, moments: u64, rng: &mut Rng, depth: u32, count: &mut Count) {
    let all = (life.disk.moment() + 1).saturating_sub(start) as u64;
    let mut chosen: Vec<usize> = (0..moments).map(|_| start + rng.below(all) as usize).collect();
    chosen.sort_unstable();
    chosen.dedup();
    life.disk.at_moments(&chosen, |moment| crash(life, &moment, rng, depth, count));
}

/// Opens what a crash leaves, lives on, and crashes again.
fn crash(life: &Life, moment: &Moment, rng: &mut Rng, depth: u32, count: &mut Count) {
    let policy = Policy::ALL[rng.below(Policy::ALL.len() as u64) as usize];
    let disk = moment.crash(policy, rng.number());
    let cut = |story: &Shared| {
        let story = story.lock().expect("no panic before");
        Arc::new(Mutex::new(story.cut_at(moment.number)))
    };
    if rng.below(16) == 0 {
        NAMES[..life.plan.sides].iter().for_each(|name| check_sound(&disk, name));
    }
    let told: Vec<Shared> = life.stories.iter().map(cut).collect();
    let faulty = rng.below(6) == 0;
    count.states += 1;
    count.faulty += u64::from(faulty);
    count.again += u64::from(depth > 0);
    let mut next = open(&disk, &told, &life.plan, faulty, rng);
    let steps = if rng.below(4) == 0 { rng.below(12) } else { 0 };
    (0..steps).for_each(|_| next.step());
    let proven = next.durable();
    next.commit_durably();
    let halted = next.is_halted();
    next.die();
    count.note(&next.disk);
    if !faulty && !halted && rng.below(8) == 0 {
        let number = rng.below(proven.len() as u64) as usize;
        let story = next.stories[number].lock().expect("no panic before");
        damage(&next.disk, NAMES[number], proven[number], &story, rng);
    }
    if depth < 3 && rng.below(3) == 0 {
        crashes(&next, 0, 2, rng, depth + 1, count);
    }
}

/// Checks that a verification finds nothing wrong with what a crash left, if it left anything.
fn check_sound(disk: &SimDisk, name: &str) {
    if disk.open(name, Access::Read).is_ok() {
        let mut verified = verify(disk, name, &mut |_, _| {}).expect("it can be read");
        // Pinned objects are removed though others refer to them.
        verified.findings.retain(|finding| finding.kind != FindingKind::Dangling);
        assert!(verified.is_sound(), "a crash is called damage: {:?}", verified.findings);
    }
}

/// Opens what is left, on a disk that may fail meanwhile.
fn open(disk: &SimDisk, told: &[Shared], plan: &Plan, faulty: bool, rng: &mut Rng) -> Life {
    if faulty {
        plan_a_fault(disk, rng, 16);
    }
    let seed = rng.number();
    match Life::open(disk, (told, plan), faulty, seed) {
        Ok(life) => life,
        Err(error) => {
            assert!(faulty && super::life::is_the_disks(&error), "it does not open: {error:?}");
            disk.heal();
            let opened = Life::open(&disk.kill(), (told, plan), faulty, seed);
            opened.expect("it opens on a disk that works")
        }
    }
}
