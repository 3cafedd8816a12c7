//! What commit number n does: a function of n and of nothing else.
//!
//! The same script is played to the database, by `write`, and to a model in memory, by `check`.

/// Places on the shelf of a lane.
pub const SLOTS: usize = 48;

/// Something that a script can be played to.
pub trait Shelf {
    type Error;

    /// A new item in `slot`, in the place of what was there; `serial` tells it from all others.
    fn put(&mut self, slot: usize, serial: u64, commit: u64, len: usize)
    -> Result<(), Self::Error>;

    /// New content for the item in `slot`, if there is one.
    fn change(&mut self, slot: usize, commit: u64, len: usize) -> Result<(), Self::Error>;

    /// Drops the reference to the item in `slot`, if there is one.
    fn drop(&mut self, slot: usize) -> Result<(), Self::Error>;

    /// Makes the item in `from` refer to the one in `to`, if there are both.
    fn link(&mut self, from: usize, to: usize) -> Result<(), Self::Error>;

    /// Stores a value under a key of the lane's tree, or removes the key.
    fn note(&mut self, key: u64, value: Option<u64>) -> Result<(), Self::Error>;

    /// Enqueues the job of this commit.
    fn job(&mut self, commit: u64) -> Result<(), Self::Error>;

    /// Plays `steps` and takes them back.
    fn in_vain(&mut self, commit: u64, steps: &[Step]) -> Result<(), Self::Error>;
}

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    Put { slot: usize, len: usize },
    Change { slot: usize, len: usize },
    Drop { slot: usize },
    Link { from: usize, to: usize },
    Note { key: u64, value: Option<u64> },
    Job,
    InVain(Vec<Step>),
}

/// The script of commit `n`.
pub fn script(n: u64) -> Vec<Step> {
    let mut dice = Dice(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
    let count = match dice.below(40) {
        0 => 200 + dice.below(400),
        1..=4 => 10 + dice.below(30),
        _ => 1 + dice.below(4),
    };
    let mut steps: Vec<Step> = (0..count).map(|_| step(&mut dice, n)).collect();
    steps.push(Step::Note { key: n, value: Some(mix(n)) });
    if n > 40 && dice.below(3) == 0 {
        steps.push(Step::Note { key: n - 1 - dice.below(40), value: None });
    }
    if has_job(n) {
        steps.push(Step::Job);
    }
    if dice.below(4) == 0 {
        let vain = (0..1 + dice.below(6)).map(|_| step(&mut dice, n)).collect();
        let at = dice.below(steps.len() as u64 + 1) as usize;
        steps.insert(at, Step::InVain(vain));
    }
    steps
}

/// Whether commit `n` enqueues a job.
pub fn has_job(n: u64) -> bool {
    mix(n ^ 0x6a09).is_multiple_of(5)
}

fn step(dice: &mut Dice, n: u64) -> Step {
    let slot = dice.below(SLOTS as u64) as usize;
    let len = match dice.below(60) {
        0 => 20_000 + dice.below(200_000) as usize,
        1..=5 => dice.below(4_000) as usize,
        _ => dice.below(200) as usize,
    };
    match dice.below(10) {
        0..=2 => Step::Put { slot, len },
        3..=6 => Step::Change { slot, len },
        7 => Step::Drop { slot },
        8 => Step::Link { from: slot, to: dice.below(SLOTS as u64) as usize },
        _ => Step::Note { key: n.saturating_sub(dice.below(20)), value: Some(mix(n ^ 77)) },
    }
}

/// Plays commit `n` to a shelf.
pub fn play<S: Shelf>(shelf: &mut S, n: u64, steps: &[Step]) -> Result<(), S::Error> {
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Put { slot, len } => shelf.put(slot, serial(n, number), n, len)?,
            Step::Change { slot, len } => shelf.change(slot, n, len)?,
            Step::Drop { slot } => shelf.drop(slot)?,
            Step::Link { from, to } => shelf.link(from, to)?,
            Step::Note { key, value } => shelf.note(key, value)?,
            Step::Job => shelf.job(n)?,
            Step::InVain(ref steps) => shelf.in_vain(n, steps)?,
        }
    }
    Ok(())
}

fn serial(n: u64, number: usize) -> u64 {
    (n << 16) | number as u64
}

/// The content of an item: a function of who it is and of the commit that wrote it last.
pub fn content(serial: u64, commit: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(mix(serial) ^ commit);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A number that looks like none other.
pub fn mix(n: u64) -> u64 {
    Dice(n).next()
}

/// Reproducible chance: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
