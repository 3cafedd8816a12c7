//! The grid of zodbshootout: add, update, cold, warm, hot, conflicting; objects a transaction;
//! threads.
//!
//! All commits are durable. *Cold* is the first read after the store was opened again, with the
//! system's page cache as it is; *warm* the reads after it, with no cache of decoded objects;
//! *hot* the same with that cache. *Conflicting* means that all threads update the same objects,
//! each transaction begun again until it wins; where there is one thread, it is as *update*.

use crate::bench::{Bench, Entrant, rate, read};
use crate::object::Result;
use crate::peer::{Shared, Tuning};
use crate::table::{Row, Unit, Wanted};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The objects that are read and changed.
const OBJECTS: u64 = 8_000;
const KINDS: [&str; 6] = ["add", "update", "cold", "warm", "hot", "conflicting"];

pub fn all(bench: &Bench) -> Vec<Row> {
    let counts: &[u64] = if bench.quick { &[1, 100] } else { &[1, 100, 1_000] };
    let threads: &[usize] = if bench.quick { &[1, 8] } else { &[1, 2, 8] };
    let entrants = bench.enter("grid", &[], |peer, path| {
        peer.put(0..OBJECTS, true)?;
        peer.remember(path)
    });
    let next = AtomicU64::new(OBJECTS);
    let slice = bench.slice / 2;
    let mut all = Vec::new();
    for &count in counts {
        for &threads in threads {
            let cell = Cell { slice, count, threads, next: &next };
            let s = if threads == 1 { "" } else { "s" };
            let name =
                |kind| format!("grid: {kind}, {count} a transaction, {threads} thread{s}: objects");
            let row = |kind| {
                let commits = !["cold", "warm", "hot"].contains(&kind);
                Row::new(name(kind), Unit::PerSecond, Wanted::default()).durable(commits)
            };
            let mut rows = KINDS.map(row);
            bench.few_rounds(&mut rows, &entrants, |entrant, _| cell.measure(entrant));
            all.extend(rows);
        }
    }
    bench.leave("grid", entrants);
    all
}

struct Cell<'a> {
    slice: Duration,
    count: u64,
    threads: usize,
    next: &'a AtomicU64,
}

impl Cell<'_> {
    /// The objects of one thread.
    fn keys(&self, thread: usize) -> Vec<u64> {
        let start = thread as u64 * self.count;
        (start..start + self.count).collect()
    }

    fn measure(&self, entrant: &Entrant) -> Result<Vec<f64>> {
        let (cold, warm) = self.reopened(entrant, Tuning::Uncached)?;
        let (_, hot) = self.reopened(entrant, Tuning::Usual)?;
        let peer = entrant.peer()?;
        let add = rate(self.slice, self.threads, |_, _| {
            let start = self.next.fetch_add(self.count, Ordering::Relaxed);
            peer.put(start..start + self.count, true)?;
            Ok(self.count)
        })?;
        let update = rate(self.slice, self.threads, |thread, _| {
            peer.update(&self.keys(thread), true)?;
            Ok(self.count)
        })?;
        let conflicting = self.conflicting(&peer)?;
        Ok(vec![add, update, cold, warm, hot, conflicting])
    }

    /// All threads update the same objects, and no change may be lost.
    fn conflicting(&self, peer: &Shared) -> Result<f64> {
        let keys = self.keys(0);
        let before = changes(peer, &keys)?;
        let done = AtomicU64::new(0);
        let rate = rate(self.slice, self.threads, |_, _| {
            peer.update(&keys, true)?;
            done.fetch_add(self.count, Ordering::Relaxed);
            Ok(self.count)
        })?;
        let (changed, done) = (changes(peer, &keys)? - before, done.into_inner());
        match changed == done {
            true => Ok(rate),
            false => {
                Err(format!("of {done} changes that were committed, {changed} are there").into())
            }
        }
    }

    /// Objects a second by the first read of each, and by those that follow.
    fn reopened(&self, entrant: &Entrant, tuning: Tuning) -> Result<(f64, f64)> {
        let peer = entrant.open(tuning)?;
        peer.recall(&entrant.path)?;
        // Each thread takes one turn.
        let first =
            rate(Duration::ZERO, self.threads, |thread, _| read(&peer, &self.keys(thread)))?;
        let again = rate(self.slice, self.threads, |thread, _| read(&peer, &self.keys(thread)))?;
        Ok((first, again))
    }
}

/// How often these objects were changed, all together.
fn changes(peer: &Shared, keys: &[u64]) -> Result<u64> {
    let mut sum = 0;
    peer.read(keys, &mut |_, item| sum += item.changes)?;
    Ok(sum)
}
