//! Reading docs/format.md: the tables and examples that are marked for the tests.
//!
//! A table follows `<!-- layout: Name -->` or `<!-- table: name -->`; an example is a block fenced
//! as `hex Name`: bytes, and a comment after each `#`.

use std::collections::BTreeMap;

/// A row of a table: its line in the document, counted from 0, and what stands between the bars.
#[derive(Debug, Clone)]
pub struct Row {
    pub line: usize,
    pub cells: Vec<String>,
}

impl Row {
    /// The text of a cell, without the marks of code.
    pub fn cell(&self, number: usize) -> &str {
        self.cells.get(number).map_or("", |cell| cell.trim_matches('`'))
    }
}

/// A line of an example.
#[derive(Debug, Clone)]
pub struct HexLine {
    pub line: usize,
    pub bytes: Vec<u8>,
    pub comment: String,
}

/// What the document says in a form that can be checked.
#[derive(Debug, Default)]
pub struct Document {
    pub layouts: BTreeMap<String, Vec<Row>>,
    pub tables: BTreeMap<String, Vec<Row>>,
    pub examples: BTreeMap<String, Vec<HexLine>>,
}

impl Document {
    /// Takes the document apart; what cannot be read is a complaint.
    pub fn parse(text: &str) -> Result<Document, String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut document = Document::default();
        for (number, line) in lines.iter().enumerate() {
            let marked = |word: &str| {
                let inner = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
                inner.strip_prefix(word)?.strip_prefix(": ").map(str::to_owned)
            };
            let mut known = false;
            let name = if let Some(name) = marked("layout") {
                known |= document.layouts.insert(name.clone(), rows(&lines, number + 1)?).is_some();
                name
            } else if let Some(name) = marked("table") {
                known |= document.tables.insert(name.clone(), rows(&lines, number + 1)?).is_some();
                name
            } else if let Some(name) = line.strip_prefix("```hex ") {
                known |= document.examples.insert(name.into(), hex(&lines, number + 1)?).is_some();
                name.to_owned()
            } else {
                continue;
            };
            if known {
                return Err(format!("line {}: {name} again", number + 1));
            }
        }
        Ok(document)
    }

    /// All bytes of an example.
    pub fn example(&self, name: &str) -> Option<Vec<u8>> {
        let lines = self.examples.get(name)?;
        Some(lines.iter().flat_map(|line| line.bytes.iter().copied()).collect())
    }
}

/// The rows of the table that starts at `first`, without its head.
fn rows(lines: &[&str], first: usize) -> Result<Vec<Row>, String> {
    let table = lines.iter().enumerate().skip(first).take_while(|(_, line)| line.starts_with('|'));
    let rows: Vec<Row> = table
        .skip(2)
        .map(|(line, text)| {
            let cells = text.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            Row { line, cells: cells.collect() }
        })
        .collect();
    match rows.is_empty() {
        true => Err(format!("line {}: no table follows", first + 1)),
        false => Ok(rows),
    }
}

/// The lines of the example that starts at `first`, up to the end of its fence.
fn hex(lines: &[&str], first: usize) -> Result<Vec<HexLine>, String> {
    let mut example = Vec::new();
    for (line, text) in lines.iter().enumerate().skip(first) {
        if text.starts_with("```") {
            return Ok(example);
        }
        let (digits, comment) = text.split_once('#').unwrap_or((text, ""));
        let bytes: Result<Vec<u8>, _> =
            digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = bytes.map_err(|error| format!("line {}: {error}", line + 1))?;
        example.push(HexLine { line, bytes, comment: comment.trim().to_owned() });
    }
    Err(format!("line {}: an example without an end", first + 1))
}
