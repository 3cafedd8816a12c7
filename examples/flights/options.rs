//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

pub const USAGE: &str = "\
Stores flights, and pushes a webhook for each that was an hour or more late.

usage: flights [--data FILE] [--db PATH] [--verbose]

  --data FILE  the flights: a JSON array, or one JSON object a line
               (else the 20,000 that come with the example)
  --db PATH    keep the database there; a run on one that was kept goes on where the last one
               ended, and adds a file that it does not know (else it is temporary)
  --verbose    say what was committed, batch by batch
  --help       say this";

/// The data that come with the example.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/flights-20k.json");

#[derive(Debug)]
pub struct Options {
    pub data: PathBuf,
    pub db: Option<PathBuf>,
    pub verbose: bool,
    pub help: bool,
}

impl Options {
    /// Reads the arguments, or says which one it does not understand.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
        let mut options = Options { data: SAMPLE.into(), db: None, verbose: false, help: false };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut path = |what: &str| {
                let value = arguments.next().filter(|value| !value.is_empty());
                value.map(PathBuf::from).ok_or(format!("{what} needs a path\n\n{USAGE}"))
            };
            match argument.to_str() {
                Some("--data") => options.data = path("--data")?,
                Some("--db") => options.db = Some(path("--db")?),
                Some("--verbose") => options.verbose = true,
                Some("--help" | "-h") => options.help = true,
                _ => return Err(format!("what is {}?\n\n{USAGE}", argument.display())),
            }
        }
        Ok(options)
    }
}
