//! Laws about threads that race.

use super::Home;
use super::kit::{create, found, snapshot, text, tids, work};
use perennial::format::TypeDef;
use perennial::storage::{Storage, Verdict};
use perennial::{Oid, Tid};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const WRITERS: usize = 3;
const ROUNDS: usize = 40;

/// Adds one to each object, in one transaction, as often as it takes; the tid it got.
fn increment(storage: &dyn Storage, oids: &[Oid]) -> Tid {
    for _ in 0..100_000 {
        let before = snapshot(storage);
        let mut batch = work(storage);
        for &oid in oids {
            let number: usize = text(&*before, oid).unwrap().parse().unwrap();
            batch = batch.put(oid, found(&*before, oid).tid, &(number + 1).to_string());
        }
        match batch.verdict() {
            Verdict::Passed(receipt) => return receipt.tid,
            Verdict::Conflicts(contenders) => {
                let winner = contenders.iter().map(|contender| contender.current).max();
                let winner = winner.expect("a conflict names its winner");
                assert!(storage.wait_published(winner, Duration::from_secs(60)).unwrap());
            }
        }
    }
    panic!("a hundred thousand tries, and no commit");
}

// M3, R2
pub fn objects_changed_together_are_always_seen_equal(home: &impl Home) {
    let storage = home.fresh();
    let (one, _) = create(&*storage, "0");
    let (two, _) = create(&*storage, "0");
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let last = storage.last_tid();
                let seen = snapshot(&*storage);
                assert!(seen.tid() >= last, "a snapshot is not older than the last tid");
                assert_eq!(text(&*seen, one), text(&*seen, two), "at {:?}", seen.tid());
            }
        });
        let increments = || {
            for _ in 0..ROUNDS {
                increment(&*storage, &[one, two]);
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(increments)).collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });

    assert_eq!(text(&*snapshot(&*storage), two), Some((WRITERS * ROUNDS).to_string()));
}

// R3, M5
pub fn racing_increments_lose_nothing(home: &impl Home) {
    let storage = home.fresh();
    let (oid, created) = create(&*storage, "0");

    let mut committed = thread::scope(|scope| {
        let increments = || (0..ROUNDS).map(|_| increment(&*storage, &[oid])).collect::<Vec<_>>();
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(increments)).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });

    committed.push(created);
    committed.sort();
    assert_eq!(tids(&*storage), committed, "each commit is one transaction");
    let storage = home.reopen(storage);
    assert_eq!(text(&*snapshot(&*storage), oid), Some((WRITERS * ROUNDS).to_string()));
    for (n, &tid) in committed.iter().enumerate() {
        assert_eq!(text(&*storage.snapshot_at(tid).unwrap(), oid), Some(n.to_string()));
    }
}

// R8
pub fn racing_threads_never_share_an_oid(home: &impl Home) {
    let storage = home.fresh();

    let oids = thread::scope(|scope| {
        let draw = || (0..200).map(|_| storage.new_oid().unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(draw)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });

    assert_eq!(oids.iter().collect::<BTreeSet<_>>().len(), oids.len());
    assert!(!oids.contains(&Oid::ROOT));
}

// S2: a thread that asked for a known type once waited for a writer, and the writer for it.
pub fn naming_known_and_new_types_at_once_gives_each_one_number(home: &impl Home) {
    let storage = home.fresh();
    // Fewer for an interpreter, which interleaves threads as it likes.
    let (known_times, new) = if cfg!(miri) { (100, 20) } else { (10_000, 1_000) };
    let numbered = |n: usize| TypeDef { name: format!("T{n}").into(), ..TypeDef::default() };
    let known = storage.intern(&numbered(0)).unwrap();

    let again = |_| assert_eq!(storage.intern(&numbered(0)).unwrap(), known);
    let numbers = thread::scope(|scope| {
        let ask = || (0..known_times).for_each(again);
        let add = || (0..new).map(|n| storage.intern(&numbered(n)).unwrap()).collect::<Vec<_>>();
        let asking: Vec<_> = (0..WRITERS).map(|_| scope.spawn(ask)).collect();
        let adding: Vec<_> = (0..WRITERS).map(|_| scope.spawn(add)).collect();
        asking.into_iter().for_each(|thread| thread.join().unwrap());
        adding.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });

    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "all threads were told the same");
    assert_eq!(numbers[0].iter().collect::<BTreeSet<_>>().len(), new);
}
