//! The webhooks of one run: who sends them, and the receiver that they are sent to.

use crate::progress;
use crate::receiver::{Arrivals, Receiver};
use crate::webhook;
use perennial::{Database, Error, Result, RunMode, Runner};
use std::time::{Duration, Instant};

/// How long nothing may arrive before the waiting is given up.
const GIVE_UP: Duration = Duration::from_secs(30);

/// How long a handler has to return when the runner stops.
const STOP: Duration = Duration::from_secs(5);

pub struct Dispatch {
    runner: Runner,
    receiver: Receiver,
}

impl Dispatch {
    /// Starts both. From now on jobs run as soon as they are committed, and those that an earlier
    /// run left behind run first.
    pub fn start(db: &Database) -> Result<Dispatch> {
        let receiver = Receiver::start().map_err(Error::other)?;
        let address = receiver.address;
        let runner = db
            .runner()
            .on_with(webhook::policy(), move |ctx, job| webhook::push(ctx, job, address))
            .mode(RunMode::Pool(4))
            .start()?;
        Ok(Dispatch { runner, receiver })
    }

    /// Waits until no webhook is pending, or until none has arrived for a long time.
    pub fn drain(&self, db: &Database) -> Result<()> {
        let stats = db.jobs().stats()?;
        let bar = progress::bar("webhooks", stats.ready + stats.claimed);
        let first = self.receiver.taken();
        let (mut last, mut moved) = (first, Instant::now());
        while !self.runner.run_until_idle(Duration::from_millis(100)) {
            let now = self.receiver.taken();
            bar.set_position(now - first);
            if now > last {
                (last, moved) = (now, Instant::now());
            } else if moved.elapsed() > GIVE_UP {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Stops sending; what has arrived.
    pub fn stop(self) -> Result<Arrivals> {
        self.runner.stop(STOP, STOP)?;
        Ok(self.receiver.arrivals())
    }
}
