//! Counts instructions and allocations with `valgrind`, which runs this program again and counts
//! one function of it. Making a path ready is outside of that function, and so is not counted.

use super::paths::Path;
use super::record::Count;
use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs;
use std::process::Command;

/// The first argument of the program that is counted; the others are the path's name, and how many
/// rounds are counted.
pub const CHILD: &str = "count";

/// Whether there is a `valgrind` to count with.
pub fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// What calls of the C library allocate memory.
const ALLOCATING: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What one round of the path takes.
pub fn count(path: &Path) -> Result<Count, Box<dyn Error>> {
    let profile = profile(path, path.rounds)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.ok_or("there is no total in the profile")?.trim().parse()?;
    if total < path.rounds {
        return Err("nothing was counted: the program's symbols are missing".into());
    }
    // Unlike instructions, calls are counted all the time.
    let but_one = calls(&profile, &ALLOCATING) - calls(&self::profile(path, 1)?, &ALLOCATING);
    let allocations = (but_one as f64 / (path.rounds - 1) as f64).round() as u64;
    Ok(Count { instructions: total / path.rounds, allocations })
}

/// What callgrind writes of this program, where it counts so many rounds of the path.
fn profile(path: &Path, rounds: u64) -> Result<String, Box<dyn Error>> {
    let out = tempfile::NamedTempFile::new()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*only_this_is_counted*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(env::current_exe()?)
        .args([CHILD, path.name, &rounds.to_string()])
        .output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind failed: {told}").into());
    }
    Ok(fs::read_to_string(out.path())?)
}

/// How often these functions were called.
///
/// A profile names the function called in a line `cfn=(12) malloc`, after the first time without
/// its name, and says how often in the line that follows.
fn calls(profile: &str, names: &[&str]) -> u64 {
    let mut wanted = HashSet::new();
    let (mut callee, mut sum) = ("", 0);
    for line in profile.lines() {
        let function = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="));
        if let Some((number, name)) = function.and_then(|function| function.split_once(' '))
            && names.contains(&name)
        {
            wanted.insert(number);
        }
        if let Some(function) = line.strip_prefix("cfn=") {
            callee = function.split(' ').next().unwrap_or_default();
        }
        if let Some(calls) = line.strip_prefix("calls=")
            && wanted.contains(callee)
        {
            let times = calls.split(' ').next().and_then(|times| times.parse::<u64>().ok());
            sum += times.unwrap_or_default();
        }
    }
    sum
}

/// What the program that is counted does.
pub fn child(path: &Path, rounds: u64) {
    let mut operation = (path.ready)();
    // The first rounds grow tables and load what is loaded once.
    (0..path.rounds / 10).for_each(|_| operation());
    only_this_is_counted(&mut *operation, rounds);
}

#[inline(never)]
fn only_this_is_counted(operation: &mut dyn FnMut(), rounds: u64) {
    (0..rounds).for_each(|_| operation());
}
