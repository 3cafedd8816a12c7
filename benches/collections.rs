//! Trees: reading one value, scanning, inserting, removing and loading.
//!
//! Each line is the median and the best of some runs, in entries or operations a second. Changes
//! are of a thousand keys a commit, and go into an empty tree or one of a million. Keys are spread
//! over all numbers of 64 bits, or are those numbers as text of twenty bytes; values are numbers.
//! *Bytes* tells by how much a file grew for each key.
//!
//! ```console
//! $ cargo bench --bench collections               # everything
//! $ cargo bench --bench collections -- get u64    # lines with all of these words
//! ```

use perennial::collections::{BTree, Key};
use perennial::{Connection, Database, Durability, Result};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const MANY: u64 = 1_000_000;
const FEW: u64 = 1_000;
const A_COMMIT: u64 = 1_000;
const COMMITS: u64 = 100;
const SCAN: usize = 100;
const TIME: Duration = Duration::from_millis(250);

/// A number as a key.
trait Numbered: Key {
    const NAME: &'static str;

    fn new(number: u64) -> Self;
}

impl Numbered for u64 {
    const NAME: &'static str = "u64";

    fn new(number: u64) -> u64 {
        number
    }
}

impl Numbered for String {
    const NAME: &'static str = "String";

    fn new(number: u64) -> String {
        format!("{number:020}")
    }
}

/// Key number `number`: no two are alike, and their order is none.
fn key<K: Numbered>(number: u64) -> K {
    K::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn ordered<K: Numbered>(number: u64) -> K {
    K::new(number << 40)
}

/// How many a second, and how many bytes each took, where that was measured.
type Rate = (f64, Option<f64>);

/// Changes a tree in a database; how many keys a second.
type Work<'a, K> = &'a dyn Fn(&Database, BTree<K, u64>) -> Result<f64>;

/// Prints the lines that are wanted.
struct Table(Vec<String>);

impl Table {
    /// One line, of what `run` measures.
    fn line(&self, name: &str, mut run: impl FnMut() -> Result<Rate>) -> Result<()> {
        if !self.0.iter().all(|word| name.contains(word.as_str())) {
            return Ok(());
        }
        let mut rates = (0..RUNS).map(|_| run()).collect::<Result<Vec<_>>>()?;
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ((rate, bytes), (best, _)) = (rates[RUNS / 2], rates[RUNS - 1]);
        let bytes = bytes.map_or(String::new(), |bytes| format!("{bytes:.0}"));
        println!("| {name} | {rate:.0} | {best:.0} | {bytes} |");
        Ok(())
    }

    /// Whether a line with this in its name may be wanted, and what it needs should be made.
    fn wants(&self, part: &str) -> bool {
        let groups = ["get", "scan", "insert", "load", "remove"];
        let mut of_group = self.0.iter().filter(|word| groups.contains(&word.as_str()));
        let kind = self.0.iter().any(|word| ["u64", "String"].contains(&word.as_str()));
        of_group.all(|word| part.contains(word.as_str()))
            && (!kind || self.0.iter().any(|word| part.contains(word.as_str())))
    }
}

/// How often in a second `work` is done.
fn rate(mut work: impl FnMut() -> Result<()>) -> Result<Rate> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        (0..FEW).try_for_each(|_| work())?;
        count += FEW;
    }
    Ok((count as f64 / start.elapsed().as_secs_f64(), None))
}

fn memory() -> Database {
    Database::in_memory().expect("there are random numbers")
}

fn file(path: &Path) -> Result<Database> {
    Database::options().durability(Durability::Lazy).open(path)
}

/// A tree of so many entries.
fn loaded<K: Numbered>(db: &Database, count: u64) -> Result<BTree<K, u64>> {
    db.transact(|conn| {
        let tree = BTree::create(conn)?;
        tree.extend(conn, (0..count).map(|number| (key(number), number)))?;
        Ok(tree)
    })
}

/// Does `change` with many numbers from `from` on, a thousand a commit; how many a second.
fn changes(
    db: &Database,
    from: u64,
    change: impl Fn(&Connection, u64) -> Result<()>,
) -> Result<f64> {
    let start = Instant::now();
    for commit in 0..COMMITS {
        let first = from + commit * A_COMMIT;
        db.transact(|conn| (first..first + A_COMMIT).try_for_each(|number| change(conn, number)))?;
    }
    Ok((COMMITS * A_COMMIT) as f64 / start.elapsed().as_secs_f64())
}

/// What reads.
fn reads<K: Numbered>(table: &Table) -> Result<()> {
    for count in [FEW, MANY] {
        let name = |what: &str| format!("{what}, {} keys, {count} entries", K::NAME);
        if !table.wants(&name("get")) && !table.wants(&name("scan")) {
            continue;
        }
        let db = memory();
        let tree = loaded::<K>(&db, count)?;
        let keys: Vec<K> = (0..count).map(key).collect();
        // Neighbours in this list are far apart in the tree, and the list itself is read in order.
        let mut next = keys.iter().cycle();
        db.view(|view| {
            table.line(&name("get"), || {
                rate(|| {
                    let Some(key) = next.next() else { return Ok(()) };
                    tree.get(view, key).map(|value| _ = black_box(value))
                })
            })?;
            table.line(&name("scan of 100"), || {
                rate(|| {
                    let Some(start) = next.next() else { return Ok(()) };
                    let range = tree.range(view, start.clone()..);
                    range.take(SCAN).try_for_each(|entry| entry.map(|it| _ = black_box(it)))
                })
            })
        })?;
    }
    Ok(())
}

/// What inserts and removes, in a database that `open` makes; `size` tells of its file.
fn writes<K: Numbered>(
    table: &Table,
    home: &str,
    open: impl Fn() -> Result<Database>,
    size: impl Fn() -> Option<u64>,
) -> Result<()> {
    let line = |what: &str, before: u64, work: Work<'_, K>| {
        table.line(&format!("{what}, {} keys, {before} entries, {home}", K::NAME), || {
            let db = open()?;
            let tree = loaded(&db, before)?;
            db.sync()?;
            let bytes = size();
            let rate = work(&db, tree)?;
            db.close()?;
            let grown = size().zip(bytes).map(|(after, before)| after.saturating_sub(before));
            Ok((rate, grown.map(|bytes| bytes as f64 / (COMMITS * A_COMMIT) as f64)))
        })
    };
    for before in [0, MANY] {
        line("insert random", before, &|db, tree| {
            changes(db, before, |conn, number| tree.insert(conn, key(number), number).map(drop))
        })?;
    }
    line("insert ascending", 0, &|db, tree| {
        changes(db, 0, |conn, number| tree.insert(conn, ordered(number), number).map(drop))
    })?;
    line("remove random", MANY, &|db, tree| {
        changes(db, 0, |conn, number| tree.remove(conn, &key::<K>(number)).map(drop))
    })?;
    table.line(&format!("load of a million, {} keys, {home}", K::NAME), || {
        let entries: Vec<(K, u64)> = (0..MANY).map(|number| (ordered(number), number)).collect();
        let db = open()?;
        let start = Instant::now();
        db.transact(|conn| BTree::create(conn)?.extend(conn, entries.clone()))?;
        Ok((MANY as f64 / start.elapsed().as_secs_f64(), None))
    })
}

fn all<K: Numbered>(table: &Table) -> Result<()> {
    reads::<K>(table)?;
    writes::<K>(table, "memory", || Ok(memory()), || None)?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let home = tempfile::tempdir_in(target).expect("a directory");
    let path = home.path().join("trees.db");
    let open = || {
        for name in ["trees.db", "trees.db.index"] {
            drop(std::fs::remove_file(home.path().join(name)));
        }
        file(&path)
    };
    let size = || std::fs::metadata(&path).ok().map(|file| file.len());
    writes::<K>(table, "lazy file", open, size)
}

fn main() -> Result<()> {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let table = Table(words);
    // `cargo test --benches` only wants to know whether it runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    println!("| what | a second | at best | bytes |\n|---|--:|--:|--:|");
    all::<u64>(&table)?;
    all::<String>(&table)
}
