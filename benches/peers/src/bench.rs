//! How things are measured: contenders take turns, round after round, each for a slice of time.

use crate::object::{Item, NotOffered, Result};
use crate::peer::{Contender, Role, Shared, Tuning};
use crate::table::Row;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

pub struct Bench {
    pub dir: PathBuf,
    pub rounds: usize,
    /// How long one thing is done, again and again, in one round.
    pub slice: Duration,
    /// How many objects the large stores have.
    pub objects: u64,
    pub quick: bool,
    pub contenders: Vec<&'static Contender>,
    /// The large stores, once they are there.
    pub large: OnceLock<Vec<Entrant>>,
    /// What went wrong, for the reader of the table.
    pub notes: Mutex<Vec<String>>,
}

/// A contender in one workload, with a store of its own.
pub struct Entrant {
    pub who: &'static Contender,
    pub path: PathBuf,
    peer: Mutex<Option<Shared>>,
    out: AtomicBool,
}

impl Entrant {
    pub fn new(who: &'static Contender, path: PathBuf) -> Entrant {
        Entrant { who, path, peer: Mutex::default(), out: AtomicBool::new(false) }
    }

    pub fn open(&self, tuning: Tuning) -> Result<Shared> {
        self.close();
        let peer = self.who.open(&self.path, tuning)?;
        *self.slot() = Some(peer.clone());
        Ok(peer)
    }

    pub fn close(&self) {
        self.slot().take();
    }

    pub fn peer(&self) -> Result<Shared> {
        self.slot().clone().ok_or_else(|| "it could not be opened".into())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Shared>> {
        self.peer.lock().expect("no panic")
    }
}

impl Bench {
    /// Those who take part: Perennial, the peers, and these of the limits.
    pub fn among(&self, limits: &[&str]) -> Vec<&'static Contender> {
        let takes_part = |who: &&&Contender| who.role != Role::Limit || limits.contains(&who.name);
        self.contenders.iter().filter(takes_part).copied().collect()
    }

    /// Entrants with new stores, made ready. They are removed by `leave`.
    pub fn enter(
        &self,
        workload: &str,
        limits: &[&str],
        ready: impl Fn(&Shared, &Path) -> Result<()>,
    ) -> Vec<Entrant> {
        let mut entrants = Vec::new();
        for who in self.among(limits) {
            let path = self.dir.join(workload).join(who.name.replace(' ', "-"));
            let entrant = Entrant::new(who, path);
            let opened = entrant.open(Tuning::Usual).and_then(|peer| ready(&peer, &entrant.path));
            match opened {
                Ok(()) => entrants.push(entrant),
                Err(error) => self.note(workload, who, &*error),
            }
        }
        entrants
    }

    pub fn leave(&self, workload: &str, entrants: Vec<Entrant>) {
        entrants.iter().for_each(Entrant::close);
        // What cannot be removed now is removed with the whole directory.
        let _ = std::fs::remove_dir_all(self.dir.join(workload));
    }

    /// In each round, each entrant in turn; it begins with another one each time. `measure` gives
    /// a number for each of the rows.
    ///
    /// Rounds are short and many, since a disk that others use is faster now and slower then: what
    /// is compared was measured within a second.
    pub fn rounds(
        &self,
        rows: &mut [Row],
        entrants: &[Entrant],
        measure: impl Fn(&Entrant, usize) -> Result<Vec<f64>>,
    ) {
        self.turns(self.rounds, rows, entrants, measure);
    }

    /// As `rounds`, a third as many: for what takes as long as it takes.
    pub fn few_rounds(
        &self,
        rows: &mut [Row],
        entrants: &[Entrant],
        measure: impl Fn(&Entrant, usize) -> Result<Vec<f64>>,
    ) {
        self.turns(self.rounds.div_ceil(3), rows, entrants, measure);
    }

    fn turns(
        &self,
        rounds: usize,
        rows: &mut [Row],
        entrants: &[Entrant],
        measure: impl Fn(&Entrant, usize) -> Result<Vec<f64>>,
    ) {
        for entrant in entrants {
            entrant.out.store(false, Ordering::Relaxed);
        }
        for round in 0..rounds {
            for turn in 0..entrants.len() {
                let entrant = &entrants[(turn + round) % entrants.len()];
                if entrant.out.load(Ordering::Relaxed) {
                    continue;
                }
                match measure(entrant, round) {
                    Ok(values) => {
                        let cells = rows.iter_mut().zip(values);
                        cells.for_each(|(row, value)| row.add(entrant.who, value));
                    }
                    Err(error) => {
                        entrant.out.store(true, Ordering::Relaxed);
                        self.note(&rows[0].name, entrant.who, &*error);
                    }
                }
            }
        }
    }

    /// What is not offered is no news.
    pub fn note(&self, workload: &str, who: &Contender, error: &(dyn std::error::Error + 'static)) {
        if error.downcast_ref::<NotOffered>().is_none() {
            eprintln!("  {} in {workload}: {error}", who.name);
            self.notes
                .lock()
                .expect("no panic")
                .push(format!("{} in {workload}: {error}", who.name));
        }
    }

    pub fn rate(
        &self,
        threads: usize,
        work: impl Fn(usize, u64) -> Result<u64> + Sync,
    ) -> Result<f64> {
        rate(self.slice, threads, work)
    }
}

/// How much is done in a second by so many threads, each of which does `work` again and again; it
/// is told which thread it is and which turn, and says how much it has done.
pub fn rate(
    slice: Duration,
    threads: usize,
    work: impl Fn(usize, u64) -> Result<u64> + Sync,
) -> Result<f64> {
    let barrier = Barrier::new(threads);
    let run = |thread: usize| -> Result<(u64, Instant, Instant)> {
        barrier.wait();
        let start = Instant::now();
        let (mut done, mut turn) = (0, 0);
        loop {
            done += work(thread, turn)?;
            turn += 1;
            if start.elapsed() >= slice {
                return Ok((done, start, Instant::now()));
            }
        }
    };
    let results: Vec<_> = match threads {
        1 => vec![run(0)],
        _ => std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        }),
    };
    let results = results.into_iter().collect::<Result<Vec<_>>>()?;
    let done: u64 = results.iter().map(|result| result.0).sum();
    let start = results.iter().map(|result| result.1).min().expect("a thread");
    let end = results.iter().map(|result| result.2).max().expect("a thread");
    Ok(done as f64 / (end - start).as_secs_f64())
}

/// Reads these objects, and looks at each of them.
pub fn read(peer: &Shared, keys: &[u64]) -> Result<u64> {
    let mut sound = 0;
    peer.read(keys, &mut |key: u64, item: &Item| sound += u64::from(item.is_sound(key)))?;
    match sound as usize == keys.len() {
        true => Ok(sound),
        false => Err(format!(
            "{} of {} objects are not as written",
            keys.len() as u64 - sound,
            keys.len()
        )
        .into()),
    }
}
