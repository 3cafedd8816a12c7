//! Laws about what was.

use super::Home;
use super::kit::{create, new_oid, tids, work};
use perennial::storage::{Batch, Storage};
use perennial::{Oid, Tid};
use std::sync::Arc;

// U1
pub fn history_lists_newest_first(home: &impl Home) {
    let storage = home.fresh();
    let oid = new_oid(&*storage);
    let first = work(&*storage).note("made").put(oid, Tid::ZERO, "1").commit().tid;
    create(&*storage, "something else");
    let second = work(&*storage).note("grown").put(oid, first, "333").commit().tid;
    let third = work(&*storage).note("gone").remove(oid, second).commit().tid;

    let storage = home.reopen(storage);

    let history = storage.history(oid).unwrap();
    let told: Vec<_> = history.iter().map(|c| (c.tid, &*c.metadata.note, c.size)).collect();
    assert_eq!(told, [(third, "gone", None), (second, "grown", Some(3)), (first, "made", Some(1))]);
    assert!(storage.history(new_oid(&*storage)).unwrap().is_empty());
}

// U4
pub fn transactions_are_sliced_exactly(home: &impl Home) {
    let storage = home.fresh();
    let all: Vec<Tid> = (0..5).map(|n| create(&*storage, &n.to_string()).1).collect();
    let slice = |after, upto| -> Vec<Tid> {
        let slice = storage.transactions(after, upto).unwrap();
        slice.map(|transaction| transaction.unwrap().tid).collect()
    };

    assert_eq!(slice(Tid::ZERO, Tid::MAX), all);
    assert_eq!(slice(all[0], all[3]), all[1..=3], "after the first, up to and with the last");
    assert_eq!(slice(all[1], Tid::new(all[2].number() + 1)), all[2..=2]);
    assert_eq!(slice(all[2], all[2]), []);
    assert_eq!(slice(all[3], all[1]), [], "a reversed slice is empty");
    assert_eq!(slice(all[4], Tid::MAX), []);
}

// U4
pub fn transactions_are_read_from_both_ends(home: &impl Home) {
    let storage = home.fresh();
    let all: Vec<Tid> = (0..6).map(|n| create(&*storage, &n.to_string()).1).collect();
    let storage = home.reopen(storage);

    let mut slice = storage.transactions(all[0], all[5]).unwrap();
    let mut ends = Vec::new();
    while let Some(back) = slice.next_back() {
        ends.push(back.unwrap().tid);
        ends.extend(slice.next().map(|front| front.unwrap().tid));
    }

    assert_eq!(ends, [all[5], all[1], all[4], all[2], all[3]]);
    assert!(slice.next().is_none() && slice.next_back().is_none());
}

// R11
pub fn an_iterator_does_not_show_what_came_later(home: &impl Home) {
    let storage = home.fresh();
    let (oid, tid) = create(&*storage, "before");

    let slice = storage.transactions(Tid::ZERO, Tid::MAX).unwrap();
    work(&*storage).put(oid, tid, "after").commit();

    let seen: Vec<Tid> = slice.map(|transaction| transaction.unwrap().tid).collect();
    assert_eq!(seen, [tid]);
}

// R11
pub fn a_copy_of_all_transactions_compares_equal(home: &impl Home) {
    let storage = home.fresh();
    let (one, first) = create(&*storage, "one");
    let two = new_oid(&*storage);
    work(&*storage).note("both").put(one, first, "ONE").put_pinned(two, Tid::ZERO, "2").commit();
    work(&*storage).note("gone").remove(one, storage.last_tid()).commit();

    let copy = home.fresh();
    copy_all(&*storage, &*copy);

    assert_eq!(content(&*copy), content(&*storage));
    assert_eq!(copy.pinned().unwrap(), [two]);
    assert_eq!(tids(&*copy).len(), 3);
}

/// Commits again what `from` holds; tids are `to`'s own.
fn copy_all(from: &dyn Storage, to: &dyn Storage) {
    for transaction in from.transactions(Tid::ZERO, Tid::MAX).unwrap() {
        let transaction = transaction.unwrap();
        let mut batch = Batch::default();
        batch.metadata = transaction.metadata;
        for (oid, revision) in transaction.records {
            let base = to.history(oid).unwrap().first().map_or(Tid::ZERO, |change| change.tid);
            let Some(revision) = revision else {
                batch.remove(oid, base, false);
                continue;
            };
            let definition = from.type_def(revision.type_id).expect("a known type");
            let references: Vec<Oid> = revision.references.iter().map(Result::unwrap).collect();
            let type_id = to.intern(&definition).unwrap();
            batch.put((oid, base, revision.pinned), type_id, &references, &revision.data);
        }
        to.commit(&Arc::new(batch)).unwrap();
    }
}

/// All that is stored but for the tids.
fn content(storage: &dyn Storage) -> Vec<String> {
    let mut content = Vec::new();
    for transaction in storage.transactions(Tid::ZERO, Tid::MAX).unwrap() {
        let transaction = transaction.unwrap();
        content.push(format!("{:?}", transaction.metadata));
        for (oid, revision) in transaction.records {
            let what = revision.map(|r| {
                let name = storage.type_def(r.type_id).map(|definition| definition.to_string());
                (name, r.pinned, r.references.bytes().to_vec(), r.data.to_vec())
            });
            content.push(format!("{oid} {what:?}"));
        }
    }
    content
}
