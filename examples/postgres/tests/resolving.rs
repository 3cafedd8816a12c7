//! What a crash leaves in doubt, and who asks about it: processes are killed, and the next one
//! finds out.

use crate::cluster::connect;
use crate::scene::{Scene, Teller, open};
use crate::third::Third;
use perennial::{Database, Error, Outcome, Persistent, Tid};
use perennial_postgres::{Resolved, resolve};
use postgres::Config;
use serde::{Deserialize, Serialize, Serializer};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tells a child of this process where it works.
const CHILD: &str = "PERENNIAL_POSTGRES_CHILD";

/// What a child says when it is to be killed.
const READY: &str = "ready to be killed";

/// Runs one of the tests below in a process of its own, on this scene, until it is ready; then
/// kills it. What follows sees what the next process would.
fn killed(scene: Scene, name: &str) -> Scene {
    let Scene { home, db, config } = scene;
    db.close().unwrap();
    drop(db);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "--nocapture", &format!("resolving::{name}")]);
    let (socket, database) = place(&config);
    child.env(
        CHILD,
        [home.path(), &socket, database.as_ref()].map(|p| p.to_str().unwrap()).join("\n"),
    );
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.any(|line| line.unwrap().ends_with(READY));
    child.kill().unwrap();
    assert_eq!((ready, child.wait().unwrap().signal()), (true, Some(9)));
    Scene { db: open(home.path()), home, config }
}

fn place(config: &Config) -> (PathBuf, String) {
    let [postgres::config::Host::Unix(socket)] = config.get_hosts() else { panic!("one socket") };
    (socket.clone(), config.get_dbname().unwrap().into())
}

/// In a child: who works there.
fn child() -> Option<(Database, Teller)> {
    let place = std::env::var(CHILD).ok()?;
    let [home, socket, database] = place.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let db = open(home.as_ref());
    let mut config = Config::new();
    config.host_path(socket).user("tester").dbname(database);
    let teller = Teller::new(&db, &config);
    Some((db, teller))
}

/// In a child: waits to be killed.
fn wait_for_death() -> Result<(), Error> {
    println!("{READY}");
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "run by killed_between_decision_and_finish_it_is_resolved_to_committed"]
fn child_that_dies_before_the_finish() {
    let Some((_db, teller)) = child() else { return };
    let mut transaction = teller.paying(10);
    Third::before().at_finish(wait_for_death).join(&teller.manager);
    transaction.commit().unwrap();
}

#[test]
fn killed_between_decision_and_finish_it_is_resolved_to_committed() {
    let Some(scene) = Scene::new() else { return };
    let scene = killed(scene, "child_that_dies_before_the_finish");
    assert_eq!((scene.entries(), scene.balance(), scene.prepared()), (vec![], 10, 1));

    let resolved = resolve(&mut scene.client(), &scene.db).unwrap();

    assert_eq!((resolved.committed.len(), resolved.rolled_back.len()), (1, 0));
    scene.assert_holds(&[10]);
    assert_eq!(resolve(&mut scene.client(), &scene.db).unwrap(), Resolved::default());
    assert_eq!(scene.db.open_decisions().unwrap().len(), 1, "a third had not finished");
}

#[test]
#[ignore = "run by killed_between_prepare_and_decision_it_is_resolved_to_rolled_back"]
fn child_that_dies_before_the_decision() {
    let Some((_db, teller)) = child() else { return };
    let mut transaction = teller.paying(10);
    Third::after().at_prepare(wait_for_death).join(&teller.manager);
    transaction.commit().unwrap();
}

#[test]
fn killed_between_prepare_and_decision_it_is_resolved_to_rolled_back() {
    let Some(scene) = Scene::new() else { return };
    let scene = killed(scene, "child_that_dies_before_the_decision");
    assert_eq!((scene.entries(), scene.balance(), scene.prepared()), (vec![], 0, 1));

    let resolved = resolve(&mut scene.client(), &scene.db).unwrap();

    assert_eq!((resolved.committed.len(), resolved.rolled_back.len()), (0, 1));
    scene.assert_holds(&[]);
    scene.teller().paying(20).commit().unwrap();
    scene.assert_holds(&[20]);
}

#[test]
fn a_transaction_that_is_asked_about_before_its_decision_is_refused() {
    let Some(scene) = Scene::new() else { return };
    let (teller, db, config) = (scene.teller(), scene.db.clone(), scene.config.clone());
    let mut transaction = teller.paying(10);
    let ask = move || {
        let resolved = resolve(&mut connect(&config), &db)?;
        assert_eq!((resolved.committed.len(), resolved.rolled_back.len()), (0, 1));
        Ok(())
    };
    Third::after().at_prepare(ask).join(&teller.manager);

    transaction.commit().unwrap_err();

    assert!(matches!(transaction.outcome(), Some(Outcome::Failed(_))));
    drop(transaction);
    scene.assert_holds(&[]);
    teller.paying(20).commit().unwrap();
    scene.assert_holds(&[20]);
}

#[test]
fn a_transaction_that_is_asked_about_after_its_decision_is_committed_once() {
    let Some(scene) = Scene::new() else { return };
    let (teller, db, config) = (scene.teller(), scene.db.clone(), scene.config.clone());
    let mut transaction = teller.paying(10);
    let ask = move || {
        let resolved = resolve(&mut connect(&config), &db)?;
        assert_eq!((resolved.committed.len(), resolved.rolled_back.len()), (1, 0));
        Ok(())
    };
    Third::before().at_finish(ask).join(&teller.manager);

    let report = transaction.commit().unwrap();

    assert!(report.unfinished.is_empty(), "{report:?}");
    scene.assert_holds(&[10]);
}

thread_local! {
    static FUSE: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

/// An object that does something when it is written, which is while the database decides.
#[derive(Clone, Deserialize)]
struct Fuse;

impl Serialize for Fuse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FUSE.take().into_iter().for_each(|deed| deed());
        serializer.serialize_unit_struct("Fuse")
    }
}

impl Persistent for Fuse {
    const NAME: &'static str = "tests.Fuse";
}

#[test]
fn cut_off_before_the_finish_it_is_unfinished_until_it_is_resolved() {
    let Some(scene) = Scene::new() else { return };
    let (teller, config) = (scene.teller(), scene.config.clone());
    let mut transaction = teller.paying(10);
    teller.objects.add(Fuse).unwrap();
    FUSE.set(Some(Box::new(move || {
        let others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        connect(&config).batch_execute(others).unwrap();
    })));

    let report = transaction.commit().unwrap();

    assert!(report.unfinished[0].manager.starts_with("postgres "), "{report:?}");
    assert_eq!((scene.entries(), scene.balance(), scene.prepared()), (vec![], 10, 1));
    assert_eq!(scene.db.open_decisions().unwrap().len(), 1);
    resolve(&mut scene.client(), &scene.db).unwrap();
    scene.assert_holds(&[10]);
    assert_eq!(scene.db.open_decisions().unwrap(), [], "nobody else took part");
}

/// Prepares an entry past all managers, under this name.
fn prepare(scene: &Scene, name: &str) {
    let insert = "BEGIN; INSERT INTO entry (cents) VALUES (1)";
    let mut client = scene.client();
    client.batch_execute(insert).unwrap();
    client.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).unwrap();
}

#[test]
fn what_others_prepared_is_left_alone() {
    let Some(scene) = Scene::new() else { return };
    let other = Database::in_memory().unwrap().id();
    prepare(&scene, &format!("perennial-{:032x}-{other}-0", 1));
    prepare(&scene, &format!("bank {}", scene.prepared()));

    let resolved = resolve(&mut scene.client(), &scene.db).unwrap();

    assert_eq!((resolved, scene.prepared()), (Resolved::default(), 2));
}

#[test]
fn an_older_copy_of_the_database_has_no_answer() {
    let Some(scene) = Scene::new() else { return };
    let later = Tid::new(scene.db.last_tid().number() + 1);
    prepare(&scene, &format!("perennial-{:032x}-{}-{}", 1, scene.db.id(), later.number()));

    let resolved = resolve(&mut scene.client(), &scene.db).unwrap();

    assert_eq!((resolved.left.len(), scene.prepared()), (1, 1));
}
