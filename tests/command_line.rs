//! The command line, as a user meets it: what it prints, and with which status it ends.

use crate::support::json::Json;
use perennial::file::DiskDirectory;
use perennial::format::{Metadata, TypeDef, TypeId};
use perennial::shape::Shape;
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, FileStorage, Storage, Verdict};
use perennial::{Oid, Persistent, Ref, Tid, codec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    owner: String,
    cents: i64,
    friend: Option<Ref<Account>>,
}

impl Persistent for Account {
    const NAME: &'static str = "bank.Account";
}

/// A database on disk, made for one test.
struct Bank {
    directory: TempDir,
    storage: Option<FileStorage>,
    type_id: TypeId,
    alice: Oid,
    tids: Vec<Tid>,
}

/// What a run of the command gave.
#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Json {
        Json::parse(&self.out)
    }
}

impl Bank {
    /// Two transactions: alice appears, and changes.
    fn new() -> Bank {
        let directory = tempfile::tempdir().unwrap();
        let files = Arc::new(DiskDirectory::new(directory.path()));
        // Without housekeeping nothing happens to the file but what the test does.
        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        let storage = FileStorage::open(files, "bank.db", options).unwrap();
        let shape = Shape::of::<Account>(Account::NAME).unwrap().to_string();
        let definition = TypeDef { name: Account::NAME.into(), version: 0, shape: shape.into() };
        let type_id = storage.intern(&definition).unwrap();
        let alice = storage.new_oid().unwrap();
        let mut bank = Bank { directory, storage: Some(storage), type_id, alice, tids: Vec::new() };
        bank.store(100, "opened");
        bank.store(70, "month end\n\u{1b}[2J\"quoted\"");
        bank
    }

    fn store(&mut self, cents: i64, note: &str) {
        let account = Account { owner: "alice".into(), cents, friend: None };
        let (mut data, mut references) = (Vec::new(), Vec::new());
        codec::encode(Account::NAME, &account, 0, &mut data, &mut references).unwrap();
        self.store_bytes(&data, note);
    }

    fn store_bytes(&mut self, data: &[u8], note: &str) {
        let base = self.tids.last().copied().unwrap_or(Tid::ZERO);
        let mut batch = Batch::default();
        batch.metadata =
            Metadata { user: "ömer".into(), note: note.into(), extension: BTreeMap::new() };
        batch.put((self.alice, base, true), self.type_id, &[], data);
        match self.storage.as_ref().unwrap().commit(&Arc::new(batch)).unwrap() {
            Verdict::Passed(receipt) => self.tids.push(receipt.tid),
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }

    fn closed(mut self) -> Bank {
        self.storage.take().unwrap().close().unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("bank.db")
    }

    /// Runs the command `name` on the database.
    fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let path = self.path();
        let mut all = vec![name, path.to_str().unwrap()];
        all.extend(arguments);
        run(&all)
    }

    /// Changes one byte of the newest record.
    fn damage(&self) {
        let mut bytes = std::fs::read(self.path()).unwrap();
        let at = bytes.windows(5).rposition(|window| window == b"alice").unwrap();
        bytes[at] = b'A';
        std::fs::write(self.path(), bytes).unwrap();
    }

    /// Names, lengths and times of change of all that is in the directory.
    fn content(&self) -> Vec<(String, u64, std::time::SystemTime)> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut content: Vec<_> = entries
            .map(|entry| {
                let (entry, name) =
                    entry.map(|it| (it.metadata().unwrap(), it.file_name())).unwrap();
                let name = name.into_string().unwrap();
                (name, entry.len(), entry.modified().unwrap())
            })
            .collect();
        content.sort();
        content
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Ran {
    let output = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn info_tells_what_the_file_says_of_itself() {
    let bank = Bank::new().closed();

    let told = bank.run("info", &[]);
    let json = bank.run("info", &["--json", "--count"]).json();

    assert_eq!((told.status, &*told.err), (Some(0), ""));
    assert!(told.out.contains("open for writing:  no"), "{}", told.out);
    assert!(told.out.contains("bank.Account version 0"), "{}", told.out);
    assert_eq!(json.get("last_tid").number(), bank.tids[1].number());
    assert_eq!(json.get("last_time").text(), bank.tids[1].to_string());
    assert_eq!(json.get("size"), json.get("log_end"));
    assert_eq!(json.get("index_upto"), json.get("log_end"));
    assert_eq!(json.get("unproven_bytes").number(), 0);
    assert_eq!((json.get("objects").number(), json.get("pinned").number()), (1, 1));
    let [account] = json.get("types").items() else { panic!("one type") };
    assert_eq!(account.get("name").text(), "bank.Account");
    assert_eq!(account.get("objects").number(), 1);
}

#[test]
fn log_tells_the_newest_transactions_first() {
    let bank = Bank::new().closed();

    let told = bank.run("log", &[]);
    let limited = bank.run("log", &["-n", "1", "--verbose"]);
    let json = bank.run("log", &["--json", "-v"]).json();

    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(&bank.tids[1].number().to_string()));
    assert!(lines[0].ends_with("ömer  month end\\n\\u{1b}[2J\"quoted\""), "{}", lines[0]);
    assert!(lines[1].starts_with(&bank.tids[0].number().to_string()));
    assert_eq!(limited.out.lines().count(), 2, "{}", limited.out);
    assert!(limited.out.ends_with("    1 bank.Account\n"), "{}", limited.out);
    let [last, first] = json.items() else { panic!("two transactions") };
    assert_eq!(last.get("note").text(), "month end\n\u{1b}[2J\"quoted\"");
    assert_eq!(first.get("tid").number(), bank.tids[0].number());
    assert_eq!(first.get("stored").items()[0].get("type").text(), "bank.Account");
}

#[test]
fn show_prints_an_object_by_its_shape() {
    let bank = Bank::new().closed();
    let first = bank.tids[0].number().to_string();

    let told = bank.run("show", &["1"]);
    let earlier = bank.run("show", &["1", "--at", &first]);
    let json = bank.run("show", &["1", "--json"]).json();

    assert_eq!((told.status, &*told.err), (Some(0), ""));
    assert!(told.out.contains("{owner: \"alice\", cents: 70, friend: None}"), "{}", told.out);
    assert!(earlier.out.contains("cents: 100"), "{}", earlier.out);
    assert_eq!(json.get("value").get("cents").number(), 70);
    assert_eq!(json.get("value").get("friend"), &Json::Null);
    assert_eq!(json.get("pinned"), &Json::Bool(true));
    let history: Vec<u64> =
        json.get("history").items().iter().map(|it| it.get("tid").number()).collect();
    assert_eq!(history, [bank.tids[1].number(), bank.tids[0].number()]);
}

#[test]
fn bytes_that_do_not_fit_their_shape_are_shown_and_complained_about() {
    let mut bank = Bank::new();
    bank.store_bytes(&[0xff, 0xff], "nonsense");
    let bank = bank.closed();

    let told = bank.run("show", &["1"]);
    let json = bank.run("show", &["1", "--json"]).json();

    assert_eq!(told.status, Some(1));
    assert!(told.out.contains("ffff"), "{}", told.out);
    assert!(told.err.starts_with("perennial: object 1 as it is stored: "), "{}", told.err);
    assert_eq!((json.get("value"), json.get("bytes").text()), (&Json::Null, "ffff"));
}

#[test]
fn verify_ends_with_1_where_it_finds_damage() {
    let bank = Bank::new().closed();
    let sound = bank.run("verify", &[]);
    bank.damage();

    let told = bank.run("verify", &[]);
    let json = bank.run("verify", &["--json"]);

    assert_eq!((sound.status, &*sound.err), (Some(0), ""));
    assert!(sound.out.ends_with("verdict:           sound\n"), "{}", sound.out);
    assert_eq!((told.status, json.status), (Some(1), Some(1)));
    assert!(told.out.contains("in object 1"), "{}", told.out);
    let json = json.json();
    assert_eq!(json.get("sound"), &Json::Bool(false));
    assert_eq!(json.get("findings").items()[1].get("oid").number(), 1);
}

// R6
#[test]
fn recover_copies_what_is_good_and_tells_what_is_lost() {
    let bank = Bank::new().closed();
    bank.damage();
    let damaged = std::fs::read(bank.path()).unwrap();
    let new = bank.directory.path().join("new.db");
    let new = new.to_str().unwrap();

    let told = bank.run("recover", &[new]);
    let again = bank.run("recover", &[new]);
    let other = bank.directory.path().join("other.db");
    let json = bank.run("recover", &[other.to_str().unwrap(), "--json"]);
    let verified = run(&["verify", new]);
    let shown = run(&["show", new, "1", "--json"]).json();

    assert_eq!((told.status, &*told.err), (Some(1), ""));
    assert!(told.out.contains("of object 1"), "{}", told.out);
    assert!(told.out.ends_with("verdict:           something is lost; see above\n"));
    assert_eq!((again.status, &*again.out), (Some(2), ""), "the name is taken");
    let json = json.json();
    assert_eq!(json.get("complete"), &Json::Bool(false));
    let lost = &json.get("losses").items()[1];
    assert_eq!((lost.get("kind").text(), lost.get("oid").number()), ("revision", 1));
    assert_eq!(lost.get("stands").number(), bank.tids[0].number());
    assert_eq!(verified.status, Some(0), "{}", verified.out);
    assert_eq!(shown.get("value").get("cents").number(), 100);
    assert!(std::fs::read(bank.path()).unwrap() == damaged);
}

#[test]
fn recovering_a_good_file_is_status_0() {
    let bank = Bank::new().closed();
    let new = bank.directory.path().join("new.db");

    let told = bank.run("recover", &[new.to_str().unwrap()]);

    assert_eq!((told.status, &*told.err), (Some(0), ""));
    assert!(told.out.ends_with("verdict:           all of it is recovered\n"), "{}", told.out);
}

// R1, R6
#[test]
fn a_torn_end_is_no_damage_to_verify_or_to_recover() {
    let bank = Bank::new();
    let files = tempfile::tempdir().unwrap();
    let torn = files.path().join("bank.db");
    let log = std::fs::read(bank.path()).unwrap();
    std::fs::write(&torn, &log[..log.len() - 9]).unwrap();
    let torn = torn.to_str().unwrap();

    let verified = run(&["verify", torn]);
    let recovered = run(&["recover", torn, &format!("{torn}.new")]);

    assert_eq!((verified.status, recovered.status), (Some(0), Some(0)), "{recovered:?}");
    assert!(recovered.out.contains("tail at offset"), "{}", recovered.out);
}

// R7
#[test]
fn whatever_is_asked_of_a_file_that_was_cut_tells_so_and_is_status_1() {
    let bank = Bank::new().closed();
    let log = std::fs::read(bank.path()).unwrap();
    std::fs::write(bank.path(), &log[..log.len() - 100]).unwrap();

    for command in [&["show", "1"][..], &["log"], &["log", "--json"], &["info"]] {
        let ran = bank.run(command[0], &command[1..]);

        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert!(ran.err.contains("damaged at offset"), "{ran:?}");
    }
}

#[test]
fn damage_in_the_way_of_another_command_is_status_1() {
    let bank = Bank::new().closed();
    bank.damage();

    let show = bank.run("show", &["1"]);
    let log = bank.run("log", &[]);
    std::fs::remove_file(bank.directory.path().join("bank.db.index")).unwrap();
    let info = bank.run("info", &[]);

    assert_eq!((show.status, log.status, info.status), (Some(1), Some(1), Some(1)));
    assert!(show.err.contains("in object 1"), "{}", show.err);
    assert!(info.err.contains("damaged at offset"), "{}", info.err);
}

// R9: a file that lost its end is found out by its index, which is where the file is.
#[test]
fn a_symlink_leads_to_the_file_and_to_its_index() {
    let bank = Bank::new().closed();
    let elsewhere = tempfile::tempdir().unwrap();
    let (link, new) = (elsewhere.path().join("link.db"), elsewhere.path().join("new.db"));
    let (link_text, new_text) = (link.to_str().unwrap(), new.to_str().unwrap());
    let file = std::fs::OpenOptions::new().write(true).open(bank.path()).unwrap();
    std::os::unix::fs::symlink(bank.path(), &link).unwrap();
    assert_eq!(run(&["verify", link_text]).status, Some(0));

    file.set_len(4096).unwrap();

    for arguments in [&["verify", link_text][..], &["recover", link_text, new_text]] {
        let ran = run(arguments);
        assert_eq!(ran.status, Some(1), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn what_cannot_be_read_or_makes_no_sense_is_status_2() {
    let bank = Bank::new().closed();
    let foreign = bank.directory.path().join("foreign");
    std::fs::write(&foreign, "no database").unwrap();
    let (foreign, folder) = (foreign.to_str().unwrap(), bank.directory.path().to_str().unwrap());
    let path = bank.path();
    let path = path.to_str().unwrap();

    for arguments in [
        &["info", "/nowhere/at/all.db"][..],
        &["verify", "/nowhere/at/all.db"],
        &["info", foreign],
        &["verify", foreign],
        &["log", folder],
        &["info", ".."],
        &["show", path, "7"],
        &["show", path, "1", "--at", "1"],
        &["show", path, "one"],
        &["show", path],
        &["recover", path],
        &["recover", "/nowhere/at/all.db", "/nowhere/new.db"],
        &["recover", path, path],
        &["recover", path, ".."],
        &["explode", path],
        &[],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.status, &*ran.out), (Some(2), ""), "{arguments:?}: {ran:?}");
        assert!(!ran.err.is_empty());
    }
    let ran = run(&["info", "/nowhere/at/all.db"]);
    assert!(ran.err.starts_with("perennial: cannot open /nowhere/at/all.db: "), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "the cause is told once: {}", ran.err);
    let ran = run(&["recover", path, "/dev/null"]);
    assert_eq!(ran.err, "perennial: cannot create /dev/null: it is not a regular file\n");
}

// R9
#[test]
fn every_command_works_beside_a_running_writer_and_changes_nothing() {
    let bank = Bank::new();
    bank.storage.as_ref().unwrap().sync().unwrap();
    let before = bank.content();

    let info = bank.run("info", &["--json"]);
    let rest = [bank.run("log", &[]), bank.run("show", &["1"]), bank.run("verify", &[])];

    assert_eq!(info.json().get("open_for_writing"), &Json::Bool(true));
    for ran in [info].iter().chain(&rest) {
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
    assert_eq!(bank.content(), before);
}

#[test]
fn a_reader_who_goes_away_ends_the_command_quietly() {
    let mut bank = Bank::new();
    for cents in 0..2000 {
        bank.store(cents, "a note that is long enough to fill a pipe after some lines");
    }
    let bank = bank.closed();

    for arguments in [&["log"][..], &["log", "--json"]] {
        let path = bank.path();
        let mut child = command(&[arguments, &[path.to_str().unwrap()]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();

        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert_eq!(output.status.code(), Some(0));
    }
}
