//! Commits that meet in one write and one sync, as those of several threads do.
//!
//! The first is held before its first write until the others have their places behind it; so the
//! same seed makes the same group.

use super::life::Side;
use super::model::{self, Value};
use super::tally::Seen;
use crate::support::rng::Rng;
use crate::support::sim::{Kind, SimDisk};
use perennial::storage::{Batch, Storage, Verdict};
use perennial::{Durability, Oid, Result, RetryPolicy};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything takes that does not hang.
const LONG: Duration = Duration::from_secs(30);

/// What one of a group wants: to change this object, and perhaps to add another.
struct Wish {
    changed: (Oid, Value),
    added: Option<Value>,
    durability: Durability,
}

/// Commits what several threads want, and waits for all; what became of each.
pub fn commit(disk: &SimDisk, side: &Side, rng: &mut Rng, stamp: u64) -> Vec<Result<()>> {
    let count = 2 + rng.below(3);
    let wishes: Vec<Wish> = (0..count).filter_map(|_| wish(side, rng, stamp)).collect();
    if wishes.len() < 2 {
        return Vec::new();
    }
    Seen::Group.note();
    let (held, release) = hold_first(disk);
    side.witness.story().racing = true;
    let outcomes = thread::scope(|scope| {
        let (mut threads, mut placed) = (Vec::new(), Vec::new());
        for wish in &wishes {
            let (thread, oid) = (start(scope, side, wish), wish.changed.0);
            if placed.contains(&oid) {
                // Whoever comes second to an object is told so at once.
                wait(&thread, || false);
            } else {
                // One that changes nothing ends, and the next one is held.
                wait(&thread, || held.load(Ordering::Acquire) && is_placed(side, oid));
                placed.extend(Some(oid).filter(|_| !thread.is_finished()));
            }
            threads.push(thread);
        }
        drop(release);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    disk.leave_alone();
    side.witness.story().racing = false;
    outcomes
}

/// The next write waits until the sender is dropped; the flag tells that it has come so far.
fn hold_first(disk: &SimDisk) -> (Arc<AtomicBool>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let held = Arc::new(AtomicBool::new(false));
    let holds = held.clone();
    disk.interrupt(Kind::Write, 0, move || {
        holds.store(true, Ordering::Release);
        // An error: the sender is gone.
        let _ = released.recv();
    });
    (held, release)
}

fn wish(side: &Side, rng: &mut Rng, stamp: u64) -> Option<Wish> {
    let tid = side.witness.story().last_tid;
    let (oid, old) = side.pick(rng, tid)?;
    let value = match (old, side.value(rng, stamp)) {
        (Value::Item(kind, ..), Value::Item(_, stamp, bytes)) => Value::Item(kind, stamp, bytes),
        _ => return None,
    };
    let added = rng.coin().then(|| side.value(rng, stamp));
    let durability = if rng.coin() { Durability::Lazy } else { Durability::Sync };
    Some(Wish { changed: (oid, value), added, durability })
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    side: &'scope Side,
    wish: &'scope Wish,
) -> ScopedJoinHandle<'scope, Result<()>> {
    let once = RetryPolicy::new(1);
    scope.spawn(move || {
        side.db.transact_with(&once, |conn| {
            conn.set_durability(wish.durability)?;
            let (oid, value) = &wish.changed;
            model::change(conn, *oid, value)?;
            wish.added.iter().try_for_each(|value| model::add(conn, value, false, None).map(drop))
        })
    })
}

/// Waits until something holds, or the thread has ended.
fn wait(thread: &ScopedJoinHandle<'_, Result<()>>, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !thread.is_finished() && !holds() {
        assert!(begun.elapsed() < LONG, "a commit neither ends nor has a place");
        thread::yield_now();
    }
}

/// Whether somebody's change of the object has a place in the log: who relies on what is published
/// is too late then.
fn is_placed(side: &Side, oid: Oid) -> bool {
    let mut batch = Batch::default();
    batch.reads = vec![(oid, side.witness.story().newest(oid))];
    matches!(side.witness.file.commit(&Arc::new(batch)), Ok(Verdict::Conflicts(_)))
}
