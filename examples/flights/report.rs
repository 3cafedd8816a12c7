//! Questions to the database, and their answers in print.

use crate::model::{self, Airport, Alert, Flight, LATE, Time};
use perennial::{Database, Ref, Result, View};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many flights a route needs to be compared, if any has so many.
const ENOUGH: u64 = 10;

/// Prints the longest delay, a day at the busiest airport, and the most delayed route.
pub fn questions(db: &Database) -> Result<()> {
    db.view(|view| {
        let flights = model::find_archive(view)?.flights;
        let mut routes = HashMap::<_, Route>::new();
        let mut airports = BTreeMap::<Ref<Airport>, u64>::new();
        let mut longest: Option<Arc<Flight>> = None;
        for flight in flights.values(view) {
            let flight = view.get(flight?)?;
            routes.entry((flight.origin, flight.destination)).or_default().add(&flight);
            *airports.entry(flight.origin).or_default() += 1;
            *airports.entry(flight.destination).or_default() += 1;
            if longest.as_ref().is_none_or(|longest| flight.delay > longest.delay) {
                longest = Some(flight);
            }
        }
        longest.map_or(Ok(()), |flight| print_longest(view, &flight))?;
        let busiest = airports.iter().max_by_key(|&(_, flights)| *flights);
        busiest.map_or(Ok(()), |(&airport, _)| print_day(view, airport))?;
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

/// Of an airport's days the one with the most late flights.
fn print_day(view: &View, place: Ref<Airport>) -> Result<()> {
    let airport = view.get(place)?;
    let mut late = BTreeMap::<String, (u64, Time)>::new();
    for entry in airport.flights.iter(view) {
        let ((time, _), flight) = entry?;
        let is_late = view.get(flight)?.delay >= LATE;
        late.entry(time.date()).or_insert((0, time)).0 += u64::from(is_late);
    }
    let Some((date, &(late, time))) = late.iter().max_by_key(|&(_, &(late, _))| late) else {
        return Ok(());
    };
    let (first, last) = time.day();
    let (mut leave, mut arrive) = (0, 0);
    for entry in airport.flights.range(view, first..=last) {
        let flight = view.get(entry?.1)?;
        leave += u64::from(flight.origin == place);
        arrive += u64::from(flight.destination == place);
    }
    let town = town(&airport);
    println!("a day at         {town}: on {date} {leave} left, {arrive} arrived, {late} were late");
    Ok(())
}

fn print_route(view: &View, routes: &HashMap<(Ref<Airport>, Ref<Airport>), Route>) -> Result<()> {
    let most = routes.values().map(|route| route.flights).max().unwrap_or(0);
    let compared = routes.iter().filter(|(_, route)| route.flights >= most.min(ENOUGH));
    // Of equal ones always the same.
    let worst = compared.max_by(|a, b| a.1.mean().total_cmp(&b.1.mean()).then(b.0.cmp(a.0)));
    if let Some(((from, to), route)) = worst {
        let (from, to) = (view.get(*from)?, view.get(*to)?);
        let (from, to, mean) = (town(&from), town(&to), route.mean());
        let flights = count(route.flights, "flight", "flights");
        println!("worst route      {from} to {to}: {mean:.0} minutes late, the mean of {flights}");
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
