//! Reads: hot, warm, in a cold process, and beside a writer.

use crate::bench::{Bench, Entrant, rate, read};
use crate::child;
use crate::object::{Random, Result};
use crate::peer::{ARRAY, Shared, Tuning};
use crate::table::{Row, Unit, Wanted, number, of_best};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How many objects are hot.
const HOT: u64 = 1_000;
/// How many objects are read in one snapshot.
const AT_ONCE: usize = 1_000;

/// A thousand objects, again and again, each time in another order.
pub fn hot(bench: &Bench) -> Vec<Row> {
    let name = |threads| format!("hot read of 1,000 objects, {threads}");
    let mut rows = vec![
        Row::new(name("1 thread"), Unit::Nanoseconds, number(50.0)),
        Row::new(name("2 threads, the same ones: speed-up"), Unit::Times, number(1.8)),
        Row::new(name("2 threads, half of them each: speed-up"), Unit::Times, number(1.8)),
    ];
    let entrants = bench.enter("hot", &[ARRAY], |peer, _| {
        peer.put(0..HOT, true)?;
        read(peer, &(0..HOT).collect::<Vec<_>>()).map(drop)
    });
    let orders: Vec<_> = (0..8).map(|n| Random::new(n + 5).keys(AT_ONCE, HOT)).collect();
    let half = |thread: u64| -> Vec<Vec<u64>> {
        let order = |keys: &Vec<u64>| keys.iter().map(|key| key / 2 + thread * HOT / 2).collect();
        orders.iter().map(order).collect()
    };
    let halves = [half(0), half(1)];
    bench.rounds(&mut rows, &entrants, |entrant, _| {
        let peer = entrant.peer()?;
        let work = |thread: usize, turn: u64| read(&peer, &orders[(thread + turn as usize) % 8]);
        let apart = |thread: usize, turn: u64| read(&peer, &halves[thread][turn as usize % 8]);
        let (one, two, apart) = (bench.rate(1, work)?, bench.rate(2, work)?, bench.rate(2, apart)?);
        Ok(vec![1e9 / one, two / one, apart / one])
    });
    bench.leave("hot", entrants);
    rows
}

fn open_large(bench: &Bench, tuning: Tuning) -> &[Entrant] {
    let entrants = super::large::stores(bench);
    for entrant in entrants {
        let opened = entrant.open(tuning).and_then(|peer| peer.recall(&entrant.path));
        if let Err(error) = opened {
            bench.note("opening", entrant.who, &*error);
        }
    }
    entrants
}

fn close_large(entrants: &[Entrant]) {
    entrants.iter().for_each(Entrant::close);
}

/// Random objects out of all, decoded each time; every page was touched before.
pub fn warm(bench: &Bench) -> Vec<Row> {
    let name = format!("warm random read of {} objects", bench.objects);
    let mut rows = vec![Row::new(name, Unit::Nanoseconds, number(900.0))];
    let entrants = open_large(bench, Tuning::Uncached);
    let all: Vec<u64> = (0..bench.objects).collect();
    for entrant in entrants {
        let touched =
            all.chunks(10_000).try_for_each(|keys| read(&entrant.peer()?, keys).map(drop));
        if let Err(error) = touched {
            bench.note("warming", entrant.who, &*error);
        }
    }
    bench.rounds(&mut rows, entrants, |entrant, round| {
        let keys = Random::new(round as u64 + 3).keys(500_000, bench.objects);
        let parts: Vec<_> = keys.chunks(AT_ONCE).collect();
        let peer = entrant.peer()?;
        Ok(vec![1e9 / bench.rate(1, |_, turn| read(&peer, parts[turn as usize % parts.len()]))?])
    });
    close_large(entrants);
    rows
}

/// A new process opens the store and reads random objects.
pub fn cold(bench: &Bench) -> Vec<Row> {
    let name = format!("cold process: open, then {} random reads, for each", child::COLD);
    let mut rows = vec![Row::new(name, Unit::Nanoseconds, of_best(1.0))];
    bench.few_rounds(&mut rows, super::large::stores(bench), |entrant, _| {
        Ok(vec![child::run("cold", entrant, bench.objects)?])
    });
    rows
}

/// Reads of one object, each in a snapshot of its own: alone, and beside a writer that commits
/// durable updates of a hundred objects.
pub fn mixed(bench: &Bench) -> Vec<Row> {
    let name = |what| format!("read of one object in its own snapshot, {what}");
    let row = |what, wanted| Row::new(name(what), Unit::Nanoseconds, wanted);
    let mut rows = vec![
        row("alone, median", Wanted::default()),
        row("alone, p99", Wanted::default()),
        row("beside a writer, median", Wanted::default()),
        row("beside a writer, p99", of_best(1.0)),
    ];
    let entrants = open_large(bench, Tuning::Usual);
    bench.rounds(&mut rows, entrants, |entrant, round| {
        let peer = entrant.peer()?;
        let mut values = latencies(bench, &peer, round)?.to_vec();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            let writer = scope.spawn(|| write_until(bench, &peer, &stop));
            let beside = latencies(bench, &peer, round);
            stop.store(true, Ordering::Relaxed);
            writer.join().expect("no panic")?;
            values.extend(beside?);
            Ok(())
        })?;
        Ok(values)
    });
    close_large(entrants);
    rows
}

fn write_until(bench: &Bench, peer: &Shared, stop: &AtomicBool) -> Result<()> {
    let mut random = Random::new(31);
    while !stop.load(Ordering::Relaxed) {
        peer.update(&random.different(100, bench.objects), true)?;
    }
    Ok(())
}

/// The median and the 99th percentile in nanoseconds.
fn latencies(bench: &Bench, peer: &Shared, round: usize) -> Result<[f64; 2]> {
    let keys = Random::new(round as u64 + 40).keys(100_000, bench.objects);
    let times = std::sync::Mutex::new(Vec::with_capacity(1 << 20));
    rate(bench.slice, 1, |_, turn| {
        let start = Instant::now();
        read(peer, &[keys[turn as usize % keys.len()]])?;
        times.lock().expect("one thread").push(start.elapsed().as_nanos() as u32);
        Ok(1)
    })?;
    let mut times = times.into_inner().expect("no panic");
    times.sort_unstable();
    Ok([times.len() / 2, times.len() * 99 / 100].map(|place| f64::from(times[place])))
}
