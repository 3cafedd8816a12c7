//! What is stored: airports and flights that refer to each other, alerts, and how far files have
//! been read. These are plain structs; what makes them objects is one line each.

use perennial::collections::BTree;
use perennial::{Connection, Database, Job, Persistent, Ref, Result, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A flight is late from this many minutes on.
pub const LATE: i32 = 60;

/// The name of the root, from which everything else is reached.
const ROOT: &str = "flights";

/// The root object.
///
/// Trees are handles: this object stays small, however much they hold.
#[derive(Clone, Serialize, Deserialize)]
pub struct Archive {
    /// By their code.
    pub airports: BTree<String, Ref<Airport>>,
    /// All flights, in the order of time.
    pub flights: BTree<Slot, Ref<Flight>>,
    /// By the number of their flight.
    pub alerts: BTree<u64, Ref<Alert>>,
    /// The files that were read, or are being read.
    pub imports: Vec<Ref<Import>>,
    /// How many flights were numbered.
    pub numbered: u64,
}
impl Persistent for Archive {
    const NAME: &'static str = "flights.Archive";
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Airport {
    pub iata: String,
    pub name: String,
    pub city: String,
    pub state: String,
    /// Those that leave here, and those that arrive.
    pub flights: BTree<Slot, Ref<Flight>>,
}
impl Persistent for Airport {
    const NAME: &'static str = "flights.Airport";
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Flight {
    pub number: u64,
    pub time: Time,
    /// In minutes; negative where it was early.
    pub delay: i32,
    /// In miles.
    pub distance: u32,
    pub origin: Ref<Airport>,
    pub destination: Ref<Airport>,
}
impl Persistent for Flight {
    const NAME: &'static str = "flights.Flight";
}

/// A flight was late, and somebody must be told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Alert {
    pub flight: Ref<Flight>,
    /// Written in the transaction that removes the job: there is never one without the other.
    pub delivered: Option<Delivery>,
}
impl Persistent for Alert {
    const NAME: &'static str = "flights.Alert";
}

/// How an alert reached its receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// The key that it carried.
    pub key: String,
    /// Which attempt it was.
    pub attempt: u32,
}

/// A file, and how far it has been read: changed in the transactions that store its rows, so that
/// the two never disagree, whenever the process ends.
#[derive(Clone, Serialize, Deserialize)]
pub struct Import {
    pub file: String,
    pub mark: Mark,
    pub flights: u64,
    pub skipped: u64,
}
impl Persistent for Import {
    const NAME: &'static str = "flights.Import";
}

/// A place between two rows of a file, and all that was before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub rows: u64,
    pub bytes: u64,
    /// A hash of these bytes: a file that begins with them is the same one, whatever its name.
    pub hash: u64,
}

/// The job: tell the receiver of an alert. It says what is to be done; the message is made from
/// the objects when it is sent.
#[derive(Serialize, Deserialize)]
pub struct Webhook {
    pub alert: Ref<Alert>,
}
impl Job for Webhook {
    const KIND: &'static str = "flights.Webhook";
}

/// Where a flight is found: first by its time, then, among those of one minute, by its number.
pub type Slot = (Time, u64);

/// Local time, to the minute. The order of the fields is the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
}

impl Time {
    /// Reads `2001/01/31 18:05`.
    pub fn parse(text: &str) -> Option<Time> {
        let number = |range: std::ops::Range<usize>| -> Option<u16> {
            let digits = text.get(range)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let marks = [(4, '/'), (7, '/'), (10, ' '), (13, ':')];
        let shaped = text.len() == 16
            && marks.iter().all(|&(at, mark)| text.get(at..).is_some_and(|t| t.starts_with(mark)));
        let small = |range| number(range).and_then(|number| u8::try_from(number).ok());
        let (year, month) = (number(0..4)?, small(5..7)?);
        let (day, hour, minute) = (small(8..10)?, small(11..13)?, small(14..16)?);
        let exists = (1..=days(year, month)).contains(&day) && hour < 24 && minute < 60;
        (shaped && exists).then_some(Time { year, month, day, hour, minute })
    }

    /// The first and the last slot of its day.
    pub fn day(self) -> (Slot, Slot) {
        let first = Time { hour: 0, minute: 0, ..self };
        let last = Time { hour: 23, minute: 59, ..self };
        ((first, 0), (last, u64::MAX))
    }

    /// Its date, without the hour.
    pub fn date(self) -> String {
        format!("{}/{:02}/{:02}", self.year, self.month, self.day)
    }
}

fn days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(leap),
        _ => 0,
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", self.date(), self.hour, self.minute)
    }
}

/// The root; the first time, it is made, with all airports.
pub fn archive(db: &Database) -> Result<Ref<Archive>> {
    db.transact(|conn| {
        conn.root_or_init(ROOT, |conn| {
            let archive = Archive {
                airports: BTree::create(conn)?,
                flights: BTree::create(conn)?,
                alerts: BTree::create(conn)?,
                imports: Vec::new(),
                numbered: 0,
            };
            archive.airports.extend(conn, all_airports(conn)?)?;
            Ok(archive)
        })
    })
}

/// The root of a database that has one.
pub fn find_archive(view: &View) -> Result<std::sync::Arc<Archive>> {
    match view.root::<Archive>(ROOT)? {
        Some(archive) => view.get(archive),
        None => Err(perennial::Error::other("the database holds no flights")),
    }
}

/// How each alert stands, delivered or not, by the number of its flight.
pub type Deliveries = BTreeMap<u64, Option<Delivery>>;

/// How all alerts stand.
pub fn deliveries(db: &Database) -> Result<Deliveries> {
    db.view(|view| {
        let alerts = find_archive(view)?.alerts;
        let entries = alerts.iter(view).map(|entry| {
            let (number, alert) = entry?;
            Ok((number, view.get(alert)?.delivered.clone()))
        });
        entries.collect()
    })
}

/// The airports that come with the example, as objects.
fn all_airports(conn: &Connection) -> Result<Vec<(String, Ref<Airport>)>> {
    let lines = include_str!("../data/airports.csv").lines().skip(1);
    lines
        .map(|line| {
            let fields = columns(line);
            let [iata, name, city, state, ..] = &fields[..] else {
                return Err(perennial::Error::other(format!("not an airport: {line}")));
            };
            let airport = Airport {
                iata: iata.clone(),
                name: name.clone(),
                city: city.clone(),
                state: state.clone(),
                flights: BTree::create(conn)?,
            };
            Ok((iata.clone(), conn.add(airport)?))
        })
        .collect()
}

/// The columns of a line: separated by commas, but for those between quotes.
fn columns(line: &str) -> Vec<String> {
    let mut quoted = false;
    let columns = line.split(|mark| {
        quoted ^= mark == '"';
        mark == ',' && !quoted
    });
    columns.map(|column| column.trim_matches('"').to_owned()).collect()
}
