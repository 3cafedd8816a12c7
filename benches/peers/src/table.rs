//! What was measured, and the one table that is printed of it.

use crate::peer::{Contender, Role};
use std::fmt::Write;

/// What a number says. All but `PerSecond` and `Times` are better when they are smaller.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    PerSecond,
    GigabytesPerSecond,
    Times,
    Nanoseconds,
    Milliseconds,
    Bytes,
    Mebibytes,
}

impl Unit {
    fn more_is_better(self) -> bool {
        matches!(self, Unit::PerSecond | Unit::GigabytesPerSecond | Unit::Times)
    }

    fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "a second",
            Unit::GigabytesPerSecond => "GB a second",
            Unit::Times => "times",
            Unit::Nanoseconds => "ns",
            Unit::Milliseconds => "ms",
            Unit::Bytes => "bytes",
            Unit::Mebibytes => "MiB",
        }
    }
}

/// What is wanted of Perennial: a share of the limit, of the best peer, or a number.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    pub of_limit: Option<f64>,
    pub of_best: Option<f64>,
    pub number: Option<f64>,
}

pub fn of_limit(share: f64) -> Wanted {
    Wanted { of_limit: Some(share), ..Wanted::default() }
}

pub fn of_best(share: f64) -> Wanted {
    Wanted { of_best: Some(share), ..Wanted::default() }
}

pub fn number(number: f64) -> Wanted {
    Wanted { number: Some(number), ..Wanted::default() }
}

impl Wanted {
    pub fn and_of_best(self, share: f64) -> Wanted {
        Wanted { of_best: Some(share), ..self }
    }
}

/// The results of one workload, or of one side of it.
pub struct Row {
    pub name: String,
    unit: Unit,
    /// Its commits are durable: who does not sync is no rival.
    durable: bool,
    wanted: Wanted,
    cells: Vec<(&'static Contender, Vec<f64>)>,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: Unit, wanted: Wanted) -> Row {
        Row { name: name.into(), unit, durable: false, wanted, cells: Vec::new() }
    }

    pub fn durable(self, durable: bool) -> Row {
        Row { durable, ..self }
    }

    pub fn add(&mut self, who: &'static Contender, value: f64) {
        match self.cells.iter_mut().find(|(contender, _)| contender.name == who.name) {
            Some((_, values)) => values.push(value),
            None => self.cells.push((who, vec![value])),
        }
    }

    fn best(&self, role: Role) -> Option<(&'static Contender, f64)> {
        let is_rival = |who: &Contender| who.role == role && (who.syncs || !self.durable);
        let rivals = self.cells.iter().filter(|(who, _)| is_rival(who));
        let medians = rivals.map(|(who, values)| (*who, median(values)));
        let better = |a: &(_, f64), b: &(_, f64)| a.1.total_cmp(&b.1);
        if self.unit.more_is_better() { medians.max_by(better) } else { medians.min_by(better) }
    }

    /// How many times as good `ours` is as `theirs`.
    fn ratio(&self, ours: f64, theirs: f64) -> f64 {
        if self.unit.more_is_better() { ours / theirs } else { theirs / ours }
    }

    /// The median of the ratios that the two had in each round.
    fn paired(&self, ours: &Contender, theirs: &Contender) -> f64 {
        let pairs = self.values(ours).iter().zip(self.values(theirs));
        median(&pairs.map(|(&ours, &theirs)| self.ratio(ours, theirs)).collect::<Vec<_>>())
    }

    fn values(&self, who: &Contender) -> &[f64] {
        let cell = self.cells.iter().find(|(contender, _)| contender.name == who.name);
        cell.map_or(&[], |(_, values)| values)
    }

    fn line(&self, peers: &[&'static Contender]) -> String {
        let ours = self.best(Role::Ours);
        let mut line =
            format!("| {} | {} | {}", self.name, self.unit.name(), self.cell(Role::Ours));
        if let (Some((_, ours)), Some(wanted)) = (ours, self.wanted.number) {
            let sign = if self.unit.more_is_better() { '≥' } else { '≤' };
            let met = mark(self.ratio(ours, wanted) >= 1.0);
            let _ = write!(line, " ({sign} {}: {met})", short(wanted));
        }
        let rivals = [(Role::Limit, self.wanted.of_limit), (Role::Peer, self.wanted.of_best)];
        for (role, wanted) in rivals {
            let _ = write!(line, " | {} | ", self.cell(role));
            let (Some((ours, _)), Some((theirs, _))) = (ours, self.best(role)) else { continue };
            let ratio = self.paired(ours, theirs);
            let _ = write!(line, "{ratio:.2}");
            if let Some(wanted) = wanted {
                let _ = write!(line, " (≥ {wanted}: {})", mark(ratio >= wanted));
            }
        }
        for peer in peers {
            let sign = if self.durable && !peer.syncs { " †" } else { "" };
            let text = match self.values(peer) {
                [] => String::new(),
                values => spread(values) + sign,
            };
            let _ = write!(line, " | {text}");
        }
        line + " |"
    }

    /// The best of this role; where there are several, with its name.
    fn cell(&self, role: Role) -> String {
        let Some((best, _)) = self.best(role) else { return String::new() };
        let values = self.values(best);
        match role {
            Role::Ours => format!("**{}**", spread(values)),
            Role::Limit => {
                format!("{} {}", spread(values), best.name.trim_start_matches("by hand, "))
            }
            Role::Peer => format!("{} {}", spread(values), best.name),
        }
    }
}

fn mark(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

/// All rows as one table in Markdown.
pub fn table(rows: &[Row], contenders: &[&'static Contender]) -> String {
    let peers: Vec<_> = contenders.iter().copied().filter(|who| who.role == Role::Peer).collect();
    let mut text = String::from(
        "| workload | unit | Perennial | limit | of the limit | best peer | of the best",
    );
    peers.iter().for_each(|peer| text += &format!(" | {}", peer.name));
    text += " |\n|---|---|---:|---:|---:|---:|---:";
    text += &"|---:".repeat(peers.len());
    text += "|\n";
    rows.iter().for_each(|row| text += &format!("{}\n", row.line(&peers)));
    text
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median, and half of the way from the first quarter to the third in per cent of it.
fn spread(values: &[f64]) -> String {
    let median = median(values);
    if values.len() < 2 || median == 0.0 {
        return short(median);
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = |n: usize| sorted[(sorted.len() - 1) * n / 4];
    let half = (quarter(3) - quarter(1)) / 2.0;
    format!("{} ±{:.0}%", short(median), half / median * 100.0)
}

/// Three digits are enough.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
