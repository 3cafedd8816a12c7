//! Damage of every place of a small file: everything else is recovered, and every loss told.

use super::kit::{
    Files, NEW, OLD, Told, content, directory, flip, frames, open, recovered, story, without_index,
    zero,
};
use perennial::format::{FIRST_FRAME, FrameKind};
use perennial::storage::Storage;
use perennial::storage::file::{FindingKind, Loss, LossKind, Mode, Recovery, verify};
use perennial::{Oid, Tid};
use std::collections::BTreeMap;
use std::ops::Range;

/// A good file, to be damaged again and again.
pub struct Sweep {
    pub files: Files,
    original: Vec<Told>,
    newest: BTreeMap<Oid, Tid>,
    /// The frames: where they stand, their kind, and the transactions that they are.
    frames: Vec<(Range<u64>, FrameKind, Tid)>,
}

impl Sweep {
    fn new() -> Sweep {
        Sweep::of(story())
    }

    pub fn of(files: Files) -> Sweep {
        let (original, newest) = content(&directory(&files), OLD);
        let frames = frames(&files[OLD]);
        let frames = frames.into_iter().map(|(place, it)| (place, it.kind, it.tid)).collect();
        Sweep { files, original, newest, frames }
    }

    /// Where the log ends.
    pub fn end(&self) -> u64 {
        self.frames.last().unwrap().0.end
    }

    /// Checks what is recovered of `damaged`, whose bytes at `place` are not what they were.
    pub fn check(&self, damaged: &Files, place: &Range<u64>) {
        self.check_all(damaged, std::slice::from_ref(place));
    }

    /// Checks what is recovered of `damaged`, whose bytes at these places may not be what they were.
    pub fn check_all(&self, damaged: &Files, place: &[Range<u64>]) {
        let directory = directory(damaged);
        let recovery = recovered(&directory).unwrap_or_else(|error| panic!("{place:?}: {error}"));
        let (all, newest) = content(&directory, NEW);
        let mut copied = all.iter().peekable();
        let mut commits = self.original.iter();
        for (frame, kind, tid) in &self.frames {
            let is_hit = place.iter().any(|it| frame.start < it.end && it.start < frame.end);
            let changed = frame.start as usize..frame.end as usize;
            let is_hit =
                is_hit && damaged[OLD].get(changed.clone()) != self.files[OLD].get(changed);
            assert!(!is_hit || names(&recovery, frame), "{place:?}: {frame:?} is lost in silence");
            if *kind != FrameKind::Commit {
                continue;
            }
            let original = commits.next().unwrap();
            match copied.next_if(|copy| copy.tid == *tid) {
                Some(copy) => assert_eq!(*copy, named(original, &recovery, copy), "{place:?}"),
                None => assert!(is_hit, "{place:?}: the transaction at {frame:?} is not copied"),
            }
        }
        assert_eq!(copied.next(), None, "{place:?}: there never was such a transaction");
        self.check_losses(damaged, &recovery, &newest);
        let storage = open(directory.clone(), NEW, Mode::Existing).unwrap();
        assert!(storage.new_oid().unwrap() > *self.newest.last_key_value().unwrap().0);
        storage.close().unwrap();
        let verification = verify(&*directory, NEW, &mut |_, _| {}).unwrap();
        assert!(verification.findings.iter().all(|it| it.kind == FindingKind::Dangling));
    }

    /// Whatever stands is the newest revision, or its loss is told.
    fn check_losses(&self, damaged: &Files, recovery: &Recovery, stands: &BTreeMap<Oid, Tid>) {
        let told: BTreeMap<_, _> = recovery
            .losses
            .iter()
            .filter(|loss| loss.kind == LossKind::Revision && loss.certain)
            .map(|loss| (loss.oid.unwrap(), loss.stands))
            .collect();
        for (oid, newest) in &self.newest {
            let stands = stands.get(oid).copied();
            if stands == Some(*newest) {
                assert!(!told.contains_key(oid), "{:?}", recovery.losses);
            } else if damaged.len() > 1 || told.contains_key(oid) {
                // Without a snapshot, of what is bad nobody can know whose it was.
                assert_eq!(told.get(oid), Some(&stands), "{oid}: {:?}", recovery.losses);
            }
        }
    }
}

/// The transaction as it is copied where the definition of a type is lost, and told to be.
fn named(original: &Told, recovery: &Recovery, copy: &Told) -> Told {
    let mut named = original.clone();
    for ((_, state), (_, copied)) in named.records.iter_mut().zip(&copy.records) {
        let (Some(state), Some(copied)) = (state, copied) else { continue };
        let stand_in = copied.type_name.split(" version").next().unwrap();
        let is_told = |loss: &Loss| loss.type_name.as_deref() == Some(stand_in);
        if recovery.losses.iter().any(|it| it.kind == LossKind::Type && is_told(it)) {
            state.type_name.clone_from(&copied.type_name);
        }
    }
    named
}

/// Whether something is told of the bytes `frame`.
fn names(recovery: &Recovery, frame: &Range<u64>) -> bool {
    recovery.losses.iter().any(|loss| {
        let end = loss.offset + loss.length.unwrap_or(0).max(1);
        loss.offset < frame.end && frame.start < end
    })
}

/// Flips bytes, each so many after the last one.
fn flips(step: usize) {
    let sweep = Sweep::new();
    let forgetful = without_index(&sweep.files);
    for at in (FIRST_FRAME..sweep.end()).step_by(step) {
        sweep.check(&flip(&sweep.files, at), &(at..at + 1));
        sweep.check(&flip(&forgetful, at), &(at..at + 1));
    }
}

/// Zeroes stretches, each beginning so many bytes after the last one.
fn zeros(step: usize) {
    let sweep = Sweep::new();
    let forgetful = without_index(&sweep.files);
    for length in [64, 200, 512, 1500] {
        for at in (FIRST_FRAME..sweep.end()).step_by(step) {
            let place = at..(at + length).min(sweep.end());
            sweep.check(&zero(&sweep.files, place.clone()), &place);
            // Without the snapshot, what is zeroed to the end was never there.
            if place.end < sweep.end() - 80 {
                sweep.check(&zero(&forgetful, place.clone()), &place);
            }
        }
    }
}

// R6
#[test]
fn whatever_byte_is_flipped_all_else_is_recovered_and_every_loss_told() {
    flips(17);
}

// R6
#[test]
fn whatever_stretch_is_zeroed_all_else_is_recovered_and_every_loss_told() {
    zeros(264);
}

// R6
#[test]
#[ignore = "a minute: every byte, one after the other"]
fn recover_every_byte_and_every_stretch() {
    flips(1);
    zeros(8);
}
