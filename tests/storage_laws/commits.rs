//! Laws about committing.

use super::Home;
use super::kit::{create, definition, found, is_absent, new_oid, snapshot, text, tids, work};
use perennial::error::SchemaMismatch;
use perennial::format::{Metadata, References, TypeDef, TypeId};
use perennial::storage::{Batch, Durability, Load, Place, Verdict};
use perennial::{Error, Oid, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;

// R1
pub fn a_new_storage_is_empty(home: &impl Home) {
    let storage = home.fresh();

    assert_eq!(storage.last_tid(), Tid::ZERO);
    assert!(tids(&*storage).is_empty());
    assert!(storage.pinned().unwrap().is_empty());
    let snapshot = snapshot(&*storage);
    assert_eq!(snapshot.tid(), Tid::ZERO);
    assert!(is_absent(&*snapshot, Oid::ROOT));
    assert_eq!(snapshot.place(Oid::ROOT), Place::NONE);
}

pub fn a_committed_revision_is_read_back_whole(home: &impl Home) {
    let storage = home.fresh();
    let (oid, other) = (new_oid(&*storage), Oid::new(Oid::MAX.number() - 7));
    let type_id = storage.intern(&definition()).unwrap();
    let mut batch = Batch::default();
    batch.put((oid, Tid::ZERO, true), type_id, &[Oid::ROOT, other], b"\0data\xff");

    let Verdict::Passed(receipt) = storage.commit(&Arc::new(batch)).unwrap() else {
        panic!("nothing stands against it");
    };

    assert_eq!(storage.last_tid(), receipt.tid);
    let storage = home.reopen(storage);
    let snapshot = snapshot(&*storage);
    let revision = found(&*snapshot, oid);
    assert_eq!((revision.tid, revision.type_id, revision.pinned), (receipt.tid, type_id, true));
    assert_eq!(&*revision.data, b"\0data\xff");
    let references: Vec<Oid> = revision.references.iter().map(Result::unwrap).collect();
    assert_eq!(references, [Oid::ROOT, other]);
    let mut encoded = Vec::new();
    References::encode(&references, &mut encoded);
    assert_eq!(revision.references.bytes(), encoded);
}

pub fn an_object_may_be_empty_or_large(home: &impl Home) {
    let storage = home.fresh();
    let large = "long ".repeat(200_000);

    let (empty, _) = create(&*storage, "");
    let (full, _) = create(&*storage, &large);

    let storage = home.reopen(storage);
    let snapshot = snapshot(&*storage);
    assert_eq!(text(&*snapshot, empty).as_deref(), Some(""));
    assert!(text(&*snapshot, full).as_deref() == Some(&large));
}

// T12
pub fn metadata_are_read_back(home: &impl Home) {
    let storage = home.fresh();
    let (oid, _) = create(&*storage, "x");
    let metadata = Metadata {
        user: "ömer".into(),
        note: "first\nsecond".into(),
        extension: BTreeMap::from([("empty".into(), vec![]), ("bytes".into(), vec![0, 255])]),
    };
    let mut batch = Batch::default();
    batch.metadata = metadata.clone();
    batch.remove(oid, storage.last_tid(), false);

    storage.commit(&Arc::new(batch)).unwrap();

    let storage = home.reopen(storage);
    assert_eq!(storage.history(oid).unwrap()[0].metadata, metadata);
    let last = storage.transactions(Tid::ZERO, Tid::MAX).unwrap().next_back().unwrap();
    assert_eq!(last.unwrap().metadata, metadata);
}

// R3
pub fn tids_strictly_increase(home: &impl Home) {
    let storage = home.fresh();
    let (oid, mut last) = create(&*storage, "0");

    for n in 1..100 {
        let tid = work(&*storage).put(oid, last, &n.to_string()).commit().tid;
        assert!(tid > last, "{tid:?} after {last:?}");
        assert_eq!(storage.last_tid(), tid);
        last = tid;
    }

    assert!(tids(&*storage).is_sorted_by(|earlier, later| earlier < later));
}

// M4
pub fn changes_of_different_objects_do_not_meet(home: &impl Home) {
    let storage = home.fresh();
    let (one, first) = create(&*storage, "1");
    let (two, second) = create(&*storage, "2");

    work(&*storage).put(one, first, "one").commit();
    work(&*storage).put(two, second, "two").commit();

    let snapshot = snapshot(&*storage);
    assert_eq!(text(&*snapshot, one).as_deref(), Some("one"));
    assert_eq!(text(&*snapshot, two).as_deref(), Some("two"));
}

// M1
pub fn of_two_changes_from_one_base_the_second_conflicts(home: &impl Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "100");
    let winner = work(&*storage).note("faster").put(oid, base, "130").commit();

    let contenders = work(&*storage).put(oid, base, "70").conflicts();

    let [contender] = &contenders[..] else { panic!("{contenders:?}") };
    assert_eq!((contender.oid, contender.read), (oid, false));
    assert_eq!((contender.base, contender.current), (base, winner.tid));
    assert_eq!(contender.note, "faster");
    let left = contender.revision.as_ref().expect("the winner's revision");
    assert_eq!((left.tid, &*left.data), (winner.tid, &b"130"[..]));
}

// R1
pub fn a_refused_batch_leaves_nothing(home: &impl Home) {
    let storage = home.fresh();
    let (oid, old) = create(&*storage, "a");
    let base = work(&*storage).put(oid, old, "b").commit().tid;
    let bystander = new_oid(&*storage);

    work(&*storage).put(bystander, Tid::ZERO, "never").put(oid, old, "c").conflicts();

    assert_eq!(storage.last_tid(), base);
    assert_eq!(tids(&*storage), [old, base]);
    assert!(is_absent(&*snapshot(&*storage), bystander));
    work(&*storage).put(bystander, Tid::ZERO, "now").put(oid, base, "c").commit();
    assert_eq!(text(&*snapshot(&*storage), bystander).as_deref(), Some("now"));
}

pub fn all_contenders_are_told_at_once(home: &impl Home) {
    let storage = home.fresh();
    let (changed, a) = create(&*storage, "a");
    let (removed, b) = create(&*storage, "b");
    let (kept, c) = create(&*storage, "c");
    let (checked, d) = create(&*storage, "d");
    let winner = work(&*storage).put(changed, a, "A").remove(removed, b).put(checked, d, "D");
    let winner = winner.commit().tid;

    let loser = work(&*storage).put(changed, a, "x").put(removed, b, "y").put(kept, c, "z");
    let contenders = loser.check(checked, d).conflicts();

    let mut told: Vec<_> = contenders
        .iter()
        .map(|c| (c.oid, c.read, c.current == winner, c.revision.is_some()))
        .collect();
    told.sort();
    let expected =
        [(changed, false, true, true), (removed, false, true, false), (checked, true, true, true)];
    assert_eq!(told, expected);
}

// M4
pub fn a_checked_read_that_is_outdated_conflicts(home: &impl Home) {
    let storage = home.fresh();
    let (checked, base) = create(&*storage, "limit 10");
    let (changed, from) = create(&*storage, "5");
    let from = work(&*storage).put(changed, from, "6").check(checked, base).commit().tid;
    let winner = work(&*storage).note("lower").put(checked, base, "limit 5").commit().tid;

    let contenders = work(&*storage).put(changed, from, "7").check(checked, base).conflicts();

    let [contender] = &contenders[..] else { panic!("{contenders:?}") };
    assert_eq!((contender.oid, contender.read), (checked, true));
    assert_eq!((contender.base, contender.current), (base, winner));
    assert_eq!(contender.note, "lower");
    let absent = new_oid(&*storage);
    work(&*storage).put(changed, from, "7").check(absent, Tid::ZERO).commit();
}

// M4
pub fn a_batch_that_only_checks_stores_nothing(home: &impl Home) {
    let storage = home.fresh();
    let (oid, old) = create(&*storage, "a");
    let base = work(&*storage).put(oid, old, "b").commit().tid;

    let receipt = work(&*storage).check(oid, base).commit();
    let contenders = work(&*storage).check(oid, old).conflicts();

    assert_eq!((receipt.tid, receipt.places.len()), (base, 0));
    assert_eq!(contenders.len(), 1);
    assert_eq!(tids(&*storage), [old, base]);
}

pub fn a_removed_object_is_told_from_one_that_never_was(home: &impl Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "here");

    let removal = work(&*storage).remove(oid, base).commit().tid;

    let storage = home.reopen(storage);
    let snapshot = snapshot(&*storage);
    assert!(matches!(snapshot.load(oid).unwrap(), Load::Removed(tid) if tid == removal));
    assert!(is_absent(&*snapshot, new_oid(&*storage)));
}

pub fn a_removed_object_comes_back_on_the_base_of_its_removal(home: &impl Home) {
    let storage = home.fresh();
    let (oid, created) = create(&*storage, "here");
    work(&*storage).put(oid, Tid::ZERO, "as if new").conflicts();
    let removal = work(&*storage).remove(oid, created).commit().tid;

    for base in [Tid::ZERO, created] {
        let contenders = work(&*storage).put(oid, base, "again").conflicts();
        assert_eq!(contenders[0].current, removal);
        assert!(contenders[0].revision.is_none());
    }
    work(&*storage).put(oid, removal, "again").commit();

    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("again"));
}

pub fn a_batch_that_writes_an_object_twice_is_refused(home: &impl Home) {
    let storage = home.fresh();
    let (oid, base) = create(&*storage, "a");
    let type_id = storage.intern(&definition()).unwrap();
    let mut batch = Batch::default();
    batch.put((oid, base, false), type_id, &[], b"b");
    batch.remove(oid, base, false);

    let error = storage.commit(&Arc::new(batch)).unwrap_err();

    let expected = format!("object {oid} is written twice in one transaction");
    assert!(matches!(&error, Error::InvalidArgument(_)));
    assert_eq!(error.to_string(), expected);
    assert_eq!(storage.last_tid(), base);
}

pub fn a_type_number_that_was_never_given_is_refused(home: &impl Home) {
    let storage = home.fresh();
    let mut batch = Batch::default();
    batch.put((new_oid(&*storage), Tid::ZERO, false), TypeId(77), &[], b"");

    let error = storage.commit(&Arc::new(batch)).unwrap_err();

    assert!(matches!(&error, Error::InvalidArgument(_)), "{error}");
    assert!(error.to_string().contains("77"), "{error}");
    assert_eq!(storage.last_tid(), Tid::ZERO);
}

// C9
pub fn a_type_has_one_number_and_one_shape(home: &impl Home) {
    let storage = home.fresh();
    let first = storage.intern(&definition()).unwrap();
    let newer = TypeDef { version: 2, shape: "longer text".into(), ..definition() };
    let second = storage.intern(&newer).unwrap();
    let oid = new_oid(&*storage);
    let mut batch = Batch::default();
    batch.put((oid, Tid::ZERO, false), second, &[], b"");
    storage.commit(&Arc::new(batch)).unwrap();
    work(&*storage).put(new_oid(&*storage), Tid::ZERO, "of the first type").commit();

    let storage = home.reopen(storage);

    assert_ne!(first, second);
    assert_eq!(storage.intern(&definition()).unwrap(), first);
    assert_eq!(storage.type_def(second).as_deref(), Some(&newer));
    assert_eq!(storage.type_def(TypeId(77)), None);
    let reshaped = TypeDef { shape: "number".into(), ..definition() };
    let error = storage.intern(&reshaped).unwrap_err();
    let Error::Schema(mismatch) = &error else { panic!("{error}") };
    let SchemaMismatch::ShapeChanged { type_name, version, stored, here } = &**mismatch else {
        panic!("{error}");
    };
    assert_eq!((&**type_name, *version), ("laws.Text", 1));
    assert_eq!((&**stored, &**here), ("text", "number"));
}

pub fn a_lazy_commit_is_published_at_once(home: &impl Home) {
    let storage = home.fresh();
    let type_id = storage.intern(&definition()).unwrap();
    let oid = new_oid(&*storage);
    let mut batch = Batch::default();
    batch.durability = Durability::Lazy;
    batch.put((oid, Tid::ZERO, false), type_id, &[], b"soon");

    storage.commit(&Arc::new(batch)).unwrap();

    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("soon"));
    storage.sync().unwrap();
    let storage = home.reopen(storage);
    assert_eq!(text(&*snapshot(&*storage), oid).as_deref(), Some("soon"));
}

// R8
pub fn oids_never_repeat(home: &impl Home) {
    let storage = home.fresh();
    let (stored, base) = create(&*storage, "stored");
    let refused = new_oid(&*storage);
    work(&*storage).put(refused, Tid::ZERO, "refused").put(stored, Tid::ZERO, "x").conflicts();
    work(&*storage).remove(stored, base).commit();
    let brought = Oid::new(stored.number() + 1000);
    work(&*storage).put(brought, Tid::ZERO, "from another database").commit();
    assert!(new_oid(&*storage) > brought);

    let storage = home.reopen(storage);

    let next = new_oid(&*storage);
    assert!(next > brought, "{next} after {brought}");
    assert_ne!(next, new_oid(&*storage));
    assert_ne!(stored, Oid::ROOT);
}

// C11
pub fn a_closed_storage_says_so(home: &impl Home) {
    let storage = home.fresh();
    let (oid, tid) = create(&*storage, "kept");

    storage.close().unwrap();
    storage.close().unwrap();

    let batch = Arc::new(Batch::default());
    assert!(matches!(storage.commit(&batch).unwrap_err(), Error::Closed));
    assert!(matches!(storage.snapshot().unwrap_err(), Error::Closed));
    assert!(matches!(storage.snapshot_at(tid).unwrap_err(), Error::Closed));
    assert!(matches!(storage.new_oid().unwrap_err(), Error::Closed));
    assert!(matches!(storage.pinned().unwrap_err(), Error::Closed));
    assert!(matches!(storage.history(oid).unwrap_err(), Error::Closed));
    assert!(matches!(storage.transactions(Tid::ZERO, tid).err(), Some(Error::Closed)));
}
