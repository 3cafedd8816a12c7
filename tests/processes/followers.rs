//! Readers in other processes that follow a writer, while it commits, writes snapshots, closes, is
//! killed and comes back; and are killed themselves.

use crate::support::child::{self, Child};
use crate::support::databases::Tally;
use crate::support::sim::SimDisk;
use perennial::file::DiskDirectory;
use perennial::storage::file::{FileOptions, Mode};
use perennial::storage::{FileStorage, Storage, TwoPhase};
use perennial::{Connection, Database, Durability, Error, Ref, Result, Settings, Tid, View};
use std::io::Read;
use std::path::Path;
use std::process::Child as Process;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const NAME: &str = "followed.db";

/// While a file of this name is there, writers close and followers end.
const PAUSE: &str = "pause";

fn start(role: &str, home: &Path) -> Process {
    Child::new(&format!("processes::followers::{role}"), home).start()
}

/// Both sides, which every commit raises by one.
fn sides(view: &View) -> Result<Option<(Ref<Tally>, Ref<Tally>)>> {
    Ok(view.root("left")?.zip(view.root("right")?))
}

/// How often there was a commit, as this view sees it: whole commits only.
fn commits(view: &View) -> Result<i64> {
    let Some((left, right)) = sides(view)? else { return Ok(0) };
    let (left, right) = (view.get(left)?.0, view.get(right)?.0);
    assert_eq!(left, right, "half of a commit at {}", view.tid()?);
    Ok(left)
}

fn raise(conn: &Connection, number: i64) -> Result<()> {
    let new = |_: &Connection| Ok(Tally(0));
    let (left, right) = (conn.root_or_init("left", new)?, conn.root_or_init("right", new)?);
    let lazy = number % 3 == 0;
    conn.set_durability(if lazy { Durability::Lazy } else { Durability::Sync })?;
    conn.transaction()?.note(&format!("{number}"))?;
    conn.modify(left, |side| side.0 = number)?;
    // A tail that is long now and then, so that frames are torn.
    conn.add(crate::support::databases::Account {
        owner: "x".repeat((number % 50 * 400) as usize),
        cents: 0,
    })?;
    conn.modify(right, |side| side.0 = number)
}

#[test]
#[ignore = "run by who_follows_sees_whole_commits_in_order"]
fn child_that_writes() {
    let Some(home) = child::home() else { return };
    let directory = Arc::new(DiskDirectory::new(&home));
    let storage = Arc::new(FileStorage::open(directory, NAME, FileOptions::default()).unwrap());
    let db = Database::with_storage(storage.clone(), &Settings::default());
    let first = db.view(commits).unwrap() + 1;
    for number in first.. {
        db.transact(|conn| raise(conn, number)).unwrap();
        if number % 3 != 0 {
            println!("ACK {number}");
        }
        if number % 40 == 0 {
            storage.write_index().unwrap();
        }
        if home.join(PAUSE).exists() {
            return db.close().unwrap();
        }
    }
}

/// Follows until it is told to end.
#[test]
#[ignore = "run by who_follows_sees_whole_commits_in_order"]
fn child_that_follows() {
    let Some(home) = child::home() else { return };
    let db = Database::options().read_only().open(home.join(NAME)).unwrap();
    let (mut last, mut tid, mut moved) = (db.view(commits).unwrap(), db.last_tid(), 0);
    loop {
        let ended = home.join("end").exists();
        let now = db.refresh().unwrap();
        let found = db.view(commits).unwrap();
        assert!(now >= tid && found >= last, "went back from {last} to {found}");
        // One commit, one number: whoever skipped one, or saw one twice, has lost count.
        assert_eq!(now > tid, found > last, "{tid} {last}, {now} {found}");
        moved += i32::from(found > last);
        (last, tid) = (found, now);
        if ended {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    check_order(&db, last);
    println!("MOVED {moved} LAST {last}");
}

/// Every commit is there, once, in order.
fn check_order(db: &Database, last: i64) {
    let left = db.view(|view| Ok(sides(view)?.unwrap().0)).unwrap();
    let notes = db.history(left).unwrap().into_iter().rev().map(|change| change.metadata.note);
    let notes: Vec<_> = notes.filter(|note| !note.is_empty()).collect();
    assert!(notes.iter().map(|note| note.parse::<i64>().unwrap()).eq(1..=last), "{notes:?}");
}

fn output(mut process: Process) -> String {
    let mut text = String::new();
    process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    process.wait().unwrap();
    text
}

fn kill(mut process: Process) -> String {
    process.kill().unwrap();
    output(process)
}

fn number_after(text: &str, word: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Writers that are killed, or close, one after the other; the last commit that one of them was
/// told to be durable.
fn write_and_die(home: &Path, rounds: u64, mut between: impl FnMut(u64)) -> i64 {
    let mut acknowledged = 0;
    for round in 0..rounds {
        let writer = start("child_that_writes", home);
        std::thread::sleep(Duration::from_millis(150 + 37 * (round % 5)));
        let text = if round % 4 == 3 {
            std::fs::write(home.join(PAUSE), "").unwrap();
            let text = output(writer);
            std::fs::remove_file(home.join(PAUSE)).unwrap();
            text
        } else {
            kill(writer)
        };
        // The last line may be cut.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        acknowledged = number_after(whole, "ACK ").unwrap_or(acknowledged);
        between(round);
    }
    acknowledged
}

// R9, R13
#[test]
fn who_follows_sees_whole_commits_in_order() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    drop(Database::open(home.join(NAME)).unwrap());
    let mut followers: Vec<_> = (0..3).map(|_| start("child_that_follows", home)).collect();

    let acknowledged = write_and_die(home, 8, |round| {
        if round == 1 || round == 4 {
            kill(followers.remove(0));
            followers.push(start("child_that_follows", home));
        }
    });
    std::fs::write(home.join("end"), "").unwrap();
    let told: Vec<_> = followers.into_iter().map(output).collect();

    let db = Database::open(home.join(NAME)).unwrap();
    let last = db.view(commits).unwrap();
    assert!(last >= acknowledged && acknowledged > 0, "{acknowledged} of {last}");
    check_order(&db, last);
    for told in told {
        assert_eq!(number_after(&told, "LAST "), Some(last), "{told}");
        assert!(number_after(&told, "MOVED ") > Some(0), "{told}");
    }
}

fn pair(home: &Path) -> (Database, Database) {
    let writer = Database::open(home.join(NAME)).unwrap();
    writer.transact(|conn| raise(conn, 1)).unwrap();
    let reader = Database::options().read_only().open(home.join(NAME)).unwrap();
    (writer, reader)
}

/// Refreshes until `number` is seen.
fn await_commit(reader: &Database, number: i64) -> Tid {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let tid = reader.refresh().unwrap();
        if reader.view(commits).unwrap() == number {
            return tid;
        }
        assert!(Instant::now() < until, "commit {number} is not shown");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// R9, M2
#[test]
fn a_refresh_shows_what_was_committed_and_running_views_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let (writer, reader) = pair(home.path());
    await_commit(&reader, 1);

    reader
        .view(|view| {
            writer.transact(|conn| raise(conn, 2))?;
            await_commit(&reader, 2);
            assert_eq!(commits(view)?, 1, "the view moved");
            Ok(())
        })
        .unwrap();

    assert_eq!(reader.refresh().unwrap(), writer.last_tid());
    assert_eq!(writer.refresh().unwrap(), writer.last_tid(), "who writes sees all at once");
}

// R9
#[test]
fn who_waits_for_a_transaction_at_a_reader_is_woken_when_a_refresh_shows_it() {
    let home = tempfile::tempdir().unwrap();
    let writer = Database::open(home.path().join(NAME)).unwrap();
    writer.transact(|conn| raise(conn, 1)).unwrap();
    let directory = Arc::new(DiskDirectory::new(home.path()));
    let options = FileOptions { mode: Mode::ReadOnly, ..FileOptions::default() };
    let reader = Arc::new(FileStorage::open(directory, NAME, options).unwrap());
    let next = Tid::new(reader.last_tid().number() + 1);
    let (waiting, (woken, told)) = (reader.clone(), mpsc::channel());
    // It would wait for an hour, were it not woken.
    std::thread::spawn(move || {
        woken.send(waiting.wait_published(next, Duration::from_secs(3600)).unwrap())
    });
    std::thread::sleep(Duration::from_millis(50));

    writer.transact(|conn| raise(conn, 2)).unwrap();
    while reader.refresh().unwrap() < writer.last_tid() {
        std::thread::sleep(Duration::from_millis(5));
    }

    assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(true));
}

// R9, R1: what a dead writer left is shown, and a power loss may take it yet.
#[test]
fn a_reader_calls_durable_only_what_is_proven() {
    let disk = SimDisk::new();
    let open = |disk: &SimDisk, mode| {
        let options = FileOptions { mode, housekeeping: false, ..FileOptions::default() };
        Arc::new(FileStorage::open(Arc::new(disk.clone()), NAME, options).unwrap())
    };
    let commit = |db: &Database, number| {
        db.transact(|conn| {
            conn.set_durability(Durability::Lazy)?;
            raise(conn, number)
        })
        .unwrap();
    };
    let writer = Database::with_storage(open(&disk, Mode::CreateNew), &Settings::default());
    commit(&writer, 1);
    let follower = open(&disk, Mode::ReadOnly);
    commit(&writer, 2);
    let last = writer.last_tid();
    let left = disk.kill();
    let reader = open(&left, Mode::ReadOnly);

    assert_eq!((reader.last_tid(), reader.durable_mark().tid()), (last, Tid::ZERO));
    let follower_of_the_dead = open(&left, Mode::ReadOnly);
    assert_eq!(follower_of_the_dead.refresh().unwrap(), last);
    assert_eq!(follower_of_the_dead.durable_mark().tid(), Tid::ZERO);
    assert_eq!(follower.durable_mark().tid(), Tid::ZERO);

    // Whoever mends it makes it durable.
    drop(open(&left, Mode::Existing));
    assert_eq!(reader.refresh().unwrap(), last);
    assert_eq!(reader.durable_mark().tid(), last);
}

// R9: what was defined, made, pinned and removed since the reader came.
#[test]
fn a_refresh_brings_new_types_new_objects_and_removals() {
    let home = tempfile::tempdir().unwrap();
    let writer = Database::open(home.path().join(NAME)).unwrap();
    let reader = Database::options().read_only().open(home.path().join(NAME)).unwrap();
    assert_eq!(reader.view(commits).unwrap(), 0);

    writer.transact(|conn| raise(conn, 1)).unwrap();
    await_commit(&reader, 1);
    writer.transact(|conn| conn.root_or_init("gone", |_| Ok(Tally(9)))).unwrap();
    writer.transact(|conn| conn.remove_root("gone")).unwrap();
    writer.close().unwrap();

    assert_eq!(reader.refresh().unwrap(), writer.last_tid());
    let roots = reader.view(|view| view.roots()).unwrap();
    assert_eq!(roots.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["left", "right"]);
}

// R5, R6: damage where a reader would go on is told, and what it showed stays.
#[test]
fn a_refresh_over_damage_is_an_error_and_shows_what_it_showed() {
    let home = tempfile::tempdir().unwrap();
    let (writer, reader) = pair(home.path());
    await_commit(&reader, 1);
    for number in 2..5 {
        writer.transact(|conn| raise(conn, number)).unwrap();
    }
    writer.close().unwrap();
    let mut bytes = std::fs::read(home.path().join(NAME)).unwrap();
    let whole = bytes.clone();
    // In the last commit, and not in the Seal behind it.
    let middle = bytes.windows(50).rposition(|some| some == [b'x'; 50]).unwrap();
    bytes[middle] ^= 1;
    write_over(&home.path().join(NAME), &bytes);

    let refused = reader.refresh();
    assert!(matches!(refused, Err(Error::Damaged(_) | Error::Corrupt(_))), "{refused:?}");
    assert_eq!(reader.view(commits).unwrap(), 1);

    write_over(&home.path().join(NAME), &whole);
    assert_eq!(reader.refresh().unwrap(), writer.last_tid());
}

/// Writes into the same file, without cutting it first.
fn write_over(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}

// R9: as by `cp`, which leaves the file the one it was. Copied beside a writer, it had zeros ahead.
#[test]
fn a_refresh_of_a_file_over_which_an_older_copy_was_written_is_an_error() {
    for goes_on in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(NAME);
        let (writer, reader) = pair(home.path());
        let mut older = std::fs::read(&path).unwrap();
        older.resize(older.len() + (1 << 20), 0);
        writer.transact(|conn| raise(conn, 2)).unwrap();
        await_commit(&reader, 2);
        writer.close().unwrap();
        write_over(&path, &older);
        std::fs::remove_file(home.path().join(format!("{NAME}.index"))).unwrap();
        let another = goes_on.then(|| Database::open(&path).unwrap());
        if let Some(db) = &another {
            (10..20).for_each(|number| db.transact(|conn| raise(conn, number)).unwrap());
        }

        let refused = reader.refresh();

        assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
    }
}
