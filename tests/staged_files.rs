//! The data manager of the example `staged_files`: files and objects, both or neither, whatever
//! goes wrong.

#[path = "../examples/staged_files.rs"]
mod example;

use crate::support::databases::{Account, account, cents};
use crate::support::third::Third;
use example::files::StagedFiles;
use perennial::transaction::Phase;
use perennial::{
    Connection, Database, DatabaseId, Error, Outcome, Ref, Result, Status, Transaction,
    TransactionManager,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Tells a child of this process where it works.
const CHILD: &str = "PERENNIAL_STAGED_FILES_CHILD";

/// A bank: balances are objects, statements are files.
struct Bank {
    db: Database,
    manager: TransactionManager,
    objects: Connection,
    files: StagedFiles,
    account: Ref<Account>,
}

impl Bank {
    /// Opens the one in this directory, as a program does when it starts, and does not recover.
    fn open(home: &Path) -> Bank {
        let db = Database::open(home.join("bank.db")).unwrap();
        fs::create_dir_all(home.join("files")).unwrap();
        let manager = TransactionManager::new();
        let files = StagedFiles::open(&home.join("files"), &manager).unwrap();
        Bank { objects: db.connect(&manager), files, account: account(&db, 0), manager, db }
    }

    fn new() -> (TempDir, Bank) {
        let home = tempfile::tempdir().unwrap();
        let bank = Bank::open(home.path());
        (home, bank)
    }

    /// A payment, and its statement.
    fn book(&self, cents: i64) -> Result<()> {
        self.objects.modify(self.account, |account| account.cents += cents)?;
        self.files.write("statement", cents.to_string().as_bytes())
    }

    /// A transaction in which a payment was booked.
    fn paying(&self, cents: i64) -> Transaction {
        let transaction = self.manager.begin().unwrap();
        self.book(cents).unwrap();
        transaction
    }

    fn balance(&self) -> i64 {
        cents(&self.db, self.account)
    }
}

/// All files there, by name, with their content.
fn listed(home: &TempDir) -> Vec<(String, String)> {
    let entries = fs::read_dir(home.path().join("files")).unwrap().map(Result::unwrap);
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut files: Vec<_> = entries.map(|entry| file(entry.path())).collect();
    files.sort();
    files
}

/// The statement says this, and there is nothing else.
#[track_caller]
fn assert_stated(home: &TempDir, statement: Option<&str>) {
    let expected = statement.map(|text| ("statement".to_owned(), text.to_owned()));
    assert_eq!(listed(home), Vec::from_iter(expected));
}

#[test]
fn the_example_does_what_it_says() {
    example::main().unwrap();
}

#[test]
fn files_and_objects_are_committed_together() {
    let (home, bank) = Bank::new();

    let mut transaction = bank.paying(10);
    assert_eq!(bank.files.read("statement").unwrap(), Some(b"10".to_vec()), "here already");
    assert!(!home.path().join("files/statement").exists(), "for others not yet");
    transaction.commit().unwrap();
    bank.paying(20).commit().unwrap();

    assert_eq!(bank.balance(), 30);
    assert_stated(&home, Some("20"));
    bank.db.close().unwrap();
    drop(bank);
    let bank = Bank::open(home.path());
    assert_eq!(bank.db.open_decisions().unwrap(), [], "nobody will ask any more");
}

#[test]
fn an_abort_leaves_nothing() {
    let (home, bank) = Bank::new();

    bank.paying(10).abort().unwrap();
    assert_stated(&home, None);
    bank.paying(20).commit().unwrap();
    drop(bank.paying(30));

    assert_eq!(bank.balance(), 20);
    assert_stated(&home, Some("20"));
}

#[test]
fn a_rollback_forgets_the_files_since_its_savepoint() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.manager.begin().unwrap();
    let first = transaction.savepoint().unwrap();
    bank.book(1).unwrap();
    first.rollback().unwrap(); // to before it joined
    bank.book(2).unwrap();
    let second = transaction.savepoint().unwrap();

    for cents in [4, 8] {
        bank.book(cents).unwrap();
        bank.files.write("other", b"").unwrap();
        second.rollback().unwrap();
    }
    assert_eq!(bank.files.read("statement").unwrap(), Some(b"2".to_vec()));
    transaction.commit().unwrap();

    assert_eq!(bank.balance(), 2);
    assert_stated(&home, Some("2"));
}

#[test]
fn where_another_one_fails_nothing_is_left() {
    let (home, bank) = Bank::new();

    for third in [Third::before(), Third::after()] {
        let mut transaction = bank.paying(10);
        third.at_prepare(|| Err(Error::other("not today"))).join(&bank.manager);
        assert_eq!(transaction.commit().unwrap_err().to_string(), "not today");
    }
    let mut transaction = bank.paying(20);
    bank.db.transact(|conn| conn.modify(bank.account, |account| account.cents += 1)).unwrap();
    assert!(matches!(transaction.commit(), Err(Error::Conflict(_))));
    drop(transaction);

    assert_stated(&home, None);
    bank.paying(30).commit().unwrap();
    assert_stated(&home, Some("30"));
}

#[test]
fn where_the_intent_cannot_be_written_nothing_is_left() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.paying(10);
    let staged = listed(&home)[0].0.trim_end_matches("-1").to_owned();
    fs::create_dir(home.path().join("files").join(staged)).unwrap(); // its name is taken

    assert!(matches!(transaction.commit(), Err(Error::Io(_))));

    assert!(matches!(transaction.outcome(), Some(Outcome::Failed(_))));
    assert_eq!(bank.balance(), 0);
    let left = fs::read_dir(home.path().join("files")).unwrap().count();
    assert_eq!(left, 1, "what is in the way");
}

/// Runs one of the tests below, which dies, in a process of its own; then opens what is left.
fn after_the_death_of(child: &str) -> (TempDir, Bank) {
    let (home, bank) = Bank::new();
    bank.db.close().unwrap();
    drop(bank);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", &format!("staged_files::{child}")]);
    let died = !command.env(CHILD, home.path()).output().unwrap().status.success();
    assert!(died, "it lives");
    let bank = Bank::open(home.path());
    (home, bank)
}

/// In a child: dies at the phase where `die` is put.
fn dying(place: impl FnOnce(fn() -> Result<()>) -> Third) {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let bank = Bank::open(home.as_ref());
    let mut transaction = bank.paying(10);
    place(|| std::process::abort()).join(&bank.manager);
    transaction.commit().unwrap();
}

#[test]
#[ignore = "run by killed_after_the_decision_its_files_appear_at_the_recovery"]
fn child_that_dies_before_the_finish() {
    dying(|die| Third::before().at_finish(die));
}

#[test]
fn killed_after_the_decision_its_files_appear_at_the_recovery() {
    let (home, bank) = after_the_death_of("child_that_dies_before_the_finish");
    assert_eq!((bank.balance(), bank.files.read("statement").unwrap()), (10, None));
    let refused = bank.manager.begin().and_then(|_running| bank.book(20));
    assert!(refused.unwrap_err().to_string().contains("in doubt"));

    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0);

    assert_eq!(bank.balance(), 10);
    assert_stated(&home, Some("10"));
    assert_eq!(bank.db.open_decisions().unwrap().len(), 1, "a third had not finished");
    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0, "once more does nothing");
    bank.paying(20).commit().unwrap();
    assert_stated(&home, Some("20"));
}

#[test]
#[ignore = "run by killed_before_the_decision_its_files_vanish_at_the_recovery"]
fn child_that_dies_before_the_decision() {
    dying(|die| Third::after().at_prepare(die));
}

#[test]
fn killed_before_the_decision_its_files_vanish_at_the_recovery() {
    let (home, bank) = after_the_death_of("child_that_dies_before_the_decision");
    assert_eq!((bank.balance(), listed(&home).len()), (0, 2), "a staged file, and the intent");

    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0);

    assert_eq!(bank.balance(), 0);
    assert_stated(&home, None);
}

#[test]
#[ignore = "run by killed_before_it_prepared_its_files_vanish_at_the_recovery"]
fn child_that_dies_before_it_prepares() {
    dying(|die| Third::before().at_prepare(die));
}

#[test]
fn killed_before_it_prepared_its_files_vanish_at_the_recovery() {
    let (home, bank) = after_the_death_of("child_that_dies_before_it_prepares");
    assert_eq!((bank.balance(), listed(&home).len()), (0, 1), "a staged file");

    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0);

    assert_stated(&home, None);
}

#[test]
fn a_finish_that_fails_is_made_up_for_by_the_recovery() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.paying(10);
    let obstacle = home.path().join("files/statement");
    fs::create_dir(&obstacle).unwrap();

    let report = transaction.commit().unwrap();
    assert!(report.unfinished[0].manager.starts_with("files "), "{report:?}");
    let refused = bank.manager.begin().and_then(|_running| bank.book(20));
    assert!(refused.unwrap_err().to_string().contains("in doubt"), "or this one would be undone");

    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(bank.db.open_decisions().unwrap().len(), 1);
    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0);
    assert_eq!(bank.db.open_decisions().unwrap(), [], "nobody else took part");
    assert_stated(&home, Some("10"));
}

#[test]
fn alone_the_intent_is_the_decision() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.manager.begin().unwrap();
    for name in ["one", "two"] {
        bank.files.write(name, name.as_bytes()).unwrap();
    }
    let obstacle = home.path().join("files/two");
    fs::create_dir(&obstacle).unwrap(); // between the two renames, it fails

    assert!(matches!(transaction.commit(), Err(Error::Unknown(_))));
    assert_eq!(transaction.status(), Status::Unknown);
    let phases: Vec<_> = transaction.action_log().iter().map(|action| action.phase).collect();
    assert_eq!(phases, [Phase::CommitAlone]);
    drop(transaction);

    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(bank.files.recover(&bank.db).unwrap(), 0);
    assert_eq!(listed(&home), ["one", "two"].map(|name| (name.to_owned(), name.to_owned())));
}

#[test]
fn who_cannot_be_asked_leaves_them_in_doubt() {
    for (database, last_tid) in [(None, 0), (Some(()), u64::MAX)] {
        let (home, bank) = Bank::new();
        let database = database.map_or(DatabaseId::new([1; 16]), |()| bank.db.id());
        let intent = format!("staged files, to be renamed\n{database} {last_tid}\n");
        let name = format!("files/.staged-{:032x}", 7);
        fs::write(home.path().join(&name), &intent).unwrap();
        fs::write(home.path().join(format!("{name}-1")), "").unwrap();

        assert_eq!(bank.files.recover(&bank.db).unwrap(), 1);

        assert_eq!(listed(&home).len(), 2, "nothing was removed");
        let refused = bank.manager.begin().and_then(|_running| bank.book(20));
        assert!(refused.is_err());
    }
}

#[test]
fn without_a_database_that_remembers_they_do_not_prepare() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.manager.begin().unwrap();
    bank.files.write("statement", b"").unwrap();
    Third::after().join(&bank.manager);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert_stated(&home, None);
}

#[test]
fn a_recovery_in_the_middle_of_a_transaction_is_refused_and_harms_nothing() {
    let (home, bank) = Bank::new();
    let mut transaction = bank.paying(10);

    assert!(bank.files.recover(&bank.db).is_err());

    transaction.commit().unwrap();
    assert_stated(&home, Some("10"));
}

#[test]
fn names_that_are_not_for_users_are_refused() {
    let (_home, bank) = Bank::new();
    let _running = bank.manager.begin().unwrap();

    for name in ["", ".staged-1", "..", "a/b", "two\nlines"] {
        let refused = bank.files.write(name, b"");
        assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{name}");
    }
}
