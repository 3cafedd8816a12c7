//! Many who enqueue and many who run.

use super::kit::{LONG, Seen, assert_empty, eager, enqueue_all, pay, paying};
use crate::support::databases::everywhere;
use perennial::{Policy, RunMode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const THREADS: i64 = 16;
const EACH: i64 = 500;

/// J13, J8
#[test]
fn of_jobs_committed_by_many_threads_each_is_handled_once() {
    everywhere(|db| {
        let seen = Seen::default();
        let notes = seen.clone();
        let runner = paying(db, RunMode::Pool(4), eager(), move |context, job| {
            assert_eq!(context.attempt(), 1);
            notes.add(job.cents);
            Ok(())
        });

        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let job = pay(thread * EACH + number);
                        // No retry helps here: the queue must not conflict.
                        let once = perennial::transaction::RetryPolicy::new(1);
                        db.transact_with(&once, |conn| conn.enqueue(&job)).unwrap();
                    }
                });
            }
        });

        assert!(runner.run_until_idle(4 * LONG));
        assert_eq!(seen.sorted(), (0..THREADS * EACH).collect::<Vec<_>>());
        assert_empty(db);
        assert_eq!(db.jobs().stats().unwrap().counts.lost, 0);
    });
}

/// No more jobs of one kind run at once than its policy allows.
#[test]
fn concurrency_is_bounded() {
    everywhere(|db| {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (running, highest) = (now, most.clone());
        let policy = Policy { concurrency: 2, ..eager() };
        let runner = paying(db, RunMode::Pool(4), policy, move |_, _| {
            highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(1));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });

        enqueue_all(db, 0..50);

        assert!(runner.run_until_idle(LONG));
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    });
}
