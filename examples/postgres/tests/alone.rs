//! PostgreSQL as the only data manager of a transaction, and in none.

use crate::scene::Scene;
use perennial::{Error, Outcome, Status};

#[test]
fn alone_it_commits_in_one_phase() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();
    teller.enter(10, "payment").unwrap();

    transaction.commit().unwrap();

    let phases: Vec<_> = transaction.action_log().iter().map(|action| action.phase).collect();
    assert_eq!(phases, [perennial::transaction::Phase::CommitAlone]);
    assert_eq!((scene.entries(), scene.prepared()), (vec![10], 0));
}

#[test]
fn alone_it_commits_nothing_after_a_statement_that_failed() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();
    teller.enter(10, "payment").unwrap();
    teller.enter(0, "payment").unwrap_err();

    let error = transaction.commit().unwrap_err();

    assert!(format!("{error:?}").contains("transaction is aborted"), "{error:?}");
    assert_eq!(scene.entries(), []);
}

#[test]
fn alone_it_tells_why_it_could_not_commit() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();
    teller.enter(10, "no such kind").unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(format!("{error:?}").contains("entry_kind_fkey"), "{error:?}");
    assert!(matches!(transaction.outcome(), Some(Outcome::Failed(_))));
}

#[test]
fn alone_and_cut_off_nobody_knows() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();
    teller.enter(10, "payment").unwrap();
    // The commit, which looks for the kind, waits; and meanwhile the connection goes.
    let slow = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON kind DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION cut();
        INSERT INTO kind VALUES ('gift')";
    teller.rows.batch_execute(slow).unwrap();

    let error = transaction.commit().unwrap_err();

    assert!(matches!(error, Error::Unknown(_)), "{error}");
    assert_eq!(transaction.status(), Status::Unknown);
    drop(transaction);
    assert_eq!(scene.entries(), []);
}

#[test]
fn a_connection_that_is_lost_has_rolled_back() {
    let Some(scene) = Scene::new() else { return };
    for commits in [true, false] {
        let teller = scene.teller();
        let mut transaction = teller.paying(10);
        teller.rows.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]).unwrap_err();

        assert!(!commits || transaction.commit().is_err());
        transaction.abort().unwrap();
    }

    scene.assert_holds(&[]);
}

#[test]
fn outside_a_transaction_every_statement_is_an_error() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let over = teller.manager.begin().unwrap();
    drop(over);

    let errors = [
        teller.enter(10, "payment").unwrap_err(),
        teller.rows.query("SELECT 1", &[]).unwrap_err(),
        teller.rows.batch_execute("SELECT 1").unwrap_err(),
    ];

    let said = "cannot use PostgreSQL: there is no active transaction";
    assert!(errors.iter().all(|error| error.to_string() == said), "{errors:?}");
    assert_eq!(scene.entries(), []);
}
