//! Commits of new objects, into stores that begin empty.

use crate::bench::Bench;
use crate::object::Result;
use crate::peer::{GROWING, Shared, ZEROED};
use crate::table::{Row, Unit, Wanted, of_limit};
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: usize = 8;

/// One object a commit, durable: by one thread, by eight.
pub fn durable(bench: &Bench) -> Vec<Row> {
    let one = "one object a commit, durable, 1 thread";
    let eight = "one object a commit, durable, 8 threads";
    vec![
        adding(bench, one, 1, 1, true, of_limit(0.85)),
        adding(bench, eight, THREADS, 1, true, of_limit(0.8).and_of_best(2.5)),
    ]
}

/// A thousand objects a commit, durable and not synced.
pub fn adds(bench: &Bench) -> Vec<Row> {
    let (durable, lazy) =
        ("add 1,000 a commit, durable: objects", "add 1,000 a commit, not synced: objects");
    vec![
        adding(bench, durable, 1, 1_000, true, of_limit(0.6).and_of_best(1.0)),
        adding(bench, lazy, 1, 1_000, false, of_limit(0.45).and_of_best(1.0)),
    ]
}

fn adding(
    bench: &Bench,
    name: &str,
    threads: usize,
    count: u64,
    durable: bool,
    wanted: Wanted,
) -> Row {
    let mut rows = [Row::new(name, Unit::PerSecond, wanted).durable(durable)];
    let entrants = bench.enter("adding", &[GROWING, ZEROED], |peer, _| start(peer, durable));
    let next = AtomicU64::new(1);
    bench.rounds(&mut rows, &entrants, |entrant, _| {
        let peer = entrant.peer()?;
        let rate = bench.rate(threads, |_, _| {
            let key = next.fetch_add(count, Ordering::Relaxed);
            peer.put(key..key + count, durable)?;
            Ok(count)
        })?;
        peer.settle()?;
        Ok(vec![rate])
    });
    bench.leave("adding", entrants);
    let [row] = rows;
    row
}

/// The first commit of a store names types and makes files longer.
fn start(peer: &Shared, durable: bool) -> Result<()> {
    peer.put(0..1, durable)
}
