//! How the commands speak: results on standard output, failures on standard error.
//!
//! # Invariants
//! - A reader who went away, as `head` does, ends the command quietly.
//! - No text from a file steers the terminal: control characters are printed as escapes.

use crate::json::Json;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use perennial::Error;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

/// What a command that ran to its end found.
pub enum Outcome {
    /// Nothing to worry about.
    Fine,
    /// The file is damaged.
    Damaged,
}

impl Outcome {
    /// Damaged, if so.
    pub fn damaged_if(damaged: bool) -> Outcome {
        if damaged { Outcome::Damaged } else { Outcome::Fine }
    }
}

/// Why a command did not run to its end.
pub enum Failure {
    /// The library said no.
    Refused(Error),
    /// What was asked for makes no sense.
    Usage(String),
    /// Nothing can be printed.
    Output(io::Error),
}

impl Failure {
    /// What was asked for makes no sense.
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure::Usage(what.into())
    }

    /// Says it in one line and its causes in further ones; the exit status.
    pub fn tell(&self) -> u8 {
        let (what, status) = match self {
            Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => return 0,
            Failure::Output(error) => (format!("cannot print: {error}"), 2),
            Failure::Usage(what) => (what.clone(), 2),
            Failure::Refused(error) => (with_causes(error), status(error)),
        };
        complain(what);
        status
    }
}

fn status(error: &Error) -> u8 {
    match error {
        Error::Corrupt(_) | Error::Damaged(_) => 1,
        _ => 2,
    }
}

/// What went wrong, and below it those causes that it does not name itself.
pub fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str("\n  because: ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// Says `what` on standard error; where that is closed, nobody can be told.
pub fn complain(what: impl Display) {
    let lines: Vec<String> = what.to_string().lines().map(harmless).collect();
    let _ = writeln!(io::stderr(), "perennial: {}", lines.join("\n"));
}

/// The text with its control characters as escapes.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => out.extend(char.escape_default()),
            false => out.push(char),
        }
    }
    out
}

/// Does something that tells how much is done, and of how much; a bar shows it.
pub fn with_progress<T>(act: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T) -> T {
    let bar = progress_bar();
    let result = act(&mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    result
}

/// A bar on standard error, where somebody looks at it.
fn progress_bar() -> ProgressBar {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} to go");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, target).with_style(style)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Refused(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Standard output.
pub struct Report {
    out: BufWriter<StdoutLock<'static>>,
}

impl Report {
    pub fn new() -> Report {
        Report { out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints a line.
    pub fn line(&mut self, what: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{}", harmless(&what.to_string()))?)
    }

    /// Prints a JSON document.
    pub fn json(&mut self, document: &Json) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{document}")?)
    }

    /// Prints what something is, under its name.
    pub fn fact(&mut self, name: &str, what: impl Display) -> Result<(), Failure> {
        self.line(format_args!("{:<18} {what}", format!("{name}:")))
    }

    /// Prints a list of `items` as one JSON document, each as soon as it is there.
    pub fn list(
        &mut self,
        items: impl Iterator<Item = Result<Json, Failure>>,
    ) -> Result<(), Failure> {
        write!(self.out, "[")?;
        for (index, item) in items.enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(self.out, "{separator}\n{}", item?)?;
        }
        Ok(writeln!(self.out, "\n]")?)
    }

    /// Prints what is still held back.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}
