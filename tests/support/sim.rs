//! A disk that loses power: [`SimDisk`].
//!
//! # The model
//! A *file* has three parts: its **cache**, which is what reads show; what is **durable**; and the
//! **un-synced** writes and trims, in order, that make one of the other. A sync of the file makes
//! them durable, and the length. The *names* of the directory have the same three parts, and only
//! a sync of the directory makes a creation, rename or removal durable: syncing a file does not
//! sync its name.
//!
//! Everything that changes something is an [`Action`] with a number. The disk remembers all of
//! them, so that after one run of a program a test can look at the disk as it would have been
//! found had the power gone at *any* moment ([`SimDisk::crash_at`]), in many ways ([`Policy`]):
//! of what was un-synced at that moment nothing arrived, or all, or what a seed says, torn into
//! sectors or bytes, or out of order. Where a file had grown and its data did not arrive, there
//! may be zeros, noise, or old bytes of the same file in a wrong place. A rename arrives as a whole
//! or not at all. What is on the disk then is durable, and locks are gone.
//!
//! Before that, actions can be made to fail ([`SimDisk::fail`]), among them the sync of Linux that
//! fails *once* and drops what it could not write ([`Failure::Lost`]): reads go on showing it, the
//! next sync succeeds and makes only later writes durable (and the length), and the power loss
//! reveals the hole. Writing the bytes again (`rewrite`) makes them un-synced again. Or it drops
//! some of it, and the rest arrives ([`Failure::Torn`]). The power can also go while the program
//! runs ([`SimDisk::stop_after`]): from then on all calls fail. Or the process dies and the system
//! lives ([`SimDisk::kill`]): what was written stays, un-synced as it was.
//!
//! Something else can be done just before an action ([`SimDisk::interrupt`]): so one thread is
//! enough to commit, say, while a snapshot is being written.
//!
//! What it does not model: a device that lies about a sync, and bytes that change by themselves
//! once durable; tests of damage write their damage into the file.

pub use super::faults::{Failure, Kind, Times};
pub use super::platter::{Action, Policy};

use super::faults::Plans;
use super::platter::{Bytes, State};
use super::rng::Rng;
use perennial::file::{Access, AppendFile, Directory, FileIdentity, Map, Slots};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated disk with one directory, as one process sees it; its clones are the same disk and
/// the same process.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    process: u64,
}

/// A moment in the life of a disk.
pub struct Moment {
    /// How many actions there had been.
    pub number: usize,
    state: State,
}

struct World {
    found: State,
    now: State,
    actions: Vec<Action>,
    stop: Option<usize>,
    /// The process that lives; to those before it everything fails.
    process: u64,
    plans: Plans,
    locks: BTreeMap<usize, u64>,
    handles: u64,
    device: u64,
}

impl SimDisk {
    /// A disk with an empty directory.
    pub fn new() -> SimDisk {
        SimDisk::found_as(State::default())
    }

    fn found_as(found: State) -> SimDisk {
        static DEVICES: AtomicU64 = AtomicU64::new(1);
        let world = World {
            now: found.clone(),
            found,
            actions: Vec::new(),
            stop: None,
            process: 0,
            plans: Plans::default(),
            locks: BTreeMap::new(),
            handles: 0,
            device: DEVICES.fetch_add(1, Ordering::Relaxed),
        };
        SimDisk { world: Arc::new(Mutex::new(world)), process: 0 }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // Others may reach the disk first; where a checker looks on, it decides.
        #[cfg(shuttle)]
        shuttle::thread::sleep(std::time::Duration::ZERO);
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, for a process that lives.
    fn alive(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world();
        world.check_power()?;
        match world.process == self.process {
            true => Ok(world),
            false => Err(io::Error::other("the process is dead")),
        }
    }

    /// The world, once whatever is to be done before an action of this kind was done.
    fn before(&self, kind: Kind) -> io::Result<MutexGuard<'_, World>> {
        let due = self.alive()?.plans.interruptions(kind);
        due.into_iter().for_each(|run| run());
        self.alive()
    }

    /// Kills the process: all it does from now on fails, its locks are gone, and what it wrote is
    /// as un-synced as it was. Returns the disk as the next process sees it.
    pub fn kill(&self) -> SimDisk {
        let mut world = self.world();
        world.process += 1;
        world.locks.clear();
        let (process, forgotten) = (world.process, world.plans.leave_alone());
        drop(world);
        drop(forgotten);
        SimDisk { world: self.world.clone(), process }
    }

    /// Does something before an action of this kind, after `nth` more of them; once.
    pub fn interrupt(&self, kind: Kind, nth: u64, run: impl FnOnce() + Send + 'static) {
        self.world().plans.interrupt(kind, nth, Box::new(run));
    }

    /// Forgets what was to be done before actions.
    pub fn leave_alone(&self) {
        let forgotten = self.world().plans.leave_alone();
        drop(forgotten);
    }

    /// How many actions there were: the number of the present moment.
    pub fn moment(&self) -> usize {
        self.world().actions.len()
    }

    /// All actions so far, in order.
    pub fn actions(&self) -> Vec<Action> {
        self.world().actions.clone()
    }

    /// What was done since to the file `name` and those beside it, whose names begin with its; but
    /// for an index snapshot, of which nobody knows yet.
    pub fn actions_on(&self, name: &str, since: usize) -> Vec<Action> {
        let world = self.world();
        let is_own = |other: &str| other.starts_with(name);
        let is_beside = |other: &str| is_own(other) && other.ends_with(".tmp-index");
        let found = world.found.names.iter().filter(|(other, _)| is_own(other));
        let mut inodes: BTreeSet<usize> = found.map(|(_, inode)| *inode).collect();
        let mut done = Vec::new();
        for (number, action) in world.actions.iter().enumerate() {
            let own = match action {
                Action::Create { name, .. } if is_beside(name) => false,
                Action::Create { name, inode } if is_own(name) => inodes.insert(*inode),
                Action::Rename { from: name, .. } | Action::Remove { name, .. } => {
                    is_own(name) && !is_beside(name)
                }
                Action::Write { inode, .. }
                | Action::Trim { inode, .. }
                | Action::Sync { inode }
                | Action::Lose { inode, .. } => inodes.contains(inode),
                Action::Create { .. } | Action::SyncNames | Action::Refused => false,
            };
            if own && number >= since {
                done.push(action.clone());
            }
        }
        done
    }

    /// Cuts the power once there were `actions` actions.
    pub fn stop_after(&self, actions: usize) {
        self.world().stop = Some(actions);
    }

    /// Makes something fail after it worked `nth` more times.
    pub fn fail(&self, kind: Kind, nth: u64, failure: Failure, times: Times) {
        self.world().plans.fail(kind, nth, failure, times);
    }

    /// How often something was made to fail.
    pub fn failures(&self) -> usize {
        self.world().plans.failures
    }

    /// Does something on a disk that fails in nothing meanwhile, and remembers its plans.
    pub fn calmly<T>(&self, act: impl FnOnce() -> T) -> T {
        self.world().plans.calm = true;
        let result = act();
        self.world().plans.calm = false;
        result
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.world().plans.heal();
    }

    /// The disk as it is found if the power goes now.
    pub fn crash(&self, policy: Policy, seed: u64) -> SimDisk {
        SimDisk::found_as(self.world().now.crash(policy, &mut Rng::new(seed)))
    }

    /// The disk as it is found if the power went at an earlier moment.
    pub fn crash_at(&self, moment: usize, policy: Policy, seed: u64) -> SimDisk {
        self.moments().nth(moment).expect("there was this moment").crash(policy, seed)
    }

    /// Some moments, by their numbers in order: to crash at a few of many, this is fastest.
    pub fn at_moments(&self, chosen: &[usize], mut look: impl FnMut(Moment)) {
        let (mut state, actions) = {
            let world = self.world();
            (world.found.clone(), world.actions.clone())
        };
        let mut performed = 0;
        for &number in chosen {
            actions[performed..number].iter().for_each(|action| state.perform(action));
            performed = number;
            look(Moment { number, state: state.clone() });
        }
    }

    /// Every moment so far, from before the first action to after the last: to crash at each of
    /// them, this is faster than [`crash_at`](SimDisk::crash_at).
    pub fn moments(&self) -> impl Iterator<Item = Moment> + use<> {
        let (mut state, actions) = {
            let world = self.world();
            (world.found.clone(), world.actions.clone())
        };
        (0..=actions.len()).map(move |number| {
            if let Some(last) = number.checked_sub(1) {
                state.perform(&actions[last]);
            }
            Moment { number, state: state.clone() }
        })
    }
}

impl Moment {
    /// The disk as it is found if the power went then.
    pub fn crash(&self, policy: Policy, seed: u64) -> SimDisk {
        SimDisk::found_as(self.state.crash(policy, &mut Rng::new(seed)))
    }
}

impl World {
    fn inode(&self, name: &str) -> io::Result<usize> {
        self.now.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn check_power(&self) -> io::Result<()> {
        match self.stop {
            Some(stop) if self.actions.len() >= stop => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    /// Does it, or as much of it as the planned failure lets.
    fn run(&mut self, kind: Kind, action: Action) -> io::Result<()> {
        let (action, result) = match self.plans.admit(kind) {
            None => (action, Ok(())),
            Some(failure) => {
                let seed = self.actions.len() as u64;
                (failure.instead_of(action, seed), Err(failure.error()))
            }
        };
        self.now.perform(&action);
        self.actions.push(action);
        result
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk {:?}", self.world().actions)
    }
}

/// Refuses what no directory takes for a name.
fn check_name(name: &str) -> io::Result<()> {
    let plain = !matches!(name, "" | "." | "..") && !name.contains('/');
    if plain { Ok(()) } else { Err(ErrorKind::InvalidInput.into()) }
}

impl Directory for SimDisk {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
        check_name(name)?;
        let mut world = match access {
            Access::CreateNew => self.before(Kind::Create)?,
            _ => self.alive()?,
        };
        let inode = match (world.now.names.get(name).copied(), access) {
            (Some(_), Access::CreateNew) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, Access::CreateNew) => {
                let inode = world.now.files.len();
                world.run(Kind::Create, Action::Create { name: name.into(), inode })?;
                inode
            }
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        world.handles += 1;
        let (handle, writable) = (world.handles, access != Access::Read);
        Ok(Arc::new(SimFile { disk: self.clone(), inode, handle, writable }))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut world = self.before(Kind::Rename)?;
        let inode = world.inode(from)?;
        if world.now.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.run(Kind::Rename, Action::Rename { from: from.into(), to: to.into(), inode })
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut world = self.before(Kind::Rename)?;
        let inode = world.inode(from)?;
        world.run(Kind::Rename, Action::Rename { from: from.into(), to: to.into(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.before(Kind::Remove)?;
        let inode = world.inode(name)?;
        world.run(Kind::Remove, Action::Remove { name: name.into(), inode })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let world = self.alive()?;
        Ok(world.now.names.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.before(Kind::SyncNames)?.run(Kind::SyncNames, Action::SyncNames)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated:").join(name)
    }
}

/// A handle on a file of a simulated disk.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    handle: u64,
    writable: bool,
}

impl SimFile {
    fn write(&self, offset: u64, bytes: Bytes) -> io::Result<()> {
        let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= 1 << 40);
        if !fits {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.change(Kind::Write, Action::Write { inode: self.inode, offset, bytes })
    }

    fn change(&self, kind: Kind, action: Action) -> io::Result<()> {
        if !self.writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.disk.before(kind)?.run(kind, action)
    }
}

impl AppendFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let world = self.disk.alive()?;
        Ok(world.now.files[self.inode].cache.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut world = self.disk.before(Kind::Read)?;
        if let Some(failure) = world.plans.admit(Kind::Read) {
            return Err(failure.error());
        }
        let enough = world.now.files[self.inode].cache.read(offset, buffer);
        if enough { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, Bytes::of(bytes))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write(offset, Bytes::zeros(length))
    }

    fn rewrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.append(offset, bytes)
    }

    fn trim(&self, length: u64) -> io::Result<()> {
        if length > self.len()? {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.change(Kind::Trim, Action::Trim { inode: self.inode, length })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.before(Kind::Sync)?.run(Kind::Sync, Action::Sync { inode: self.inode })
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut world = self.disk.alive()?;
        Ok(*world.locks.entry(self.inode).or_insert(self.handle) == self.handle)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        let world = self.disk.alive()?;
        Ok(FileIdentity { device: world.device, inode: self.inode as u64 })
    }

    fn map(&self, _offset: u64, _length: usize) -> Option<Map> {
        None
    }

    fn map_slots(&self, _offset: u64, _count: usize) -> Option<Slots> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.locks.get(&self.inode) == Some(&self.handle) {
            world.locks.remove(&self.inode);
        }
    }
}
