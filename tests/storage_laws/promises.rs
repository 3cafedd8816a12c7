//! Promising a batch to a transaction that is decided elsewhere, and deciding for others.

use super::Home;
use super::kit::*;
use perennial::format::{Decision, Participant};
use perennial::storage::{Fate, Intent, Promise, Storage, Verdict};
use perennial::{Error, GlobalId, Oid, Tid};
use std::sync::Arc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);
/// Whoever waits so long waits for ever.
const ENDLESS: Duration = Duration::from_secs(3_600);

fn gtid(number: u8) -> GlobalId {
    GlobalId::new([number; 16])
}

fn ask(storage: &dyn Storage, work: Work<'_>, number: u8) -> Verdict<Box<dyn Promise>> {
    let intent = Intent { gtid: gtid(number), coordinator: None };
    storage.prepare(&Arc::new(work.into_batch()), &intent).expect("an answer")
}

fn promise(storage: &dyn Storage, work: Work<'_>, number: u8) -> Box<dyn Promise> {
    match ask(storage, work, number) {
        Verdict::Passed(promise) => promise,
        Verdict::Conflicts(contenders) => panic!("unexpected conflicts: {contenders:?}"),
    }
}

/// Commits the decision of transaction `number` for somebody else, beside `work`.
fn decide(storage: &dyn Storage, work: Work<'_>, number: u8) -> perennial::Result<Tid> {
    let participant = Participant { name: "somebody".into(), database: None };
    let decision = Decision { gtid: gtid(number), participants: vec![participant] };
    let mut batch = work.into_batch();
    batch.decision = Some(decision);
    match storage.commit(&Arc::new(batch))? {
        Verdict::Passed(receipt) => Ok(receipt.tid),
        Verdict::Conflicts(contenders) => panic!("unexpected conflicts: {contenders:?}"),
    }
}

/// An object "old", and the promise to make it "new".
fn promised(storage: &dyn Storage) -> (Oid, Tid, Box<dyn Promise>) {
    let (oid, base) = create(storage, "old");
    (oid, base, promise(storage, work(storage).put(oid, base, "new").note("later"), 1))
}

// T16
pub fn a_promise_is_seen_by_nobody_until_it_is_kept(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base, promise) = promised(&*storage);
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("old"));
    assert_eq!(storage.last_tid(), base);

    let receipt = promise.finish().expect("it is kept");

    assert!(receipt.tid > base && storage.last_tid() == receipt.tid);
    let storage = home.reopen(storage);
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("new"));
    assert_eq!(storage.history(oid).expect("history")[0].metadata.note, "later");
    assert_eq!(tids(&*storage), [base, receipt.tid]);
}

// T16
pub fn a_promise_that_is_taken_back_leaves_nothing(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base, promise) = promised(&*storage);

    promise.abort().expect("it is taken back");

    let receipt = work(&*storage).put(oid, base, "other").commit();
    let storage = home.reopen(storage);
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("other"));
    assert_eq!(tids(&*storage), [base, receipt.tid]);
    assert!(storage.in_doubt().expect("doubts").is_empty());
}

// T16
pub fn a_promise_on_an_old_base_is_refused(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "old");
    let newer = work(&*storage).put(oid, base, "newer").commit().tid;

    let Verdict::Conflicts(contenders) = ask(&*storage, work(&*storage).put(oid, base, "mine"), 1)
    else {
        panic!("it is promised")
    };

    assert_eq!((contenders[0].oid, contenders[0].current), (oid, newer));
    assert_eq!(contenders[0].promised, None);
}

// T16
pub fn what_is_promised_is_changed_and_relied_on_by_nobody_else(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base, promise) = promised(&*storage);
    let (other, other_base) = create(&*storage, "x");
    let works = [
        work(&*storage).put(oid, base, "mine"),
        work(&*storage).remove(oid, base),
        work(&*storage).put(other, other_base, "y").check(oid, base),
        work(&*storage).check(oid, base),
    ];
    for work in works {
        let contenders = work.conflicts();
        assert_eq!((contenders[0].oid, contenders[0].promised), (oid, Some(gtid(1))));
    }
    let rival = ask(&*storage, work(&*storage).put(oid, base, "mine"), 2);
    assert!(matches!(rival, Verdict::Conflicts(_)), "{rival:?}");

    let receipt = promise.finish().expect("it is kept");

    work(&*storage).put(oid, receipt.tid, "mine").commit();
}

// T16
pub fn what_a_promise_relies_on_is_changed_by_nobody_and_relied_on_by_others(home: &dyn Home) {
    let storage = home.fresh();
    let (read, base) = create(&*storage, "read");
    let (one, one_base) = create(&*storage, "one");
    let (two, two_base) = create(&*storage, "two");
    let first = promise(&*storage, work(&*storage).put(one, one_base, "1").check(read, base), 1);
    let second = promise(&*storage, work(&*storage).put(two, two_base, "2").check(read, base), 2);
    assert!(matches!(work(&*storage).check(read, base).verdict(), Verdict::Passed(_)));

    for left in [first, second] {
        let contenders = work(&*storage).put(read, base, "changed").conflicts();
        assert!(contenders[0].promised.is_some());
        left.finish().expect("it is kept");
    }

    work(&*storage).put(read, base, "changed").commit();
}

// T16
pub fn a_promise_that_only_relies_stores_nothing(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "read");
    let promise = promise(&*storage, work(&*storage).check(oid, base), 1);
    assert!(work(&*storage).put(oid, base, "changed").conflicts()[0].promised.is_some());

    promise.finish().expect("it is kept");

    assert_eq!(storage.last_tid(), base);
    work(&*storage).put(oid, base, "changed").commit();
}

// T16
pub fn a_promise_in_doubt_is_settled_on_a_word(home: &dyn Home) {
    for committed in [true, false] {
        let storage = home.fresh();
        let (oid, base, promise) = promised(&*storage);
        promise.park();
        let doubts = storage.in_doubt().expect("doubts");
        assert_eq!((doubts.len(), doubts[0].gtid, &*doubts[0].note), (1, gtid(1), "later"));
        assert!(!storage.wait_settled(gtid(1), SHORT).expect("waited"));
        assert!(work(&*storage).put(oid, base, "mine").conflicts()[0].promised.is_some());

        storage.settle(gtid(1), committed).expect("settled");
        storage.settle(gtid(1), !committed).expect("nothing is left to settle");

        assert!(storage.wait_settled(gtid(1), SHORT).expect("waited"));
        assert!(storage.in_doubt().expect("doubts").is_empty());
        let storage = home.reopen(storage);
        let expected = if committed { "new" } else { "old" };
        assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some(expected));
    }
}

// T16
pub fn nobody_waits_for_what_is_in_doubt(home: &dyn Home) {
    let storage = home.fresh();
    let (_, _, promise) = promised(&*storage);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| storage.wait_settled(gtid(1), ENDLESS).expect("waited"));
        // Most times the other one waits by then; the law holds whether it does or not.
        std::thread::sleep(SHORT);
        promise.park();
        assert!(!waiting.join().expect("it ends"));
    });
    assert!(!storage.wait_settled(gtid(1), ENDLESS).expect("waited"));
}

// T16
pub fn one_transaction_is_promised_one_batch(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, _, promise) = promised(&*storage);
    let other = work(&*storage).put(new_oid(&*storage), Tid::ZERO, "x").into_batch();
    let intent = Intent { gtid: gtid(1), coordinator: None };

    let refusal = storage.prepare(&Arc::new(other), &intent).expect_err("refused");

    assert!(matches!(refusal, Error::InvalidArgument(_)), "{refusal}");
    promise.finish().expect("it is kept");
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("new"));
}

// T16: only what nobody holds is in doubt
pub fn a_promise_that_somebody_holds_is_settled_by_nobody_else(home: &dyn Home) {
    for word in [true, false] {
        let storage = home.fresh();
        let (oid, base, promise) = promised(&*storage);
        assert!(storage.in_doubt().expect("doubts").is_empty());

        storage.settle(gtid(1), word).expect("nothing is in doubt");

        assert!(work(&*storage).put(oid, base, "mine").conflicts()[0].promised.is_some());
        promise.finish().expect("it is kept");
        assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("new"));
    }
}

// T16
pub fn a_decision_is_told_for_ever_and_open_until_it_is_ended(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "old");
    let tid = decide(&*storage, work(&*storage).put(oid, base, "new"), 1).expect("decided");
    let storage = home.reopen(storage);
    let open = storage.open_decisions().expect("decisions");
    assert_eq!((open.len(), open[0].gtid, open[0].tid), (1, gtid(1), tid));
    assert_eq!(open[0].participants[0].name, "somebody");

    storage.end_decision(gtid(1)).expect("ended");
    storage.end_decision(gtid(1)).expect("ended already");

    let storage = home.reopen(storage);
    assert!(storage.open_decisions().expect("decisions").is_empty());
    for since in [Tid::ZERO, base] {
        let fate = storage.decision(gtid(1), since).expect("a fate");
        assert_eq!(fate, Fate::Committed(tid));
    }
}

// T16
pub fn a_decision_without_changes_is_one(home: &dyn Home) {
    let storage = home.fresh();
    let tid = decide(&*storage, work(&*storage), 1).expect("decided");
    let storage = home.reopen(storage);
    assert_eq!(storage.decision(gtid(1), Tid::ZERO).expect("a fate"), Fate::Committed(tid));
}

// T16
pub fn what_was_asked_for_before_it_was_decided_is_never_decided(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "old");
    assert_eq!(storage.decision(gtid(1), base).expect("a fate"), Fate::Aborted);

    let refusal = decide(&*storage, work(&*storage).put(oid, base, "new"), 1).expect_err("late");

    assert!(matches!(refusal, Error::Refused(_)), "{refusal}");
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("old"));
    decide(&*storage, work(&*storage).put(oid, base, "new"), 2).expect("another one");
}

// T16
pub fn who_can_refuse_no_more_decisions_says_that_it_cannot_tell(home: &dyn Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "old");
    let fate = |number: u64| {
        let gtid = GlobalId::new([[7; 8], number.to_le_bytes()].concat().try_into().expect("16"));
        storage.decision(gtid, base).expect("a fate")
    };

    let refused = (0..1 << 20).take_while(|&number| fate(number) == Fate::Aborted).count() as u64;

    assert_eq!(fate(refused), Fate::Unknown);
    assert_eq!(fate(0), Fate::Aborted, "who was told so is right");
    let tid = decide(&*storage, work(&*storage).put(oid, base, "new"), 1).expect("nobody asked");
    assert_eq!(storage.decision(gtid(1), base).expect("a fate"), Fate::Committed(tid));
}

// T16
pub fn who_does_not_hold_a_transaction_tells_nothing_of_what_came_after_it(home: &dyn Home) {
    let storage = home.fresh();
    let (_, base) = create(&*storage, "old");
    for foreign in [Tid::new(base.number() - 1), Tid::new(base.number() + 1)] {
        assert_eq!(storage.decision(gtid(1), foreign).expect("a fate"), Fate::Unknown);
    }
}
