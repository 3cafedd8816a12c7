//! What is planned for a simulated disk: that something fails, or that something is done before.

use super::platter::Action;
use std::io::{self, ErrorKind};

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Create,
    Rename,
    Remove,
    SyncNames,
    Write,
    Trim,
    Sync,
    Read,
}

/// How something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An input/output error; nothing was changed, and what was un-synced still is.
    Io,
    /// The disk is full; half of what was to be written was.
    Full,
    /// A sync fails and drops what was un-synced, as Linux does; anything else fails as with `Io`.
    Lost,
    /// A sync fails, and drops some sectors of what was un-synced, while the others arrive;
    /// anything else fails as with `Io`.
    Torn,
}

/// How often something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once; the next time it works.
    Once,
    /// From then on.
    Always,
}

/// What is planned.
#[derive(Default)]
pub struct Plans {
    faults: Vec<Fault>,
    interruptions: Vec<Interruption>,
    /// Nothing fails for now, though it may be planned.
    pub calm: bool,
    /// How often something was made to fail.
    pub failures: usize,
}

struct Fault {
    kind: Kind,
    wait: u64,
    failure: Failure,
    times: Times,
}

/// Something that is to be done before an action.
type Run = Box<dyn FnOnce() + Send>;

struct Interruption {
    kind: Kind,
    wait: u64,
    run: Run,
}

impl Plans {
    pub fn fail(&mut self, kind: Kind, wait: u64, failure: Failure, times: Times) {
        self.faults.push(Fault { kind, wait, failure, times });
    }

    pub fn heal(&mut self) {
        self.faults.clear();
    }

    pub fn interrupt(&mut self, kind: Kind, wait: u64, run: Run) {
        self.interruptions.push(Interruption { kind, wait, run });
    }

    /// What was to be done, and now is not: to be dropped where the disk can be used.
    pub fn leave_alone(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.interruptions)
    }

    /// What is to be done before the next action of this kind.
    pub fn interruptions(&mut self, kind: Kind) -> Vec<Run> {
        let is_due = |it: &mut Interruption| {
            let due = it.kind == kind && it.wait == 0;
            it.wait -= u64::from(it.kind == kind && !due);
            due
        };
        self.interruptions.extract_if(.., is_due).map(|it| it.run).collect()
    }

    /// Whether and how the next thing of this kind is to fail.
    pub fn admit(&mut self, kind: Kind) -> Option<Failure> {
        let (mut due, calm) = (None, self.calm);
        self.faults.retain_mut(|fault| {
            if calm || fault.kind != kind || due.is_some() {
                return true;
            }
            if fault.wait > 0 {
                fault.wait -= 1;
                return true;
            }
            due = Some(fault.failure);
            fault.times == Times::Always
        });
        self.failures += usize::from(due.is_some());
        due
    }
}

impl Failure {
    /// What the system says.
    pub fn error(self) -> io::Error {
        match self {
            Failure::Full => ErrorKind::StorageFull.into(),
            Failure::Io | Failure::Lost | Failure::Torn => io::Error::other("input/output error"),
        }
    }

    /// What is done in the place of `action`; `seed` chooses where there is a choice.
    pub fn instead_of(self, action: Action, seed: u64) -> Action {
        match (self, action) {
            (Failure::Full, Action::Write { inode, offset, bytes }) => {
                Action::Write { inode, offset, bytes: bytes.first_half() }
            }
            (Failure::Lost, Action::Sync { inode }) => Action::Lose { inode, kept: None },
            (Failure::Torn, Action::Sync { inode }) => Action::Lose { inode, kept: Some(seed) },
            _ => Action::Refused,
        }
    }
}
