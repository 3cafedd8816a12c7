//! The programs by which the library is introduced, as somebody would write them.

use crate::support::databases::{Account, account, cents};
use crate::support::errors::logged;
use perennial::{
    Connection, Database, Error, Job, Persistent, Ref, Report, Result, RunMode, TransactionManager,
    collections::BTree,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use tracing::Level;

/// A bank, its accounts, and a receipt for each payment.
mod bank {
    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    pub struct Account {
        pub owner: String,
        pub cents: i64,
    }
    impl Persistent for Account {
        const NAME: &'static str = "bank.Account";
    }

    #[derive(Clone, Serialize, Deserialize)]
    pub struct Bank {
        pub accounts: BTree<String, Ref<Account>>,
    }
    impl Persistent for Bank {
        const NAME: &'static str = "bank.Bank";
    }

    #[derive(Serialize, Deserialize)]
    pub struct SendReceipt {
        pub to: Ref<Account>,
    }
    impl Job for SendReceipt {
        const KIND: &'static str = "bank.SendReceipt";
    }

    pub fn main(path: &Path) -> Result<()> {
        let db = Database::open(path)?; // opens, or creates

        let (alice, bob) = db.transact(|conn| {
            let alice = conn.add(Account { owner: "alice".into(), cents: 100 })?;
            let bob = conn.add(Account { owner: "bob".into(), cents: 0 })?;
            let bank =
                conn.root_or_init("bank", |conn| Ok(Bank { accounts: BTree::create(conn)? }))?;
            let accounts = conn.get(bank)?.accounts;
            accounts.insert(conn, "alice".into(), alice)?;
            accounts.insert(conn, "bob".into(), bob)?;
            Ok((alice, bob))
        })?;

        db.transact(|conn| {
            // begin; commit; retry on conflict
            conn.modify(alice, |a| a.cents -= 30)?; // the first change joins the transaction
            conn.modify(bob, |b| b.cents += 30)?;
            conn.enqueue(&SendReceipt { to: alice })?; // a job: exists if and only if this commits
            Ok(())
        })
    }
}

// J1, J3
#[test]
fn what_the_first_program_leaves_is_found_and_delivered_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    bank::main(&path).unwrap();

    let db = Database::open(&path).unwrap();
    let (sender, receipts) = mpsc::channel();
    let runner = db
        .runner()
        .on::<bank::SendReceipt>(move |ctx, job| {
            let account = ctx.view(|view| view.get(job.to))?;
            sender.send((account.owner.clone(), account.cents))?;
            Ok(())
        })
        .mode(RunMode::Pool(2))
        .start()
        .unwrap();

    assert!(runner.run_until_idle(Duration::from_secs(30)));
    assert_eq!(receipts.try_iter().collect::<Vec<_>>(), [("alice".to_owned(), 70)]);
    assert_eq!(db.jobs().list().unwrap(), []);
    let balances = db.view(|view| {
        let bank = view.root::<bank::Bank>("bank")?.expect("it was made");
        let accounts = view.get(bank)?.accounts;
        accounts
            .iter(view)
            .map(|entry| {
                let (name, account) = entry?;
                Ok((name, view.get(account)?.cents))
            })
            .collect::<Result<Vec<_>>>()
    });
    assert_eq!(balances.unwrap(), [("alice".to_owned(), 70), ("bob".to_owned(), 30)]);
}

/// Books an amount in both files; the audit has the last word.
fn book(
    (bank, account): (&Connection, Ref<Account>),
    (audit, total): (&Connection, Ref<Account>),
    item: i64,
) -> Result<()> {
    bank.modify(account, |account| account.cents += item)?;
    audit.modify(total, |total| total.cents += item)?;
    if item < 0 { Err(Error::other("nothing is paid back")) } else { Ok(()) }
}

/// Several databases, savepoints and hooks, with every step in the open.
fn month_end(
    (bank_db, account): (&Database, Ref<Account>),
    (audit_db, total): (&Database, Ref<Account>),
    batch: &[i64],
    skipped: &mut Vec<(i64, Error)>,
) -> Result<Report> {
    let manager = TransactionManager::new();
    let bank = bank_db.connect(&manager); // a connection sees one snapshot per transaction
    let audit = audit_db.connect(&manager);

    let mut txn = manager.begin()?; // dropped without commit: aborted
    txn.note("month end")?;
    for &item in batch {
        let here = txn.savepoint()?; // taken before anything has joined: fine
        if let Err(error) = book((&bank, account), (&audit, total), item) {
            here.rollback()?; // skip the item, keep going
            skipped.push((item, error));
        }
        let booked = (bank.get(account)?.cents, audit.get(total)?.cents);
        assert_eq!(booked.0, booked.1, "both, or neither");
    }
    txn.after_commit(move |outcome| tracing::info!(?outcome, "booked"))?;
    txn.commit()
}

#[test]
fn the_second_program_books_in_both_files_what_it_does_not_skip() {
    let [bank_db, audit_db] = [(); 2].map(|()| Database::in_memory().unwrap());
    let [here, there] = [&bank_db, &audit_db].map(|db| (db, account(db, 0)));
    let (mut skipped, mut outcome) = (Vec::new(), None);

    let told = logged(Level::INFO, || {
        outcome = Some(month_end(here, there, &[10, -1, 30], &mut skipped));
    });

    let report = outcome.unwrap().unwrap();
    assert!(report.unfinished.is_empty() && report.hook_failures.is_empty(), "{report:?}");
    assert!(matches!(&skipped[..], [(-1, error)] if error.to_string() == "nothing is paid back"));
    let hook: Vec<_> = told.iter().filter(|line| line.contains("booked")).collect();
    assert!(hook.len() == 1 && hook[0].contains("Committed"), "{told:?}");
    assert_eq!([here, there].map(|(db, account)| cents(db, account)), [40, 40]);
}
