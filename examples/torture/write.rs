//! `write`: commits, from the highest one found on.

use crate::world::{Count, Lane, Run, new_lane, perform, world};
use crate::{Failure, open};
use perennial::{Context, Database, Durability, Ref, Result, RunMode};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// With `--lazy`, after how many commits of a thread they are made durable.
const LAZY_BATCH: usize = 16;

/// What is asked for.
pub struct Work {
    pub commits: u64,
    pub threads: u64,
    pub lazy: bool,
}

pub fn write(directory: &Path, work: &Work) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::Error(error.to_string()))?;
    let db = open(directory)?;
    let (run, start, lanes) = begin(&db, work.threads)?;
    let runner = db.runner().on::<Count>(count).mode(RunMode::Pool(1)).start()?;
    let upto = AtomicU64::new(start.saturating_add(work.commits));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for (thread, &lane) in (0..work.threads).zip(&lanes) {
            let (db, upto, failed) = (&db, &upto, &failed);
            scope.spawn(move || {
                let run = (run, Run { start, threads: work.threads });
                if let Err(error) = toil(db, work, run, thread, lane, upto) {
                    upto.store(0, Ordering::Relaxed);
                    *failed.lock().expect("nobody panics") = Some(error);
                }
            });
        }
    });
    runner.stop(Duration::from_secs(10), Duration::from_secs(1))?;
    match failed.into_inner().expect("nobody panics") {
        Some(error) => Err(error.into()),
        None => db.close().map_err(Failure::from),
    }
}

/// Enters a new run: its number, its start, and a lane for each thread.
fn begin(db: &Database, threads: u64) -> Result<(u64, u64, Vec<Ref<Lane>>)> {
    db.transact(|conn| {
        conn.set_durability(Durability::Sync)?;
        let root = world(conn)?;
        let mut lanes = conn.get(root)?.lanes.clone();
        while (lanes.len() as u64) < threads {
            lanes.push(new_lane(conn)?);
        }
        let mut start = conn.get(root)?.runs.last().map_or(0, |run| run.start);
        for &lane in &lanes {
            start = conn.get(lane)?.last.iter().map(|&(_, n)| n).fold(start, u64::max);
        }
        conn.modify(root, |world| {
            world.lanes = lanes.clone();
            world.runs.push(Run { start, threads });
        })?;
        Ok((conn.get(root)?.runs.len() as u64 - 1, start, lanes))
    })
}

/// The work of one thread.
fn toil(
    db: &Database,
    work: &Work,
    (number, run): (u64, Run),
    thread: u64,
    lane: Ref<Lane>,
    upto: &AtomicU64,
) -> Result<()> {
    let mut waiting = Vec::new();
    for n in run.commits(thread, u64::MAX) {
        if n > upto.load(Ordering::Relaxed) {
            break;
        }
        say(&format!("BEGIN {n}\n"));
        db.transact(|conn| {
            conn.set_durability(if work.lazy { Durability::Lazy } else { Durability::Sync })?;
            perform(conn, lane, number, n)
        })?;
        waiting.push(n);
        if !work.lazy || waiting.len() >= LAZY_BATCH {
            acknowledge(db, work, &mut waiting)?;
        }
    }
    acknowledge(db, work, &mut waiting)
}

fn acknowledge(db: &Database, work: &Work, waiting: &mut Vec<u64>) -> Result<()> {
    if work.lazy && !waiting.is_empty() {
        db.sync()?;
    }
    waiting.drain(..).for_each(|n| say(&format!("ACK {n}\n")));
    Ok(())
}

/// One line, in one write that is flushed.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more; the work goes on.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// What the job of a commit does: once for each, together with its own removal.
fn count(context: &Context, job: Count) -> Result<(), perennial::Failure> {
    context.complete(|conn| {
        let root = world(conn)?;
        let effects = conn.get(root)?.effects;
        effects.update(conn, job.commit, |count| Some(count.unwrap_or(0) + 1))?;
        Ok(())
    })?;
    Ok(())
}
