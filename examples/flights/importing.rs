//! From rows to objects: one transaction for each batch, and in it one savepoint for each row, so
//! that a bad row is undone and skipped while its batch goes on.

use super::model::{Airport, Alert, Archive, Flight, Import, LATE, Mark, Time, Webhook};
use super::reading::{Reader, Record, Row, Stop};
use perennial::{Connection, Database, Error, Ref, Result};
use std::path::Path;

/// How many rows are stored in one transaction.
const BATCH: usize = 500;

/// One file on its way into the database.
pub struct Importer<'a> {
    db: &'a Database,
    archive: Ref<Archive>,
    reader: Reader,
    /// Its record in the database, once a batch of it was stored.
    import: Option<Ref<Import>>,
    file: String,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    pub flights: u64,
    pub alerts: u64,
    /// The rows that were skipped: where, and why.
    pub skipped: Vec<String>,
}

impl<'a> Importer<'a> {
    /// Opens a file; one that was read before, in part or to its end, where that ended.
    pub fn open(db: &'a Database, archive: Ref<Archive>, path: &Path) -> Result<Importer<'a>> {
        let unreadable = |error| Error::other(format!("cannot read {}: {error}", path.display()));
        let file = path.display().to_string();
        let mut known = db.view(|view| {
            let imports = &view.get(archive)?.imports;
            imports
                .iter()
                .map(|&import| Ok((view.get(import)?.mark, import)))
                .collect::<Result<Vec<_>>>()
        })?;
        // Of two files of which one begins like the other, the longer one says more.
        known.sort_by_key(|(mark, _)| std::cmp::Reverse(mark.bytes));
        for (mark, import) in known {
            if let Some(reader) = Reader::resume(path, &mark).map_err(unreadable)? {
                return Ok(Importer { db, archive, reader, import: Some(import), file });
            }
        }
        let reader = Reader::open(path).map_err(unreadable)?;
        Ok(Importer { db, archive, reader, import: None, file })
    }

    /// How far the file has been read.
    pub fn mark(&self) -> Mark {
        self.reader.mark()
    }

    /// The next rows, and what ended the reading if it did not go on to the end of the file.
    pub fn read(&mut self) -> (Vec<Row>, Option<Stop>) {
        let mut rows = Vec::with_capacity(BATCH);
        while rows.len() < BATCH {
            match self.reader.next() {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break,
                Err(stop) => return (rows, Some(stop)),
            }
        }
        (rows, None)
    }

    /// Stores the rows that were read last: all of them, with their alerts and jobs and the mark
    /// behind them, or, where it fails, nothing.
    pub fn store(&mut self, rows: &[Row]) -> Result<Batch> {
        let mark = self.mark();
        let (batch, import) = self.db.transact(|conn| {
            conn.transaction()?.note(&format!("{}, up to row {}", self.file, mark.rows))?;
            let mut batch = Batch::default();
            for row in rows {
                let here = conn.transaction()?.savepoint()?;
                match self.store_row(conn, row) {
                    Ok(late) => {
                        batch.flights += 1;
                        batch.alerts += u64::from(late);
                    }
                    // The row is bad. Whatever was done for it is undone; the others stay.
                    Err(Error::Other(why)) => {
                        here.rollback()?;
                        batch.skipped.push(format!("{}: {why}", row.place));
                    }
                    Err(error) => return Err(error),
                }
            }
            let import = self.import(conn)?;
            conn.modify(import, |import| {
                import.mark = mark;
                import.flights += batch.flights;
                import.skipped += batch.skipped.len() as u64;
            })?;
            Ok((batch, import))
        })?;
        self.import = Some(import);
        Ok(batch)
    }

    /// The file's record, made with its first batch.
    fn import(&self, conn: &Connection) -> Result<Ref<Import>> {
        if let Some(import) = self.import {
            return Ok(import);
        }
        let (mark, flights, skipped) = Default::default();
        let import = conn.add(Import { file: self.file.clone(), mark, flights, skipped })?;
        conn.modify(self.archive, |archive| archive.imports.push(import))?;
        Ok(import)
    }

    /// Stores one row; whether the flight was late. What is wrong with a row is
    /// [`Error::Other`]: the library's own errors never are.
    fn store_row(&self, conn: &Connection, row: &Row) -> Result<bool> {
        let Record { date, delay, distance, origin, destination } =
            row.content.as_ref().map_err(|why| Error::other(why.clone()))?;
        let time = Time::parse(date)
            .ok_or_else(|| Error::other(format!("no such time: {:?}", short(date))))?;
        let number = conn.modify(self.archive, |archive| {
            archive.numbered += 1;
            archive.numbered
        })?;
        let archive = conn.get(self.archive)?;
        let origin = airport(conn, &archive, origin)?;
        let destination = airport(conn, &archive, destination)?;
        let (delay, distance) = (*delay, *distance);
        let flight = conn.add(Flight { number, time, delay, distance, origin, destination })?;

        let slot = (time, number);
        archive.flights.insert(conn, slot, flight)?;
        for airport in [origin, destination] {
            conn.get(airport)?.flights.insert(conn, slot, flight)?;
        }
        if delay < LATE {
            return Ok(false);
        }
        // The webhook will be sent if, and only if, the flight and its alert are stored.
        let alert = conn.add(Alert { flight, delivered: None })?;
        archive.alerts.insert(conn, number, alert)?;
        conn.enqueue(&Webhook { alert })?;
        Ok(true)
    }
}

fn airport(conn: &Connection, archive: &Archive, iata: &str) -> Result<Ref<Airport>> {
    let airport = archive.airports.get(conn, iata)?;
    airport.ok_or_else(|| Error::other(format!("unknown airport: {:?}", short(iata))))
}

/// The beginning of a text that may be very long.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(40)]
}
