//! The large stores: how they are opened, how much room they take, and updates in them.

use crate::bench::{Bench, Entrant};
use crate::child;
use crate::object::{Random, Result};
use crate::peer::{Role, Tuning, ZEROED};
use crate::table::{Row, Unit, Wanted, number, of_best};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

/// The large stores, loaded when they are first asked for, each by a process that is killed then;
/// and opened and closed once since.
pub fn stores(bench: &Bench) -> &[Entrant] {
    bench.large.get_or_init(|| {
        let mut stores = Vec::new();
        for entrant in new_stores(bench) {
            let opened = child::run("open", &entrant, bench.objects);
            match opened {
                Ok(_) => stores.push(entrant),
                Err(error) => bench.note("opening after a kill", entrant.who, &*error),
            }
        }
        stores
    })
}

fn new_stores(bench: &Bench) -> Vec<Entrant> {
    let mut stores = Vec::new();
    for who in bench.among(&[ZEROED]) {
        let path = bench.dir.join("large").join(who.name.replace(' ', "-"));
        let entrant = Entrant::new(who, path);
        let start = Instant::now();
        let loaded = std::fs::create_dir_all(&entrant.path).map_err(Into::into);
        match loaded.and_then(|()| child::run("load", &entrant, bench.objects)) {
            Ok(_) => stores.push(entrant),
            Err(error) => bench.note("loading", who, &*error),
        }
        eprintln!("  {} loaded in {:.1} s", who.name, start.elapsed().as_secs_f64());
    }
    stores
}

pub fn opening(bench: &Bench) -> Vec<Row> {
    let killed = format!("open {} objects after kill -9, and read one", bench.objects);
    let mut killed = Row::new(killed, Unit::Milliseconds, Wanted::default());
    let mut stores = Vec::new();
    for entrant in new_stores(bench) {
        match child::run("open", &entrant, bench.objects) {
            Ok(value) => {
                killed.add(entrant.who, value);
                stores.push(entrant);
            }
            Err(error) => bench.note("opening after a kill", entrant.who, &*error),
        }
    }
    let _ = bench.large.set(stores);
    let clean = format!("open {} objects after a clean close, and read one", bench.objects);
    let mut clean = [Row::new(clean, Unit::Milliseconds, number(1.0))];
    bench.few_rounds(&mut clean, self::stores(bench), |entrant, _| {
        Ok(vec![child::run("open", entrant, bench.objects)?])
    });
    let mut replay =
        [Row::new("open without an index: the log", Unit::GigabytesPerSecond, number(1.0))];
    let whole: Vec<_> = without_peers(bench);
    bench.few_rounds(&mut replay, &whole, |entrant, _| {
        let value = child::run("replay", entrant, bench.objects)?;
        Ok(vec![value])
    });
    let [clean] = clean;
    let [replay] = replay;
    vec![clean, killed, replay]
}

/// Entrants for what only Perennial and the limit have, over the same large stores.
fn without_peers(bench: &Bench) -> Vec<Entrant> {
    let own = stores(bench).iter().filter(|entrant| entrant.who.role != Role::Peer);
    own.map(|entrant| Entrant::new(entrant.who, entrant.path.clone())).collect()
}

pub fn space(bench: &Bench) -> Vec<Row> {
    let name = format!("on disk after loading {} objects", bench.objects);
    let limit = 135.0 * bench.objects as f64 / 1e6;
    let mut disk = Row::new(name, Unit::Mebibytes, number(limit));
    // What the limits allocate are zeros, to write over.
    for entrant in stores(bench).iter().filter(|entrant| entrant.who.role != Role::Limit) {
        match allocated(&entrant.path) {
            Ok(bytes) => disk.add(entrant.who, bytes as f64 / f64::from(1 << 20)),
            Err(error) => bench.note("measuring", entrant.who, &*error),
        }
    }
    let mut memory =
        [Row::new("memory for an object that is not cached", Unit::Bytes, number(9.0))];
    let ours: Vec<_> =
        without_peers(bench).into_iter().filter(|entrant| entrant.who.role == Role::Ours).collect();
    bench.few_rounds(&mut memory, &ours, |entrant, _| {
        Ok(vec![child::run("memory", entrant, bench.objects)?])
    });
    let [memory] = memory;
    vec![disk, memory]
}

/// What is allocated on the disk, holes left out.
fn allocated(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { allocated(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

pub fn updates(bench: &Bench) -> Vec<Row> {
    let entrants = stores(bench);
    for entrant in entrants {
        let opened = entrant.open(Tuning::Usual).and_then(|peer| peer.recall(&entrant.path));
        if let Err(error) = opened {
            bench.note("opening", entrant.who, &*error);
        }
    }
    let rows = [(100, true, "durable", 4.0), (1_000, false, "not synced", 3.0)].map(
        |(count, durable, how, share)| {
            let name = format!("update {count} random of {}, {how}: objects", bench.objects);
            let mut rows = [Row::new(name, Unit::PerSecond, of_best(share)).durable(durable)];
            bench.rounds(&mut rows, entrants, |entrant, round| {
                let peer = entrant.peer()?;
                let rate = bench.rate(1, |_, turn| {
                    let mut random = Random::new(turn << 8 | round as u64);
                    peer.update(&random.different(count, bench.objects), durable)?;
                    Ok(count as u64)
                })?;
                peer.settle()?;
                Ok(vec![rate])
            });
            let [row] = rows;
            row
        },
    );
    entrants.iter().for_each(Entrant::close);
    rows.into()
}
