//! The database that docs/format.md tells of, as the code writes it: a file header, six frames,
//! and the index snapshot taken before the last of them.

use perennial::format::{
    Coordinator, Decision, FIRST_FRAME, Fields, FileHeader, FrameBuilder, FrameKind, IndexHeader,
    IndexTables, Metadata, PAGE_LEN, Participant, RecordHead, References, Sums, TypeDef, TypeId,
    page_sum,
};
use perennial::{DatabaseId, GlobalId, Oid, Tid};
use std::sync::OnceLock;

/// The first transaction: 2023-11-14T22:13:20Z.
pub const FIRST: u64 = 1_700_000_000_000_000;

/// The second one, a second later.
pub const SECOND: u64 = FIRST + 1_000_000;

/// A frame of the story.
#[derive(Debug, Clone)]
pub struct Told {
    pub name: &'static str,
    pub offset: u64,
    pub bytes: Vec<u8>,
    /// Where its records stand.
    pub records: Vec<u64>,
}

impl Told {
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// The whole story.
#[derive(Debug, Clone)]
pub struct Story {
    pub header: FileHeader,
    pub sums: Sums,
    pub frames: Vec<Told>,
}

/// Sixteen bytes that count on from `first`.
pub fn counting(first: u8) -> [u8; 16] {
    std::array::from_fn(|index| first + index as u8)
}

/// A value in codec 1.
pub fn data<T: serde::Serialize>(value: T) -> Vec<u8> {
    let (mut bytes, mut references) = (Vec::new(), Vec::new());
    perennial::codec::encode("story", &value, 0, &mut bytes, &mut references).unwrap();
    bytes
}

pub fn account() -> (TypeId, TypeDef) {
    let shape = "{owner: str, cents: i64}".into();
    (TypeId(0), TypeDef { name: "Account".into(), version: 0, shape })
}

pub fn card() -> (TypeId, TypeDef) {
    (TypeId(1), TypeDef { name: "Card".into(), version: 0, shape: "{of: Ref}".into() })
}

/// A record of the story: its object, whether it is pinned, where the previous one stands, and
/// type, references and data, if it is not removed.
type Write = (u64, bool, u64, Option<(u32, Vec<u64>, Vec<u8>)>);

impl Story {
    /// The story, told once.
    pub fn get() -> &'static Story {
        static STORY: OnceLock<Story> = OnceLock::new();
        STORY.get_or_init(|| {
            let mut story = Story::begin();
            story.tell();
            story
        })
    }

    fn begin() -> Story {
        let header = FileHeader::new(DatabaseId::new(counting(0)));
        let sums = Sums::new(header.database, header.generation);
        Story { header, sums, frames: Vec::new() }
    }

    fn tell(&mut self) {
        let account_of = |owner: &str, cents: i64| data((owner, cents));
        let metadata = |user: &str, note: &str| Metadata {
            user: user.into(),
            note: note.into(),
            ..Metadata::default()
        };

        let fields = Fields::of_commit(metadata("ann", "open"), vec![account(), card()], None);
        let ann = (1, false, 0, Some((0, vec![], account_of("ann", 100))));
        let her_card = (2, true, 0, Some((1, vec![1], data(1u64))));
        let bob = (3, false, 0, Some((0, vec![], account_of("bob", -1))));
        self.frame("Commit", FrameKind::Commit, FIRST, 0, &fields, &[ann, her_card, bob]);
        self.frame("Seal", FrameKind::Seal, FIRST, 1, &Fields::default(), &[]);

        let (gtid, first) = (GlobalId::new(counting(0xa0)), self.frames[0].records.clone());
        let coordinator = Some(Coordinator {
            database: DatabaseId::new(counting(0xb0)),
            last_tid: Tid::new(FIRST + 5),
            path: "/data/a.db".into(),
        });
        let reads = vec![(Oid::new(3), Tid::new(FIRST))];
        let fields = Fields { gtid: Some(gtid), coordinator, reads, ..Fields::default() };
        let ann = (1, false, first[0], Some((0, vec![], account_of("ann", 70))));
        self.frame("Prepare", FrameKind::Prepare, FIRST, 1, &fields, &[ann]);
        let fields = Fields { gtid: Some(gtid), ..Fields::default() };
        self.frame("Abort", FrameKind::Abort, FIRST, 3, &fields, &[]);

        let gtid = GlobalId::new(counting(0xc0));
        let participants = vec![
            Participant { name: "b".into(), database: Some(DatabaseId::new(counting(0xd0))) },
            Participant { name: "sql".into(), database: None },
        ];
        let decision = Some(Decision { gtid, participants });
        let mut metadata = metadata("", "pay");
        metadata.extension.insert("via".into(), vec![7, 8]);
        let fields = Fields::of_commit(metadata, vec![], decision);
        let ann = (1, false, first[0], Some((0, vec![], account_of("ann", 250))));
        let bob = (3, false, first[2], None);
        self.frame("Decision", FrameKind::Commit, SECOND, 3, &fields, &[ann, bob]);
        let fields = Fields { gtid: Some(gtid), ..Fields::default() };
        self.frame("End", FrameKind::End, SECOND, 5, &fields, &[]);
    }

    /// Appends a frame; what precedes frame number `durable` was synced before.
    fn frame(
        &mut self,
        name: &'static str,
        kind: FrameKind,
        tid: u64,
        durable: usize,
        fields: &Fields,
        writes: &[Write],
    ) {
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        let mut builder = FrameBuilder::new(kind, &bytes).unwrap();
        for (oid, pinned, previous, content) in writes {
            let head =
                RecordHead { oid: Oid::new(*oid), pinned: *pinned, previous: *previous, far: None };
            let content = content.as_ref().map(|(id, references, data)| {
                let oids: Vec<Oid> = references.iter().copied().map(Oid::new).collect();
                let mut references = Vec::new();
                References::encode(&oids, &mut references);
                (*id, references, data)
            });
            builder.push(&head, content.as_ref().map(|(id, refs, data)| (*id, &**refs, &***data)));
        }
        let offset = self.frames.last().map_or(FIRST_FRAME, Told::end);
        let chain = self.frames.last().map_or(self.header.sum(), sum_of);
        let durable =
            durable.checked_sub(1).map_or(FIRST_FRAME, |number| self.frames[number].end());
        builder.place(&self.sums, offset, Tid::new(tid)).unwrap();
        builder.finish(&self.sums, chain, durable, Oid::new(4));
        let records = builder.record_starts().iter().map(|start| offset + start).collect();
        self.frames.push(Told { name, offset, bytes: builder.bytes().to_vec(), records });
    }

    /// The frame of this name.
    pub fn told(&self, name: &str) -> &Told {
        self.frames.iter().find(|told| told.name == name).expect("the story tells of it")
    }

    /// The database file.
    pub fn file(&self) -> Vec<u8> {
        let mut file = self.header.encode_file();
        self.frames.iter().for_each(|told| file.extend_from_slice(&told.bytes));
        file
    }

    /// The only page of the index before the last frame.
    pub fn page(&self) -> Vec<u8> {
        let (first, second) = (&self.told("Commit").records, &self.told("Decision").records);
        let offsets = [0, second[0], first[1], second[1]];
        let mut page: Vec<u8> = offsets.into_iter().flat_map(u64::to_le_bytes).collect();
        page.resize(PAGE_LEN, 0);
        page
    }

    /// The tables of the index before the last frame.
    pub fn tables(&self) -> IndexTables {
        let decision = (GlobalId::new(counting(0xc0)), self.told("Decision").offset);
        IndexTables {
            page_sums: vec![page_sum(&self.sums, 0, &self.page())],
            types: vec![account(), card()],
            pinned: vec![Oid::new(2)],
            decisions: vec![decision],
            prepared: vec![],
        }
    }

    /// The header of the index before the last frame.
    pub fn index_header(&self) -> IndexHeader {
        let (last, tables) = (self.told("Decision"), self.tables().encode());
        IndexHeader {
            database: self.header.database,
            generation: 1,
            scan_from: last.end(),
            valid_upto: last.end(),
            chain: sum_of(last),
            tid: Tid::new(SECOND),
            next_oid: Oid::new(4),
            forgot_before: Tid::ZERO,
            pages: 1,
            tables_len: tables.len() as u64,
            tables_sum: self.sums.sum(last.end(), &tables),
        }
    }

    /// The index snapshot's file.
    pub fn index(&self) -> Vec<u8> {
        let mut file = self.index_header().encode().to_vec();
        file.resize(perennial::format::PAGES_START as usize, 0);
        file.extend_from_slice(&self.page());
        file.extend_from_slice(&self.tables().encode());
        file
    }
}

/// The sum of a frame.
fn sum_of(told: &Told) -> u64 {
    let start = told.bytes.len() - 16;
    u64::from_le_bytes(told.bytes[start..start + 8].try_into().unwrap())
}
