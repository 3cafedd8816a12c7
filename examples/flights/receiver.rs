//! The other side: a server on the loopback that takes webhooks, and is not always well.
//!
//! At first it is down for a moment, and later it refuses every fifth alert once, as servers do.
//! Since a webhook may come twice, it knows those it has taken by their key, and drops repetitions.

use crate::http::{self, Message};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long it is down, from the first request on.
const OUTAGE: Duration = Duration::from_millis(200);

/// Of so many new alerts, one is refused at its first attempt.
const REFUSED: usize = 5;

/// What the receiver has seen.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// The keys of all webhooks that it took.
    pub taken: BTreeSet<String>,
    /// How many requests it answered with 503.
    pub refused: u64,
    /// How many came that it had taken already.
    pub repeated: u64,
    known: HashSet<String>,
    up: Option<Instant>,
}

/// A server that is running, for as long as the process does.
pub struct Receiver {
    pub address: SocketAddr,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Receiver {
    /// Starts it, on a port that is free.
    pub fn start() -> io::Result<Receiver> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let arrivals = Arc::<Mutex<Arrivals>>::default();
        let shared = arrivals.clone();
        thread::Builder::new().name("receiver".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                // A sender that goes away will try again.
                let _ = serve(&stream, &shared);
            }
        })?;
        Ok(Receiver { address, arrivals })
    }

    /// What it has seen so far.
    pub fn arrivals(&self) -> Arrivals {
        lock(&self.arrivals).clone()
    }

    /// How many webhooks it has taken so far.
    pub fn taken(&self) -> u64 {
        lock(&self.arrivals).taken.len() as u64
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, arrivals: &Mutex<Arrivals>) -> io::Result<()> {
    http::set_patience(stream)?;
    let request = Message::read(stream)?;
    let status = match request.header("webhook-id") {
        Some(key) if is_json(&request.body) => lock(arrivals).status(key),
        _ => 400,
    };
    http::answer(stream, status)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok()
}

impl Arrivals {
    /// How a webhook with this key is answered.
    fn status(&mut self, key: &str) -> u16 {
        let now = Instant::now();
        let down = now < *self.up.get_or_insert(now + OUTAGE);
        let new = !down && self.known.insert(key.to_owned());
        if down || new && self.known.len().is_multiple_of(REFUSED) {
            self.refused += 1;
            return 503;
        }
        self.repeated += u64::from(!self.taken.insert(key.to_owned()));
        204
    }
}
