//! The example `flights`, run as people run it: as a program, on good, bad and no input, and
//! killed while it works. What it prints is held against what the input says.

mod example;
mod faults;

use perennial::Database;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A directory for one test, the database in it, and the program.
struct Scene {
    directory: tempfile::TempDir,
}

/// What one run printed, and whether it was content.
struct Run {
    out: String,
    err: String,
    fine: bool,
}

impl Scene {
    fn new() -> Scene {
        Scene { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file with this content.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// The program, to be run on `data`, with the scene's database.
    fn command(&self, data: &Path) -> Command {
        let mut command = Command::new(program());
        command.arg("--data").arg(data).arg("--db").arg(self.path("flights.db"));
        command
    }

    fn run(&self, data: &Path) -> Run {
        run(&mut self.command(data))
    }
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { out: text(output.stdout), err: text(output.stderr), fine: output.status.success() }
}

impl Run {
    /// What was printed after this word at the beginning of a line.
    fn line(&self, word: &str) -> &str {
        let mut lines = self.out.lines().filter_map(|line| line.strip_prefix(word));
        lines.next().unwrap_or_else(|| panic!("no {word} in {}{}", self.out, self.err)).trim()
    }

    fn assert_fine(&self) {
        assert!(self.fine, "{}{}", self.out, self.err);
    }

    /// Everything is stored, and every alert has been delivered.
    fn assert_holds(&self, flights: &[Value]) {
        self.assert_fine();
        let late = flights.iter().filter(|flight| flight["delay"].as_i64() >= Some(60)).count();
        let (all, airports) = (plural(flights.len(), "flight"), "3,376 airports");
        assert_eq!(self.line("stored"), format!("{all}, {airports}, {}", plural(late, "alert")));
        assert_eq!(self.line("webhooks"), format!("{late} delivered, under {late} keys"));
    }
}

fn plural(count: usize, thing: &str) -> String {
    let number = match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    };
    format!("{number} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The example's binary. `cargo test` has built it; a test that is run alone does so itself.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let program = profile.join("examples").join("flights");
        if !program.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--example", "flights", "--target-dir"]);
            build.arg(profile.parent().unwrap());
            build.args(profile.ends_with("release").then_some("--release"));
            assert!(build.status().unwrap().success(), "the example does not build");
        }
        program
    })
}

/// The first flights of those that come with the example.
fn sample(count: usize) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/flights-20k.json");
    let mut flights: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    flights.truncate(count);
    flights
}

fn array(flights: &[Value]) -> String {
    serde_json::to_string(flights).unwrap()
}

fn lines(flights: &[Value]) -> String {
    flights.iter().map(|flight| format!("{flight}\n")).collect()
}

#[test]
fn every_late_flight_becomes_an_alert_and_every_alert_is_delivered_once() {
    let scene = Scene::new();
    let flights = sample(1200);
    let run = scene.run(&scene.file("flights.json", &array(&flights)));
    run.assert_holds(&flights);
    assert!(run.line("read").starts_with("1,200 rows"), "{}", run.out);
    assert!(!run.line("in this run").contains(" 0 answers of 503"), "the receiver was well");
    assert!(run.line("at tid").contains("waits to be delivered"), "{}", run.out);
}

#[test]
fn bad_lines_are_told_with_their_place_and_skipped() {
    let scene = Scene::new();
    let flights = sample(40);
    let mut rows: Vec<String> = flights.iter().map(Value::to_string).collect();
    let [mut unknown, mut lacking, mut odd] = std::array::from_fn(|_| flights[0].clone());
    unknown["destination"] = "NOWHERE".into();
    lacking.as_object_mut().unwrap().remove("delay");
    odd["date"] = "2001/02/29 12:00".into();
    for (row, bad) in [(3, unknown), (5, lacking), (9, odd)] {
        rows.insert(row - 1, bad.to_string());
    }
    rows.insert(10, "{\"date\": \"2001".into());
    let run = scene.run(&scene.file("flights.jsonl", &rows.join("\n\n")));
    run.assert_holds(&flights);
    assert!(run.line("file").ends_with("flights.jsonl: 40 flights, 4 bad rows"), "{}", run.out);
    // What was done for a bad row before it turned out to be one is undone: the numbering, too.
    assert!(run.out.trim_end().ends_with("there are 40 flights"), "{}", run.out);
    let byte = |row: usize| rows[..row - 1].iter().map(|row| row.len() + 2).sum::<usize>();
    let told = |row: usize, why: &str| {
        format!("skipped row {row} (line {}, byte {}): {why}\n", row * 2 - 1, byte(row))
    };
    let expected = [
        told(3, "unknown airport: \"NOWHERE\""),
        told(5, "missing field `delay`"),
        told(9, "no such time: \"2001/02/29 12:00\""),
        told(11, "not JSON: EOF while parsing a string"),
    ];
    assert_eq!(run.err, expected.concat());
}

#[test]
fn bad_rows_of_an_array_are_told_with_their_place_and_skipped() {
    let scene = Scene::new();
    let flights = sample(2);
    let (first, second) = (&flights[0], &flights[1]);
    let content = format!("[{first},\n 17, \"flight\", null,\n{{\"delay\": \"late\"}},\n{second}]");
    let run = scene.run(&scene.file("flights.json", &content));
    run.assert_holds(&flights);
    let places = ["row 2 (line 2,", "row 3 (line 2,", "row 4 (line 2,", "row 5 (line 3,"];
    for (line, place) in run.err.lines().zip(places) {
        assert!(line.starts_with(&format!("skipped {place}")), "{}", run.err);
    }
    assert_eq!(run.err.lines().count(), places.len());
}

#[test]
fn a_syntax_error_in_an_array_ends_the_reading_and_what_came_before_is_kept() {
    let flights = sample(700);
    let whole = array(&flights).replace("},{", "},\n{");
    let cut = whole.match_indices("},\n{").nth(599).unwrap().0;
    let spoiled = format!("{} ?{}", &whole[..=cut], &whole[cut + 1..]);
    let endings = [
        (spoiled, format!("row 601 (line 600, byte {}): expected a comma, or `]`", cut + 2)),
        (whole[..=cut].into(), format!("row 601 (line 600, byte {}): the file ends", cut + 1)),
        (
            format!("{}] []", &whole[..=cut]),
            format!("row 601 (line 600, byte {}): there is", cut + 3),
        ),
    ];
    for (content, place) in endings {
        let scene = Scene::new();
        let data = scene.file("flights.json", &content);
        let run = scene.run(&data);
        assert!(!run.fine && run.err.contains(&place), "{}", run.err);
        assert_eq!(run.line("stored").split(',').next(), Some("600 flights"));
        // The file is mended: what it has beyond is added.
        fs::write(&data, &whole).unwrap();
        scene.run(&data).assert_holds(&flights);
    }
}

#[test]
fn no_rows_are_no_error() {
    for content in ["", "\n \n", "[]", " [ ] \n"] {
        let scene = Scene::new();
        let run = scene.run(&scene.file("flights.json", content));
        run.assert_holds(&[]);
    }
}

#[test]
fn a_row_may_be_a_thousand_times_larger_than_usual() {
    let mut flights = sample(3);
    flights[1]["remark"] = "long ".repeat(20_000).into();
    for form in [array, lines] {
        let scene = Scene::new();
        scene.run(&scene.file("flights", &form(&flights))).assert_holds(&flights);
    }
    // Where it is the code of the airport that is so long, it is told in short.
    let mut bad = flights.clone();
    bad[1]["origin"] = "LONG".repeat(25_000).into();
    let scene = Scene::new();
    let run = scene.run(&scene.file("flights", &lines(&bad)));
    run.assert_holds(&[flights[0].clone(), flights[2].clone()]);
    assert!(run.err.contains("unknown airport: \"LONG") && run.err.len() < 200, "{}", run.err);
}

#[test]
fn what_was_imported_is_not_imported_again() {
    let scene = Scene::new();
    let flights = sample(900);
    let part = scene.file("part.jsonl", &lines(&flights[..600]));
    scene.run(&part).assert_holds(&flights[..600]);
    let again = scene.run(&part);
    again.assert_holds(&flights[..600]);
    assert!(again.line("read").starts_with("0 rows"), "{}", again.out);
    // The same rows and more, under another name.
    let more = scene.run(&scene.file("whole.jsonl", &lines(&flights)));
    more.assert_holds(&flights);
    assert!(more.line("read").starts_with("300 rows"), "{}", more.out);
    // Other rows are another file.
    let other = scene.run(&scene.file("other.jsonl", &lines(&flights[300..400])));
    other.assert_holds(&[&flights[..], &flights[300..400]].concat());
}

#[test]
fn what_it_cannot_open_is_a_clear_error() {
    let scene = Scene::new();
    let data = scene.file("flights.jsonl", &lines(&sample(3)));
    let fails = |command: &mut Command, text: &str| {
        let run = run(command);
        assert!(!run.fine && run.err.contains(text), "{}{}", run.out, run.err);
    };
    let missing = scene.path("missing.json");
    fails(&mut scene.command(&missing), "missing.json: No such file");
    assert!(!scene.path("flights.db").exists(), "a database was made for nothing");

    let mut nowhere = Command::new(program());
    nowhere.arg("--data").arg(&data).arg("--db").arg(scene.path("no/where/flights.db"));
    fails(&mut nowhere, "cannot find the directory of the database");

    let foreign = scene.file("flights.db", "Dear diary, today I was not a database at all. ");
    fails(&mut scene.command(&data), "flights.db");
    assert!(fs::read_to_string(&foreign).unwrap().starts_with("Dear diary"));
    fs::remove_file(foreign).unwrap();

    let open = Database::open(scene.path("flights.db")).unwrap();
    fails(&mut scene.command(&data), "is locked");
    open.close().unwrap();
    scene.run(&data).assert_holds(&sample(3));

    fails(Command::new(program()).arg("--dta"), "usage");
}

/// No commit that was told of is lost, and no alert goes without its webhook, wherever the
/// process dies.
#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let scene = Scene::new();
    let flights = sample(5000);
    let data = scene.file("flights.json", &array(&flights));
    let mut told = 0;
    for batches in [1, 2, 1, 1] {
        let mut command = scene.command(&data);
        command.arg("--verbose").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        let last = err.take(batches).map(Result::unwrap).last();
        child.kill().unwrap();
        let out = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
        child.wait().unwrap();
        assert!(number_after("known            the first ", &out) >= told, "lost: {told}, {out}");
        told = last.map_or(told, |last| number_after("committed ", &last));
        assert!(told > 0);
    }
    let run = scene.run(&data);
    run.assert_holds(&flights);
    assert!(number_after("the first ", run.line("known")) >= told, "lost: {told}, {}", run.out);
}

/// The number that follows `words`, where a line begins with them; else zero.
fn number_after(words: &str, text: &str) -> u64 {
    let mut rest = text.lines().filter_map(|line| line.strip_prefix(words));
    let number = rest.next().and_then(|rest| rest.split(' ').next()).unwrap_or("0");
    number.replace(',', "").parse().unwrap()
}
