//! What the code makes of values that differ in every field: each layout of the document is
//! compared with one of these.

use super::story::{Story, counting};
use perennial::format::{
    Additions, Coordinator, FILE_MAGIC, FIRST_FRAME, Fields, FileHeader, FrameBuilder, FrameHeader,
    FrameKind, INDEX_MAGIC, INDEX_VERSION, IndexHeader, Participant, Reader, RecordHead, TypeDef,
    TypeId, plain_sum, put_varint,
};
use perennial::{DatabaseId, GlobalId, Oid, Tid};
use std::sync::OnceLock;

/// One structure as the code encodes it.
#[derive(Debug)]
pub struct Layout {
    pub name: &'static str,
    /// Its length, where it has one length.
    pub length: Option<usize>,
    pub bytes: Vec<u8>,
    /// Its fields in order, each with its bytes.
    pub fields: Vec<(&'static str, Vec<u8>)>,
}

/// A number with this byte in all of its low six bytes.
fn number(byte: u64) -> u64 {
    byte * 0x0101_0101_0101
}

fn fixed(byte: u64) -> Vec<u8> {
    number(byte).to_le_bytes().to_vec()
}

fn varint(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number);
    out
}

/// A text so long that its length takes two bytes.
fn text(letter: char) -> String {
    letter.to_string().repeat(130)
}

/// All of them.
pub fn all() -> &'static [Layout] {
    static ALL: OnceLock<Vec<Layout>> = OnceLock::new();
    ALL.get_or_init(make)
}

fn make() -> Vec<Layout> {
    let mut all = vec![file_header(), frame_header(), frame_trailer(), record(), index_header()];
    all.extend(fields());
    all
}

fn file_header() -> Layout {
    let additions = Additions { minor: 0x1234, compatible: 0x5678_9abc, bytes: [0xad; 32] };
    let header = FileHeader {
        database: DatabaseId::new(counting(0x40)),
        generation: number(1),
        codec: 0x0706_0504,
        history_from: Tid::new(number(2)),
        last_tid: Tid::new(number(3)),
        next_oid: Oid::new(number(4)),
        forgot_before: Tid::new(number(5)),
        additions,
    };
    let bytes = header.encode().to_vec();
    let sum = plain_sum(&bytes[..FileHeader::LEN - 8]).to_le_bytes().to_vec();
    let fields = vec![
        ("magic", FILE_MAGIC.to_vec()),
        ("version", vec![1, 0]),
        ("minor", vec![0x34, 0x12]),
        ("codec", vec![4, 5, 6, 7]),
        ("incompatible", vec![0; 4]),
        ("compatible", vec![0xbc, 0x9a, 0x78, 0x56]),
        ("database", counting(0x40).to_vec()),
        ("generation", fixed(1)),
        ("history_from", fixed(2)),
        ("last_tid", fixed(3)),
        ("next_oid", fixed(4)),
        ("forgot_before", fixed(5)),
        ("first_frame", FIRST_FRAME.to_le_bytes().to_vec()),
        ("additions", vec![0xad; 32]),
        ("sum", sum),
    ];
    Layout { name: "FileHeader", length: Some(FileHeader::LEN), bytes, fields }
}

fn frame_header() -> Layout {
    let (sums, offset) = (Story::get().sums, 1 << 40);
    let header = FrameHeader {
        kind: FrameKind::new(0x0403_0201),
        body_len: number(1),
        tid: Tid::new(number(2)),
        durable_upto: number(3),
        chain: number(4),
        next_oid: Oid::new(number(5)),
        record_count: 0x1716_1514,
        fields_len: 0x2726_2524,
    };
    let bytes = header.encode(&sums, offset).to_vec();
    let sum = sums.sum(offset, &bytes[..FrameHeader::LEN - 8]).to_le_bytes().to_vec();
    let fields = vec![
        ("magic", b"PFrm".to_vec()),
        ("kind", vec![1, 2, 3, 4]),
        ("body_len", fixed(1)),
        ("tid", fixed(2)),
        ("durable_upto", fixed(3)),
        ("chain", fixed(4)),
        ("next_oid", fixed(5)),
        ("record_count", vec![0x14, 0x15, 0x16, 0x17]),
        ("fields_len", vec![0x24, 0x25, 0x26, 0x27]),
        ("sum", sum),
    ];
    Layout { name: "FrameHeader", length: Some(FrameHeader::LEN), bytes, fields }
}

fn frame_trailer() -> Layout {
    let story = Story::get();
    let told = story.told("Prepare");
    let (covered, trailer) = told.bytes.split_at(told.bytes.len() - FrameHeader::TRAILER_LEN);
    let fields = vec![
        ("sum", story.sums.sum(told.offset, covered).to_le_bytes().to_vec()),
        ("length", (told.bytes.len() as u64).to_le_bytes().to_vec()),
    ];
    let (length, bytes) = (Some(FrameHeader::TRAILER_LEN), trailer.to_vec());
    Layout { name: "FrameTrailer", length, bytes, fields }
}

fn record() -> Layout {
    let (sums, offset, tid) = (Story::get().sums, 1 << 30, Tid::new(number(9)));
    let head = RecordHead {
        oid: Oid::new(number(1)),
        pinned: true,
        previous: number(2),
        far: Some(number(1)),
    };
    let (references, data) = (vec![0x31; 200], vec![0x32; 300]);
    let mut builder = FrameBuilder::new(FrameKind::Commit, &[0; 100]).unwrap();
    builder.push(&head, Some((70_000, &references, &data)));
    builder.place(&sums, offset, tid).unwrap();
    let start = builder.record_starts()[0];
    let bytes = builder.bytes()[start as usize..].to_vec();
    let crc = crc32fast::hash(&bytes[12..]);
    let fields = vec![
        ("sum", sums.record(offset + start, tid, crc).to_le_bytes().to_vec()),
        ("tid", fixed(9)),
        ("flags", vec![6]),
        ("oid", varint(number(1))),
        ("back", varint(start)),
        ("previous", varint(number(2))),
        ("far", varint(number(1))),
        ("type", varint(70_000)),
        ("references_len", varint(200)),
        ("data_len", varint(300)),
        ("references", references),
        ("data", data),
    ];
    Layout { name: "Record", length: None, bytes, fields }
}

fn index_header() -> Layout {
    let header = IndexHeader {
        database: DatabaseId::new(counting(0x60)),
        generation: number(1),
        scan_from: number(2),
        valid_upto: number(3),
        chain: number(4),
        tid: Tid::new(number(5)),
        next_oid: Oid::new(number(6)),
        forgot_before: Tid::new(number(7)),
        pages: number(8),
        tables_len: number(9),
        tables_sum: number(10),
    };
    let bytes = header.encode().to_vec();
    let mut fields = vec![
        ("magic", INDEX_MAGIC.to_vec()),
        ("version", INDEX_VERSION.to_le_bytes().to_vec()),
        ("flags", vec![0; 4]),
        ("database", counting(0x60).to_vec()),
    ];
    let names = ["generation", "scan_from", "valid_upto", "chain", "tid", "next_oid"];
    let more = ["forgot_before", "pages", "tables_len", "tables_sum"];
    fields.extend(names.into_iter().chain(more).zip(1..).map(|(name, byte)| (name, fixed(byte))));
    let sum = plain_sum(&bytes[..IndexHeader::LEN - 8]).to_le_bytes().to_vec();
    fields.push(("sum", sum));
    Layout { name: "IndexHeader", length: Some(IndexHeader::LEN), bytes, fields }
}

/// The value of the only field in `fields`.
fn value(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    fields.encode(&mut out);
    let mut reader = Reader::new(&out);
    reader.varint().unwrap();
    let value = reader.bytes().unwrap().to_vec();
    assert!(reader.is_done(), "one field");
    value
}

fn fields() -> Vec<Layout> {
    let layout = |name, bytes, fields| Layout { name, length: None, bytes, fields };
    let mut extension = Fields::default();
    extension.metadata.extension.insert(text('k'), vec![5; 140]);
    let shape = text('s');
    let definition =
        TypeDef { name: text('n').into(), version: 80_000, shape: shape.clone().into() };
    let types = Fields { types: vec![(TypeId(70_000), definition)], ..Fields::default() };
    let database = DatabaseId::new(counting(0x70));
    let participant = Participant { name: text('p'), database: Some(database) };
    let participants = Fields { participants: vec![participant], ..Fields::default() };
    let (last_tid, path) = (Tid::new(number(4)), text('/'));
    let coordinator = Some(Coordinator { database, last_tid, path: path.clone() });
    let coordinator = Fields { coordinator, ..Fields::default() };
    let reads = vec![(Oid::new(number(5)), Tid::new(number(6)))];
    let read = Fields { reads, ..Fields::default() };
    let gtid = Fields { gtid: Some(GlobalId::new(counting(0x80))), ..Fields::default() };
    let mut field = Vec::new();
    extension.encode(&mut field);
    let inner = value(&extension);
    let whole =
        vec![("tag", vec![3]), ("length", varint(inner.len() as u64)), ("value", inner.clone())];
    let text_of = |letter| text(letter).into_bytes();
    vec![
        layout("Field", field, whole),
        layout(
            "Extension",
            inner,
            vec![("key_len", varint(130)), ("key", text_of('k')), ("value", vec![5; 140])],
        ),
        layout(
            "Type",
            value(&types),
            vec![
                ("number", varint(70_000)),
                ("version", varint(80_000)),
                ("name_len", varint(130)),
                ("name", text_of('n')),
                ("shape_len", varint(130)),
                ("shape", shape.into_bytes()),
            ],
        ),
        layout("Global", value(&gtid), vec![("gtid", counting(0x80).to_vec())]),
        layout(
            "Participant",
            value(&participants),
            vec![
                ("name_len", varint(130)),
                ("name", text_of('p')),
                ("database", counting(0x70).to_vec()),
            ],
        ),
        layout(
            "Coordinator",
            value(&coordinator),
            vec![
                ("database", counting(0x70).to_vec()),
                ("last_tid", fixed(4)),
                ("path", path.into_bytes()),
            ],
        ),
        layout("Read", value(&read), vec![("oid", varint(number(5))), ("tid", fixed(6))]),
    ]
}
