//! `perennial`: looks into a database file.
//!
//! Each command is a file of its own; all of them open the database for reading only, and all but
//! `recover` beside a running writer too, through the library's public names. `report` is how they
//! speak.
//!
//! # Invariants
//! - Nothing is written but to standard output and standard error, and by `recover` to a new file.
//! - The exit status is 0, or 1 where damage was found, or 2 where the question made no sense or
//!   the file could not be read.

mod info;
mod json;
mod log;
mod recover;
mod report;
mod show;
mod verify;

use clap::{Args, Parser, Subcommand};
use perennial::file::DiskDirectory;
use perennial::storage::FileStorage;
use perennial::storage::file::{FileFacts, FileOptions, Mode, Reads};
use report::{Failure, Outcome, Report, complain};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Looks into a Perennial database, without changing it.
#[derive(Parser)]
#[command(version, after_help = "Exit status: 0 fine, 1 damage found, 2 cannot read, wrong use.")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the file says of itself.
    Info(info::Arguments),
    /// The transactions, newest first.
    Log(log::Arguments),
    /// Reads the whole file and tells all that is wrong with it.
    Verify(verify::Arguments),
    /// Copies the undamaged transactions of a file into a new one, and tells all that is lost.
    Recover(recover::Arguments),
    /// One object, printed by the shape of its type.
    Show(show::Arguments),
}

/// What every command takes.
#[derive(Args)]
struct Subject {
    /// The database file.
    file: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Subject {
    /// The file's directory and its name there. A symbolic link is followed: the index is where the
    /// file is.
    fn place(&self) -> Result<(DiskDirectory, String), Failure> {
        match self.file.canonicalize() {
            Ok(target) if self.file.is_symlink() => place(&target),
            _ => place(&self.file),
        }
    }

    /// The database, opened for reading only.
    fn open(&self) -> Result<FileStorage, Failure> {
        let (directory, name) = self.place()?;
        // By position: a disk that fails under a map would end us without a word.
        let mut options = FileOptions::default();
        (options.mode, options.reads) = (Mode::ReadOnly, Reads::Pread);
        Ok(FileStorage::open(Arc::new(directory), &name, options)?)
    }
}

/// Says where a file that was read is damaged: what was told is what precedes that.
fn warn_of_damage(storage: &FileStorage) -> Outcome {
    let FileFacts { log_end, durable, .. } = storage.facts();
    if log_end < durable {
        complain(format_args!(
            "damaged at offset {log_end}, while all below {durable} was durable; this is what \
             precedes the damage; `perennial verify` tells more"
        ));
    }
    Outcome::damaged_if(log_end < durable)
}

/// The directory of a file, and its name there.
fn place(file: &Path) -> Result<(DiskDirectory, String), Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::usage(format!("{file:?} ends in no file name in UTF-8")))?;
    let parent = file.parent().unwrap_or_else(|| "".as_ref());
    Ok((DiskDirectory::new(parent), name.to_owned()))
}

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let mut report = Report::new();
    let outcome = run(command, &mut report).and_then(|outcome| {
        report.flush()?;
        Ok(outcome)
    });
    let status = match outcome {
        Ok(Outcome::Fine) => 0,
        Ok(Outcome::Damaged) => 1,
        Err(failure) => failure.tell(),
    };
    ExitCode::from(status)
}

fn run(command: Command, report: &mut Report) -> Result<Outcome, Failure> {
    match command {
        Command::Info(arguments) => info::run(&arguments, report),
        Command::Log(arguments) => log::run(&arguments, report),
        Command::Verify(arguments) => verify::run(&arguments, report),
        Command::Recover(arguments) => recover::run(&arguments, report),
        Command::Show(arguments) => show::run(&arguments, report),
    }
}
