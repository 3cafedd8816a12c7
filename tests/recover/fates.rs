//! What becomes of transactions of several databases, when some of what was said of them is lost.

use super::kit::{
    Author, OLD, Piece, content, directory, files, flip, frame, gtid, of_kind, open, recovered,
    story,
};
use perennial::file::MemoryDirectory;
use perennial::format::FrameKind;
use perennial::storage::file::{LossKind, Mode};
use perennial::storage::{Fate, Storage, TwoPhase};
use perennial::{Oid, Tid};
use std::sync::Arc;

// R6, T16
#[test]
fn a_decision_that_may_be_lost_is_never_taken_for_an_abort() {
    let story = story();
    // The open decision; then what stands behind it, of which nobody knows whether it was one.
    for (damaged, since) in [(4, 3), (6, 5)] {
        let place = frame(&story, FrameKind::Commit, damaged);
        let (original, _) = content(&directory(&story), OLD);
        let directory = directory(&flip(&story, place.start + 20));

        recovered(&directory).unwrap();

        let storage = open(directory, "new.db", Mode::Existing).unwrap();
        let fate = |number, since: Tid| storage.decision(gtid(number), since).unwrap();
        assert!(matches!(fate(99, original[since].tid), Fate::Unknown), "since {since}");
        assert!(matches!(fate(3, Tid::ZERO), Fate::Committed(_)), "what is there is known");
        assert!(matches!(fate(99, original[7].tid), Fate::Aborted), "what came later is, too");
    }
}

// R6, T16
#[test]
fn a_promise_whose_end_is_lost_is_in_doubt_again() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [a, b] = author.oids();
    author.put(&[(a, &[], "old"), (b, &[], "other")]);
    author.keep(1, Piece { writes: &[(a, &[], "kept")], reads: &[b], ..Piece::default() });
    author.storage.close().unwrap();
    let whole = files(&*directory);
    let kept = frame(&whole, FrameKind::Commit, 1);
    let directory = self::directory(&flip(&whole, kept.start + 100));

    let recovery = recovered(&directory).unwrap();

    assert_eq!(recovery.in_doubt, [gtid(1)]);
    assert!(of_kind(&recovery, LossKind::Promise).is_empty());
    let storage = open(directory.clone(), "new.db", Mode::Existing).unwrap();
    storage.settle(gtid(1), true).unwrap();
    storage.close().unwrap();
    let (all, _) = content(&directory, "new.db");
    assert_eq!(all[1].records[0].1.as_ref().unwrap().data, b"kept", "who decides has the word");
}

// R6, T16
#[test]
fn a_promise_that_must_have_ended_is_left_out_and_told() {
    for (writes, reads) in [(true, false), (false, true)] {
        let directory = Arc::new(MemoryDirectory::new());
        let mut author = Author::new(&directory);
        let [a, b, c] = author.oids();
        author.put(&[(a, &[], "old"), (b, &[], "other")]);
        let (write, read) = ([(a, &[][..], "kept")], [b]);
        let other = [(c, &[][..], "kept")];
        let promised = if writes { &write } else { &other };
        author.keep(1, Piece { writes: promised, reads: &read, ..Piece::default() });
        author.put(&[(if reads { b } else { a }, &[], "changed since")]);
        author.storage.close().unwrap();
        let whole = files(&*directory);
        let prepare = frame(&whole, FrameKind::Prepare, 0);
        let kept = frame(&whole, FrameKind::Commit, 1);
        let directory = self::directory(&flip(&whole, kept.start + 100));

        let recovery = recovered(&directory).unwrap();

        let told = of_kind(&recovery, LossKind::Promise);
        assert_eq!(told.iter().map(|it| it.offset).collect::<Vec<_>>(), [prepare.start]);
        assert!(recovery.in_doubt.is_empty());
        open(directory, "new.db", Mode::Existing).unwrap().close().unwrap();
    }
}

#[test]
fn a_promise_relies_on_what_stands_where_what_it_relied_on_is_lost() {
    let directory = Arc::new(MemoryDirectory::new());
    let mut author = Author::new(&directory);
    let [a, b] = author.oids();
    author.put(&[(a, &[], "old"), (b, &[], "first")]);
    author.put(&[(a, &[], "base"), (b, &[], "second")]);
    let piece = Piece { writes: &[(a, &[], "doubtful")], reads: &[b], ..Piece::default() };
    drop(author.promise(1, &piece));
    author.storage.close().unwrap();
    let whole = files(&*directory);
    let base = frame(&whole, FrameKind::Commit, 1);
    let directory = self::directory(&flip(&whole, base.start + 100));

    let recovery = recovered(&directory).unwrap();

    assert_eq!(recovery.in_doubt, [gtid(1)]);
    assert_eq!(of_kind(&recovery, LossKind::Revision).len(), 2);
    let storage = open(directory, "new.db", Mode::Existing).unwrap();
    storage.settle(gtid(1), false).unwrap();
    assert_eq!(storage.history(Oid::new(1)).unwrap().len(), 1);
}

#[test]
fn a_lost_promise_is_told() {
    let story = story();
    let prepare = frame(&story, FrameKind::Prepare, 2);
    let directory = directory(&flip(&story, prepare.start + 70));

    let recovery = recovered(&directory).unwrap();

    assert!(recovery.in_doubt.is_empty());
    let told = of_kind(&recovery, LossKind::Promise);
    assert_eq!(told.iter().map(|it| it.offset).collect::<Vec<_>>(), [prepare.start]);
}
