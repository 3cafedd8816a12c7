//! How many instructions and allocations the hot paths take, beside those that are on record.
//!
//! ```console
//! $ cargo bench --bench instructions                  # counts, and compares with the record
//! $ cargo bench --bench instructions -- commit        # only paths with this word in their name
//! $ cargo bench --bench instructions -- --save        # makes what it counts the record
//! ```
//!
//! Counts hardly depend on the machine, and not on what else it does, so they show a change of a
//! few per cent that times would hide. They do not show what waits for memory or for the disk.
//! The exit status is 1 where a path takes more than on record, beyond the tolerance.

mod callgrind;
#[path = "../kit.rs"]
mod kit;
mod paths;
mod record;

use paths::{PATHS, Path};
use record::Comparison;
use std::env;
use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, name, rounds] = &arguments[..]
        && first == callgrind::CHILD
    {
        let path = PATHS.iter().find(|path| path.name == name);
        callgrind::child(path.ok_or("there is no such path")?, rounds.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let words: Vec<_> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |path: &&Path| words.iter().all(|word| path.name.contains(word.as_str()));
    let paths: Vec<_> = PATHS.iter().filter(wanted).collect();
    // `cargo test --benches` only wants to know whether it runs.
    if !has("--bench") {
        paths.iter().for_each(|path| (path.ready)()());
        return Ok(ExitCode::SUCCESS);
    }
    if !callgrind::is_there() {
        println!("skipped: there is no valgrind to count instructions with");
        return Ok(ExitCode::SUCCESS);
    }
    compare(&paths, has("--save"))
}

/// Counts the paths, and prints each beside the record.
fn compare(paths: &[&Path], save: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut record = record::read()?;
    let mut worse = false;
    println!("instructions and allocations of one round, and how far they are from the record\n");
    for path in paths {
        let count = callgrind::count(path)?;
        let recorded = record.insert(path.name.into(), count);
        let comparison = Comparison { count, recorded };
        println!("{:<36}{comparison}", path.name);
        worse |= comparison.is_worse();
    }
    if save {
        record.retain(|name, _| PATHS.iter().any(|path| path.name == name));
        record::write(&record)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(u8::from(worse)))
}
