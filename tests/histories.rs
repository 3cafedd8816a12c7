//! Recorded histories: threads run random transactions, note what each saw and did, and a checker
//! that knows nothing of locks and caches says whether that is what their isolation promises.
//!
//! ```console
//! $ cargo test histories
//! $ PERENNIAL_TRANSACTIONS=2000000 cargo test --release histories::millions -- --ignored --nocapture
//! ```

mod check;
mod clients;

use crate::support::databases::storages;
use check::{Counts, Ended, History, Transaction};
use clients::{Settings, run};
use perennial::{Isolation, Tid};

/// Runs about so many transactions for each kind of storage, isolation and number of threads, in
/// databases of a few thousand each, and checks what was recorded.
fn explore(transactions: usize) -> Counts {
    const ROUND: usize = 20_000;
    let mut counts = Counts::default();
    for isolation in [Isolation::Snapshot, Isolation::Serializable] {
        for threads in [2, 4, 8, 16] {
            let mut left = transactions;
            for seed in 0.. {
                let round = left.min(ROUND);
                for (storage, _home) in storages() {
                    let settings = Settings { isolation, threads, transactions: round, seed };
                    let history = run(storage, &settings);
                    let checked = history.check().unwrap_or_else(|wrong| {
                        panic!("{isolation:?}, {threads} threads, seed {seed}: {wrong}")
                    });
                    counts.add(&checked);
                }
                left -= round;
                if left == 0 {
                    break;
                }
            }
            println!("{isolation:?}, {threads} threads: all in all {counts:?}");
        }
    }
    counts
}

// M7
#[test]
fn what_racing_transactions_saw_and_did_is_what_their_isolation_promises() {
    let counts = explore(1500);

    assert!(counts.committed > 1000 && counts.conflicts > 100, "they did not race: {counts:?}");
}

// M7
#[test]
#[ignore = "takes minutes: PERENNIAL_TRANSACTIONS says how many transactions"]
fn millions_of_racing_transactions_are_as_isolated_as_some_are() {
    let wanted =
        std::env::var("PERENNIAL_TRANSACTIONS").map_or(2_000_000, |it| it.parse().unwrap());
    let counts = explore(usize::div_ceil(wanted, 16));

    println!("{counts:#?}");
}

/// A transaction that saw and stored these values of objects, as of a snapshot.
fn transaction(
    seen: u64,
    ended: Ended,
    reads: &[(usize, u64)],
    writes: &[(usize, u64)],
) -> Transaction {
    let (reads, writes) = (reads.to_vec(), writes.to_vec());
    Transaction { snapshot: Tid::new(seen), floor: Tid::ZERO, ended, reads, writes }
}

fn committed(tid: u64) -> Ended {
    Ended::Committed(Tid::new(tid))
}

/// What the checker says of two objects and these transactions; the first one made the objects.
fn wrong(isolation: Isolation, more: Vec<Transaction>) -> Option<String> {
    let first = transaction(0, committed(1), &[], &[(0, 10), (1, 20)]);
    let transactions = std::iter::once(first).chain(more).collect();
    History { isolation, transactions }.check().err()
}

/// Holds that the checker finds nothing, or something that it names so.
fn assert_wrong(isolation: Isolation, more: Vec<Transaction>, expected: Option<&str>) {
    let wrong = wrong(isolation, more);
    let as_expected = match (&wrong, expected) {
        (None, None) => true,
        (Some(wrong), Some(expected)) => wrong.contains(expected),
        _ => false,
    };
    assert!(as_expected, "{wrong:?} instead of {expected:?}");
}

#[test]
fn the_checker_sees_reads_that_no_snapshot_shows() {
    let write = || transaction(1, committed(2), &[(0, 10)], &[(0, 11), (1, 21)]);
    let read = |at, reads: &[_]| transaction(at, Ended::Aborted, reads, &[]);
    let cases = [
        (read(1, &[(0, 10), (1, 20)]), None),
        (read(2, &[(0, 11), (1, 21)]), None),
        (read(2, &[(0, 10), (1, 21)]), Some("read 10 of object 0")),
        (read(1, &[(1, 21)]), Some("read 21 of object 1")),
        (read(7, &[]), Some("no transaction")),
    ];
    for (read, expected) in cases {
        assert_wrong(Isolation::Snapshot, vec![write(), read], expected);
    }
}

#[test]
fn the_checker_sees_an_old_snapshot() {
    let mut late = transaction(1, Ended::Aborted, &[], &[]);
    late.floor = Tid::new(2);
    let write = transaction(1, committed(2), &[], &[(0, 11)]);

    assert_wrong(Isolation::Snapshot, vec![write, late], Some("acknowledged"));
}

#[test]
fn the_checker_sees_a_lost_update() {
    let update = |tid, value| transaction(1, committed(tid), &[(0, 10)], &[(0, value)]);

    assert_wrong(Isolation::Snapshot, vec![update(2, 11), update(3, 12)], Some("lost"));
    assert_wrong(Isolation::Snapshot, vec![update(2, 11), update(2, 12)], Some("two transactions"));
}

#[test]
fn the_checker_sees_a_conflict_with_nobody() {
    let loser = |with, object| {
        let ended = Ended::Conflict { with: Tid::new(with), object };
        transaction(1, ended, &[(0, 10)], &[(0, 12)])
    };
    let write = || transaction(1, committed(2), &[], &[(0, 11)]);

    assert_wrong(Isolation::Snapshot, vec![write(), loser(2, 0)], None);
    assert_wrong(Isolation::Snapshot, vec![write(), loser(1, 0)], Some("conflict"));
    assert_wrong(Isolation::Snapshot, vec![write(), loser(2, 1)], Some("conflict"));
}

#[test]
fn the_checker_sees_write_skew_and_a_cycle_through_a_reader() {
    let skew = || {
        let reads = [(0, 10), (1, 20)];
        vec![
            transaction(1, committed(2), &reads, &[(0, 11)]),
            transaction(1, committed(3), &reads, &[(1, 21)]),
        ]
    };
    assert_wrong(Isolation::Snapshot, skew(), None);
    assert_wrong(Isolation::Serializable, skew(), Some("one after the other"));

    // The reader sees the second writer, not the first, who relied on what the second changed not.
    let reader = vec![
        transaction(1, committed(2), &[(1, 20)], &[(1, 21)]),
        transaction(1, committed(3), &[(1, 20)], &[(0, 11)]),
        transaction(2, Ended::ReadOnly, &[(0, 10), (1, 21)], &[]),
    ];
    assert_wrong(Isolation::Snapshot, reader.clone(), None);
    assert_wrong(Isolation::Serializable, reader, Some("one after the other"));
}

#[test]
fn the_checker_sees_who_relied_on_what_was_changed_meanwhile() {
    let racing = || {
        vec![
            transaction(1, committed(2), &[], &[(0, 11)]),
            transaction(1, committed(3), &[(0, 10)], &[(1, 21)]),
        ]
    };
    assert_wrong(Isolation::Snapshot, racing(), None);
    assert_wrong(Isolation::Serializable, racing(), Some("relied"));
}
