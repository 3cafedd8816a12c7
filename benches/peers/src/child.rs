//! What is done in a process of its own: loading and being killed, opening, reading when cold.
//!
//! The program runs itself with `child TASK CONTENDER PATH OBJECTS`, and reads one number.

use crate::bench::{Entrant, read};
use crate::object::{Failure, NotOffered, Random, Result};
use crate::peer::{self, Contender, Shared, Tuning};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many objects a cold process reads.
pub const COLD: usize = 20_000;
/// Objects a commit when the large stores are loaded.
const LOADED_AT_ONCE: u64 = 1_000;
/// As above, where every commit is synced.
const LOADED_DURABLY: u64 = 20_000;

/// Runs a task in a child, and returns what it printed.
pub fn run(task: &str, entrant: &Entrant, objects: u64) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", task, entrant.who.name]).arg(&entrant.path).arg(objects.to_string());
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let number = text.lines().last().and_then(|line| line.parse().ok());
    match number {
        Some(f64::INFINITY) => Err(NotOffered.into()),
        Some(number) => Ok(number),
        None => Err(format!("the child ended with {}", output.status).into()),
    }
}

/// The child's side.
pub fn main(arguments: &[String]) -> Result<()> {
    let [task, name, path, objects] = arguments else { return Err("four arguments".into()) };
    let who = peer::ALL.iter().find(|who| who.name == name).ok_or("no such contender")?;
    let (path, objects) = (Path::new(path), objects.parse()?);
    let number = match task.as_str() {
        "load" => load(who, path, objects),
        "open" => open(who, path, objects),
        "replay" => replay(who, path),
        "cold" => cold(who, path, objects),
        "memory" => memory(who, path, objects),
        _ => Err("no such task".into()),
    };
    match number {
        Ok(number) => println!("{number}"),
        Err(error) if error.is::<NotOffered>() => println!("inf"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Loads objects, and is killed: nothing is closed. Prints objects a second.
fn load(who: &Contender, path: &Path, objects: u64) -> Result<f64> {
    let peer = who.open(path, Tuning::Usual)?;
    let start = Instant::now();
    match put_all(&peer, objects, LOADED_AT_ONCE, false) {
        Err(error) if error.is::<NotOffered>() => put_all(&peer, objects, LOADED_DURABLY, true)?,
        other => other?,
    }
    peer.settle()?;
    println!("{}", objects as f64 / start.elapsed().as_secs_f64());
    peer.remember(path)?;
    // SAFETY: a signal to this very process, which is what is wanted.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    Err("nobody survives that".into())
}

fn put_all(peer: &Shared, objects: u64, at_once: u64, durable: bool) -> Result<()> {
    let starts = (0..objects).step_by(at_once as usize);
    starts.into_iter().try_for_each(|key| peer.put(key..objects.min(key + at_once), durable))
}

/// Opens, and reads one object: milliseconds.
fn open(who: &Contender, path: &Path, objects: u64) -> Result<f64> {
    let start = Instant::now();
    let peer = who.open(path, Tuning::Usual)?;
    let opened = start.elapsed();
    peer.recall(path)?;
    let start = Instant::now();
    read(&peer, &[objects / 2])?;
    Ok((opened + start.elapsed()).as_secs_f64() * 1e3)
}

/// Opens without an index, so that the whole log is read: gigabytes a second.
fn replay(who: &Contender, path: &Path) -> Result<f64> {
    let log = match who.name {
        "Perennial" => path.join("objects.db"),
        _ => path.join("log"),
    };
    let bytes = std::fs::metadata(&log)?.len();
    if who.name == "Perennial" {
        std::fs::remove_file(path.join("objects.db.index"))?;
        let start = Instant::now();
        let peer = who.open(path, Tuning::Usual)?;
        let took = start.elapsed();
        // Closing writes the index again, and is not in the time.
        drop(peer);
        return Ok(bytes as f64 / took.as_secs_f64() / 1e9);
    }
    let start = Instant::now();
    std::hint::black_box(crc32fast::hash(&std::fs::read(log)?));
    Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e9)
}

/// Opens, and reads random objects: nanoseconds for each, the opening included.
fn cold(who: &Contender, path: &Path, objects: u64) -> Result<f64> {
    let keys = Random::new(77).keys(COLD, objects);
    let start = Instant::now();
    let peer = who.open(path, Tuning::Usual)?;
    let opened = start.elapsed();
    peer.recall(path)?;
    let start = Instant::now();
    read(&peer, &keys)?;
    Ok((opened + start.elapsed()).as_nanos() as f64 / COLD as f64)
}

/// What an object costs in memory that is not cached: bytes of the heap and of the index's map,
/// after each object was read once.
fn memory(who: &Contender, path: &Path, objects: u64) -> Result<f64> {
    let peer = who.open(path, Tuning::Uncached)?;
    peer.recall(path)?;
    let keys: Vec<u64> = (0..objects).collect();
    // What the application itself remembers is there before and after.
    let before = resident(None)?;
    keys.chunks(1_000).try_for_each(|keys| read(&peer, keys).map(drop))?;
    let index = resident(Some(".index"))?;
    Ok((resident(None)?.saturating_sub(before) + index) as f64 / objects as f64)
}

/// Resident bytes of what is mapped from a file whose name ends so; of what is from none.
fn resident(ending: Option<&str>) -> Result<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let (mut counts, mut sum) = (false, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !first.ends_with(':') {
            counts = match ending {
                Some(ending) => line.ends_with(ending),
                None => !line.contains('/'),
            };
        } else if counts && first == "Rss:" {
            let kilobytes: u64 = words.next().unwrap_or("0").parse().map_err(Failure::from)?;
            sum += kilobytes << 10;
        }
    }
    Ok(sum)
}
