//! `loop`: writers that are killed in the middle of it, and a look at what each of them leaves.

use crate::check::look;
use crate::script::mix;
use crate::{DATABASE, Failure};
use perennial::file::DiskDirectory;
use perennial::storage::file::verify;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// After so many kills the file is read from end to end, and a new one is begun: checking takes
/// longer the more commits there are.
const KILLS_OF_A_FILE: u64 = 25;

/// The longest life of a writer, in milliseconds; some die while they open the file.
const LIFE: u64 = 160;

/// What is asked for.
pub struct Plan {
    pub kills: u64,
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    threads: [u64; 2],
    lazy: u64,
    before_the_first_commit: u64,
    acknowledged: u64,
    checks: u64,
    verified: u64,
}

/// Kills writers in `directory`, which is made anew for every few of them.
pub fn kill(directory: &Path, plan: &Plan) -> Result<(), Failure> {
    let (mut tally, begun) = (Tally::default(), Instant::now());
    while tally.kills < plan.kills {
        let home = directory.join(format!("file-{}", tally.verified));
        fs::create_dir_all(&home).map_err(failed)?;
        let mut acknowledged = BTreeSet::new();
        for _ in 0..KILLS_OF_A_FILE.min(plan.kills - tally.kills) {
            let chance = mix(plan.seed.wrapping_mul(0x1_0001).wrapping_add(tally.kills));
            let told = live_and_die(&home, chance, &mut tally)?;
            tally.kills += 1;
            tally.before_the_first_commit += u64::from(told.is_empty());
            acknowledged.extend(told);
            // Now and then the next writer is the first to see what this one left.
            if !chance.is_multiple_of(4) {
                tally.checks += u64::from(check(&home, &acknowledged)?);
            }
        }
        tally.checks += u64::from(check(&home, &acknowledged)?);
        tally.acknowledged += acknowledged.len() as u64;
        read_through(&home)?;
        tally.verified += 1;
        fs::remove_dir_all(&home).map_err(failed)?;
    }
    println!(
        "{} kills in {:.0} s ({} of 1 thread, {} of 4; {} lazy; {} before the first commit), {} \
         commits acknowledged and none lost, {} checks, {} files verified",
        tally.kills,
        begun.elapsed().as_secs_f64(),
        tally.threads[0],
        tally.threads[1],
        tally.lazy,
        tally.before_the_first_commit,
        tally.acknowledged,
        tally.checks,
        tally.verified,
    );
    Ok(())
}

/// One writer, from its start to its end; the commits that were acknowledged.
fn live_and_die(home: &Path, chance: u64, tally: &mut Tally) -> Result<Vec<u64>, Failure> {
    let many = (chance >> 8).is_multiple_of(2);
    let lazy = (chance >> 9).is_multiple_of(3);
    tally.threads[usize::from(many)] += 1;
    tally.lazy += u64::from(lazy);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("write").arg(home).args(["--commits", "1000000"]);
    command.args(["--threads", if many { "4" } else { "1" }]);
    command.args(lazy.then_some("--lazy"));
    let mut writer = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let out = BufReader::new(writer.stdout.take().expect("it is a pipe"));
    let listener = std::thread::spawn(move || acknowledgements(out));
    sleep(Duration::from_millis(chance % LIFE) + Duration::from_micros(chance >> 54));
    end(&mut writer)?;
    listener.join().map_err(|_| Failure::Error("the listener panicked".into()))
}

/// Kills a writer, which has no reason to have ended before.
fn end(writer: &mut Child) -> Result<(), Failure> {
    let before = writer.try_wait().map_err(failed)?;
    writer.kill().map_err(failed)?;
    writer.wait().map_err(failed)?;
    match before {
        Some(status) => Err(Failure::Damage(format!("a writer ended by itself: {status}"))),
        None => Ok(()),
    }
}

/// The numbers behind each ACK; the last line may have been cut.
fn acknowledgements(mut out: impl BufRead) -> Vec<u64> {
    let (mut all, mut line) = (Vec::new(), String::new());
    while out.read_line(&mut line).is_ok_and(|length| length > 0) {
        let number = line.strip_prefix("ACK ").and_then(|rest| rest.strip_suffix('\n'));
        all.extend(number.and_then(|number| number.parse::<u64>().ok()));
        line.clear();
    }
    all
}

/// Whether there is a database, which then holds all that was acknowledged, and nothing in part.
fn check(home: &Path, acknowledged: &BTreeSet<u64>) -> Result<bool, Failure> {
    let found = match look(home) {
        Err(Failure::Nothing(_)) if acknowledged.is_empty() => return Ok(false),
        found => found?,
    };
    let lost: Vec<_> = acknowledged.difference(&found.commits).collect();
    match lost.is_empty() {
        true => Ok(true),
        false => Err(Failure::Damage(format!("acknowledged, and not there: {lost:?}"))),
    }
}

/// Reads the whole file.
fn read_through(home: &Path) -> Result<(), Failure> {
    let verification = match verify(&DiskDirectory::new(home), DATABASE, &mut |_, _| {}) {
        Err(_) if !home.join(DATABASE).exists() => return Ok(()),
        verification => verification?,
    };
    match verification.is_sound() {
        true => Ok(()),
        false => Err(Failure::Damage(format!("{:?}", verification.findings))),
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Error(error.to_string())
}
