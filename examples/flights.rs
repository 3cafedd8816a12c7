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

#[path = "flights/http.rs"]
mod http;
#[path = "flights/importing.rs"]
mod importing;
#[path = "flights/model.rs"]
mod model;
#[path = "flights/options.rs"]
mod options;
#[path = "flights/reading.rs"]
mod reading;
#[path = "flights/receiver.rs"]
mod receiver;
#[path = "flights/report.rs"]
mod report;
#[path = "flights/webhook.rs"]
mod webhook;

use importing::Importer;
use indicatif::{ProgressBar, ProgressStyle};
use model::{Archive, Delivery};
use options::{Options, USAGE};
use perennial::{Database, Error, Ref, Result, RunMode, Runner};
use receiver::Receiver;
use report::{count, grouped};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How many bad rows are told of.
const TOLD: u64 = 20;

/// How long nothing may arrive before the waiting for webhooks is given up.
const GIVE_UP: Duration = Duration::from_secs(30);

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

/// The whole story; returns what is not as it should be.
fn run(options: &Options) -> Result<Vec<String>> {
    let Options { data, .. } = options;
    // Asked first: a file that is not there shall leave no database behind.
    let length = std::fs::metadata(data).map_err(|error| cannot_read(data, &error))?.len();
    let temporary = tempfile::tempdir().map_err(Error::other)?;
    let path = options.db.clone().unwrap_or_else(|| temporary.path().join("flights.db"));

    let db = Database::open(&path)?;
    let archive = model::archive(&db)?;
    let before = model::deliveries(&db)?;
    let receiver = Receiver::start().map_err(Error::other)?;
    let address = receiver.address;
    // Started before the import: jobs run while further batches are stored, and those that an
    // earlier run left behind are run first.
    let runner = db
        .runner()
        .on_with(webhook::policy(), move |ctx, job| webhook::push(ctx, job, address))
        .mode(RunMode::Pool(4))
        .start()?;

    let mut faults = import(&db, archive, options, length, (&runner, &receiver))?;
    drain(&runner, &receiver);
    runner.stop(Duration::from_secs(5), Duration::from_secs(5))?;
    faults.extend(told(&db, &before, &receiver)?);
    db.close()?;
    drop(db);

    let start = Instant::now();
    let db = Database::options().existing().open(&path)?;
    println!("reopened         in {:.1?}", start.elapsed());
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
    (runner, receiver): (&Runner, &Receiver),
) -> Result<Vec<String>> {
    let Options { data, verbose, .. } = options;
    let mut importer = Importer::open(db, archive, data)?;
    let (start, first) = (Instant::now(), importer.mark().rows);
    if first > 0 {
        println!("known            the first {} of the file", count(first, "row", "rows"));
    }
    let bar = bar("reading", length);
    let (mut flights, mut skipped) = (0, 0);
    let stop = loop {
        let (rows, stop) = importer.read();
        if !rows.is_empty() {
            let batch = loop {
                match importer.store(&rows) {
                    // More alerts than the bucket holds: the receiver must catch up first.
                    Err(Error::JobsFull(_)) if drain(runner, receiver) => {}
                    batch => break batch?,
                }
            };
            flights += batch.flights;
            for bad in batch.skipped {
                skipped += 1;
                if skipped <= TOLD {
                    bar.suspend(|| eprintln!("skipped {bad}"));
                }
            }
            if *verbose {
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
    let (flights, skipped) = (count(flights, "flight", "flights"), grouped(skipped));
    println!("read             {rows} in {:.1?}: {flights}, {skipped} skipped", start.elapsed());
    Ok(stop
        .iter()
        .map(|stop| format!("{}, {stop}; the rows before are stored", data.display()))
        .collect())
}

/// Waits until no webhook is pending; whether it came to that.
fn drain(runner: &Runner, receiver: &Receiver) -> bool {
    let bar = bar("webhooks", 0);
    let (mut taken, mut moved) = (0, Instant::now());
    while !runner.run_until_idle(Duration::from_millis(100)) {
        let now = receiver.arrivals().taken.len() as u64;
        bar.set_position(now);
        if now > taken {
            (taken, moved) = (now, Instant::now());
        } else if moved.elapsed() > GIVE_UP {
            return false;
        }
    }
    bar.finish_and_clear();
    true
}

/// Prints what is stored and what arrived; returns where the two disagree.
fn told(
    db: &Database,
    before: &BTreeMap<u64, Option<Delivery>>,
    receiver: &Receiver,
) -> Result<Vec<String>> {
    let alerts = model::deliveries(db)?;
    let (arrivals, known) = (receiver.arrivals(), keys(before));
    let delivered = keys(&alerts);
    db.view(|view| {
        let archive = model::find_archive(view)?;
        let flights = count(archive.flights.len(view)? as u64, "flight", "flights");
        let airports = count(archive.airports.len(view)? as u64, "airport", "airports");
        println!(
            "stored           {flights}, {airports}, {}",
            count(alerts.len() as u64, "alert", "alerts")
        );
        Ok(())
    })?;
    let (all, new) = (delivered.len() as u64, arrivals.taken.len() as u64);
    println!("webhooks         {} delivered, each once by its key", grouped(all));
    let (refused, repeated) = (grouped(arrivals.refused), grouped(arrivals.repeated));
    println!(
        "in this run      {} arrived; {refused} answers of 503, {repeated} repetitions dropped",
        grouped(new)
    );

    let mut faults = Vec::new();
    let missing = alerts.len() - delivered.len();
    if missing > 0 {
        faults.push(format!("{} not delivered", count(missing as u64, "alert is", "alerts are")));
    }
    let stats = db.jobs().stats()?;
    if stats.ready + stats.claimed + stats.dead > 0 {
        faults.push(format!("{stats:?}"));
    }
    if delivered.difference(&known).ne(arrivals.taken.iter()) {
        faults.push("the receiver's webhooks are not those that the database knows of".into());
    }
    Ok(faults)
}

/// The keys of the alerts that were delivered: as many as there are such alerts, since each alert
/// has a job of its own.
fn keys(alerts: &BTreeMap<u64, Option<Delivery>>) -> BTreeSet<String> {
    alerts.values().flatten().map(|delivery| delivery.key.clone()).collect()
}

/// Drawn only where somebody watches.
fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:16} {wide_bar} {percent:>3} %");
    let bar = ProgressBar::new(length).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    Error::other(format!("cannot read {}: {error}", path.display()))
}
