//! What `verify` finds, and that it finds it wherever it is.

mod promises;
mod trees;

use crate::support::files::content;
use crate::support::rng::Rng;
use perennial::file::{Access, Directory, DiskDirectory, MemoryDirectory};
use perennial::format::{
    Decision, FIRST_FRAME, Fields, FileHeader, FrameBuilder, FrameHeader, FrameKind, HEADER_COPY,
    IndexHeader, IndexTables, PAGE_LEN, PAGES_START, Participant, RecordHead, Sums, TypeDef,
    TypeId, page_sum,
};
use perennial::storage::file::{FileOptions, Finding, FindingKind, Verification, recover, verify};
use perennial::storage::{Batch, Durability, FileStorage, Intent, Storage, TwoPhase, Verdict};
use perennial::{DatabaseId, Error, GlobalId, Oid, Tid};
use std::ops::Range;
use std::sync::Arc;

const NAME: &str = "verified.db";
const INDEX: &str = "verified.db.index";

/// The bytes of a database, and of its index snapshot where it has one.
#[derive(Clone)]
struct Files {
    log: Vec<u8>,
    index: Option<Vec<u8>>,
}

impl Files {
    fn of(directory: &MemoryDirectory) -> Files {
        Files { log: content(directory, NAME).unwrap(), index: content(directory, INDEX) }
    }

    fn directory(&self) -> MemoryDirectory {
        let directory = MemoryDirectory::new();
        for (name, bytes) in [(NAME, Some(&self.log)), (INDEX, self.index.as_ref())] {
            if let Some(bytes) = bytes {
                directory.open(name, Access::CreateNew).unwrap().append(0, bytes).unwrap();
            }
        }
        directory
    }

    fn verify(&self) -> Verification {
        verify(&self.directory(), NAME, &mut |_, _| {}).expect("the file can be read")
    }

    /// The places of its frames, and their kinds and tids.
    fn frames(&self) -> Vec<(Range<u64>, FrameHeader)> {
        let header = FileHeader::decode(self.log.first_chunk().unwrap()).unwrap();
        let sums = Sums::new(header.database, header.generation);
        let (mut frames, mut at) = (Vec::new(), FIRST_FRAME);
        while let Some(bytes) = self.log.get(at as usize..).and_then(<[u8]>::first_chunk) {
            let Ok(header) = FrameHeader::decode(&sums, at, bytes) else { break };
            let end = at + header.frame_len().unwrap();
            frames.push((at..end, header));
            at = end;
        }
        frames
    }

    /// Where `text` stands, which is there once.
    fn place(&self, text: &str) -> usize {
        let places: Vec<_> =
            (0..self.log.len()).filter(|&at| self.log[at..].starts_with(text.as_bytes())).collect();
        assert_eq!(places.len(), 1, "{text}");
        places[0]
    }
}

fn kinds(verification: &Verification) -> Vec<FindingKind> {
    verification.findings.iter().map(|finding| finding.kind).collect()
}

fn put(storage: &FileStorage, writes: &[(Oid, Tid, &[Oid], &str)]) -> Tid {
    let definition = TypeDef { name: "verify.Text".into(), version: 1, shape: "str".into() };
    let type_id = storage.intern(&definition).unwrap();
    let mut batch = Batch::default();
    for (oid, base, references, text) in writes {
        batch.put((*oid, *base, text.starts_with("pinned")), type_id, references, text.as_bytes());
    }
    commit(storage, batch)
}

fn commit(storage: &FileStorage, batch: Batch) -> Tid {
    match storage.commit(&Arc::new(batch)).unwrap() {
        Verdict::Passed(receipt) => receipt.tid,
        Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
    }
}

fn open(directory: &MemoryDirectory) -> FileStorage {
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    FileStorage::open(Arc::new(directory.clone()), NAME, options).unwrap()
}

/// Five transactions over the objects 1 to 4: 1 refers to 2 and 3, 3 is pinned, 4 is removed.
fn written(directory: &MemoryDirectory) -> FileStorage {
    let storage = open(directory);
    let [a, b, c, d] = [(); 4].map(|()| storage.new_oid().unwrap());
    let zero = Tid::ZERO;
    let first = put(&storage, &[(a, zero, &[b], "alpha"), (b, zero, &[], "beta")]);
    let second = put(&storage, &[(c, zero, &[], "pinned gamma"), (d, zero, &[a], "delta")]);
    put(&storage, &[(a, first, &[b, c], "alpha again")]);
    let mut batch = Batch::default();
    batch.remove(d, second, false);
    commit(&storage, batch);
    put(&storage, &[(b, first, &[], "beta again")]);
    storage
}

/// The same, closed cleanly.
fn sealed() -> Files {
    let directory = MemoryDirectory::new();
    written(&directory).close().unwrap();
    Files::of(&directory)
}

#[test]
fn a_sealed_file_is_sound_and_counted() {
    let files = sealed();
    let mut told = Vec::new();

    let verification =
        verify(&files.directory(), NAME, &mut |done, all| told.push((done, all))).unwrap();

    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    assert_eq!((verification.frames.commits, verification.frames.seals), (5, 1));
    assert_eq!((verification.records, verification.objects), (7, 3));
    assert_eq!(
        (verification.log_end, verification.proven),
        (verification.length, verification.length)
    );
    assert_eq!(verification.unproven_bytes, 0);
    assert!(verification.live_bytes > 0 && verification.garbage_bytes > 0);
    let end = files.log.len() as u64;
    assert!(told.is_sorted() && told.last().is_some_and(|(done, all)| done == all));
    assert!(told.iter().any(|&(done, _)| done == end));
}

// R5
#[test]
fn every_flipped_bit_of_a_sealed_log_is_found_where_it_is() {
    let files = sealed();
    let frames = files.frames();
    // Of the zeros between the header's copies and the first frame, every seventh will do.
    let in_zeros = |at: &usize| *at < FIRST_FRAME as usize && at % HEADER_COPY as usize >= 128;
    for at in (0..files.log.len()).filter(|at| !in_zeros(at) || at % 7 == 0) {
        let mut flipped = files.clone();
        flipped.log[at] ^= 1 << (at % 8);

        let verification = flipped.verify();

        let at = at as u64;
        let (place, kind, lost) = match frames.iter().find(|(place, _)| place.contains(&at)) {
            Some((place, header)) => (place.clone(), FindingKind::Frame, header.record_count),
            None if at < HEADER_COPY => (0..HEADER_COPY, FindingKind::Header, 0),
            None => (HEADER_COPY..FIRST_FRAME, FindingKind::Header, 0),
        };
        let named = |it: &Finding| it.kind == kind && place.contains(&it.offset);
        assert!(verification.findings.iter().any(named), "{at}: {:?}", verification.findings);
        assert!(!verification.is_sound());
        assert!(verification.records >= 7 - u64::from(lost), "{at}: all else was read");
    }
}

// R5
#[test]
fn a_damaged_record_is_named_with_its_object_and_transaction() {
    let files = sealed();
    for (oid, text) in [(3, "pinned gamma"), (4, "delta")] {
        let at = files.place(text);
        let frame = |(place, _): &(Range<u64>, _)| place.contains(&(at as u64));
        let (_, header) = files.frames().into_iter().find(frame).unwrap();
        let mut damaged = files.clone();
        damaged.log[at] ^= 1;

        let verification = damaged.verify();

        assert_eq!(kinds(&verification)[..2], [FindingKind::Frame, FindingKind::Record]);
        let record = &verification.findings[1];
        assert_eq!((record.oid, record.tid), (Some(Oid::new(oid)), Some(header.tid)));
        assert!((at - 40..at).contains(&(record.offset as usize)), "{record}");
        assert_eq!(verification.records, 6, "its neighbour in the frame still proves itself");
    }
}

// R5
#[test]
fn zeros_over_what_was_committed_are_damage() {
    let files = sealed();
    for (place, header) in files.frames() {
        let mut damaged = files.clone();
        damaged.log[place.start as usize..place.end as usize].fill(0);

        let verification = damaged.verify();

        assert_eq!(verification.findings[0].kind, FindingKind::Frame);
        assert_eq!(verification.findings[0].offset, place.start);
        assert_eq!(verification.records, 7 - u64::from(header.record_count));
        let last = verification.findings.last().unwrap();
        let names = verification.findings.iter().filter(|it| it.oid.is_some()).count();
        assert!(header.record_count == 0 || names > 0, "somebody points there: {last}");
    }
}

// A header is the only bad thing of its frame: the index snapshot still finds the records.
#[test]
fn records_behind_a_bad_frame_header_still_count() {
    let mut files = sealed();
    let (place, _) = files.frames()[4].clone();
    files.log[place.start as usize] ^= 1;

    let verification = files.verify();

    assert_eq!(kinds(&verification), [FindingKind::Frame]);
    assert_eq!(verification.objects, 3);
}

// R4
#[test]
fn a_torn_end_is_no_damage() {
    let directory = MemoryDirectory::new();
    let storage = written(&directory);
    let files = Files::of(&directory);
    drop(storage);
    let (last, header) = files.frames().pop().unwrap();
    assert_eq!(header.kind, FrameKind::Commit);
    let whole = files.verify();
    assert!(whole.findings.is_empty() && whole.frames.commits == 5);
    assert_eq!(whole.unproven_bytes, last.end - last.start, "nothing claims it yet");
    for cut in last.start + 1..last.end {
        let log = files.log[..cut as usize].to_vec();

        let verification = Files { log, index: None }.verify();

        assert!(verification.is_sound(), "{cut}");
        assert_eq!(kinds(&verification), [FindingKind::Tail]);
        assert_eq!(verification.findings[0].offset, last.start);
        assert_eq!((verification.frames.commits, verification.log_end), (4, last.start));
    }
}

// R7
#[test]
fn a_file_shorter_than_its_snapshot_says_is_damaged() {
    let mut files = sealed();
    let (seal, _) = files.frames().pop().unwrap();
    files.log.truncate(seal.start as usize);

    let verification = files.verify();

    assert_eq!(verification.findings[0].offset, seal.start);
    assert!(!verification.is_sound());
}

// C6
#[test]
fn references_to_what_does_not_exist_are_found() {
    let directory = MemoryDirectory::new();
    let storage = written(&directory);
    let oid = storage.new_oid().unwrap();
    let missing = storage.new_oid().unwrap();
    let tid = put(&storage, &[(oid, Tid::ZERO, &[Oid::new(1), Oid::new(4)], "dangling")]);
    let removed_only = Files::of(&directory).verify();
    let other = storage.new_oid().unwrap();
    put(&storage, &[(other, Tid::ZERO, &[missing], "dangling too")]);
    storage.close().unwrap();

    let verification = Files::of(&directory).verify();

    assert_eq!(kinds(&removed_only), [FindingKind::Dangling]);
    assert_eq!(kinds(&verification), [FindingKind::Dangling; 2]);
    let [first, second] = &verification.findings[..] else { panic!("two") };
    assert_eq!((first.oid, first.tid), (Some(oid), Some(tid)));
    assert_eq!(first.type_name.as_deref(), Some("verify.Text"));
    assert!(first.what.contains("object 4, which is removed"), "{first}");
    assert_eq!(second.oid, Some(other));
    assert!(second.what.contains(&format!("object {missing}, which was never stored")), "{second}");
}

// R8
#[test]
fn objects_of_oids_far_apart_are_told_like_any_and_get_no_index_longer_than_the_log() {
    let directory = MemoryDirectory::new();
    let storage = open(&directory);
    let oids = [1 << 24, 1 << 20, 70_000, 9, 1, 6, 4, 0].map(Oid::new);
    for pair in oids.windows(2).rev() {
        // Each refers to the next, which is there; the first to be stored refers to nothing.
        let [referring, referred] = pair else { unreachable!("pairs") };
        put(&storage, &[(*referring, Tid::ZERO, &[*referred], "link")]);
    }
    put(&storage, &[(Oid::ROOT, Tid::ZERO, &[oids[1], oids[3], Oid::new(1 << 40)], "root")]);
    storage.close().unwrap();

    let files = Files::of(&directory);
    let verification = files.verify();

    assert_eq!(files.index, None);
    assert_eq!(kinds(&verification), [FindingKind::Dangling]);
    assert_eq!(verification.findings[0].oid, Some(Oid::ROOT));
    assert_eq!((verification.objects, verification.unreachable), (8, 1));
    assert!(verification.unreachable_bytes * 7 < verification.live_bytes);
    assert_eq!(verification.garbage_bytes, 0);
    let from = files.directory();
    let recovery = recover((&from, NAME), (&from, "new.db"), &mut |_, _| {}).unwrap();
    assert_eq!((recovery.objects, recovery.findings), (8, verification.findings));
}

// R7
#[test]
fn a_bad_index_snapshot_is_harmless() {
    let files = sealed();
    let index = files.index.clone().unwrap();
    // Of the bytes of the page, which one sum covers, every seventh will do.
    let outside = |at: &usize| *at < IndexHeader::LEN || *at >= PAGES_START as usize + PAGE_LEN;
    for at in (0..index.len()).filter(|at| outside(at) || at % 7 == 0) {
        let mut flipped = files.clone();
        flipped.index.as_mut().unwrap()[at] ^= 1 << (at % 8);

        let verification = flipped.verify();

        // The bytes between the header and the first page say nothing.
        let told = !(IndexHeader::LEN..PAGES_START as usize).contains(&at);
        let expected = if told { vec![FindingKind::IndexPassedOver] } else { vec![] };
        assert_eq!(kinds(&verification), expected, "{at}");
    }
}

/// The index snapshot of `files` with its first page and its tables changed, and good sums.
fn forge_index(files: &mut Files, change: impl FnOnce(&mut [u8], &mut IndexTables)) {
    let database = FileHeader::decode(files.log.first_chunk().unwrap()).unwrap();
    let sums = Sums::new(database.database, database.generation);
    let index = files.index.as_mut().unwrap();
    let mut header = IndexHeader::decode(index.first_chunk().unwrap()).unwrap();
    let start = header.tables_start().unwrap() as usize;
    let mut tables = IndexTables::decode(header.pages, &index[start..]).unwrap();
    let page = &mut index[PAGES_START as usize..PAGES_START as usize + PAGE_LEN];
    change(page, &mut tables);
    tables.page_sums[0] = page_sum(&sums, 0, page);
    let tables = tables.encode();
    header.tables_len = tables.len() as u64;
    header.tables_sum = sums.sum(header.scan_from, &tables);
    index.truncate(start);
    index.extend_from_slice(&tables);
    index[..IndexHeader::LEN].copy_from_slice(&header.encode());
}

#[test]
fn an_index_that_says_something_else_than_the_log_is_found() {
    for (oid, offset) in [(1, 0), (2, FIRST_FRAME), (0, FIRST_FRAME), (300, FIRST_FRAME)] {
        let mut files = sealed();
        forge_index(&mut files, |page, _| {
            page[oid as usize * 8..][..8].copy_from_slice(&u64::to_le_bytes(offset));
        });

        let verification = files.verify();

        assert_eq!(kinds(&verification), [FindingKind::Index]);
        let finding = &verification.findings[0];
        assert_eq!((finding.oid, finding.offset), (Some(Oid::new(oid)), PAGES_START + 8 * oid));
        assert!(!verification.is_sound());
    }
}

#[test]
fn an_index_with_other_types_or_pinned_objects_than_the_log_is_found() {
    let forged: [(fn(&mut IndexTables), _); 4] = [
        (|tables| tables.pinned.clear(), Some(3)),
        (|tables| tables.pinned.insert(0, Oid::new(1)), Some(1)),
        (|tables| tables.pinned.push(Oid::new(77)), Some(77)),
        (|tables| tables.types[0].1.name = "other".into(), None),
    ];
    for (forge, oid) in forged {
        let mut files = sealed();
        forge_index(&mut files, |_, tables| forge(tables));

        let findings = files.verify().findings;

        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].kind, findings[0].oid), (FindingKind::Index, oid.map(Oid::new)));
    }
}

#[test]
fn a_finding_tells_what_and_where_and_all_that_is_known_besides() {
    let mut forge = Forge::new();
    forge.commit(true, &[(1, 0, 5, &[])]);
    let mut finding = forge.findings().remove(0);
    (finding.offset, finding.what) = (7, "it is wrong".into());
    (finding.oid, finding.tid, finding.type_name) = (None, None, None);

    for (kind, word) in [
        (FindingKind::Header, "header"),
        (FindingKind::Frame, "frame"),
        (FindingKind::Record, "record"),
        (FindingKind::Type, "type"),
        (FindingKind::Dangling, "dangling reference"),
        (FindingKind::Index, "index"),
        (FindingKind::IndexPassedOver, "index passed over"),
        (FindingKind::Tail, "tail"),
    ] {
        finding.kind = kind;
        assert_eq!(finding.to_string(), format!("{word} at offset 7: it is wrong"));
    }

    finding.kind = FindingKind::Record;
    (finding.oid, finding.tid) = (Some(Oid::new(3)), Some(Tid::new(11)));
    finding.type_name = Some("bank.Account".into());
    let told = "record at offset 7: it is wrong, in object 3 (bank.Account), of tid 11";
    assert_eq!(finding.to_string(), told);
}

#[test]
fn frames_of_transactions_of_several_databases_are_counted() {
    let directory = MemoryDirectory::new();
    let storage = written(&directory);
    let gtid = |number| GlobalId::new([number; 16]);
    let promise = |number| {
        let oid = storage.new_oid().unwrap();
        let mut batch = Batch::default();
        batch.remove(oid, Tid::ZERO, false);
        let intent = Intent { gtid: gtid(number), coordinator: None };
        match storage.prepare(&Arc::new(batch), &intent).unwrap() {
            Verdict::Passed(promise) => promise,
            Verdict::Conflicts(contenders) => panic!("{contenders:?}"),
        }
    };
    promise(1).finish().unwrap();
    promise(2).abort().unwrap();
    let participants = vec![Participant { name: "other".into(), database: None }];
    let mut batch = Batch::default();
    batch.decision = Some(Decision { gtid: gtid(3), participants });
    commit(&storage, batch);
    storage.end_decision(gtid(3)).unwrap();
    storage.close().unwrap();

    let verification = Files::of(&directory).verify();

    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    let frames = verification.frames;
    assert_eq!((frames.commits, frames.prepares, frames.aborts, frames.ends), (7, 2, 1, 1));
}

/// A log made by hand, with good sums whatever it says.
struct Forge {
    sums: Sums,
    log: Vec<u8>,
    chain: u64,
    tid: u64,
}

impl Forge {
    fn new() -> Forge {
        let header = FileHeader::new(DatabaseId::new([7; 16]));
        let sums = Sums::new(header.database, header.generation);
        Forge { sums, log: header.encode_file(), chain: header.sum(), tid: 10 }
    }

    /// Adds a transaction of records (oid, previous, type, references); where they stand.
    fn commit(&mut self, defines: bool, records: &[(u64, u64, u32, &[u8])]) -> Vec<u64> {
        let definition = TypeDef { name: "forged".into(), version: 0, shape: "()".into() };
        let types = if defines { vec![(TypeId(0), definition)] } else { vec![] };
        let mut fields = Vec::new();
        Fields { types, ..Fields::default() }.encode(&mut fields);
        let mut builder = FrameBuilder::new(FrameKind::Commit, &fields).unwrap();
        for &(oid, previous, type_id, references) in records {
            let head = RecordHead { oid: Oid::new(oid), pinned: false, previous, far: None };
            builder.push(&head, Some((type_id, references, b"data")));
        }
        self.add(builder)
    }

    fn add(&mut self, mut builder: FrameBuilder) -> Vec<u64> {
        let offset = self.log.len() as u64;
        self.tid += 1;
        builder.place(&self.sums, offset, Tid::new(self.tid)).unwrap();
        self.chain = builder.finish(&self.sums, self.chain, offset, Oid::new(100));
        self.log.extend_from_slice(builder.bytes());
        builder.record_starts().iter().map(|start| offset + start).collect()
    }

    fn findings(self) -> Vec<Finding> {
        Files { log: self.log, index: None }.verify().findings
    }
}

fn told(findings: &[Finding]) -> Vec<(FindingKind, u64)> {
    findings.iter().map(|finding| (finding.kind, finding.offset)).collect()
}

#[test]
fn records_that_do_not_follow_one_another_are_found() {
    let mut forge = Forge::new();
    let first = forge.commit(true, &[(1, 0, 0, &[]), (2, 0, 0, &[])]);
    let second = forge.commit(false, &[(1, first[1], 0, &[]), (2, first[1], 0, &[])]);
    let third = forge.commit(false, &[(1, second[0], 0, &[]), (1, second[0], 0, &[])]);
    let fourth = forge.commit(false, &[(1, 0, 0, &[])]);

    let findings = forge.findings();

    let places = [second[0], third[1], fourth[0]];
    assert_eq!(told(&findings), places.map(|place| (FindingKind::Record, place)));
    assert!(findings.iter().all(|it| it.oid == Some(Oid::new(1))));
}

#[test]
fn a_type_that_nothing_defines_is_found_once() {
    let mut forge = Forge::new();
    let places = forge.commit(true, &[(1, 0, 0, &[]), (2, 0, 5, &[]), (3, 0, 5, &[])]);

    assert_eq!(told(&forge.findings()), [(FindingKind::Type, places[1])]);
}

#[test]
fn a_type_number_that_is_given_twice_is_found_and_refused() {
    let mut forge = Forge::new();
    forge.commit(true, &[(1, 0, 0, &[])]);
    let place = forge.log.len() as u64;
    let definition = TypeDef { name: "another".into(), version: 0, shape: "()".into() };
    let mut fields = Vec::new();
    Fields { types: vec![(TypeId(0), definition)], ..Fields::default() }.encode(&mut fields);
    forge.add(FrameBuilder::new(FrameKind::Commit, &fields).unwrap());
    let files = Files { log: forge.log, index: None };

    let findings = files.verify().findings;

    assert_eq!(told(&findings)[0], (FindingKind::Type, place));
    assert_eq!(findings[0].type_name.as_deref(), Some("another"));
    match reopen(&files) {
        Err(Error::Corrupt(corruption)) => assert_eq!(corruption.offset, place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_whose_fields_mean_nothing_is_found_and_its_records_count() {
    let mut forge = Forge::new();
    forge.commit(true, &[(1, 0, 0, &[])]);
    let place = forge.log.len() as u64;
    let mut builder = FrameBuilder::new(FrameKind::Commit, &[63, 0]).unwrap();
    let head = RecordHead { oid: Oid::new(2), pinned: false, previous: 0, far: None };
    builder.push(&head, Some((0, &[], b"data")));
    forge.add(builder);

    let verification = Files { log: forge.log, index: None }.verify();

    assert_eq!(told(&verification.findings), [(FindingKind::Frame, place)]);
    assert_eq!(verification.objects, 2);
}

#[test]
fn references_that_are_no_oids_are_found() {
    let mut forge = Forge::new();
    let places = forge.commit(true, &[(1, 0, 0, &[0x80])]);

    assert_eq!(told(&forge.findings()), [(FindingKind::Record, places[0])]);
}

#[test]
fn a_frame_that_does_not_continue_the_log_is_found_and_read() {
    for spoil in [|forge: &mut Forge| forge.chain ^= 1, |forge: &mut Forge| forge.tid -= 1] {
        let mut forge = Forge::new();
        let first = forge.commit(true, &[(1, 0, 0, &[])]);
        spoil(&mut forge);
        let place = forge.log.len() as u64;
        let second = forge.commit(false, &[(1, first[0], 0, &[])]);
        forge.commit(false, &[(1, second[0], 0, &[])]);

        let findings = forge.findings();

        assert_eq!(told(&findings), [(FindingKind::Frame, place)], "{findings:?}");
    }
}

// R9
#[test]
fn beside_a_running_writer_nothing_is_called_damage() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = Arc::new(DiskDirectory::new(temporary.path()));
    let storage = FileStorage::open(directory.clone(), NAME, FileOptions::default()).unwrap();
    let oid = storage.new_oid().unwrap();
    let mut base = put(&storage, &[(oid, Tid::ZERO, &[], "counted")]);
    let long = "long ".repeat(1000);
    let mut looks = 0;

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..600 {
                let text = if round % 3 == 0 { &long } else { "short" };
                base = put(&storage, &[(oid, base, &[], text)]);
                if round % 50 == 0 {
                    storage.write_index().unwrap();
                }
            }
        });
        while looks == 0 || !writer.is_finished() {
            let verification = verify(&*directory, NAME, &mut |_, _| {}).unwrap();
            assert!(verification.is_sound(), "{:?}", verification.findings);
            looks += 1;
        }
    });

    storage.close().unwrap();
    let verification = verify(&*directory, NAME, &mut |_, _| {}).unwrap();
    assert_eq!((verification.findings.len(), verification.frames.commits), (0, 601));
}

// R9
#[test]
fn verifying_changes_nothing_in_the_directory() {
    let files = sealed();
    let directory = files.directory();
    let mut names = directory.names().unwrap();

    verify(&directory, NAME, &mut |_, _| {}).unwrap();

    let after = Files::of(&directory);
    assert!(after.log == files.log && after.index == files.index);
    names.sort();
    assert_eq!(names, [NAME, INDEX]);
    assert_eq!(directory.names().unwrap().len(), 2);
}

#[test]
fn what_is_no_database_is_refused() {
    for bytes in [&b""[..], b"hello", &[0; 8192]] {
        let files = Files { log: bytes.to_vec(), index: None };

        let outcome = verify(&files.directory(), NAME, &mut |_, _| {});

        assert!(matches!(outcome, Err(Error::NotADatabase(_))), "{outcome:?}");
    }
    let outcome = verify(&MemoryDirectory::new(), NAME, &mut |_, _| {});
    assert!(matches!(outcome, Err(Error::Io(_))), "{outcome:?}");
}

#[test]
fn what_opening_refuses_verify_finds() {
    let directory = MemoryDirectory::new();
    let storage = written(&directory);
    storage.write_index().unwrap();
    let oid = storage.new_oid().unwrap();
    let tid = put(&storage, &[(oid, Tid::ZERO, &[], "behind the snapshot")]);
    put(&storage, &[(oid, tid, &[], "its witness")]);
    let mut files = Files::of(&directory);
    let index = files.index.as_mut().unwrap();
    let mut header = IndexHeader::decode(index.first_chunk().unwrap()).unwrap();
    header.tid = Tid::MAX;
    index[..IndexHeader::LEN].copy_from_slice(&header.encode());

    let verification = files.verify();

    assert!(matches!(reopen(&files), Err(Error::Corrupt(_))), "the frames do not follow on");
    assert_eq!(told(&verification.findings), [(FindingKind::Index, 0)]);
}

fn reopen(files: &Files) -> perennial::Result<FileStorage> {
    let options = FileOptions { housekeeping: false, ..FileOptions::default() };
    FileStorage::open(Arc::new(files.directory()), NAME, options)
}

/// Spoils some bytes, in one of the ways in which bytes are spoiled.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let length = bytes.len() as u64;
    let (from, to) = (rng.below(length) as usize, rng.below(length) as usize);
    let count = (rng.below(200) as usize).min(bytes.len() - from.max(to));
    match rng.below(6) {
        0 => bytes[from..from + count].fill(0),
        1 => bytes[from..from + count].fill_with(|| rng.number() as u8),
        2 => bytes.copy_within(from..from + count, to),
        3 => bytes.truncate(from.max(1)),
        4 => drop(bytes.drain(from..from + count)),
        _ => bytes[from] = rng.number() as u8,
    }
}

// R5
#[test]
fn whatever_the_bytes_there_is_an_answer() {
    let files = sealed();
    let mut rng = Rng::new(13);
    let mut answers = 0;
    for _ in 0..1500 {
        let mut spoiled = files.clone();
        for _ in 0..=rng.below(3) {
            match rng.below(4) {
                0 => mutate(spoiled.index.as_mut().unwrap(), &mut rng),
                _ => mutate(&mut spoiled.log, &mut rng),
            }
        }

        let outcome = verify(&spoiled.directory(), NAME, &mut |_, _| {});

        let refused = matches!(reopen(&spoiled), Err(Error::Damaged(_) | Error::Corrupt(_)));
        match outcome {
            Ok(verification) => {
                assert!(!refused || !verification.is_sound(), "{:?}", verification.findings);
                answers += 1;
                // Without its snapshot, a log that lost its end cannot know that it had one.
                let forgetful = spoiled.log == files.log || spoiled.index != files.index;
                assert!(!verification.is_sound() || forgetful, "{:?}", verification.findings);
            }
            Err(error) => assert!(matches!(error, Error::NotADatabase(_)), "{error:?}"),
        }
    }
    assert!(answers > 500);
}

#[test]
fn a_lazy_commit_is_unproven_until_it_is_synced() {
    let directory = MemoryDirectory::new();
    let storage = written(&directory);
    storage.sync().unwrap();
    let before = verify(&directory, NAME, &mut |_, _| {}).unwrap();
    let oid = storage.new_oid().unwrap();
    let mut batch = Batch::default();
    batch.durability = Durability::Lazy;
    batch.put((oid, Tid::ZERO, false), TypeId(0), &[], b"lazy");
    commit(&storage, batch);

    let verification = verify(&directory, NAME, &mut |_, _| {}).unwrap();

    assert!(verification.is_sound());
    assert_eq!(verification.proven, before.log_end, "the lazy frame claims what precedes it");
    assert_eq!(verification.unproven_bytes, verification.log_end - before.log_end);
}
