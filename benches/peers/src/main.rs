//! Perennial beside its peers and beside the limits, on the same objects, in one run.
//!
//! Prints one table in Markdown; progress goes to the standard error. See README.md.

mod object;
mod peer;
mod table;
mod bench;
mod child;
mod work;

use bench::Bench;
use clap::Parser;
use object::{Item, Keyed, Result};
use peer::{Contender, Role};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Perennial beside its peers and beside the limits: one table in Markdown.
#[derive(Parser)]
struct Arguments {
    /// How often each thing is measured.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each thing is done in one round.
    #[arg(long)]
    milliseconds: Option<u64>,
    /// How many objects the large stores have.
    #[arg(long)]
    objects: Option<u64>,
    /// Only these workloads: commits, adds, hot, maps, opening, space, cold, warm, mixed, updates,
    /// grid.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these peers: redb, fjall, heed, sled, rusqlite, canopydb, persy, native_db.
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<String>>,
    /// Perennial and the limits alone.
    #[arg(long)]
    limits: bool,
    /// Fewer objects, shorter slices, a smaller grid.
    #[arg(long)]
    quick: bool,
    /// Where the stores are, which are removed at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        return child::main(&arguments[1..]);
    }
    let arguments = Arguments::parse();
    let workloads = chosen(&arguments.only)?;
    let bench = bench(&arguments)?;
    let start = Instant::now();
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("{} ({:.0} s so far)", workload.name, start.elapsed().as_secs_f64());
        rows.extend((workload.run)(&bench));
    }
    print!("{}", table::table(&rows, &bench.contenders));
    print_settings(&bench, start.elapsed())?;
    Ok(std::fs::remove_dir_all(&bench.dir)?)
}

fn chosen(names: &[String]) -> Result<Vec<&'static work::Workload>> {
    for name in names {
        if work::ALL.iter().all(|workload| workload.name != name) {
            return Err(format!("there is no workload {name}").into());
        }
    }
    let is_chosen = |workload: &&work::Workload| {
        names.is_empty() || names.iter().any(|name| name == workload.name)
    };
    Ok(work::ALL.iter().filter(is_chosen).collect())
}

fn bench(arguments: &Arguments) -> Result<Bench> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target");
    let parent = arguments.dir.clone().unwrap_or_else(|| default.into());
    let quick = arguments.quick;
    let (rounds, slice, objects) = if quick { (9, 20, 100_000) } else { (15, 80, 1_000_000) };
    Ok(Bench {
        dir: parent.join(format!("stores-{}", std::process::id())),
        rounds: arguments.rounds.unwrap_or(rounds).max(1),
        slice: Duration::from_millis(arguments.milliseconds.unwrap_or(slice)),
        objects: arguments.objects.unwrap_or(objects),
        quick,
        contenders: contenders(arguments)?,
        large: OnceLock::new(),
        notes: Mutex::default(),
    })
}

fn contenders(arguments: &Arguments) -> Result<Vec<&'static Contender>> {
    let is_peer = |who: &&&Contender| who.role == Role::Peer;
    for name in arguments.peers.iter().flatten() {
        if !peer::ALL.iter().filter(is_peer).any(|who| who.package == name) {
            return Err(format!("there is no peer {name}").into());
        }
    }
    let takes_part = |who: &&&'static Contender| match &arguments.peers {
        _ if who.role != Role::Peer => true,
        _ if arguments.limits => false,
        Some(names) => names.iter().any(|name| name == who.package),
        None => true,
    };
    Ok(peer::ALL.iter().filter(takes_part).copied().collect())
}

fn print_settings(bench: &Bench, took: Duration) -> Result<()> {
    let length = Keyed { item: Item::new(777_777), next: Some(777_776) }.encode()?.len();
    println!(
        "\nMedians of {} rounds of {} ms, a third as many where something is done once a round; ± half \
         the way from the first quarter to the third; ratios are medians of those of each round; an \
         object takes {length} bytes as the peers store it; {} processors; {:.0} s in all.\n",
        bench.rounds,
        bench.slice.as_millis(),
        std::thread::available_parallelism()?,
        took.as_secs_f64(),
    );
    for who in &bench.contenders {
        let version = version(who.package).map_or(String::new(), |version| format!(" {version}"));
        println!("- {}{version}: {}.", who.name, who.settings);
    }
    if bench.contenders.iter().any(|who| !who.syncs) {
        println!(
            "- † Not durable, and no rival there: its sync does not make the disk keep anything."
        );
    }
    for note in bench.notes.lock().expect("no panic").iter() {
        println!("- It went wrong: {note}.");
    }
    Ok(())
}

/// The version that was compiled in.
fn version(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock.rsplit_once(&format!("\nname = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}
