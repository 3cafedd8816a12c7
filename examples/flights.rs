//! Airports, flights and webhooks: what this library is for, on real data.
//!
//! A file of flights is read in batches, one transaction each. Every flight that was an hour or
//! more late becomes an alert, and in the same transaction a job: to push a webhook to a receiver,
//! which at first is not well. The run may be killed at any moment: the next one goes on.
//!
//! ```console
//! $ cargo run --release --example flights
//! $ cargo run --release --example flights -- --data more.jsonl --db flights.db
//! ```
//!
//! To read it, begin with `flights/model.rs`, what is stored; then `flights/importing.rs`, how it
//! gets there; then `flights/webhook.rs`, what happens after the commit.

#[path = "flights/audit.rs"]
mod audit;
#[path = "flights/dispatch.rs"]
mod dispatch;
#[path = "flights/http.rs"]
mod http;
#[path = "flights/importing.rs"]
mod importing;
#[path = "flights/model.rs"]
mod model;
#[path = "flights/options.rs"]
mod options;
#[path = "flights/progress.rs"]
mod progress;
#[path = "flights/reading.rs"]
mod reading;
#[path = "flights/receiver.rs"]
mod receiver;
#[path = "flights/report.rs"]
mod report;
#[path = "flights/webhook.rs"]
mod webhook;

use dispatch::Dispatch;
use importing::Importer;
use model::Archive;
use options::{Options, USAGE};
use perennial::{Database, Error, Ref, Result};
use report::{count, grouped};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// How many bad rows are told of.
const TOLD: u64 = 20;

fn main() -> ExitCode {
    let faults = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Options { help: true, .. }) => {
            println!("{USAGE}");
            Vec::new()
        }
        Ok(options) => run(&options).unwrap_or_else(|error| vec![error.to_string()]),
        Err(usage) => vec![usage],
    };
    for fault in &faults {
        eprintln!("flights: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs on the database that was asked for; returns what is not as it should be.
fn run(options: &Options) -> Result<Vec<String>> {
    // Asked first: a file that is not there shall leave no database behind.
    let length = length(&options.data)?;
    let Some(path) = &options.db else {
        let directory = tempfile::tempdir().map_err(Error::other)?;
        return run_on(&directory.path().join("flights.db"), length, options);
    };
    run_on(path, length, options)
}

/// The whole story.
fn run_on(path: &Path, length: u64, options: &Options) -> Result<Vec<String>> {
    let db = Database::open(path)?;
    let archive = model::archive(&db)?;
    let before = model::deliveries(&db)?;
    let dispatch = Dispatch::start(&db)?;
    let mut faults = import(&db, archive, options, length, &dispatch)?;
    dispatch.drain(&db)?;
    let arrivals = dispatch.stop()?;
    faults.extend(audit::audit(&db, &before, &arrivals)?);
    db.close()?;
    drop(db);

    let start = Instant::now();
    let db = Database::options().existing().open(path)?;
    println!("reopened         {} in {:.1?}", path.display(), start.elapsed());
    report::questions(&db)?;
    report::earlier(&db)?;
    db.close()?;
    Ok(faults)
}

/// Reads the file into the database, batch by batch; returns what ended the reading too early.
fn import(
    db: &Database,
    archive: Ref<Archive>,
    options: &Options,
    length: u64,
    dispatch: &Dispatch,
) -> Result<Vec<String>> {
    let mut importer = Importer::open(db, archive, &options.data)?;
    let (start, first) = (Instant::now(), importer.mark().rows);
    if first > 0 {
        println!("known            the first {} of the file", count(first, "row", "rows"));
    }
    let bar = progress::bar("reading", length);
    let (mut flights, mut alerts, mut skipped) = (0, 0, 0);
    let stop = loop {
        let (rows, stop) = importer.read();
        if !rows.is_empty() {
            let batch = match importer.store(&rows) {
                // The receiver must catch up first: more jobs than that are not kept.
                Err(Error::JobsFull(_)) => {
                    dispatch.drain(db)?;
                    importer.store(&rows)?
                }
                stored => stored?,
            };
            flights += batch.flights;
            alerts += batch.alerts;
            for bad in batch.skipped {
                skipped += 1;
                if skipped <= TOLD {
                    bar.suspend(|| eprintln!("skipped {bad}"));
                }
            }
            if options.verbose {
                bar.suspend(|| eprintln!("committed {} rows", importer.mark().rows));
            }
            bar.set_position(importer.mark().bytes);
        }
        if stop.is_some() || rows.is_empty() {
            break stop;
        }
    };
    bar.finish_and_clear();
    let rows = count(importer.mark().rows - first, "row", "rows");
    let (flights, alerts) = (count(flights, "flight", "flights"), count(alerts, "alert", "alerts"));
    let (time, skipped) = (start.elapsed(), grouped(skipped));
    println!("read             {rows} in {time:.1?}: {flights}, {alerts}, {skipped} skipped");
    let file = options.data.display();
    Ok(stop.iter().map(|stop| format!("{file}, {stop}; the rows before are stored")).collect())
}

fn length(path: &Path) -> Result<u64> {
    let length = std::fs::metadata(path).map(|metadata| metadata.len());
    length.map_err(|error| Error::other(format!("cannot read {}: {error}", path.display())))
}
