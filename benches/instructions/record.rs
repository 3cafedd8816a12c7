//! The counts that somebody saved, and how others stand to them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");
const HEADING: &str = "path\tinstructions\n";

/// How far a count may be from the one on record, in per cent: hash maps have another seed in
/// every process, and the smallest paths feel it.
const TOLERANCE: f64 = 5.0;

/// Instructions of one round, by the names of their paths.
pub type Record = BTreeMap<String, u64>;

/// What was saved.
pub fn read() -> Result<Record, Box<dyn Error>> {
    let text = fs::read_to_string(FILE)?;
    let lines = text.strip_prefix(HEADING).ok_or("instructions.tsv has another heading")?.lines();
    lines.map(entry).collect()
}

fn entry(line: &str) -> Result<(String, u64), Box<dyn Error>> {
    let (name, count) = line.split_once('\t').ok_or("a line of instructions.tsv has no tab")?;
    Ok((name.into(), count.parse()?))
}

/// Saves it for others to compare with.
pub fn write(record: &Record) -> Result<(), Box<dyn Error>> {
    let lines = record.iter().map(|(name, count)| format!("{name}\t{count}\n"));
    Ok(fs::write(FILE, HEADING.to_owned() + &lines.collect::<String>())?)
}

/// A count beside the one on record, if there is one.
pub struct Comparison {
    pub count: u64,
    pub recorded: Option<u64>,
}

impl Comparison {
    /// In per cent.
    fn change(&self) -> Option<f64> {
        self.recorded.map(|recorded| (self.count as f64 / recorded as f64 - 1.0) * 100.0)
    }

    /// Whether it is more than the record and the tolerance allow.
    pub fn is_worse(&self) -> bool {
        self.change().is_some_and(|change| change > TOLERANCE)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(change), Some(recorded)) = (self.change(), self.recorded) else {
            return write!(f, "{:>12}  not on record", self.count);
        };
        let verdict = match change {
            _ if self.is_worse() => "  MORE",
            _ if change < -TOLERANCE => "  less",
            _ => "",
        };
        write!(f, "{:>12}  {change:+.1} % of {recorded}{verdict}", self.count)
    }
}
