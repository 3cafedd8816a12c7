//! The counts that somebody saved, and how others stand to them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");
const HEADING: &str = "path\tinstructions\tallocations\n";

/// How far a count may be from the one on record, in per cent: hash maps have another seed in
/// every process, and the smallest paths feel it.
const TOLERANCE: f64 = 5.0;

/// What one round of a path takes.
#[derive(Clone, Copy)]
pub struct Count {
    pub instructions: u64,
    /// How often memory was asked for.
    pub allocations: u64,
}

/// Counts by the names of their paths.
pub type Record = BTreeMap<String, Count>;

/// What was saved.
pub fn read() -> Result<Record, Box<dyn Error>> {
    let text = fs::read_to_string(FILE)?;
    let lines = text.strip_prefix(HEADING).ok_or("instructions.tsv has another heading")?.lines();
    lines.map(entry).collect()
}

fn entry(line: &str) -> Result<(String, Count), Box<dyn Error>> {
    let fields: Vec<_> = line.split('\t').collect();
    let [name, instructions, allocations] = fields[..] else {
        return Err("a line of instructions.tsv has not three fields".into());
    };
    let (instructions, allocations) = (instructions.parse()?, allocations.parse()?);
    Ok((name.into(), Count { instructions, allocations }))
}

/// Saves it for others to compare with.
pub fn write(record: &Record) -> Result<(), Box<dyn Error>> {
    let line = |(name, count): (&String, &Count)| {
        format!("{name}\t{}\t{}\n", count.instructions, count.allocations)
    };
    Ok(fs::write(FILE, HEADING.to_owned() + &record.iter().map(line).collect::<String>())?)
}

/// A count beside the one on record, if there is one.
pub struct Comparison {
    pub count: Count,
    pub recorded: Option<Count>,
}

impl Comparison {
    /// In per cent: of the instructions, and of the allocations.
    fn changes(&self) -> Option<[f64; 2]> {
        let change = |now: u64, then: u64| match then {
            0 if now == 0 => 0.0,
            _ => (now as f64 / then as f64 - 1.0) * 100.0,
        };
        self.recorded.map(|recorded| {
            [
                change(self.count.instructions, recorded.instructions),
                change(self.count.allocations, recorded.allocations),
            ]
        })
    }

    /// Whether one of them is more than the record and the tolerance allow.
    pub fn is_worse(&self) -> bool {
        self.changes().is_some_and(|changes| changes.iter().any(|&change| change > TOLERANCE))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { instructions, allocations } = self.count;
        let Some(([more_instructions, more_allocations], recorded)) =
            self.changes().zip(self.recorded)
        else {
            return write!(f, "{instructions:>10} {allocations:>6}  not on record");
        };
        let verdict = match more_instructions.min(more_allocations) {
            _ if self.is_worse() => "  MORE",
            least if least < -TOLERANCE => "  less",
            _ => "",
        };
        let Count { instructions: then, allocations: asked } = recorded;
        write!(f, "{instructions:>10} ({more_instructions:+.1} % of {then}) ")?;
        write!(f, "{allocations:>6} ({more_allocations:+.1} % of {asked}){verdict}")
    }
}
