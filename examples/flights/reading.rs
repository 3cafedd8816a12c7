//! Reads flights from a file, one row at a time, whatever its length: a JSON array, or one object
//! a line. Knows where it is, and where it was: a file that was read in part is read on from there.

use super::model::Mark;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// A flight as files tell it.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub date: String,
    pub delay: i32,
    pub distance: u32,
    pub origin: String,
    pub destination: String,
}

/// A row of the file: a flight, or what is wrong with it.
#[derive(Debug)]
pub struct Row {
    pub place: Place,
    pub content: Result<Record, String>,
}

/// A place in the file: where a row begins, or where one goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    row: u64,
    line: u64,
    byte: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { row, line, byte } = self;
        write!(f, "row {row} (line {line}, byte {byte})")
    }
}

/// What ends the reading before the end of the file.
#[derive(Debug)]
pub enum Stop {
    /// From this place on, it is no JSON.
    Syntax {
        place: Place,
        what: String,
    },
    Io(io::Error),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Syntax { place, what } => write!(f, "{place}: {what}"),
            Stop::Io(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Array,
    Lines,
}

/// Reads rows.
pub struct Reader {
    source: Source,
    form: Form,
    /// Behind the last row that was read.
    mark: Mark,
    over: bool,
}

impl Reader {
    /// Begins to read a file.
    pub fn open(path: &Path) -> io::Result<Reader> {
        let mut source = Source::open(path)?;
        let form = if source.past_space()? == Some(b'[') { Form::Array } else { Form::Lines };
        if form == Form::Array {
            source.step()?;
        }
        Ok(Reader { source, form, mark: Mark::default(), over: false })
    }

    /// Reads a file on from `mark`; `None` where its beginning is not what was read then.
    pub fn resume(path: &Path, mark: &Mark) -> io::Result<Option<Reader>> {
        let mut reader = Reader::open(path)?;
        reader.source.skip(mark.bytes)?;
        reader.mark = reader.source.mark(mark.rows);
        Ok((reader.mark == *mark).then_some(reader))
    }

    /// Behind the last row that was read.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The next row, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Row>, Stop> {
        if self.over {
            return Ok(None);
        }
        let row = match self.form {
            Form::Array => self.next_element(),
            Form::Lines => self.next_line(),
        };
        self.over = !matches!(row, Ok(Some(_)));
        row
    }

    fn next_element(&mut self) -> Result<Option<Row>, Stop> {
        match self.source.past_space()? {
            Some(b']') => {
                self.source.step()?;
                return match self.source.past_space()? {
                    None => Ok(None),
                    Some(_) => Err(self.syntax("there is more after the end of the array")),
                };
            }
            Some(b',') if self.mark.rows > 0 => {
                self.source.step()?;
                self.source.past_space()?;
            }
            Some(_) if self.mark.rows > 0 => return Err(self.syntax("expected a comma, or `]`")),
            _ => {}
        }
        let place = self.place();
        let value = match self.source.peek()? {
            None => return Err(self.syntax("the file ends inside the array")),
            Some(b'-' | b'0'..=b'9') => serde_json::from_slice(&self.source.number()?),
            Some(_) => {
                Value::deserialize(&mut serde_json::Deserializer::from_reader(&mut self.source))
            }
        };
        let value: Value = value.map_err(|error| self.syntax(&bare(&error)))?;
        Ok(Some(self.row(place, flight(value))))
    }

    fn next_line(&mut self) -> Result<Option<Row>, Stop> {
        if self.source.past_space()?.is_none() {
            return Ok(None);
        }
        let place = self.place();
        let line = self.source.line()?;
        let value = serde_json::from_slice(line.trim_ascii_end());
        let value = value.map_err(|error| format!("not JSON: {}", bare(&error)));
        Ok(Some(self.row(place, value.and_then(flight))))
    }

    fn row(&mut self, place: Place, content: Result<Record, String>) -> Row {
        self.mark = self.source.mark(place.row);
        Row { place, content }
    }

    fn place(&self) -> Place {
        Place { row: self.mark.rows + 1, line: self.source.lines + 1, byte: self.source.bytes }
    }

    fn syntax(&self, what: &str) -> Stop {
        Stop::Syntax { place: self.place(), what: what.into() }
    }
}

/// A flight, if that is what it is. What it has besides is ignored.
fn flight(value: Value) -> Result<Record, String> {
    if !value.is_object() {
        return Err("not an object".into());
    }
    serde_json::from_value(value).map_err(|error| bare(&error))
}

/// What an error says, but for its place: that counts from the beginning of the row.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what =
        if error.line() > 0 { text.rsplit_once(" at line ").map(|(what, _)| what) } else { None };
    what.unwrap_or(&text).to_owned()
}

/// The bytes of the file, counted and hashed as they are taken.
struct Source {
    file: BufReader<File>,
    bytes: u64,
    lines: u64,
    hash: Xxh3,
}

impl Source {
    fn open(path: &Path) -> io::Result<Source> {
        let file = BufReader::with_capacity(64 << 10, File::open(path)?);
        Ok(Source { file, bytes: 0, lines: 0, hash: Xxh3::new() })
    }

    /// This place, behind so many rows.
    fn mark(&self, rows: u64) -> Mark {
        Mark { rows, bytes: self.bytes, hash: self.hash.digest() }
    }

    /// The next byte, which stays where it is.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.file.fill_buf()?.first().copied())
    }

    /// Takes one byte.
    fn step(&mut self) -> io::Result<()> {
        self.read(&mut [0]).map(drop)
    }

    /// The next byte that is not space, which stays where it is.
    fn past_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() => self.step()?,
                other => return Ok(other),
            }
        }
    }

    /// A number: unlike any other value it has no end of its own.
    fn number(&mut self) -> io::Result<Vec<u8>> {
        let mut number = Vec::new();
        while let Some(byte @ (b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) = self.peek()? {
            number.push(byte);
            self.step()?;
        }
        Ok(number)
    }

    /// The rest of the line.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line)?;
        self.count(&line);
        Ok(line)
    }

    /// Takes all bytes up to place `until`, or to the end.
    fn skip(&mut self, until: u64) -> io::Result<()> {
        let rest = until.saturating_sub(self.bytes);
        io::copy(&mut self.by_ref().take(rest), &mut io::sink()).map(drop)
    }

    fn count(&mut self, taken: &[u8]) {
        self.bytes += taken.len() as u64;
        self.lines += taken.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.hash.update(taken);
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count(&buffer[..count]);
        Ok(count)
    }
}
