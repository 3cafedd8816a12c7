//! Databases that are closed and opened again while others count on them.

use super::doubts::{InTwo, in_two};
use super::kit::{NAMES, Side, decider, open, options, quiet, set, sides};
use crate::support::layers::pass_on;
use crate::support::sim::{Policy, SimDisk};
use perennial::file::{Access, AppendFile, Directory};
use perennial::{Database, Result};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

// T16: of two handles of one decider, the one that is closed knows nothing any more
#[test]
fn a_decider_that_was_reopened_is_asked_though_somebody_keeps_a_handle_of_before() {
    let InTwo { disk, decides, doubts } = in_two(false);
    let before = open(&disk, decides).unwrap();
    before.close().unwrap();
    let again = open(&disk, decides).unwrap();

    let side = Side::of(open(&disk, doubts).unwrap()).unwrap();

    assert_eq!(side.value(), 0);
    drop((before, again));
}

// T16
#[test]
fn a_decision_is_not_ended_on_the_word_of_a_handle_that_was_closed() {
    let disk = SimDisk::new();
    let first = sides(&disk, 2);
    first.iter().for_each(|side| side.db.close().unwrap());
    let again = sides(&disk, 2);
    set(&again, 1).unwrap();
    let of = |side: &Side| NAMES[usize::from(side.db.id() != again[0].db.id())];
    let (decides, participates) = (of(decider(&again).0), of(decider(&again).1[0]));

    decider(&again).0.db.close().unwrap();

    let left = disk.crash(Policy::Nothing, 0);
    let in_doubt = quiet(&left, participates).unwrap().in_doubt().unwrap();
    let open = quiet(&left, decides).unwrap().open_decisions().unwrap();
    let known = |gtid| open.iter().any(|decision| decision.gtid == gtid);
    assert!(in_doubt.iter().all(|doubt| known(doubt.gtid)), "{in_doubt:?} and {open:?}");
    drop(first);
}

/// A disk on which the first opening for writing takes its time, once it has its lock.
#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    locked: Mutex<Option<Sender<()>>>,
}

impl Directory for SlowDisk {
    /// Who opens for writing looks here for what others left, and has the lock by then.
    fn names(&self) -> io::Result<Vec<String>> {
        if let Some(locked) = self.locked.lock().unwrap().take() {
            locked.send(()).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        self.disk.names()
    }

    pass_on! { disk: open, rename_new, replace, remove, sync, path }
}

// T16
#[test]
fn files_that_are_opened_at_once_by_several_threads_find_each_other() {
    for decided in [true, false] {
        let InTwo { disk, decides, doubts } = in_two(decided);
        let (locked, is_locked) = channel();
        let locked = Mutex::new(Some(locked));
        let slow = Arc::new(SlowDisk { disk: disk.clone(), locked });
        let opening = thread::spawn(move || -> Result<Database> {
            Database::options().directory(slow).open(decides)
        });
        is_locked.recv().unwrap();

        let side = Side::of(options(&disk).open(doubts).unwrap()).unwrap();

        assert_eq!(side.value(), i64::from(decided));
        drop(opening.join().unwrap().unwrap());
    }
}
