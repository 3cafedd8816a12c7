//! A torture for your own disk: write, pull the plug, check.
//!
//! ```console
//! $ cargo run --release --example torture -- write DIR > acknowledged
//! $ cargo run --release --example torture -- check DIR
//! ```
//!
//! `write` makes DIR where there is none, and goes on in one that it has made. The commands are
//!
//! ```text
//! torture write DIR [--commits N] [--threads T] [--lazy]
//! torture check DIR
//! torture serve            reads one DIR a line, answers FOUND n, REFUSED why or ERROR why
//! torture dump DIR
//! torture loop DIR [--kills N] [--seed S]
//! ```
//!
//! `loop` starts writers in new directories below DIR, kills each after a short while (SIGKILL, as
//! `kill -9` sends it), and checks what it left: with one thread or four, lazy or not, some while
//! they open the file. Now and then it reads a whole file, and begins another.
//!
//! `write` prints BEGIN n before and ACK n after commit n is durable. What commit n does is a
//! function of n, so `check` knows what must be there: everything that was acknowledged, whole, of
//! each thread without a gap, and nothing in part. Exit status of `check`: 0 and FOUND n, 3 where
//! there is no database yet, 4 where it refuses to open, 5 where it holds what it should not.

#[path = "torture/check.rs"]
mod check;
#[path = "torture/dump.rs"]
mod dump;
#[path = "torture/kill.rs"]
mod kill;
#[path = "torture/model.rs"]
mod model;
#[path = "torture/script.rs"]
mod script;
#[path = "torture/world.rs"]
mod world;
#[path = "torture/write.rs"]
mod write;

use perennial::{Database, Error};
use std::io::{BufRead, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// The database of a directory.
const DATABASE: &str = "torture.db";

/// Why a command did not succeed.
pub enum Failure {
    /// There is no database yet.
    Nothing(String),
    /// The database refused to open.
    Refused(String),
    /// It opened, and what it holds is wrong.
    Damage(String),
    /// Something else.
    Error(String),
}

impl Failure {
    fn within(self, place: &str) -> Failure {
        match self {
            Failure::Damage(what) => Failure::Damage(format!("{place}: {what}")),
            other => other,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(format!("{error:?}").replace('\n', ";"))
    }
}

/// Opens the database, or creates it.
fn open(directory: &Path) -> Result<Database, Failure> {
    Database::open(directory.join(DATABASE)).map_err(|error| Failure::Refused(error.to_string()))
}

/// Opens the database, if there is one.
fn open_existing(directory: &Path) -> Result<Database, Failure> {
    let path = directory.join(DATABASE);
    Database::options().existing().open(&path).map_err(|error| match &error {
        Error::Io(failure) if failure.source.kind() == ErrorKind::NotFound => {
            Failure::Nothing(format!("there is no database in {}", directory.display()))
        }
        _ => Failure::Refused(error.to_string()),
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["write", directory, ref options @ ..] => match work(options) {
            Some(work) => write::write(Path::new(directory), &work),
            None => return usage(),
        },
        ["check", directory] => {
            check::check(Path::new(directory)).map(|found| println!("FOUND {found}"))
        }
        ["serve"] => serve(),
        ["dump", directory] => dump::dump(Path::new(directory)),
        ["loop", directory, ref options @ ..] => match plan(options) {
            Some(plan) => kill::kill(Path::new(directory), &plan),
            None => return usage(),
        },
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: torture write DIR [--commits N] [--threads T] [--lazy]\n       \
         torture check DIR\n       torture serve\n       torture dump DIR\n       \
         torture loop DIR [--kills N] [--seed S]"
    );
    ExitCode::from(2)
}

fn report(failure: Failure) -> ExitCode {
    let (what, code) = match failure {
        Failure::Nothing(what) => (what, 3),
        Failure::Refused(what) => (format!("refused: {what}"), 4),
        Failure::Damage(what) => (format!("damage: {what}"), 5),
        Failure::Error(what) => (format!("error: {what}"), 1),
    };
    eprintln!("{what}");
    ExitCode::from(code)
}

fn work(options: &[&str]) -> Option<write::Work> {
    let mut work = write::Work { commits: 1000, threads: 1, lazy: false };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--commits" => work.commits = options.next()?.parse().ok()?,
            "--threads" => work.threads = options.next()?.parse().ok().filter(|&it| it > 0)?,
            "--lazy" => work.lazy = true,
            _ => return None,
        }
    }
    Some(work)
}

fn plan(options: &[&str]) -> Option<kill::Plan> {
    let mut plan = kill::Plan { kills: 100, seed: 1 };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--kills" => plan.kills = options.next()?.parse().ok()?,
            "--seed" => plan.seed = options.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Some(plan)
}

/// Checks one directory after the other, for as long as there are lines.
fn serve() -> Result<(), Failure> {
    let error = |error: std::io::Error| Failure::Error(error.to_string());
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(error)?;
        let answer = match check::check(Path::new(line.trim_end_matches('\r'))) {
            Ok(found) => format!("FOUND {found}\n"),
            Err(Failure::Nothing(why) | Failure::Refused(why)) => format!("REFUSED {why}\n"),
            Err(Failure::Damage(why) | Failure::Error(why)) => format!("ERROR {why}\n"),
        };
        out.write_all(answer.as_bytes()).and_then(|()| out.flush()).map_err(error)?;
    }
    Ok(())
}
