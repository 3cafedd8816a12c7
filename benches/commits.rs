//! Durable commits of one object, by one thread and by eight, beside the same bytes written and
//! synced by hand; and lazy commits of a thousand.
//!
//! All run in turn, round after round, so that a disk whose speed drifts is the same for all. By
//! hand means: a queue under a lock, one thread writes and syncs for all that wait, no format, no
//! index, no checks. Run with `cargo bench --bench commits`; a directory can be given behind `--`.

use parking_lot::{Condvar, Mutex};
use perennial::{Database, Durability, Persistent, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1_000);

/// What a commit of one such object adds to a log, about.
const FRAME: usize = 250;

/// About 105 bytes, encoded.
#[derive(Clone, Serialize, Deserialize)]
struct Article {
    title: String,
    author: String,
    tags: Vec<u32>,
    cents: u64,
    stock: i64,
}

impl Persistent for Article {
    const NAME: &'static str = "benches.Article";
}

fn article(number: u64) -> Article {
    Article {
        title: format!("the article with the number {number:08}, as it is called"),
        author: format!("author {:06}, of somewhere", number % 1000),
        tags: vec![1, 300, 70_000],
        cents: 1_000_000 + number,
        stock: -(number as i64),
    }
}

/// Runs `work` in `threads` threads for a while; how often it was done in a second.
fn rate(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let (over, start) = (AtomicBool::new(false), Instant::now());
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let (over, work) = (&over, &work);
            scope.spawn(move || {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    work(thread);
                    count += 1;
                }
                count
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        std::thread::sleep(TIME);
        over.store(true, Ordering::Relaxed);
        running.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64()
}

/// Group commit with nothing around it.
struct ByHand {
    file: File,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    queued: Vec<u8>,
    /// How many were queued, and how many are durable.
    asked: u64,
    done: u64,
    end: u64,
    leading: bool,
}

impl ByHand {
    fn new(path: &Path, zeroed: bool) -> ByHand {
        let file = File::create(path).expect("a file");
        if zeroed {
            (0..64).for_each(|part| {
                file.write_all_at(&vec![0; 1 << 20], part << 20).expect("zeros");
            });
            file.sync_all().expect("synced");
        }
        let state = State { queued: Vec::new(), asked: 0, done: 0, end: 0, leading: false };
        ByHand { file, state: Mutex::new(state), moved: Condvar::new() }
    }

    fn commit(&self) {
        let mut state = self.state.lock();
        state.queued.extend_from_slice(&[7; FRAME]);
        state.asked += 1;
        let mine = state.asked;
        while state.done < mine {
            if state.leading {
                self.moved.wait(&mut state);
                continue;
            }
            state.leading = true;
            let (bytes, upto, at) = (std::mem::take(&mut state.queued), state.asked, state.end);
            state.end += bytes.len() as u64;
            drop(state);
            self.file.write_all_at(&bytes, at).expect("written");
            self.file.sync_data().expect("synced");
            state = self.state.lock();
            (state.leading, state.done) = (false, upto);
            self.moved.notify_all();
        }
    }
}

fn ours(path: &Path, threads: usize) -> Result<f64> {
    let db = Database::open(path)?;
    let rate = rate(threads, |thread| {
        db.transact(|conn| conn.add(article(thread as u64))).expect("committed");
    });
    db.close()?;
    Ok(rate)
}

fn thousands(path: &Path, durability: Durability) -> Result<f64> {
    let db = Database::options().durability(durability).open(path)?;
    let add = |conn: &perennial::Connection| {
        (0..1_000).try_for_each(|number| conn.add(article(number)).map(drop))
    };
    let rate = rate(1, |_| db.transact(add).expect("committed"));
    db.close()?;
    Ok(rate * 1_000.0)
}

fn main() -> Result<()> {
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let at = asked.map_or(target, Into::into);
    let home = tempfile::tempdir_in(at).expect("a directory");
    let path = |name: &str| home.path().join(name);
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    let mut note = |name: String, rate: f64| match rows.iter_mut().find(|row| row.0 == name) {
        Some(row) => row.1.push(rate),
        None => rows.push((name, vec![rate])),
    };
    for round in 0..ROUNDS {
        for threads in [1, 8] {
            for zeroed in [false, true] {
                let by_hand = ByHand::new(&path("by-hand"), zeroed);
                let kind = if zeroed { "zeroed" } else { "growing" };
                let rate = rate(threads, |_| by_hand.commit());
                note(format!("by hand, file {kind}, {threads} threads"), rate);
            }
            let rate = ours(&path(&format!("{round}-{threads}.db")), threads)?;
            note(format!("one object, durable, {threads} threads"), rate);
        }
        for durability in [Durability::Sync, Durability::Lazy] {
            let rate = thousands(&path(&format!("{round}-{durability:?}.db")), durability)?;
            note(format!("objects, a thousand a commit, {durability:?}"), rate);
        }
    }
    println!("| a second | median | least | most |\n|---|--:|--:|--:|");
    for (name, mut rates) in rows {
        rates.sort_by(f64::total_cmp);
        let [median, least, most] = [rates.len() / 2, 0, rates.len() - 1].map(|at| rates[at]);
        println!("| {name} | {median:.0} | {least:.0} | {most:.0} |");
    }
    Ok(())
}
