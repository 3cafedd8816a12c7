//! How much was seen of what: a simulation that never came to something has not tried it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Commit,
    Conflict,
    Unknown,
    Shared,
    Settled,
    Group,
    Job,
    Snapshot,
    Look,
    Damage,
}

const NAMES: [(&str, Seen); 10] = [
    ("commits", Seen::Commit),
    ("conflicts", Seen::Conflict),
    ("unknown outcomes", Seen::Unknown),
    ("promises", Seen::Shared),
    ("promises in doubt settled", Seen::Settled),
    ("groups", Seen::Group),
    ("jobs", Seen::Job),
    ("index snapshots", Seen::Snapshot),
    ("looks of readers", Seen::Look),
    ("damages", Seen::Damage),
];

static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

impl Seen {
    /// Counts one more.
    pub fn note(self) {
        COUNTS[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// All that was counted in this process.
pub fn told() -> String {
    let told = NAMES
        .map(|(name, what)| format!("{} {name}", COUNTS[what as usize].load(Ordering::Relaxed)));
    told.join(", ")
}
