//! How costs grow with the number of objects: what should be flat is flat, what should be eight
//! bytes an object is that.
//!
//! Fills a database step by step, and measures at each step: adding (a thousand objects a lazy
//! commit), durable commits of one object, reads of random objects with next to no cache, opening
//! after a clean close, the size of file and index, and the memory of a process that has opened
//! the database and looked at every page of its index. Prints a table, and draws it as SVG.
//!
//! ```console
//! $ cargo bench --bench scale -- 10000000 105 docs/scale-objects.svg
//! $ cargo bench --bench scale -- 10000000 1000 docs/scale-bytes.svg
//! ```

#[path = "scale/plot.rs"]
mod plot;

use perennial::{Database, Durability, Persistent, Reads, Ref, Result, codec, decode_as};
use plot::Curve;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

const STEPS: u64 = 10;
const A_COMMIT: u64 = 1_000;
const SAMPLES: u64 = 200_000;

/// A number and some bytes of ballast.
#[derive(Clone, Serialize, Deserialize)]
struct Item {
    number: u64,
    ballast: Vec<u8>,
}

impl Persistent for Item {
    const NAME: &'static str = "benches.Item";
}

impl Item {
    fn new(number: u64, size: usize) -> Item {
        // Nine bytes of number, at most three of length; no two are alike.
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let ballast = (0..size.saturating_sub(10)).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        Item { number: number | 1 << 62, ballast: ballast.collect() }
    }
}

/// What was measured when so many objects were stored.
struct Row {
    objects: u64,
    adds: f64,
    commits: f64,
    read: f64,
    open: f64,
    bytes: f64,
    memory: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [child, path] = &arguments[..]
        && child == "memory"
    {
        return resident(Path::new(path));
    }
    let number =
        |at: usize, or: u64| arguments.get(at).and_then(|it| it.parse().ok()).unwrap_or(or);
    let (total, size) = (number(0, 1_000_000), number(1, 105) as usize);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let home = tempfile::tempdir_in(target).expect("a directory");
    let path = home.path().join("scale.db");
    let mut rows = Vec::new();
    print_head(size);
    for step in 1..=STEPS {
        let row = measure(&path, total * (step - 1) / STEPS, total * step / STEPS, size)?;
        print(&row);
        rows.push(row);
    }
    if let Some(svg) = arguments.get(2) {
        std::fs::write(svg, draw(&rows, size)).expect("the drawing is written");
    }
    Ok(())
}

fn options() -> perennial::Options {
    Database::options().cache_bytes(1 << 16)
}

/// Fills the database up to `objects`, and measures.
fn measure(path: &Path, before: u64, objects: u64, size: usize) -> Result<Row> {
    let db = options().open(path)?;
    let start = Instant::now();
    for first in (before..objects).step_by(A_COMMIT as usize) {
        db.transact(|conn| {
            conn.set_durability(Durability::Lazy)?;
            let numbers = first..objects.min(first + A_COMMIT);
            numbers.into_iter().try_for_each(|number| conn.add(Item::new(number, size)).map(drop))
        })?;
    }
    let adds = (objects - before) as f64 / start.elapsed().as_secs_f64();
    db.sync()?;
    let mut random = Random(objects);
    let commits = rate(2_000, || {
        let item = item(random.below(objects));
        db.transact(|conn| conn.modify(item, |item| item.number ^= 1))
    })?;
    db.close()?;
    drop(db);
    let start = Instant::now();
    let db = options().open(path)?;
    let open = start.elapsed().as_secs_f64() * 1e3;
    let read = db.view(|view| {
        // The second round finds what the disk had to bring in the first in memory.
        let mut round = || rate(SAMPLES, || view.get(item(random.below(objects))).map(drop));
        round()?;
        round()
    })?;
    db.close()?;
    let length = |name: &Path| std::fs::metadata(name).map_or(0, |it| it.len());
    let bytes = length(path) + length(&path.with_extension("db.index"));
    let (bytes, memory) = (bytes as f64 / objects as f64, memory(path) / objects as f64);
    Ok(Row { objects, adds, commits, read: 1e9 / read, open, bytes, memory })
}

/// How often in a second `work` is done, if it is done so often.
fn rate<T>(count: u64, mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    (0..count).try_for_each(|_| work().map(drop))?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The object that was added as number `number`: a new database gives out oids in turn.
fn item(number: u64) -> Ref<Item> {
    #[derive(Deserialize)]
    struct Loose(Ref<Item>);
    let mut bytes = Vec::new();
    codec::encode("a number", &(number + 1), 0, &mut bytes, &mut Vec::new()).expect("encoded");
    decode_as::<Loose>(&bytes).expect("a reference").0
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % bound
    }
}

/// Bytes of memory of a process of its own that knows every object, beyond what it had before.
fn memory(path: &Path) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program).arg("memory").arg(path).output();
    let output = output.expect("it ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Looks at every object's place in the index, and says what memory that took. What is mapped of
/// the log is the system's to take back, and does not count: it is read by position here.
fn resident(path: &Path) -> Result<()> {
    let before = resident_now();
    let db = options().reads(Reads::Pread).read_only().open(path)?;
    db.view(|view| {
        let mut number = 0;
        // One object of each page of the index.
        while view.get(item(number)).is_ok() {
            number += 512;
        }
        Ok(())
    })?;
    println!("{}", resident_now() - before);
    Ok(())
}

fn resident_now() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("a Linux system");
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the resident pages") * 4096
}

fn print_head(size: usize) {
    println!("objects of {size} bytes, encoded\n");
    println!(
        "| objects | adds/s | durable commits/s | random read, ns | open, ms | bytes/object | memory/object |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
}

fn print(row: &Row) {
    let Row { objects, adds, commits, read, open, bytes, memory } = row;
    println!(
        "| {objects} | {adds:.0} | {commits:.0} | {read:.0} | {open:.2} | {bytes:.1} | {memory:.2} |"
    );
}

/// The rows as curves, each over the number of objects.
fn draw(rows: &[Row], size: usize) -> String {
    let curve = |name, of: fn(&Row) -> f64| Curve {
        name,
        points: rows.iter().map(|row| (row.objects as f64, of(row))).collect(),
    };
    let curves = [
        curve("objects added a second", |row| row.adds),
        curve("durable commits of one object a second", |row| row.commits),
        curve("read of a random object, ns", |row| row.read),
        curve("opening after a clean close, ms", |row| row.open),
        curve("bytes of file and index, an object", |row| row.bytes),
        curve("bytes of memory, an object", |row| row.memory),
    ];
    plot::draw(&format!("objects of {size} bytes"), &curves)
}
