//! Questions to the database, and their answers in print.

use crate::model::{self, Airport, Alert, Flight};
use perennial::{Database, Ref, Result, View};
use std::collections::HashMap;

/// How many flights a route needs to be compared, if any has so many.
const ENOUGH: u64 = 10;

/// Prints the longest delay, that airport's day, and the most delayed route.
pub fn questions(db: &Database) -> Result<()> {
    db.view(|view| {
        let flights = model::find_archive(view)?.flights;
        let mut routes = HashMap::<_, Route>::new();
        let mut longest: Option<std::sync::Arc<Flight>> = None;
        for flight in flights.values(view) {
            let flight = view.get(flight?)?;
            routes.entry((flight.origin, flight.destination)).or_default().add(&flight);
            if longest.as_ref().is_none_or(|longest| flight.delay > longest.delay) {
                longest = Some(flight);
            }
        }
        let Some(longest) = longest else { return Ok(()) };
        print_longest(view, &longest)?;
        print_day(view, &longest)?;
        print_route(view, &routes)
    })
}

#[derive(Default)]
struct Route {
    flights: u64,
    minutes: i64,
}

impl Route {
    fn add(&mut self, flight: &Flight) {
        self.flights += 1;
        self.minutes += i64::from(flight.delay);
    }

    fn mean(&self) -> f64 {
        self.minutes as f64 / self.flights as f64
    }
}

fn print_longest(view: &View, flight: &Flight) -> Result<()> {
    let (from, to) = (view.get(flight.origin)?, view.get(flight.destination)?);
    let Flight { time, delay, distance, .. } = flight;
    let (from, to) = (town(&from), town(&to));
    println!("longest delay    {delay} minutes: {time}, {from} to {to}, {distance} miles");
    Ok(())
}

fn print_day(view: &View, flight: &Flight) -> Result<()> {
    let airport = view.get(flight.origin)?;
    let (first, last) = flight.time.day();
    let (mut leave, mut arrive, mut late) = (0, 0, 0);
    for entry in airport.flights.range(view, first..=last) {
        let other = view.get(entry?.1)?;
        leave += u64::from(other.origin == flight.origin);
        arrive += u64::from(other.destination == flight.origin);
        late += u64::from(other.delay >= model::LATE);
    }
    let (name, date) = (&airport.name, flight.time.date());
    println!(
        "its airport      {name}, {date}: {leave} left, {arrive} arrived, {late} of them late"
    );
    Ok(())
}

fn print_route(view: &View, routes: &HashMap<(Ref<Airport>, Ref<Airport>), Route>) -> Result<()> {
    let most = routes.values().map(|route| route.flights).max().unwrap_or(0);
    let compared = routes.iter().filter(|(_, route)| route.flights >= most.min(ENOUGH));
    // Of equal ones always the same.
    let worst = compared.max_by(|a, b| a.1.mean().total_cmp(&b.1.mean()).then(b.0.cmp(a.0)));
    if let Some(((from, to), route)) = worst {
        let (from, to) = (view.get(*from)?, view.get(*to)?);
        let (from, to, mean, flights) = (town(&from), town(&to), route.mean(), route.flights);
        println!("worst route      {from} to {to}: {mean:.0} minutes in the mean of {flights}");
    }
    Ok(())
}

fn town(airport: &Airport) -> String {
    format!("{} ({}, {})", airport.iata, airport.city, airport.state)
}

/// Prints the alert that took the most attempts as it is, and as it was when it was new.
pub fn earlier(db: &Database) -> Result<()> {
    let hardest = db.view(|view| {
        let mut hardest: Option<(u32, Ref<Alert>)> = None;
        for alert in model::find_archive(view)?.alerts.values(view) {
            let alert = alert?;
            let attempts = view.get(alert)?.delivered.as_ref().map_or(0, |d| d.attempt);
            if hardest.is_none_or(|(most, _)| attempts > most) {
                hardest = Some((attempts, alert));
            }
        }
        Ok(hardest)
    })?;
    let Some((_, alert)) = hardest else { return Ok(()) };
    // Newest first: the last is the transaction that made it.
    let history = db.history(alert)?;
    for change in history.iter().rev() {
        let (number, flights, delivered) = db.view_at(change.tid, |view| {
            let alert = view.get(alert)?;
            let number = view.get(alert.flight)?.number;
            Ok((number, model::find_archive(view)?.numbered, alert.delivered.clone()))
        })?;
        let stands = match delivered {
            None => "waits to be delivered".into(),
            Some(delivery) => format!("is delivered, at attempt {}", delivery.attempt),
        };
        let (tid, flights) = (change.tid, grouped(flights));
        println!("at tid {tid}  alert {number} {stands}; there are {flights} flights");
    }
    Ok(())
}

/// A number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}
