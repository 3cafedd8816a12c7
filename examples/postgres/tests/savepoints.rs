//! Savepoints of transactions are savepoints of PostgreSQL.

use crate::scene::Scene;

#[test]
fn a_rollback_to_a_savepoint_undoes_rows_and_objects() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(1);
    let here = transaction.savepoint().unwrap();

    for cents in [10, 20] {
        teller.book(cents, "payment").unwrap();
        here.rollback().unwrap(); // as often as it is asked to
    }
    teller.book(2, "payment").unwrap();
    transaction.commit().unwrap();

    scene.assert_holds(&[1, 2]);
}

#[test]
fn savepoints_nest() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(1);
    let outer = transaction.savepoint().unwrap();
    teller.book(2, "payment").unwrap();
    let inner = transaction.savepoint().unwrap();
    teller.book(4, "payment").unwrap();

    inner.rollback().unwrap();
    teller.book(8, "payment").unwrap();
    let last = transaction.savepoint().unwrap();
    outer.rollback().unwrap();

    assert!(last.rollback().is_err() && inner.rollback().is_err());
    teller.book(16, "payment").unwrap();
    transaction.commit().unwrap();
    scene.assert_holds(&[1, 16]);
}

#[test]
fn a_savepoint_outlives_an_older_one_that_is_dropped() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(1);
    let older = transaction.savepoint().unwrap();
    teller.book(2, "payment").unwrap();
    let newer = transaction.savepoint().unwrap();
    teller.book(4, "payment").unwrap();

    drop(older); // to release it in PostgreSQL would be to release the newer one, too
    drop(transaction.savepoint().unwrap());
    newer.rollback().unwrap();
    transaction.commit().unwrap();

    scene.assert_holds(&[1, 2]);
}

#[test]
fn a_savepoint_before_the_first_statement_undoes_all_of_them() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();
    let here = transaction.savepoint().unwrap();

    for cents in [10, 20] {
        teller.book(cents, "payment").unwrap(); // joins, each time
        here.rollback().unwrap();
    }
    teller.book(30, "payment").unwrap();
    transaction.commit().unwrap();

    scene.assert_holds(&[30]);
}

#[test]
fn a_statement_that_failed_is_undone_by_a_rollback_and_work_goes_on() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.manager.begin().unwrap();

    for cents in [10, 0, 30] {
        let here = transaction.savepoint().unwrap();
        if teller.book(cents, "payment").is_err() {
            here.rollback().unwrap();
        }
    }
    transaction.commit().unwrap();

    scene.assert_holds(&[10, 30]);
}

#[test]
fn many_savepoints_that_are_dropped_are_released() {
    let Some(scene) = Scene::new() else { return };
    let teller = scene.teller();
    let mut transaction = teller.paying(1);

    for _ in 0..100 {
        drop(transaction.savepoint().unwrap());
    }

    // The last of them is released with the next statement that needs the stack.
    let gone = teller.rows.batch_execute("RELEASE perennial_99").unwrap_err();
    assert!(format!("{gone:?}").contains("does not exist"), "{gone:?}");
    assert!(transaction.commit().is_err(), "a statement failed");
}
