//! Counts instructions with `valgrind`, which runs this program again and counts one function of
//! it. Making a path ready is outside of that function, and so is not counted.

use super::paths::Path;
use std::env;
use std::error::Error;
use std::fs;
use std::process::Command;

/// The first argument of the program that is counted; the second is the path's name.
pub const CHILD: &str = "count";

/// Whether there is a `valgrind` to count with.
pub fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// How many instructions one round of the path takes.
pub fn count(path: &Path) -> Result<u64, Box<dyn Error>> {
    let out = tempfile::NamedTempFile::new()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*only_this_is_counted*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(env::current_exe()?)
        .args([CHILD, path.name])
        .output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind failed: {told}").into());
    }
    let profile = fs::read_to_string(out.path())?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.ok_or("there is no total in the profile")?.trim().parse()?;
    if total < path.rounds {
        return Err("nothing was counted: the program's symbols are missing".into());
    }
    Ok(total / path.rounds)
}

/// What the program that is counted does.
pub fn child(path: &Path) {
    let mut operation = (path.ready)();
    // The first rounds grow tables and load what is loaded once.
    (0..path.rounds / 10).for_each(|_| operation());
    only_this_is_counted(&mut *operation, path.rounds);
}

#[inline(never)]
fn only_this_is_counted(operation: &mut dyn FnMut(), rounds: u64) {
    (0..rounds).for_each(|_| operation());
}
