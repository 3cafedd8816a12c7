//! Index snapshots that are written in the middle of a transaction of several databases.

use super::kit::{NAMES, Side, open, set};
use crate::support::databases::Tally;
use crate::support::sim::{Policy, SimDisk};
use crate::support::third::Third;
use perennial::storage::FileStorage;
use perennial::storage::file::FileOptions;
use perennial::{Database, Settings, TransactionManager};
use std::sync::Arc;

/// A database whose storage is at hand.
struct Opened {
    side: Side,
    storage: Arc<FileStorage>,
}

fn opened(disk: &SimDisk, name: &str) -> Opened {
    let options =
        FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() };
    let storage = Arc::new(FileStorage::open(Arc::new(disk.clone()), name, options).unwrap());
    let db = Database::with_storage(storage.clone(), &Settings::default());
    Opened { side: Side::of(db).unwrap(), storage }
}

/// Sets both numbers, while snapshots are written after the promise, after the decision and after
/// all have finished.
fn set_with_snapshots(both: &[Opened], value: i64) {
    let storages: Vec<_> = both.iter().map(|it| it.storage.clone()).collect();
    let write = move || storages.iter().try_for_each(|storage| storage.write_index());
    let manager = TransactionManager::new();
    let conns: Vec<_> = both.iter().map(|it| it.side.db.connect(&manager)).collect();
    let mut transaction = manager.begin().unwrap();
    for (it, conn) in both.iter().zip(&conns) {
        conn.modify(it.side.number, |number| number.0 = value).unwrap();
        conn.add(Tally(value)).unwrap();
    }
    Third::after().at_prepare(write.clone()).join(&manager);
    Third::before().at_finish(write.clone()).join(&manager);
    transaction.commit().unwrap();
    if value % 2 == 0 {
        write().unwrap();
    }
}

// T16, R6
#[test]
fn a_power_loss_beside_a_snapshot_leaves_a_transaction_in_both_databases_or_in_neither() {
    let disk = SimDisk::new();
    let both: Vec<_> = NAMES[..2].iter().map(|name| opened(&disk, name)).collect();
    let start = disk.moment();
    let mut marks = vec![(start, 0)];
    for value in 1..=2 {
        set_with_snapshots(&both, value);
        marks.push((disk.moment(), value));
    }
    // Else they would be asked, in the place of those that a crash leaves.
    drop(both);
    for moment in disk.moments().filter(|moment| moment.number >= start) {
        let (_, floor) = *marks.iter().rev().find(|(from, _)| *from <= moment.number).unwrap();
        for (number, policy) in Policy::ALL.into_iter().enumerate() {
            let mut order = [NAMES[0], NAMES[1]];
            order.rotate_left((moment.number + number) % 2);
            let left = moment.crash(policy, moment.number as u64);
            let story = format!("at {} with {policy:?}, opened as {order:?}", moment.number);
            let sides = order.map(|name| Side::of(open(&left, name).expect(&story)).expect(&story));
            let values = [sides[0].value(), sides[1].value()];
            assert_eq!(values[0], values[1], "{story}");
            assert!((floor..=floor + 1).contains(&values[0]), "{story}: {values:?}");
            set(&sides, 9).expect(&story);
        }
    }
}
