//! What `recover` copies out of damaged files, and that it tells of everything it does not copy.

mod fates;
pub mod kit;
mod readings;
pub mod sweeps;

use crate::support::scratched::Scratched;
use crate::support::sim::{Failure, Kind, SimDisk, Times};
use kit::{
    Author, Files, INDEX, NEW, OLD, Piece, content, directory, files, flip, frame, frames, of_kind,
    open, recovered, story, without_index, zero,
};
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::format::{FIRST_FRAME, FileHeader, FrameKind, HEADER_COPY};
use perennial::storage::file::{FindingKind, LossKind, Mode, recover, verify};
use perennial::storage::{FileStorage, Storage, TwoPhase};
use perennial::{Error, Oid, Tid};
use std::sync::Arc;

// R6
#[test]
fn an_undamaged_file_is_recovered_as_it_is() {
    let story = story();
    let directory = directory(&story);
    let (original, newest) = content(&directory, OLD);
    let mut told = Vec::new();
    let places = ((&*directory as _, OLD), (&*directory as _, NEW));

    let recovery = recover(places.0, places.1, &mut |done, all| told.push((done, all))).unwrap();

    assert!(recovery.is_complete() && recovery.losses.is_empty(), "{:?}", recovery.losses);
    assert!(recovery.findings.is_empty(), "{:?}", recovery.findings);
    assert_eq!(content(&directory, NEW), (original, newest));
    let [old, new] = [OLD, NEW].map(|name| open(directory.clone(), name, Mode::ReadOnly).unwrap());
    assert_eq!((old.id(), old.types()), (new.id(), new.types()));
    assert_eq!(old.facts().next_oid, new.facts().next_oid);
    assert_eq!(old.facts().generation + 1, new.facts().generation);
    assert_eq!(old.pinned().unwrap(), new.pinned().unwrap());
    assert_eq!(old.open_decisions().unwrap(), new.open_decisions().unwrap());
    assert_eq!(doubts(&old), doubts(&new));
    assert_eq!(recovery.in_doubt, [kit::gtid(5)]);
    assert!(told.is_sorted() && told.last().is_some_and(|(done, all)| done == all));
    let mut left = files(&*directory);
    assert!(left.remove(NEW).is_some() && left == story, "nothing else was changed");
}

fn doubts(storage: &FileStorage) -> Vec<(perennial::GlobalId, String)> {
    let doubts = storage.in_doubt().unwrap().into_iter();
    doubts.map(|doubt| (doubt.gtid, doubt.note)).collect()
}

#[test]
fn what_was_recovered_is_recovered_again_and_goes_on() {
    let directory = directory(&story());
    recovered(&directory).unwrap();
    let before = content(&directory, NEW);
    let again = ((&*directory as _, NEW), (&*directory as _, "newer.db"));

    let recovery = recover(again.0, again.1, &mut |_, _| {}).unwrap();

    assert!(recovery.losses.is_empty(), "{:?}", recovery.losses);
    assert_eq!(content(&directory, "newer.db"), before);
    let storage = open(directory.clone(), NEW, Mode::Existing).unwrap();
    storage.settle(kit::gtid(5), true).unwrap();
    assert_eq!(storage.history(Oid::new(3)).unwrap().len(), 2, "the promise could be kept");
    storage.close().unwrap();
    assert!(verify(&*directory, NEW, &mut |_, _| {}).unwrap().findings.is_empty());
}

// R6
#[test]
fn an_object_whose_newest_revision_is_lost_is_told_with_what_stands() {
    let story = story();
    for files in [&story, &without_index(&story)] {
        let last = frame(files, FrameKind::Commit, 8);
        let directory = directory(&flip(files, last.start + 100));
        let (original, _) = content(&self::directory(files), OLD);

        let recovery = recovered(&directory).unwrap();

        let lost = of_kind(&recovery, LossKind::Revision);
        let told: Vec<_> = lost.iter().map(|loss| (loss.oid, loss.stands)).collect();
        let a = Oid::new(1);
        let stands = original.iter().rev().skip(1).find(|it| it.records.iter().any(|r| r.0 == a));
        assert_eq!(told, [(Some(a), stands.map(|it| it.tid))]);
        let frames = of_kind(&recovery, LossKind::Frame);
        assert_eq!((frames.len(), frames[0].offset), (1, last.start));
        assert_eq!(frames[0].tid, original.last().map(|it| it.tid));
        assert!(!recovery.is_complete());
    }
}

#[test]
fn a_hole_in_a_history_is_told_and_bridged() {
    let story = story();
    let damaged = frame(&story, FrameKind::Commit, 2);
    let directory = directory(&zero(&without_index(&story), damaged.clone()));

    let recovery = recovered(&directory).unwrap();

    // The last record of the object leads to the one that is gone.
    let earlier = of_kind(&recovery, LossKind::Earlier);
    let [loss] = earlier[..] else { panic!("{earlier:?}") };
    assert_eq!((loss.oid, loss.tid), (Some(Oid::new(1)), None));
    assert!(damaged.contains(&loss.offset));
    let storage = open(directory, NEW, Mode::ReadOnly).unwrap();
    assert_eq!(storage.history(Oid::new(1)).unwrap().len(), 2);
}

// R6, C6
#[test]
fn references_to_what_is_lost_are_told() {
    let story = story();
    let first = frame(&story, FrameKind::Commit, 0);
    let directory = directory(&flip(&story, first.start + 90));

    let recovery = recovered(&directory).unwrap();

    let lost = of_kind(&recovery, LossKind::Revision);
    let [loss] = lost[..] else { panic!("{lost:?}") };
    assert_eq!((loss.oid, loss.stands), (Some(Oid::new(2)), None), "beta is gone");
    let dangling = recovery.findings.iter().filter(|it| it.kind == FindingKind::Dangling);
    let from: Vec<_> = dangling.map(|finding| finding.oid).collect();
    assert_eq!(from, [Some(Oid::new(1))], "alpha refers to it");
}

// R4
#[test]
fn what_was_never_committed_is_not_copied() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [a, b] = author.oids();
    author.put(&[(a, &[], "first")]);
    author.put(&[(b, &[], "second")]);
    author.put(&[(a, &[], "third")]);
    let whole = files(&*directory);
    let [_, second, third] = [0, 1, 2].map(|number| frame(&whole, FrameKind::Commit, number));
    // The power went while the last two were written in one go: one is torn, the other whole, and
    // nothing says that any of them was durable.
    let mut torn = zero(&whole, second.start + 100..second.start + 108);
    let log = torn.get_mut(OLD).unwrap();
    forge_claim(log, &third, second.start);
    let directory = self::directory(&torn);

    let recovery = recovered(&directory).unwrap();

    assert_eq!((recovery.frames.commits, recovery.is_complete()), (1, true));
    let [tail] = &recovery.losses[..] else { panic!("{:?}", recovery.losses) };
    assert_eq!((tail.kind, tail.offset), (LossKind::Tail, second.start));
}

/// Makes the frame at `place` claim less to have been durable, with good sums.
fn forge_claim(log: &mut [u8], place: &std::ops::Range<u64>, claim: u64) {
    let file = FileHeader::decode(log.first_chunk().unwrap()).unwrap();
    let sums = perennial::format::Sums::new(file.database, file.generation);
    let (start, end) = (place.start as usize, place.end as usize);
    log[start + 24..start + 32].copy_from_slice(&claim.to_le_bytes());
    let sum = sums.sum(place.start, &log[start..start + 56]);
    log[start + 56..start + 64].copy_from_slice(&sum.to_le_bytes());
    let sum = sums.sum(place.start, &log[start..end - 16]);
    log[end - 16..end - 8].copy_from_slice(&sum.to_le_bytes());
}

// R8
#[test]
fn the_oid_of_what_is_lost_is_not_given_out_again() {
    let story = story();
    let last_of_f = Oid::new(6);
    // All that has a record of it, and the index snapshot.
    let mut damaged = without_index(&story);
    for number in [5, 7] {
        damaged = zero(&damaged, frame(&story, FrameKind::Commit, number));
    }
    let directory = directory(&damaged);

    recovered(&directory).unwrap();

    let storage = open(directory, NEW, Mode::Existing).unwrap();
    assert!(storage.new_oid().unwrap() > last_of_f);
}

#[test]
fn a_type_whose_definition_is_lost_is_known_from_the_snapshot_or_told() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [a, b] = author.oids();
    author.put(&[(a, &[], "defines the type")]);
    author.put(&[(b, &[], "uses it")]);
    author.storage.close().unwrap();
    let whole = files(&*directory);
    let damaged = flip(&whole, frame(&whole, FrameKind::Commit, 0).start + 100);

    let with_snapshot = self::directory(&damaged);
    let known = recovered(&with_snapshot).unwrap();
    let without = self::directory(&without_index(&damaged));
    let unknown = recovered(&without).unwrap();

    let name = |directory: &Arc<MemoryDirectory>| {
        let storage = open(directory.clone(), NEW, Mode::ReadOnly).unwrap();
        let snapshot = storage.snapshot().unwrap();
        let perennial::storage::Load::Found(revision) = snapshot.load(b).unwrap() else { panic!() };
        storage.type_def(revision.type_id).unwrap().name.clone()
    };
    assert!(of_kind(&known, LossKind::Type).is_empty());
    assert_eq!(&*name(&with_snapshot), "recover.Text");
    let lost = of_kind(&unknown, LossKind::Type);
    assert_eq!(lost.len(), 1, "{:?}", unknown.losses);
    assert_eq!(&*name(&without), "lost type 0");
    // A new type does not get the number of the one that nobody knows.
    let mut author = Author {
        storage: open(without.clone(), NEW, Mode::Existing).unwrap(),
        newest: Default::default(),
    };
    let [c] = author.oids();
    author.commit(Piece { writes: &[(c, &[], "new")], type_name: "Mine", ..Piece::default() });
    drop(author);
    assert_eq!(&*name(&without), "lost type 0");
}

#[test]
fn with_both_copies_of_the_header_gone_the_snapshot_tells_which_database_it_is() {
    let story = story();
    let bad = zero(&story, 0..FIRST_FRAME);
    let directory = directory(&bad);
    let (original, _) = content(&self::directory(&story), OLD);

    let recovery = recovered(&directory).unwrap();

    assert!(recovery.is_complete(), "{:?}", recovery.losses);
    assert_eq!(recovery.losses[0].offset, 0);
    assert_eq!(content(&directory, NEW).0, original);
    let outcome = recovered(&self::directory(&without_index(&bad)));
    assert!(matches!(outcome, Err(Error::NotADatabase(_))), "{outcome:?}");
}

#[test]
fn a_bad_copy_of_the_header_is_told_and_costs_nothing() {
    let story = story();
    for at in [9, HEADER_COPY + 30] {
        let directory = directory(&flip(&story, at));

        let recovery = recovered(&directory).unwrap();

        let [loss] = &recovery.losses[..] else { panic!("{:?}", recovery.losses) };
        assert_eq!((loss.kind, loss.offset), (LossKind::Mended, at / HEADER_COPY * HEADER_COPY));
        assert!(recovery.is_complete());
    }
}

#[test]
fn a_file_that_lost_its_end_is_told_how_much() {
    let story = story();
    let whole = frames(&story[OLD]).last().unwrap().0.end;
    let cut = frame(&story, FrameKind::Commit, 8).start;
    let mut damaged = story.clone();
    damaged.get_mut(OLD).unwrap().truncate(cut as usize);
    let directory = directory(&damaged);

    let recovery = recovered(&directory).unwrap();

    let [end] = of_kind(&recovery, LossKind::Frame)[..] else { panic!("{:?}", recovery.losses) };
    assert_eq!((end.offset, end.length), (cut, Some(whole - cut)));
    let lost = of_kind(&recovery, LossKind::Revision);
    assert_eq!(lost.iter().map(|it| it.oid).collect::<Vec<_>>(), [Some(Oid::new(1))]);
}

// R6
#[test]
fn what_the_disk_cannot_read_is_lost_like_what_is_zeroed() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let oids: [Oid; 40] = author.oids();
    for (number, &oid) in oids.iter().enumerate() {
        let text = format!("object {number} ").repeat(number * 9 + 1);
        let writes: [(Oid, &[Oid], &str); 2] =
            [(oid, &[], &text), (oids[number / 2], &[], "again")];
        author.put(&writes[..1 + number.min(1)]);
    }
    author.storage.close().unwrap();
    let whole = files(&*directory);
    let blocks = whole[OLD].len() as u64 / 4096;
    assert!(blocks > 10);
    for block in 1..blocks {
        let bad = block * 4096..(block + 1) * 4096;
        let inner = MemoryDirectory::clone(&self::directory(&whole));
        let scratched = Scratched { inner, name: OLD, bad: bad.clone(), ..Scratched::default() };

        let recovery = recover((&scratched, OLD), (&scratched, NEW), &mut |_, _| {}).unwrap();

        let expected = recovered(&self::directory(&zero(&whole, bad.clone()))).unwrap();
        assert_eq!(recovery, expected, "{bad:?}");
        assert!(!recovery.is_complete());
    }
}

#[test]
fn what_cannot_be_recovered_is_refused_and_leaves_nothing() {
    let story = story();
    let refused = |files: &Files, spoil: &dyn Fn(&MemoryDirectory)| {
        let directory = directory(files);
        spoil(&directory);
        let before = self::files(&*directory);
        let error = recovered(&directory).expect_err("it is refused");
        assert_eq!(self::files(&*directory), before);
        error
    };
    let create = |name: &'static str| {
        move |directory: &MemoryDirectory| drop(directory.open(name, Access::CreateNew).unwrap())
    };
    let no_database = [("old.db".to_owned(), b"Dear diary".to_vec())].into();
    let with_snapshot =
        [("old.db".to_owned(), vec![7; 9000]), (INDEX.to_owned(), story[INDEX].clone())].into();

    assert!(matches!(refused(&story, &create(NEW)), Error::Io(_)));
    assert!(matches!(refused(&story, &create("new.db.index")), Error::Io(_)));
    assert!(matches!(refused(&no_database, &|_| {}), Error::NotADatabase(_)));
    assert!(matches!(refused(&with_snapshot, &|_| {}), Error::NotADatabase(_)));
    assert!(matches!(refused(&Files::new(), &|_| {}), Error::Io(_)));
    let directory = directory(&story);
    let _writer = open(directory.clone(), OLD, Mode::Existing).unwrap();
    assert!(matches!(recovered(&directory), Err(Error::Locked(_))));
}

#[test]
fn a_disk_that_fails_meanwhile_leaves_no_new_file() {
    let story = story();
    for kind in [Kind::Create, Kind::Write, Kind::Sync, Kind::Rename, Kind::SyncNames] {
        for nth in 0..4 {
            let disk = SimDisk::new();
            for (name, bytes) in &story {
                disk.open(name, Access::CreateNew).unwrap().append(0, bytes).unwrap();
            }
            disk.fail(kind, nth, Failure::Full, Times::Once);

            let outcome = recover((&disk, OLD), (&disk, NEW), &mut |_, _| {});

            assert_eq!(outcome.is_err(), disk.failures() == 1, "{kind:?} {nth}: {outcome:?}");
            let names = disk.names().unwrap();
            assert_eq!(names.len(), if outcome.is_err() { 2 } else { 3 }, "{names:?}");
        }
    }
}

#[test]
fn an_empty_database_is_recovered() {
    let directory = Arc::new(MemoryDirectory::new());
    open(directory.clone(), OLD, Mode::CreateNew).unwrap().close().unwrap();

    let recovery = recovered(&directory).unwrap();

    assert_eq!((recovery.last_tid, recovery.losses.len()), (Tid::ZERO, 0));
    assert_eq!(recovery.copied_length, FIRST_FRAME);
}
