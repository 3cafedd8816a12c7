//! What the code of stored types may do while the database runs it: panic, look into the database,
//! change it.

use crate::support::databases::{Account, account, cents, everywhere, loose, storages, stray};
use crate::support::sim::{Failure, Kind, SimDisk, Times};
use perennial::file::{Access, Directory};
use perennial::format::{PAGE_SLOTS, PAGES_START, TypeDef};
use perennial::shape::Shape;
use perennial::storage::file::FileOptions;
use perennial::storage::{Batch, FileStorage, Storage};
use perennial::transaction::{Status, TransactionManager};
use perennial::{
    Connection, Database, Error, Oid, Persistent, Ref, Result, RetryPolicy, Settings, Tid, codec,
};
use serde::{Deserialize, Serialize, Serializer};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// A number that no one can write down where it is 13, nor read where it is 14.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Unlucky(i64);

impl Serialize for Unlucky {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        assert!(self.0 != 13, "an unlucky number");
        serializer.serialize_newtype_struct("Unlucky", &self.0)
    }
}

impl Persistent for Unlucky {
    const NAME: &'static str = "laws.Unlucky";
}

/// T4, T6: before the storage was asked, nothing can be unknown.
#[test]
fn a_panic_while_an_object_is_encoded_fails_the_commit_and_leaves_nothing_unknown() {
    everywhere(|db| {
        let number = db.transact(|conn| conn.add(Unlucky(1))).unwrap();
        let manager = TransactionManager::new();
        let conn = db.connect(&manager);
        let mut transaction = manager.begin().unwrap();
        conn.modify(number, |number| number.0 = 13).unwrap();

        let error = transaction.commit().unwrap_err();

        assert!(matches!(error, Error::Panicked(_)), "{error}");
        assert!(error.to_string().contains("laws.Unlucky"), "{error}");
        assert_eq!(transaction.status(), Status::Failed);
        transaction.abort().unwrap();
        assert_eq!(db.view(|view| view.get(number)).unwrap().0, 1);
        db.transact(|conn| conn.modify(number, |number| number.0 = 2)).unwrap();
    });
}

/// A value that panics when it is dropped, unless it was told not to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Grudge {
    number: i64,
    #[serde(skip)]
    armed: bool,
}

impl Persistent for Grudge {
    const NAME: &'static str = "laws.Grudge";
}

impl Drop for Grudge {
    fn drop(&mut self) {
        assert!(!self.armed || thread::panicking(), "dropped with a grudge");
    }
}

/// T6: what is committed is reported as committed.
#[test]
fn a_panic_of_a_replaced_objects_destructor_does_not_make_the_commit_unknown() {
    everywhere(|db| {
        let grudge = db.transact(|conn| conn.add(Grudge { number: 1, armed: true })).unwrap();
        let change = |grudge: &mut Grudge| (grudge.number, grudge.armed) = (2, false);

        db.transact(|conn| conn.modify(grudge, change)).unwrap();

        assert_eq!(db.view(|view| Ok(view.get(grudge)?.number)).unwrap(), 2);
    });
}

thread_local! {
    static USED: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
}

/// A value that looks into the database when it is dropped.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Curious {
    about: Ref<Account>,
}

impl Persistent for Curious {
    const NAME: &'static str = "laws.Curious";
}

impl Drop for Curious {
    fn drop(&mut self) {
        let used = USED.with_borrow(Clone::clone);
        if let Some(conn) = used {
            drop(conn.get(self.about));
        }
    }
}

/// Runs `law` in a thread of its own, so that a deadlock is a failure and not a wait for ever.
fn without_deadlock(law: impl FnOnce() + Send + 'static) {
    let (say, hear) = mpsc::channel();
    let thread = thread::spawn(move || {
        law();
        say.send(()).unwrap();
    });
    match hear.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
        _ => thread.join().unwrap(),
    }
}

/// No lock is held while foreign code runs, destructors included.
#[test]
fn what_a_transaction_drops_may_use_its_connection() {
    without_deadlock(|| {
        let db = Database::in_memory().unwrap();
        let account = account(&db, 100);
        let pinned = db.transact(|conn| conn.add_pinned(Curious { about: account })).unwrap();
        let manager = TransactionManager::new();
        let conn = Rc::new(db.connect(&manager));
        let mut transaction = manager.begin().unwrap();
        USED.set(Some(conn.clone()));

        // A rollback, the release of savepoints, a removal, an abort and a commit drop values.
        conn.modify(account, |account| account.cents += 1).unwrap();
        let first = transaction.savepoint().unwrap();
        let curious = conn.add(Curious { about: account }).unwrap();
        let second = transaction.savepoint().unwrap();
        conn.modify(curious, |curious| *curious = Curious { about: account }).unwrap();
        let third = transaction.savepoint().unwrap();
        conn.modify(curious, |curious| *curious = Curious { about: account }).unwrap();
        drop(third);
        drop(second);
        first.rollback().unwrap();
        conn.modify(pinned, |curious| *curious = Curious { about: account }).unwrap();
        drop(first);
        conn.remove_pinned(pinned).unwrap();
        transaction.abort().unwrap();
        let mut transaction = manager.begin().unwrap();
        conn.modify(pinned, |curious| *curious = Curious { about: account }).unwrap();
        conn.remove_pinned(pinned).unwrap();
        transaction.commit().unwrap();

        USED.set(None);
        assert_eq!(cents(&db, account), 100);
    });
}

/// A sum that is read from the database while it is written.
#[derive(Debug, Clone, Deserialize)]
struct Sum {
    of: Ref<Account>,
    #[allow(dead_code, reason = "it is what the other end reads")]
    cents: i64,
}

impl Persistent for Sum {
    const NAME: &'static str = "laws.Sum";
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Sum {
            of: Ref<Account>,
            cents: i64,
        }
        let used = USED.with_borrow(Clone::clone);
        let cents = used.map_or(0, |conn| {
            let changed = conn.modify(self.of, |account| account.cents += 1000);
            assert!(matches!(changed, Err(Error::InProgress(_))), "{changed:?}");
            conn.get(self.of).unwrap().cents
        });
        Sum { of: self.of, cents }.serialize(serializer)
    }
}

/// T7, T11: a phase can be watched and not be disturbed.
#[test]
fn an_object_may_read_and_not_change_the_database_while_it_is_encoded() {
    for (storage, _home) in storages() {
        without_deadlock(|| {
            let db = Database::with_storage(storage, &Settings::default());
            let account = account(&db, 100);
            let manager = TransactionManager::new();
            let conn = Rc::new(db.connect(&manager));
            let mut transaction = manager.begin().unwrap();
            let sum = conn.add(Sum { of: account, cents: 0 }).unwrap();
            USED.set(Some(conn.clone()));

            transaction.commit().unwrap();

            USED.set(None);
            let fresh = Database::clone(&db);
            let read: Result<_> = fresh.view(|view| view.get(sum));
            assert_eq!(read.unwrap().of, account);
            assert_eq!(cents(&db, account), 100);
        });
    }
}

/// An object that refers to others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Folder {
    accounts: Vec<Ref<Account>>,
}

impl Persistent for Folder {
    const NAME: &'static str = "laws.Folder";
}

fn assert_dangling<T: std::fmt::Debug>(result: Result<T>, target: Ref<Account>, from: Oid) {
    match result {
        Err(Error::NotFound(missing)) => {
            assert_eq!((missing.oid, missing.referrer), (target.oid(), Some(from)));
        }
        other => panic!("{other:?}"),
    }
}

/// S7, C6: neither by the objects that stay, nor in a later transaction, can what was rolled back
/// or aborted be referred to.
#[test]
fn a_reference_to_what_never_came_to_be_is_refused_at_the_commit() {
    everywhere(|db| {
        let new = || Account { owner: "carol".into(), cents: 0 };
        let folder = db.transact(|conn| conn.root_or_init("f", |_| Ok(Folder::default()))).unwrap();
        let before = db.last_tid();
        let refer = |conn: &Connection, to| conn.modify(folder, |folder| folder.accounts.push(to));

        let mut lost = None;
        let rolled_back = db.transact_with(&RetryPolicy::new(1), |conn| {
            let here = conn.transaction()?.savepoint()?;
            let account = conn.add(new())?;
            lost = Some(account);
            here.rollback()?;
            refer(conn, account)
        });
        assert_dangling(rolled_back, lost.unwrap(), folder.oid());

        let aborted = db.transact(|conn| {
            lost = Some(conn.add(new())?);
            Err::<(), _>(Error::other("never mind"))
        });
        assert!(matches!(aborted, Err(Error::Other(_))), "{aborted:?}");
        let lost = lost.unwrap();
        assert_dangling(db.transact(|conn| refer(conn, lost)), lost, folder.oid());
        let named = db.transact(|conn| conn.set_root("lost", lost));
        assert_dangling(named, lost, Oid::ROOT);
        assert_eq!(db.last_tid(), before);

        // One that is made and referred to in one transaction is there.
        let kept = db.transact(|conn| {
            let account = conn.add(new())?;
            refer(conn, account).map(|()| account)
        });
        assert_eq!(
            db.view(|view| Ok(view.get(folder)?.accounts.clone())).unwrap(),
            [kept.unwrap()]
        );
    });
}

/// C6: a loss elsewhere does not take away what is left.
#[test]
fn an_object_that_refers_to_what_was_lost_can_still_be_changed() {
    for (storage, _home) in storages() {
        let db = Database::with_storage(storage.clone(), &Settings::default());
        let shape = Shape::of::<Folder>("laws.Folder").unwrap().to_string().into();
        let definition = TypeDef { name: "laws.Folder".into(), version: 0, shape };
        let type_id = storage.intern(&definition).unwrap();
        let [oid, lost] = [(); 2].map(|()| storage.new_oid().unwrap());
        let folder = Folder { accounts: vec![loose(lost)] };
        let (mut bytes, mut references) = (Vec::new(), Vec::new());
        codec::encode("laws.Folder", &folder, 0, &mut bytes, &mut references).unwrap();
        let mut batch = Batch::default();
        batch.put((oid, Tid::ZERO, false), type_id, &references, &bytes);
        storage.commit(&Arc::new(batch)).unwrap();
        let account = stray(&db, 1);

        db.transact(|conn| conn.modify(loose(oid), |f: &mut Folder| f.accounts.push(account)))
            .unwrap();

        let accounts = db.view(|view| Ok(view.get(loose::<Folder>(oid))?.accounts.clone()));
        assert_eq!(accounts.unwrap()[1], account);
    }
}

/// C2, C6: that nobody can say where it is does not mean that it is not there.
#[test]
fn a_reference_that_the_disk_lets_nobody_look_up_is_an_error_of_the_disk() {
    let disk = SimDisk::new();
    let open = || {
        let options = FileOptions { housekeeping: false, ..FileOptions::default() };
        let storage = Arc::new(FileStorage::open(Arc::new(disk.clone()), "a.db", options).unwrap());
        (storage.clone(), Database::with_storage(storage, &Settings::default()))
    };
    let (storage, db) = open();
    let account = db
        .transact(|conn| {
            conn.root_or_init("a", |_| Ok(Account { owner: "alice".into(), cents: 0 }))
        })
        .unwrap();
    // What is new stands beyond the page of the index that is bad.
    while storage.new_oid().unwrap().number() + 1 < PAGE_SLOTS as u64 {}
    db.close().unwrap();
    let index = disk.open("a.db.index", Access::Write).unwrap();
    index.rewrite(PAGES_START, &[1]).unwrap();
    let (_storage, db) = open();
    disk.fail(Kind::Read, 0, Failure::Io, Times::Always);

    let folder = Folder { accounts: vec![loose(account.oid())] };
    let refused = db.transact(|conn| conn.add(folder.clone()));

    assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
    disk.heal();
    db.transact(|conn| conn.add(folder.clone())).unwrap();
}
