//! Counts what is stored, and holds it against what arrived.

use crate::model::{self, Deliveries};
use crate::receiver::Arrivals;
use crate::report::{count, grouped};
use perennial::{Database, Result, View};
use std::collections::BTreeSet;

/// How many jobs that were not done are told of.
const TOLD: usize = 5;

/// Prints what is stored and what arrived, and returns where the two disagree. `before` is how the
/// alerts stood when this run began.
pub fn audit(db: &Database, before: &Deliveries, arrivals: &Arrivals) -> Result<Vec<String>> {
    let alerts = model::deliveries(db)?;
    db.view(|view| print_stored(view, alerts.len()))?;
    print_webhooks(&alerts, arrivals);

    let mut faults = Vec::new();
    let delivered = alerts.values().flatten().count();
    if delivered < alerts.len() {
        let missing = count((alerts.len() - delivered) as u64, "alert is", "alerts are");
        faults.push(format!("{missing} not delivered"));
    }
    if keys(&alerts).len() < delivered {
        faults.push("some alerts were delivered under one key".into());
    }
    if !keys(&alerts).difference(&keys(before)).copied().eq(&arrivals.taken) {
        faults.push("the receiver did not take what the database has delivered".into());
    }
    for job in db.jobs().list()?.iter().take(TOLD) {
        let (id, state, attempts) = (job.id, job.state, job.attempts);
        let why = job.last_error.as_deref().unwrap_or("it has not failed");
        faults.push(format!("job {id} is {state:?} after {attempts} attempts: {why}"));
    }
    Ok(faults)
}

fn print_stored(view: &View, alerts: usize) -> Result<()> {
    let archive = model::find_archive(view)?;
    for &import in &archive.imports {
        let import = view.get(import)?;
        let flights = count(import.flights, "flight", "flights");
        let skipped = count(import.skipped, "bad row", "bad rows");
        println!("file             {}: {flights}, {skipped}", import.file);
    }
    let flights = count(archive.flights.len(view)? as u64, "flight", "flights");
    let airports = count(archive.airports.len(view)? as u64, "airport", "airports");
    println!("stored           {flights}, {airports}, {}", count(alerts as u64, "alert", "alerts"));
    Ok(())
}

fn print_webhooks(alerts: &Deliveries, arrivals: &Arrivals) {
    let delivered = grouped(alerts.values().flatten().count() as u64);
    let keys = grouped(keys(alerts).len() as u64);
    println!("webhooks         {delivered} delivered, under {keys} keys");
    let taken = grouped(arrivals.taken.len() as u64);
    let (refused, repeated) = (grouped(arrivals.refused), grouped(arrivals.repeated));
    println!(
        "in this run      {taken} arrived, each once by its key; \
         {refused} answers of 503, {repeated} repetitions dropped"
    );
}

fn keys(alerts: &Deliveries) -> BTreeSet<&String> {
    alerts.values().flatten().map(|delivery| &delivery.key).collect()
}
