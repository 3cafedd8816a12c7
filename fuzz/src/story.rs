//! A database that is the same in every run, at several moments of its life.
//!
//! Its id is chosen and not random, and its tids count on from one in the future, whatever the
//! clock says. It holds what a log can hold: types, notes, references, removals, a promise that
//! was kept, one that was taken back, one in doubt, and a decision with its end.

use crate::files::{Files, INDEX, NAME, directory, files, open};
use perennial::file::MemoryDirectory;
use perennial::format::{Decision, FIRST_FRAME, FileHeader, Participant, Sums, TypeDef};
use perennial::storage::file::{Mode, Reads};
use perennial::storage::{Batch, FileStorage, Intent, Promise, Storage, TwoPhase, Verdict};
use perennial::{DatabaseId, GlobalId, Oid, Tid};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The story, told once.
#[derive(Debug)]
pub struct Story {
    /// The files at several moments, without an index snapshot.
    pub moments: Vec<Files>,
    /// Index snapshots at several moments of the life of the last of these files.
    pub snapshots: Vec<Vec<u8>>,
    /// Index snapshots of a copy that went another way.
    pub strangers: Vec<Vec<u8>>,
    /// The files as closing left them.
    pub closed: Files,
    header: FileHeader,
}

impl Story {
    /// The one there is.
    pub fn get() -> &'static Story {
        static STORY: OnceLock<Story> = OnceLock::new();
        STORY.get_or_init(tell)
    }

    /// The sums of its files.
    pub fn sums(&self) -> Sums {
        Sums::new(self.header.database, self.header.generation)
    }

    /// A log of any bytes behind a good file header.
    pub fn begin(&self, log: &[u8]) -> Vec<u8> {
        [&self.header.encode_file(), log].concat()
    }

    /// Its files at a moment.
    pub fn moment(&self, number: u8) -> &Files {
        &self.moments[usize::from(number) % self.moments.len()]
    }
}

fn tell() -> Story {
    let (database, last_tid) = (DatabaseId::new([7; 16]), Tid::new(4_000_000_000_000_000));
    let header = FileHeader { last_tid, ..FileHeader::new(database) };
    let directory = directory(&Files::from([(NAME.into(), header.encode_file())]));
    let storage = open(directory.clone(), Mode::Existing, Reads::Pread).expect("it is new");
    let mut teller = Teller::of(directory, storage);
    teller.tell();
    let Teller { directory, storage, moments, snapshots, .. } = teller;
    storage.close().expect("it closes");
    let strangers = go_another_way(&moments[2]);
    Story { moments, snapshots, strangers, closed: files(&*directory), header }
}

/// The index snapshots of a copy of these files, with other transactions than the story goes on to.
fn go_another_way(files: &Files) -> Vec<Vec<u8>> {
    let directory = directory(files);
    let storage = open(directory.clone(), Mode::Existing, Reads::Pread).expect("it is good");
    let mut teller = Teller::of(directory, storage);
    let last = teller.storage.last_tid();
    teller.bases.extend([4, 600].map(|oid| (Oid::new(oid), last)));
    teller.snapshot();
    teller.commit(&[Put(4, "four goes astray"), Pin(8, "eight")], "");
    teller.snapshot();
    teller.snapshots
}

struct Teller {
    directory: Arc<MemoryDirectory>,
    storage: FileStorage,
    bases: BTreeMap<Oid, Tid>,
    moments: Vec<Files>,
    snapshots: Vec<Vec<u8>>,
}

/// What becomes of an object.
enum Change {
    Put(u64, &'static str),
    Pin(u64, &'static str),
    Remove(u64),
}

use Change::{Pin, Put, Remove};

impl Teller {
    fn of(directory: Arc<MemoryDirectory>, storage: FileStorage) -> Teller {
        let (bases, moments, snapshots) = Default::default();
        Teller { directory, storage, bases, moments, snapshots }
    }

    fn tell(&mut self) {
        (0..600).for_each(|_| drop(self.storage.new_oid()));
        self.moment();
        self.commit(&[Put(1, "one"), Pin(2, "two"), Put(3, "three")], "the first");
        self.moment();
        self.snapshot();
        self.commit(&[Put(1, "one again"), Remove(3)], "");
        self.commit(&[Put(600, "on the second page"), Put(4, "four")], "");
        self.moment();
        let kept = self.promise(1, &[Put(2, "two, as promised"), Put(5, "five")]);
        self.snapshot();
        kept.finish().expect("it is kept");
        self.bases.extend([2, 5].map(|oid| (Oid::new(oid), self.storage.last_tid())));
        self.promise(2, &[Put(4, "never")]).abort().expect("it is taken back");
        self.decide(3, &[Put(6, "decided here")]);
        self.moment();
        self.snapshot();
        self.storage.end_decision(gtid(3)).expect("it is ended");
        self.decide(4, &[Put(6, "decided here, and not ended")]);
        self.commit(&[Put(1, "one for the third time"), Pin(7, "seven")], "");
        self.commit(&[Remove(2)], "the last");
        self.snapshot();
        self.moment();
        let doubt = self.promise(5, &[Put(4, "in doubt"), Put(5, "in doubt, too")]);
        self.moment();
        self.snapshot();
        doubt.abort().expect("it is taken back");
        self.commit(&[Put(3, "three is back")], "");
        self.moment();
    }

    /// Notes the files as they are, but for the snapshot, and for most of the zeros at the end.
    fn moment(&mut self) {
        let mut files = files(&*self.directory);
        files.remove(INDEX);
        let log = files.get_mut(NAME).expect("it is there");
        let written = log.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        log.truncate((written + 256).next_multiple_of(8).max(FIRST_FRAME as usize));
        self.moments.push(files);
    }

    fn snapshot(&mut self) {
        self.storage.write_index().expect("it is written");
        self.snapshots.extend(files(&*self.directory).remove(INDEX));
    }

    fn batch(&self, changes: &[Change], note: &str) -> Batch {
        let definition =
            |name: &str| TypeDef { name: name.into(), version: 1, shape: "str".into() };
        let intern = |name: &str| self.storage.intern(&definition(name)).expect("a new type");
        let (text, other) = (intern("story.Text"), intern("story.Pinned"));
        let mut batch = Batch::default();
        batch.metadata.note = note.into();
        if !note.is_empty() {
            batch.metadata.user = "teller".into();
            batch.metadata.extension.insert("via".into(), vec![1, 2]);
        }
        let base = |oid| self.bases.get(&Oid::new(oid)).copied().unwrap_or(Tid::ZERO);
        for change in changes {
            match *change {
                Put(oid, data) => {
                    let references: Vec<Oid> = [1].map(Oid::new).into();
                    batch.put(
                        (Oid::new(oid), base(oid), false),
                        text,
                        &references,
                        data.as_bytes(),
                    );
                }
                Pin(oid, data) => {
                    batch.put((Oid::new(oid), base(oid), true), other, &[], data.as_bytes());
                }
                Remove(oid) => batch.remove(Oid::new(oid), base(oid), false),
            }
        }
        batch
    }

    fn commit(&mut self, changes: &[Change], note: &str) {
        let batch = self.batch(changes, note);
        self.store(batch);
    }

    fn decide(&mut self, number: u8, changes: &[Change]) {
        let participants = vec![
            Participant { name: "other".into(), database: Some(DatabaseId::new([9; 16])) },
            Participant { name: "stranger".into(), database: None },
        ];
        let mut batch = self.batch(changes, "");
        batch.decision = Some(Decision { gtid: gtid(number), participants });
        self.store(batch);
    }

    fn store(&mut self, batch: Batch) {
        let oids: Vec<Oid> = batch.writes().map(|write| write.oid).collect();
        match self.storage.commit(&Arc::new(batch)).expect("it commits") {
            Verdict::Passed(receipt) => {
                self.bases.extend(oids.into_iter().map(|oid| (oid, receipt.tid)));
            }
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }

    fn promise(&mut self, number: u8, changes: &[Change]) -> Box<dyn Promise> {
        let mut batch = self.batch(changes, "promised");
        batch.reads.extend(self.bases.get(&Oid::new(1)).map(|&tid| (Oid::new(1), tid)));
        let intent = Intent { gtid: gtid(number), coordinator: self.storage.coordinator() };
        match self.storage.prepare(&Arc::new(batch), &intent).expect("an answer") {
            Verdict::Passed(promise) => promise,
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    }
}

/// The name of a transaction of several databases in the story.
pub fn gtid(number: u8) -> GlobalId {
    GlobalId::new([number; 16])
}
