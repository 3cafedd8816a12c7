//! The objects that all contenders store, and how they are made and checked.

use perennial::{Persistent, Ref};
use serde::{Deserialize, Serialize};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Failure>;

/// A contender does not offer what a workload asks for: its cell stays empty.
#[derive(Debug)]
pub struct NotOffered;

impl std::fmt::Display for NotOffered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not offered")
    }
}

impl std::error::Error for NotOffered {}

/// What an object says. With what links it to another one, it is encoded in about 105 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub key: u64,
    pub changes: u64,
    pub cents: i64,
    pub owner: String,
    pub title: String,
    pub ratings: Vec<u32>,
}

impl Item {
    pub fn new(key: u64) -> Item {
        Item {
            key,
            changes: 0,
            cents: (key % 100_000) as i64 - 50_000,
            owner: format!("owner number {:08}", key % 99_999_989),
            title: format!("the title of an object that is kept under key {key:012}"),
            ratings: (0..8).map(|n| (key as u32 >> n) & 0xff).collect(),
        }
    }

    /// Whether this was read as it was written, as far as can be seen at once.
    pub fn is_sound(&self, key: u64) -> bool {
        self.key == key && self.title.len() == 58 && self.ratings.len() == 8
    }
}

/// As the peers store it, encoded by the same codec: linked by a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyed {
    pub item: Item,
    pub next: Option<u64>,
}

impl Keyed {
    pub fn new(key: u64) -> Keyed {
        Keyed { item: Item::new(key), next: key.checked_sub(1) }
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        Ok(bincode::serde::encode_to_vec(self, bincode::config::standard())?)
    }

    pub fn decode(bytes: &[u8]) -> Result<Keyed> {
        Ok(bincode::serde::decode_from_slice(bytes, bincode::config::standard())?.0)
    }

    /// The bytes of an object that was changed: what an update stores.
    pub fn changed(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut keyed = Keyed::decode(bytes)?;
        keyed.item.changes += 1;
        keyed.encode()
    }
}

/// As Perennial stores it: linked by a reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Linked {
    pub item: Item,
    pub next: Option<Ref<Linked>>,
}

impl Persistent for Linked {
    const NAME: &'static str = "peers.Linked";
}

/// The value that every map has under `key`.
pub fn value_of(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8
}

/// Numbers that look random, and are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let drawn = u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d));
        ((drawn * u128::from(bound)) >> 64) as u64
    }

    pub fn keys(&mut self, count: usize, bound: u64) -> Vec<u64> {
        (0..count).map(|_| self.below(bound)).collect()
    }

    /// As `keys`, each one once.
    pub fn different(&mut self, count: usize, bound: u64) -> Vec<u64> {
        let mut seen = std::collections::HashSet::with_capacity(count);
        std::iter::repeat_with(|| self.below(bound))
            .filter(|&key| seen.insert(key))
            .take(count)
            .collect()
    }
}
