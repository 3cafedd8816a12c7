//! Jobs that are asked for in a transaction of several databases whose outcome is not known at
//! first.

use super::kit::{NAMES, Side, begin, decider, options, sides};
use crate::support::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial::file::Directory;
use perennial::{Database, Error, Job, OnDoubt, RunMode, Runner};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Ring;

impl Job for Ring {
    const KIND: &'static str = "laws.Ring";
}

fn runner(db: &Database) -> Runner {
    db.runner().on::<Ring>(|_, _| Ok(())).mode(RunMode::Manual).start().unwrap()
}

/// A database that takes part in a transaction with a job, its runner, and the name of the file
/// that could not tell whether it has decided.
fn in_doubt(disk: &SimDisk) -> (Side, Runner, &'static str) {
    let sides = sides(disk, 2);
    let participates = usize::from(decider(&sides).0.db.id() == sides[0].db.id());
    let late = sides[participates].clone();
    let runner = runner(&late.db);
    let (_manager, connections, mut transaction) = begin(&sides, 1);
    connections[participates].enqueue(&Ring).unwrap();
    // The participant's promise is the first sync, the decision the second.
    disk.fail(Kind::Sync, 1, Failure::Io, Times::Once);
    let error = transaction.commit().unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    (late, runner, NAMES[1 - participates])
}

// J1, T16
#[test]
fn a_job_of_a_transaction_in_doubt_is_run_once_that_is_known_to_be_committed() {
    for word in [true, false] {
        let (late, runner, _) = in_doubt(&SimDisk::new());
        assert_eq!(runner.run_due(), 0);
        assert_eq!(late.db.jobs().list().unwrap().len(), 0);

        late.db.settle(late.db.in_doubt().unwrap()[0].gtid, word).unwrap();

        assert_eq!(runner.run_due(), usize::from(word));
        let stats = late.db.jobs().stats().unwrap();
        assert_eq!((stats.bytes, late.db.jobs().list().unwrap().len()), (0, 0));
    }
}

// J1, T16
#[test]
fn a_job_in_doubt_that_a_dead_process_asked_for_is_run_by_the_runner_that_is_there() {
    let disk = SimDisk::new();
    let (late, _, decides) = in_doubt(&disk);
    let name = if decides == NAMES[0] { NAMES[1] } else { NAMES[0] };
    let left = disk.crash(Policy::Everything, 0);
    drop(late);
    left.remove(decides).unwrap();
    let db = options(&left).in_doubt(OnDoubt::Hold).open(name).unwrap();
    let runner = runner(&db);
    assert_eq!(runner.run_due(), 0);

    db.settle(db.in_doubt().unwrap()[0].gtid, true).unwrap();

    assert_eq!(runner.run_due(), 1);
}
