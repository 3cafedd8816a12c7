//! How few jobs are tried while their target does not answer.

use super::kit::{LONG, assert_empty, eager, enqueue, enqueue_all, pay, paying};
use perennial::{Database, Failure, Policy, RunMode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// J19, smaller: an outage costs a few attempts, not one for each commit.
#[test]
fn while_the_target_is_down_few_jobs_are_tried_and_all_are_done_when_it_is_back() {
    let db = Database::in_memory().unwrap();
    let (up, tries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (target, counted) = (up.clone(), tries.clone());
    let probe = Duration::from_millis(40);
    let policy = Policy { breaker: 5, probe, probe_cap: probe, ..eager() };
    let runner = paying(&db, RunMode::Pool(1), policy, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        if target.load(Ordering::SeqCst) == 0 { Err("down".into()) } else { Ok(()) }
    });
    let begun = Instant::now();

    enqueue_all(&db, 0..1_500);

    let probes = begun.elapsed().as_millis() / probe.as_millis();
    assert!(tries.load(Ordering::SeqCst) as u128 <= 5 + probes, "{probes} probes");
    assert_eq!(db.jobs().list().unwrap().len(), 1_500);
    let claimed = db.jobs().stats().unwrap().claimed;
    assert!(claimed <= 1_024, "born ready while the breaker is open");
    up.store(1, Ordering::SeqCst);
    assert!(runner.run_until_idle(LONG));
    assert_empty(&db);
}

/// J19: the target is asked by one job at a time until it answers.
#[test]
fn an_open_breaker_lets_one_probe_out_at_a_time() {
    const DOWN: usize = 6;
    let db = Database::in_memory().unwrap();
    let (tries, now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (tried, running, highest) = (tries.clone(), now, most.clone());
    let probe = Duration::from_millis(1);
    let policy = Policy { breaker: 1, probe, probe_cap: probe, ..eager() };
    let runner = paying(&db, RunMode::Pool(4), policy, move |_, _| {
        if tried.fetch_add(1, Ordering::SeqCst) >= DOWN {
            return Ok(());
        }
        highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(10));
        running.fetch_sub(1, Ordering::SeqCst);
        Err("down".into())
    });
    enqueue(&db, &pay(0));
    while db.jobs().stats().unwrap().counts.failed == 0 {
        thread::yield_now();
    }

    enqueue_all(&db, 1..8);

    assert!(runner.run_until_idle(LONG));
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(tries.load(Ordering::SeqCst), DOWN + 8);
    assert_empty(&db);
}

/// J19: what was under way when the breaker opened is no probe, and says nothing new.
#[test]
fn jobs_that_fail_beside_the_one_that_opened_a_breaker_do_not_lengthen_its_wait() {
    const AT_ONCE: usize = 11;
    let db = Database::in_memory().unwrap();
    let (all, up) = (Arc::new(Barrier::new(AT_ONCE)), Arc::new(AtomicUsize::new(0)));
    let (meet, answers) = (all, up.clone());
    let probe = Duration::from_millis(100);
    let policy = Policy { breaker: 1, probe, probe_cap: LONG, ..eager() };
    let runner = paying(&db, RunMode::Pool(AT_ONCE), policy, move |_, _| {
        if answers.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        meet.wait();
        Err("down".into())
    });
    enqueue_all(&db, 0..AT_ONCE as i64);
    while db.jobs().stats().unwrap().counts.failed < AT_ONCE as u64 {
        thread::yield_now();
    }

    up.store(1, Ordering::SeqCst);

    // Were each of them a probe, the wait would have doubled to its cap.
    assert!(runner.run_until_idle(LONG / 2), "it waits for {LONG:?}");
    assert_empty(&db);
}

/// J19
#[test]
fn while_a_probe_is_under_way_no_other_job_that_ends_lets_out_a_second_one() {
    let db = Database::in_memory().unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (answer, asked) = mpsc::channel::<()>();
    let (begun, started) = mpsc::channel();
    let (held, asked) = (Mutex::new(held), Mutex::new(asked));
    let probe = Duration::from_millis(1);
    let policy = Policy { breaker: 1, probe, probe_cap: probe, ..eager() };
    let runner = paying(&db, RunMode::Pool(4), policy, move |context, job| {
        begun.send(job.cents).unwrap();
        if (job.cents, context.attempt()) == (0, 1) {
            // It was there before the breaker opened, and ends while a probe is under way.
            held.lock().unwrap().recv().unwrap();
            return Err(Failure::Snooze(LONG));
        }
        if job.cents == 2 {
            asked.lock().unwrap().recv().unwrap();
            return Ok(());
        }
        Err(Failure::retry_after(LONG, "down"))
    });
    enqueue(&db, &pay(0));
    assert_eq!(started.recv_timeout(LONG), Ok(0));
    enqueue(&db, &pay(1));
    assert_eq!(started.recv_timeout(LONG), Ok(1), "it opens the breaker");
    while db.jobs().stats().unwrap().counts.failed == 0 {
        thread::yield_now();
    }
    enqueue_all(&db, [2, 3]);
    assert_eq!(started.recv_timeout(LONG), Ok(2), "the probe");

    release.send(()).unwrap();

    let next = started.recv_timeout(Duration::from_millis(100));
    assert!(next.is_err(), "a second probe: {next:?}");
    answer.send(()).unwrap();
    assert_eq!(started.recv_timeout(LONG), Ok(3), "the probe has succeeded");
    runner.stop(Duration::ZERO, LONG).unwrap();
}
