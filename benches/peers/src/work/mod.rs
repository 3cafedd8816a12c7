//! The workloads, in the order of the table.

mod commits;
mod grid;
mod large;
mod maps;
mod reads;

use crate::bench::Bench;
use crate::table::Row;

pub struct Workload {
    /// What `--only` knows it by.
    pub name: &'static str,
    pub run: fn(&Bench) -> Vec<Row>,
}

/// What reads the large stores comes before what changes them.
pub const ALL: &[Workload] = &[
    Workload { name: "commits", run: commits::durable },
    Workload { name: "adds", run: commits::adds },
    Workload { name: "hot", run: reads::hot },
    Workload { name: "maps", run: maps::all },
    Workload { name: "opening", run: large::opening },
    Workload { name: "space", run: large::space },
    Workload { name: "cold", run: reads::cold },
    Workload { name: "warm", run: reads::warm },
    Workload { name: "mixed", run: reads::mixed },
    Workload { name: "updates", run: large::updates },
    Workload { name: "grid", run: grid::all },
];
