//! The ordered map of `u64`.

use crate::bench::{Bench, Entrant};
use crate::object::{Random, Result, value_of};
use crate::peer::Tuning;
use crate::table::{Row, Unit, number, of_best};
use std::time::Instant;

/// How many keys are looked up, and how many ranges begun, in one snapshot.
const AT_ONCE: usize = 1_000;
const SCANNED: usize = 100;
/// Keys of the map that is read are this far apart, those that are put in come anywhere.
const STEP: u64 = 1 << 20;

pub fn all(bench: &Bench) -> Vec<Row> {
    let mut rows = reads_and_inserts(bench);
    rows.insert(1, bulk_load(bench));
    rows
}

fn entries(count: u64) -> Vec<(u64, u64)> {
    (0..count).map(|n| (n * STEP, value_of(n * STEP))).collect()
}

fn bulk_load(bench: &Bench) -> Row {
    let count = if bench.quick { 50_000 } else { 200_000 };
    let mut rows =
        [Row::new(format!("map: bulk load of {count}: entries"), Unit::PerSecond, number(2e6))];
    let entries = entries(count);
    let entrants: Vec<_> = bench
        .among(&[])
        .into_iter()
        .map(|who| Entrant::new(who, bench.dir.join("loading").join(who.name.replace(' ', "-"))))
        .collect();
    bench.few_rounds(&mut rows, &entrants, |entrant, _| {
        let _ = std::fs::remove_dir_all(&entrant.path);
        let peer = entrant.open(Tuning::Usual)?;
        let start = Instant::now();
        let loaded = peer.map_load(&entries);
        let seconds = start.elapsed().as_secs_f64();
        drop(peer);
        entrant.close();
        loaded?;
        Ok(vec![count as f64 / seconds])
    });
    bench.leave("loading", entrants);
    let [row] = rows;
    row
}

fn reads_and_inserts(bench: &Bench) -> Vec<Row> {
    let count = if bench.quick { 50_000 } else { 100_000 };
    let entries = entries(count);
    let entrants = bench.enter("map", &[], |peer, _| peer.map_load(&entries));
    let mut reads = vec![
        Row::new(format!("map: hot get, of {count}"), Unit::PerSecond, number(3e6)),
        Row::new(
            format!("map: scan of {SCANNED}, of {count}: scans"),
            Unit::PerSecond,
            number(277e3),
        ),
    ];
    bench.rounds(&mut reads, &entrants, |entrant, round| {
        let multiple = |n: u64| n * STEP;
        let keys = |seed: u64| Random::new(seed).keys(AT_ONCE * 50, count - SCANNED as u64);
        let keys: Vec<u64> = keys(round as u64 + 9).into_iter().map(multiple).collect();
        let parts: Vec<_> = keys.chunks(AT_ONCE).collect();
        let get = bench.rate(1, |_, turn| get(entrant, parts[turn as usize % parts.len()]))?;
        let scan = bench.rate(1, |_, turn| scan(entrant, parts[turn as usize % parts.len()]))?;
        Ok(vec![get, scan])
    });
    let name = "map: insert of random keys, 1,000 a commit, not synced: entries";
    let mut inserts = [Row::new(name, Unit::PerSecond, of_best(1.0))];
    bench.rounds(&mut inserts, &entrants, |entrant, round| {
        let peer = entrant.peer()?;
        let rate = bench.rate(1, |_, turn| {
            let keys = Random::new(turn << 8 | round as u64).keys(AT_ONCE, count * STEP);
            let entries: Vec<_> = keys.into_iter().map(|key| (key, value_of(key))).collect();
            peer.map_put(&entries)?;
            Ok(AT_ONCE as u64)
        })?;
        peer.settle()?;
        Ok(vec![rate])
    });
    bench.leave("map", entrants);
    inserts.into_iter().chain(reads).collect()
}

fn get(entrant: &Entrant, keys: &[u64]) -> Result<u64> {
    let mut sound = 0;
    entrant.peer()?.map_get(keys, &mut |key, value| sound += u64::from(value == value_of(key)))?;
    expect(sound, keys.len())
}

fn scan(entrant: &Entrant, starts: &[u64]) -> Result<u64> {
    let mut sound = 0;
    let see = &mut |key, value| sound += u64::from(value == value_of(key));
    entrant.peer()?.map_scan(starts, SCANNED, see)?;
    Ok(expect(sound, starts.len() * SCANNED)? / SCANNED as u64)
}

fn expect(sound: u64, wanted: usize) -> Result<u64> {
    let wrong = || format!("{sound} of {wanted} entries are as written").into();
    if sound == wanted as u64 { Ok(sound) } else { Err(wrong()) }
}
