//! A program of operations on a storage on a simulated disk that fails after a countdown and
//! loses power; compared step by step with what should be there.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use perennial::format::TypeDef;
use perennial::storage::file::{FileOptions, Mode, verify};
use perennial::storage::{
    Batch, Durability, FileStorage, Intent, Promise, Storage, TwoPhase, Verdict,
};
use perennial::{Error, GlobalId, Oid, Tid};
use perennial_fuzz::disk::sim::{Failure, Kind, Policy, SimDisk, Times};
use perennial_fuzz::files::NAME;
use perennial_fuzz::life::Expected;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many objects there are.
const OBJECTS: u8 = 6;

/// No program is longer.
const STEPS: usize = 60;

fuzz_target!(|program: Vec<Step>| {
    let mut life = Life::begin();
    program.iter().take(STEPS).for_each(|step| life.step(step));
    life.disk.heal();
    life.reopen();
    life.end();
});

/// One step of a program.
#[derive(Debug, Arbitrary)]
enum Step {
    /// Commits changes: of each object, by its number, its new length, or its removal.
    Commit {
        changes: Vec<(u8, Option<u8>)>,
        lazy: bool,
    },
    /// Tries to commit on a base that is not the newest.
    Stale(u8),
    Sync,
    Tend,
    WriteIndex,
    /// Promises changes to a transaction that is decided elsewhere.
    Promise(Vec<(u8, Option<u8>)>),
    /// Keeps the promise, or takes it back.
    Settle(bool),
    /// Closes and opens again.
    Reopen,
    /// Loses the power.
    Crash(u8, u16),
    /// Makes something fail after it worked some more times.
    Fail {
        kind: u8,
        after: u8,
        failure: u8,
        always: bool,
    },
    Heal,
}

type Changes = Vec<(Oid, Option<Vec<u8>>)>;

/// A promise, as it stands.
struct Promised {
    gtid: GlobalId,
    changes: Changes,
    /// Who can keep it, if nobody lost it.
    promise: Option<Box<dyn Promise>>,
    /// What was decided, if anything was.
    decided: Option<bool>,
    /// It was given: it may not be forgotten.
    given: bool,
    /// How many commits there were once it was kept.
    kept: Option<usize>,
}

struct Life {
    disk: SimDisk,
    storage: Option<FileStorage>,
    expected: Expected,
    bases: BTreeMap<Oid, Tid>,
    promised: Option<Promised>,
    count: u8,
    faults: bool,
}

fn options() -> FileOptions {
    FileOptions { housekeeping: false, hold_in_doubt: true, ..FileOptions::default() }
}

impl Life {
    fn begin() -> Life {
        let disk = SimDisk::new();
        let storage =
            FileStorage::open(Arc::new(disk.clone()), NAME, options()).expect("it is new");
        Life {
            disk,
            storage: Some(storage),
            expected: Expected::default(),
            bases: BTreeMap::new(),
            promised: None,
            count: 0,
            faults: false,
        }
    }

    fn step(&mut self, step: &Step) {
        self.count = self.count.wrapping_add(1);
        match step {
            Step::Commit { changes, lazy } => self.commit(&self.changes(changes), *lazy),
            Step::Stale(object) => self.stale(*object),
            Step::Sync => {
                if self.try_this(|storage| storage.sync()) {
                    self.expected.durable();
                }
            }
            Step::Tend => drop(self.try_this(|storage| storage.tend().map(drop))),
            Step::WriteIndex => drop(self.try_this(FileStorage::write_index)),
            Step::Promise(changes) => self.promise(self.changes(changes)),
            Step::Settle(keep) => self.settle(*keep),
            Step::Reopen => self.reopen(),
            Step::Crash(policy, seed) => self.crash(*policy, *seed),
            Step::Fail { kind, after, failure, always } => {
                self.faults = true;
                let kinds = [Kind::Write, Kind::Sync, Kind::Read, Kind::Rename, Kind::Create];
                let more = [Kind::Remove, Kind::SyncNames, Kind::Trim];
                let kind = *kinds.iter().chain(&more).nth(usize::from(kind % 8)).expect("eight");
                let failure = [Failure::Io, Failure::Full, Failure::Lost][usize::from(failure % 3)];
                let times = if *always { Times::Always } else { Times::Once };
                self.disk.fail(kind, u64::from(after % 32), failure, times);
            }
            Step::Heal => {
                self.disk.heal();
                self.faults = false;
            }
        }
        if let (Some(storage), false) = (&self.storage, self.faults) {
            self.expected.check(storage);
        }
    }

    /// Whether it was done; where it was not, the disk failed, now or before.
    fn try_this(&self, work: impl FnOnce(&FileStorage) -> perennial::Result<()>) -> bool {
        let Some(storage) = &self.storage else { return false };
        let result = work(storage);
        if let Err(error) = &result {
            failed(error);
        }
        result.is_ok()
    }

    /// Each object once.
    fn changes(&self, changes: &[(u8, Option<u8>)]) -> Changes {
        let count = self.count;
        let data = move |length: u8| vec![count; usize::from(length) * 9];
        let named = changes
            .iter()
            .map(|(object, length)| (Oid::new(u64::from(object % OBJECTS) + 1), length.map(data)));
        named.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn batch(&self, storage: &FileStorage, changes: &Changes) -> Batch {
        let definition = TypeDef { name: "text".into(), version: 1, shape: "str".into() };
        let type_id = storage.intern(&definition).expect("a type");
        let mut batch = Batch::default();
        for (oid, data) in changes {
            let base = self.bases.get(oid).copied().unwrap_or(Tid::ZERO);
            match data {
                Some(data) => batch.put((*oid, base, false), type_id, &[], data),
                None => batch.remove(*oid, base, false),
            }
        }
        batch
    }

    /// Whether one of the objects is promised to others.
    fn is_promised(&self, changes: &Changes) -> bool {
        let promised = self.promised.as_ref().filter(|it| it.given);
        promised
            .is_some_and(|it| it.changes.iter().any(|(oid, _)| changes.iter().any(|c| c.0 == *oid)))
    }

    fn give_out(storage: &FileStorage) -> bool {
        (0..OBJECTS).all(|_| {
            storage.facts().next_oid.number() > u64::from(OBJECTS) || storage.new_oid().is_ok()
        })
    }

    fn commit(&mut self, changes: &Changes, lazy: bool) {
        let Some(storage) = &self.storage else { return };
        // Who meets a promise waits for it: a program does so now and then.
        let waits = self.is_promised(changes) && self.count % 16 != 0;
        if changes.is_empty() || waits || !Life::give_out(storage) {
            return;
        }
        let mut batch = self.batch(storage, changes);
        batch.durability = if lazy { Durability::Lazy } else { Durability::Sync };
        match storage.commit(&Arc::new(batch)) {
            Ok(Verdict::Passed(receipt)) => {
                assert!(!self.is_promised(changes), "what is promised is changed by nobody else");
                self.bases.extend(changes.iter().map(|(oid, _)| (*oid, receipt.tid)));
                self.expected.committed(changes, receipt.tid, !lazy);
            }
            Ok(Verdict::Conflicts(contenders)) => {
                assert!(self.is_promised(changes), "{contenders:?}");
            }
            Err(Error::Unknown(_)) => self.expected.unknown(changes),
            Err(error) => failed(&error),
        }
    }

    fn stale(&mut self, object: u8) {
        let (Some(storage), oid) = (&self.storage, Oid::new(u64::from(object % OBJECTS) + 1))
        else {
            return;
        };
        let Some(&base) = self.bases.get(&oid) else { return };
        let old = Tid::new(base.number() - 1);
        let mut batch = Batch::default();
        batch.remove(oid, old, false);
        match storage.commit(&Arc::new(batch)) {
            Ok(Verdict::Passed(_)) => panic!("an old base is good enough"),
            Ok(Verdict::Conflicts(contenders)) => assert_eq!(contenders[0].oid, oid),
            Err(error) => failed(&error),
        }
    }

    fn promise(&mut self, changes: Changes) {
        let Some(storage) = &self.storage else { return };
        if self.promised.is_some() || changes.is_empty() || !Life::give_out(storage) {
            return;
        }
        let gtid = GlobalId::new([self.count; 16]);
        let batch = Arc::new(self.batch(storage, &changes));
        let mut promised =
            Promised { gtid, changes, promise: None, decided: None, given: false, kept: None };
        match storage.prepare(&batch, &Intent { gtid, coordinator: None }) {
            Ok(Verdict::Passed(promise)) => {
                (promised.promise, promised.given) = (Some(promise), true);
                self.expected.durable();
            }
            Ok(Verdict::Conflicts(contenders)) => panic!("{contenders:?}"),
            // What may be left of the attempt is given up.
            Err(error) => {
                promised.decided = Some(false);
                if !matches!(error, Error::Unknown(_)) {
                    failed(&error);
                }
            }
        }
        self.promised = Some(promised);
    }

    fn settle(&mut self, keep: bool) {
        let (Some(storage), Some(mut promised)) = (&self.storage, self.promised.take()) else {
            return;
        };
        // What was decided once stays so.
        let keep = *promised.decided.get_or_insert(keep);
        let outcome = match promised.promise.take() {
            Some(promise) if keep => promise.finish().map(|receipt| Some(receipt.tid)),
            Some(promise) => promise.abort().map(|()| None),
            None => {
                let before = storage.last_tid();
                let settled = storage.settle(promised.gtid, keep);
                settled.map(|()| Some(storage.last_tid()).filter(|&tid| tid > before))
            }
        };
        match outcome {
            Ok(Some(tid)) => {
                self.bases.extend(promised.changes.iter().map(|(oid, _)| (*oid, tid)));
                self.expected.committed(&promised.changes, tid, false);
                promised.kept = Some(self.expected.commits());
            }
            Ok(None) => {}
            Err(Error::Unknown(_)) if keep => {
                self.expected.unknown(&promised.changes);
                promised.kept = Some(self.expected.commits());
            }
            Err(Error::Unknown(_)) => {}
            Err(error) => failed(&error),
        }
        // A power loss may bring it back into doubt.
        self.promised = Some(Promised { given: false, ..promised });
    }

    /// Closes, and opens again what is there.
    fn reopen(&mut self) {
        if let Some(storage) = self.storage.take() {
            let closed = storage.close();
            match &closed {
                Ok(()) => self.expected.durable(),
                Err(Error::Unknown(_)) => {}
                Err(error) => failed(error),
            }
        }
        self.open();
    }

    fn crash(&mut self, policy: u8, seed: u16) {
        let policy = Policy::ALL[usize::from(policy) % Policy::ALL.len()];
        // The disk is what it was at this moment: that the storage is closed comes after it.
        self.disk = self.disk.crash(policy, u64::from(seed));
        self.storage = None;
        self.faults = false;
        self.open();
    }

    fn open(&mut self) {
        if let Some(promised) = &mut self.promised {
            promised.promise = None;
        }
        let opened = FileStorage::open(Arc::new(self.disk.clone()), NAME, options());
        let opened = opened.or_else(|error| {
            failed(&error);
            assert!(self.faults, "{error:?}");
            self.disk.heal();
            self.faults = false;
            FileStorage::open(Arc::new(self.disk.clone()), NAME, options())
        });
        let storage = opened.expect("the disk is good again");
        self.disk.heal();
        self.faults = false;
        self.doubts(&storage);
        self.storage = Some(storage);
    }

    /// Settles what is in doubt as it was decided; else it stays so.
    fn doubts(&mut self, storage: &FileStorage) {
        let doubts = storage.in_doubt().expect("it is open");
        assert!(doubts.len() <= 1, "{doubts:?}");
        let promised = self.promised.take();
        let doubt = doubts.first().map(|doubt| doubt.gtid);
        let Some(mut promised) = promised else {
            assert_eq!(doubt, None, "nothing was promised");
            self.expected.opened(storage);
            return self.rebase();
        };
        self.expected.opened(storage);
        self.rebase();
        if doubt.is_none() {
            assert!(!promised.given || promised.decided.is_some(), "a promise is forgotten");
            let there = promised.kept.is_some_and(|commits| commits <= self.expected.commits());
            assert!(promised.decided != Some(true) || there, "what was kept is lost");
            return;
        }
        assert_eq!(doubt, Some(promised.gtid));
        (promised.given, promised.kept) = (true, None);
        self.promised = Some(promised);
    }

    /// The tids of what is there now.
    fn rebase(&mut self) {
        self.bases = self.expected.bases();
    }

    /// Nothing is wrong with what is left.
    fn end(mut self) {
        self.storage = None;
        let found = verify(&self.disk, NAME, &mut |_, _| {}).expect("it is a database");
        assert!(found.is_sound(), "{:?}", found.findings);
        let options = FileOptions { mode: Mode::ReadOnly, ..options() };
        let storage =
            FileStorage::open(Arc::new(self.disk.clone()), NAME, options).expect("it opens");
        self.expected.check(&storage);
    }
}

/// Checks that it failed for the disk's sake.
fn failed(error: &Error) {
    let known = matches!(error, Error::Io(_) | Error::Halted(_) | Error::Unknown(_));
    assert!(known, "{error:?}");
}
