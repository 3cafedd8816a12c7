//! Opening databases by their path: what works, and what each refusal says.

use perennial::{Database, Durability, Error, Persistent, Reads, Ref, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Persistent for Note {
    const NAME: &'static str = "opening.Note";
}

fn write(db: &Database, text: &str) -> Result<Ref<Note>> {
    let text = text.to_owned();
    db.transact(|conn| {
        let note = conn.root_or_init("note", |_| Ok(Note { text: text.clone() }))?;
        conn.modify(note, |note| note.text.clone_from(&text))?;
        Ok(note)
    })
}

fn read(db: &Database) -> Result<String> {
    db.view(|view| {
        let note = view.root::<Note>("note")?.expect("it was written");
        Ok(view.get(note)?.text.clone())
    })
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let db = Database::open(&path).unwrap();
    write(&db, "first").unwrap();
    let tid = db.last_tid();
    db.close().unwrap();
    drop(db);

    for reads in [Reads::Map, Reads::Pread] {
        let db = Database::options().reads(reads).open(&path).unwrap();
        assert_eq!(read(&db).unwrap(), "first");
        assert_eq!(db.last_tid(), tid);
    }

    assert_eq!(names(directory.path()), ["a.db", "a.db.index"]);
}

// R9, C11
#[test]
fn a_second_writer_gets_a_lock_error_until_the_first_one_closes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let link = directory.path().join("link.db");
    let first = Database::open(&path).unwrap();
    write(&first, "mine").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();

    assert!(matches!(Database::open(&path), Err(Error::Locked(_))));
    assert!(matches!(Database::open(&link), Err(Error::Locked(_))));
    first.close().unwrap();

    let second = Database::open(&link).unwrap();
    assert_eq!(read(&second).unwrap(), "mine");
    assert!(matches!(write(&first, "late"), Err(Error::Closed)));
}

// R9: whatever the path, it is one file, and one lock.
#[test]
fn another_path_to_the_same_file_meets_its_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let first = Database::open(&path).unwrap();
    write(&first, "mine").unwrap();
    let hard = directory.path().join("hard.db");
    std::fs::hard_link(&path, &hard).unwrap();
    std::fs::create_dir(directory.path().join("inner")).unwrap();
    let around = directory.path().join("inner").join("..").join("a.db");
    let linked = directory.path().join("linked");
    std::os::unix::fs::symlink(directory.path(), &linked).unwrap();

    for other in [&path, &hard, &around, &linked.join("a.db")] {
        for _ in 0..2 {
            let refusal = Database::open(other).unwrap_err();
            assert!(matches!(refusal, Error::Locked(_)), "{other:?}: {refusal}");
        }
        drop(Database::options().read_only().open(&path).unwrap());
    }
    assert!(matches!(Database::open(&path), Err(Error::Locked(_))), "somebody let it go");
    write(&first, "still mine").unwrap();
    drop(first);

    assert_eq!(read(&Database::open(&hard).unwrap()).unwrap(), "still mine");
}

// R12
#[test]
fn a_name_that_is_no_text_is_refused_and_a_directory_of_such_a_name_is_not() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let strange = std::ffi::OsStr::from_bytes(b"strange \xFF");

    let refusal = Database::open(directory.path().join(strange)).unwrap_err();
    assert!(matches!(refusal, Error::NotADatabase(_)), "{refusal}");
    assert_eq!(names(directory.path()), [""; 0]);

    std::fs::create_dir(directory.path().join(strange)).unwrap();
    let path = directory.path().join(strange).join("a.db");
    write(&Database::open(&path).unwrap(), "kept").unwrap();
    assert_eq!(read(&Database::open(&path).unwrap()).unwrap(), "kept");
}

// R4, R13: a backup made by copying the files while they are written.
#[test]
fn a_copy_made_while_somebody_writes_opens_at_a_commit_or_is_refused() {
    let (home, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = home.path().join("a.db");
    let db = Database::open(&path).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                let lazy = if number % 4 == 0 { Durability::Sync } else { Durability::Lazy };
                db.transact(|conn| {
                    conn.set_durability(lazy)?;
                    for name in ["one", "other"] {
                        let text = format!("{number}{}", "-".repeat(number % 90 * 50));
                        let note = conn.root_or_init(name, |_| Ok(Note { text: String::new() }))?;
                        conn.modify(note, |note| note.text.clone_from(&text))?;
                    }
                    Ok(())
                })
                .unwrap();
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        for number in 0..40 {
            let copy = copies.path().join(format!("{number}"));
            std::fs::create_dir(&copy).unwrap();
            std::fs::copy(&path, copy.join("a.db")).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(db);
    let opened = (0..40).filter(|number| opens_whole(&copies.path().join(number.to_string())));
    assert!(opened.count() > 20);
}

/// Whether the copy in this directory opens; if so, it is at the end of a commit.
fn opens_whole(copy: &Path) -> bool {
    let db = match Database::open(copy.join("a.db")) {
        Ok(db) => db,
        Err(Error::Damaged(_)) => return false,
        Err(error) => panic!("{error}"),
    };
    db.view(|view| {
        let roots = view.roots()?;
        let notes = roots.iter().map(|(name, _)| view.root::<Note>(name));
        let notes = notes.map(|note| view.get(note?.expect("it is listed")));
        let notes = notes.collect::<Result<Vec<_>>>()?;
        assert!(notes.iter().all(|note| **note == *notes[0]) && notes.len() != 1);
        Ok(())
    })
    .unwrap();
    true
}

// R9
#[test]
fn a_reader_beside_a_writer_changes_nothing_in_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let writer = Database::open(&path).unwrap();
    write(&writer, "one").unwrap();
    write(&writer, "two").unwrap();
    let before = names(directory.path());

    let reader = Database::options().read_only().open(&path).unwrap();

    assert!(["one", "two"].contains(&&*read(&reader).unwrap()));
    assert!(matches!(write(&reader, "three"), Err(Error::ReadOnly(_))));
    drop(reader);
    assert_eq!(names(directory.path()), before);
}

// R12
#[test]
fn a_database_and_its_copy_are_not_open_in_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("a.db"), directory.path().join("copy.db"));
    write(&Database::open(&path).unwrap(), "one of two").unwrap();
    std::fs::copy(&path, &copy).unwrap();
    let first = Database::open(&path).unwrap();

    let refusal = Database::open(&copy).unwrap_err().to_string();
    drop(first);

    assert!(refusal.contains("a.db") && refusal.contains("copy.db"), "{refusal}");
    assert_eq!(read(&Database::open(&copy).unwrap()).unwrap(), "one of two");
}

#[test]
fn what_must_exist_must_exist_and_what_must_be_new_must_be_new() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");

    for options in [Database::options().existing(), Database::options().read_only()] {
        let refusal = options.open(&path).unwrap_err();
        assert!(matches!(refusal, Error::Io(_)), "{refusal}");
        assert!(refusal.to_string().contains("a.db"), "{refusal}");
    }
    assert_eq!(names(directory.path()), [""; 0]);
    drop(Database::options().create_new().open(&path).unwrap());
    assert!(matches!(Database::options().create_new().open(&path), Err(Error::Io(_))));
}

// R12
#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let inputs: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"once upon a time"),
        ("sqlite", b"SQLite format 3\0"),
        ("zeros", &[0; 9000]),
        ("ones", &[0xff; 9000]),
    ];
    for (name, bytes) in inputs {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();

        let refusal = Database::open(&path).unwrap_err();

        assert!(matches!(refusal, Error::NotADatabase(_)), "{name}: {refusal}");
        assert!(refusal.to_string().contains(name), "{refusal}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(names(directory.path()).len(), inputs.len(), "nothing was put beside them");
}

#[test]
fn paths_that_lead_nowhere_are_clear_errors() {
    let directory = tempfile::tempdir().unwrap();
    let dangling = directory.path().join("dangling");
    std::os::unix::fs::symlink(directory.path().join("gone"), &dangling).unwrap();
    let circle = directory.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let missing = directory.path().join("no").join("such").join("a.db");

    for path in [directory.path(), &dangling, &circle, &missing, Path::new("/"), Path::new("")] {
        let refusal = Database::open(path).unwrap_err();
        assert!(matches!(refusal, Error::Io(_) | Error::NotADatabase(_)), "{path:?}: {refusal}");
    }
    let refusal = Database::open(&missing).unwrap_err().to_string();
    assert!(refusal.contains("such"), "{refusal}");
}

#[test]
fn lazy_commits_are_there_when_the_database_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let db = Database::options().durability(Durability::Lazy).open(&path).unwrap();
    write(&db, "soon").unwrap();
    db.sync().unwrap();
    write(&db, "later").unwrap();
    drop(db);

    assert_eq!(read(&Database::open(&path).unwrap()).unwrap(), "later");
}
