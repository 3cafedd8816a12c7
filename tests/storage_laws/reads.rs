//! Laws about reading.

use super::Home;
use super::kit::{create, found, is_absent, new_oid, snapshot, text, work};
use perennial::storage::Place;
use perennial::{Error, Tid};
use std::time::Duration;

/// Longer than any test waits for something that comes.
const LONG: Duration = Duration::from_secs(60);

// M2
pub fn a_snapshot_never_changes(home: &impl Home) {
    let storage = home.fresh();
    let (read, a) = create(&*storage, "a");
    let (unread, b) = create(&*storage, "b");
    let (removed, c) = create(&*storage, "c");
    let before = snapshot(&*storage);
    assert_eq!(text(&*before, read).as_deref(), Some("a"));

    let later = new_oid(&*storage);
    work(&*storage).put(read, a, "A").put(unread, b, "B").commit();
    work(&*storage).remove(removed, c).put(later, Tid::ZERO, "later").commit();

    assert_eq!(before.tid(), c);
    assert_eq!(text(&*before, read).as_deref(), Some("a"));
    assert_eq!(text(&*before, unread).as_deref(), Some("b"), "first loaded after the change");
    assert_eq!(text(&*before, removed).as_deref(), Some("c"));
    assert!(is_absent(&*before, later));
    let after = snapshot(&*storage);
    assert_eq!(text(&*after, read).as_deref(), Some("A"));
    assert_eq!(text(&*after, removed), None);
}

// U1
pub fn each_revision_is_found_at_its_tid(home: &impl Home) {
    let storage = home.fresh();
    let (other, mut before) = create(&*storage, "other");
    let oid = new_oid(&*storage);
    let mut tids = vec![Tid::ZERO];
    for n in 0..20 {
        let base = tids[n];
        tids.push(work(&*storage).put(oid, base, &n.to_string()).commit().tid);
        before = work(&*storage).put(other, before, &n.to_string()).commit().tid;
    }

    let storage = home.reopen(storage);

    for (n, &tid) in tids[1..].iter().enumerate() {
        let at = storage.snapshot_at(tid).unwrap();
        assert_eq!((at.tid(), found(&*at, oid).tid), (tid, tid));
        assert_eq!(text(&*at, oid), Some(n.to_string()));
        let just_before = storage.snapshot_at(Tid::new(tid.number() - 1)).unwrap();
        let expected = n.checked_sub(1).map(|n| n.to_string());
        assert_eq!(text(&*just_before, oid), expected);
    }
}

// M6
pub fn a_snapshot_of_the_future_is_refused(home: &impl Home) {
    let storage = home.fresh();
    let (oid, tid) = create(&*storage, "now");

    let error = storage.snapshot_at(Tid::new(tid.number() + 1)).unwrap_err();

    assert!(matches!(&error, Error::InvalidArgument(_)), "{error}");
    assert!(error.to_string().contains("future"), "{error}");
    assert!(storage.snapshot_at(tid).is_ok());
    assert!(is_absent(&*storage.snapshot_at(Tid::ZERO).unwrap(), oid));
}

pub fn places_tell_revisions_apart(home: &impl Home) {
    let storage = home.fresh();
    let oid = new_oid(&*storage);
    let first = work(&*storage).put(oid, Tid::ZERO, "same").commit();
    let old = snapshot(&*storage);
    let first_place = old.place(oid);
    let second = work(&*storage).put(oid, first.tid, "same").commit();

    let new = snapshot(&*storage);

    assert_eq!(first.places, [first_place]);
    assert_eq!(found(&*old, oid).place, first_place, "what was loaded is cached under its place");
    assert_eq!(second.places, [new.place(oid)]);
    assert_ne!(first_place, new.place(oid));
    assert_eq!(old.place(oid), new.place(oid), "an old snapshot names the newest place too");
    let removal = work(&*storage).remove(oid, second.tid).commit();
    assert_eq!(removal.places.len(), 1);
    assert!(![first_place, second.places[0]].contains(&new.place(oid)));
    assert_eq!(new.place(new_oid(&*storage)), Place::NONE);
}

pub fn pinned_objects_are_enumerated(home: &impl Home) {
    let storage = home.fresh();
    create(&*storage, "reachable");
    let (kept, removed, unpinned) = (new_oid(&*storage), new_oid(&*storage), new_oid(&*storage));
    let tid = work(&*storage)
        .put_pinned(kept, Tid::ZERO, "job 1")
        .put_pinned(removed, Tid::ZERO, "job 2")
        .put_pinned(unpinned, Tid::ZERO, "job 3")
        .commit()
        .tid;
    let mut all = storage.pinned().unwrap();
    all.sort();
    assert_eq!(all, [kept, removed, unpinned]);

    work(&*storage).remove(removed, tid).put(unpinned, tid, "a root no more").commit();
    work(&*storage).put_pinned(kept, tid, "job 1, again").commit();

    assert_eq!(storage.pinned().unwrap(), [kept]);
    let storage = home.reopen(storage);
    assert_eq!(storage.pinned().unwrap(), [kept]);
    assert!(found(&*snapshot(&*storage), kept).pinned);
    assert!(!found(&*snapshot(&*storage), unpinned).pinned);
}

// C11
pub fn snapshots_outlive_closing(home: &impl Home) {
    let storage = home.fresh();
    let (oid, _) = create(&*storage, "kept");
    let held = snapshot(&*storage);

    storage.close().unwrap();

    assert_eq!(text(&*held, oid).as_deref(), Some("kept"));
}

// M5
pub fn waiting_ends_when_the_transaction_is_published(home: &impl Home) {
    let storage = home.fresh();
    let (oid, tid) = create(&*storage, "0");
    assert!(storage.wait_published(tid, Duration::ZERO).unwrap());

    let next = Tid::new(tid.number() + 1);
    let published = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| storage.wait_published(next, LONG));
        work(&*storage).put(oid, tid, "1").commit();
        waiting.join().unwrap().unwrap()
    });

    assert!(published);
}

// M5
pub fn waiting_is_bounded(home: &impl Home) {
    let storage = home.fresh();
    let (_, tid) = create(&*storage, "0");

    let published = storage.wait_published(Tid::new(tid.number() + 1), Duration::from_millis(2));

    assert!(!published.unwrap());
}
