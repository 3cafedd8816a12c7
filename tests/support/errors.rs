//! [`logged`]: what a piece of code logs at some level; [`spanned`]: the spans it enters.

use parking_lot::Mutex;
use std::fmt::{Debug, Write};
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs `code` and returns the events of this thread at error level, as text.
pub fn logged_errors(code: impl FnOnce()) -> Vec<String> {
    logged(Level::ERROR, code)
}

/// Runs `code` and returns the events of this thread at this level, as text.
pub fn logged(level: Level, code: impl FnOnce()) -> Vec<String> {
    collected(level, code).0
}

/// Runs `code` and returns the spans that it enters at debug level, as text.
pub fn spanned(code: impl FnOnce()) -> Vec<String> {
    collected(Level::DEBUG, code).1
}

/// Runs `code` beside somebody who panics at every event of this level.
pub fn panicking_at<T>(level: Level, code: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(Nervous(level), code)
}

struct Nervous(Level);

impl Subscriber for Nervous {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == self.0
    }

    fn event(&self, event: &Event<'_>) {
        panic!("{}", event.metadata().name());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn collected(level: Level, code: impl FnOnce()) -> (Vec<String>, Vec<String>) {
    let (lines, entered, known) = Default::default();
    let collector =
        Collector { level, lines: Arc::clone(&lines), entered: Arc::clone(&entered), known };
    tracing::subscriber::with_default(collector, code);
    (std::mem::take(&mut *lines.lock()), std::mem::take(&mut *entered.lock()))
}

struct Collector {
    level: Level,
    lines: Arc<Mutex<Vec<String>>>,
    entered: Arc<Mutex<Vec<String>>>,
    /// Every span; its id is its number, from 1.
    known: Mutex<Vec<String>>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.lines.lock().push(line.0);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("{}: ", span.metadata().name()));
        span.record(&mut line);
        let mut known = self.known.lock();
        known.push(line.0.trim_end().into());
        Id::from_u64(known.len() as u64)
    }

    fn enter(&self, id: &Id) {
        let span = self.known.lock()[id.into_u64() as usize - 1].clone();
        self.entered.lock().push(span);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
