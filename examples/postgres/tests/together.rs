//! Both, or neither: whatever goes wrong, and wherever.

use crate::scene::Scene;
use crate::third::Third;
use perennial::transaction::RetryPolicy;
use perennial::{Error, Outcome, Status, TransactionManager};
use perennial_postgres::Postgres;

#[test]
fn rows_and_objects_are_committed_together() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();

    for cents in [10, 20] {
        let report = teller.paying(cents).commit().unwrap();
        assert_eq!(report.tid, Some(scene.db.last_tid()));
        assert!(report.unfinished.is_empty());
    }

    scene.assert_holds(&[10, 20]);
}

#[test]
fn an_abort_leaves_neither() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();

    teller.paying(10).abort().unwrap();
    drop(teller.paying(20));

    scene.assert_holds(&[]);
    teller.paying(30).commit().unwrap();
    scene.assert_holds(&[30]);
}

#[test]
fn a_transaction_that_says_nothing_to_postgres_does_not_ask_it_to_commit() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();

    let mut transaction = teller.manager.begin().unwrap();
    teller.objects.modify(teller.account, |account| account.cents = 0).unwrap();
    transaction.commit().unwrap();

    let log = transaction.action_log();
    assert!(log.iter().all(|action| !action.manager.starts_with("postgres")), "{log:?}");
}

#[test]
fn where_postgres_cannot_prepare_nothing_is_committed() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(10);
    teller.book(20, "no such kind").unwrap(); // it is looked for at the end of the transaction

    let error = transaction.commit().unwrap_err();

    assert!(format!("{error:?}").contains("entry_kind_fkey"), "{error:?}");
    drop(transaction);
    scene.assert_holds(&[]);
    teller.paying(30).commit().unwrap();
    scene.assert_holds(&[30]);
}

#[test]
fn where_the_objects_conflict_what_postgres_prepared_is_rolled_back() {
    let Some(scene) = Scene::new() else { return };
    let (slow, fast) = (scene.teller(), scene.teller());
    let mut transaction = slow.paying(10);
    fast.paying(20).commit().unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Conflict(_)), "{error}");
    drop(transaction);
    scene.assert_holds(&[20]);
}

#[test]
fn where_a_third_cannot_prepare_nothing_is_committed() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();

    for third in [Third::before(), Third::after()] {
        let mut transaction = teller.paying(10);
        third.at_prepare(|| Err(Error::other("not today"))).join(&teller.manager);
        assert_eq!(transaction.commit().unwrap_err().to_string(), "not today");
    }

    scene.assert_holds(&[]);
}

#[test]
fn after_a_statement_that_failed_there_is_no_commit() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(10);
    teller.enter(0, "payment").unwrap_err();

    let error = transaction.commit().unwrap_err();

    assert!(format!("{error:?}").contains("transaction is aborted"), "{error:?}");
    drop(transaction);
    scene.assert_holds(&[]);
}

#[test]
fn a_transaction_that_lost_a_race_in_postgres_is_tried_again() {
    let Some(scene) = Scene::new() else { return };
    let (slow, fast) = (scene.teller(), scene.teller());
    fast.paying(1).commit().unwrap();
    let mut tries = 0;

    let update = "UPDATE entry SET cents = cents + $1";
    let tried = slow.manager.run(&RetryPolicy::new(5), |_| {
        tries += 1;
        slow.rows.query("SELECT FROM entry", &[])?; // the snapshot
        if tries == 1 {
            let mut transaction = fast.manager.begin()?;
            fast.rows.execute(update, &[&2_i64])?;
            transaction.commit()?;
        }
        slow.rows.execute(update, &[&4_i64])?;
        slow.objects.modify(slow.account, |account| account.cents += 6)
    });

    assert!(tried.is_ok(), "{tried:?}");
    assert_eq!(tries, 2);
    scene.assert_holds(&[7]);
}

#[test]
fn without_a_database_that_remembers_postgres_does_not_prepare() {
    let Some(scene) = Scene::new() else { return };
    let manager = TransactionManager::new();
    let rows = Postgres::new(scene.client(), &manager).unwrap();
    let mut transaction = manager.begin().unwrap();
    rows.execute("INSERT INTO kind VALUES ('gift')", &[]).unwrap();
    Third::after().join(&manager);

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert_eq!(transaction.status(), Status::Failed);
    assert!(matches!(transaction.outcome(), Some(Outcome::Failed(_))));
    assert_eq!(scene.prepared(), 0);
}
