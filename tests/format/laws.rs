//! Laws of src/format: what is written is read back, no bytes make it panic, and no flipped bit
//! passes.

use super::layouts;
use super::story::Story;
use perennial::format::{
    Additions, Coordinator, Fields, FileHeader, Frame, FrameBuilder, FrameHeader, FrameKind,
    HeaderFault, IndexHeader, IndexTables, Metadata, Participant, Reader, Record, RecordHead,
    References, Sums, TypeDef, TypeId, page_sum, plain_sum, put_bytes, put_varint, varint_len,
};
use perennial::{DatabaseId, GlobalId, Oid, Tid};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Greatest length of a file, and bound of oids.
const BOUND: u64 = 1 << 48;

/// The byte of a record's flags.
pub fn record_flags(tombstone: bool, pinned: bool, far: bool) -> u8 {
    let head = RecordHead { oid: Oid::new(1), pinned, previous: 8, far: far.then_some(4) };
    let mut builder = FrameBuilder::new(FrameKind::Commit, &[]).unwrap();
    builder.push(&head, (!tombstone).then_some((0, &[], &[])));
    builder.bytes()[FrameHeader::LEN + 12]
}

fn sums() -> impl Strategy<Value = Sums> {
    (any::<[u8; 16]>(), any::<u64>())
        .prop_map(|(id, number)| Sums::new(DatabaseId::new(id), number))
}

fn place() -> impl Strategy<Value = u64> {
    (512..BOUND / 8).prop_map(|eighth| eighth * 8)
}

fn definition() -> impl Strategy<Value = (TypeId, TypeDef)> {
    (any::<u32>(), ".{0,9}", any::<u32>(), ".{0,9}").prop_map(|(id, name, version, shape)| {
        (TypeId(id), TypeDef { name: name.into(), version, shape: shape.into() })
    })
}

fn gtid() -> impl Strategy<Value = GlobalId> {
    any::<[u8; 16]>().prop_map(GlobalId::new)
}

fn oid() -> impl Strategy<Value = Oid> {
    (0..BOUND).prop_map(Oid::new)
}

fn fields() -> impl Strategy<Value = Fields> {
    let database = || any::<[u8; 16]>().prop_map(DatabaseId::new);
    let metadata = (".{0,9}", ".{0,9}", btree_map(".{0,4}", vec(any::<u8>(), 0..9), 0..3));
    let participant = (".{0,9}", proptest::option::of(database()))
        .prop_map(|(name, database)| Participant { name, database });
    let coordinator = (database(), any::<u64>(), ".{0,9}")
        .prop_map(|(database, tid, path)| Coordinator { database, last_tid: Tid::new(tid), path });
    let read = (oid(), any::<u64>().prop_map(Tid::new));
    let (types, participants) = (vec(definition(), 0..3), vec(participant, 0..3));
    let coordinator = proptest::option::of(coordinator);
    (metadata, types, proptest::option::of(gtid()), participants, coordinator, vec(read, 0..3))
        .prop_map(|((user, note, extension), types, gtid, participants, coordinator, reads)| {
            let metadata = Metadata { user, note, extension };
            Fields { metadata, types, gtid, participants, coordinator, reads }
        })
}

/// What a record is made of: its head, and type, references and data.
type Content = (u32, Vec<Oid>, Vec<u8>);

fn record(frame: u64) -> impl Strategy<Value = (RecordHead, Option<Content>)> {
    let content = (any::<u32>(), vec(oid(), 0..4), vec(any::<u8>(), 0..40));
    let previous =
        (1..frame).prop_flat_map(|previous| (Just(previous), proptest::option::of(0..previous)));
    (oid(), any::<bool>(), previous, proptest::option::of(content)).prop_map(
        |(oid, pinned, (previous, far), content)| {
            (RecordHead { oid, pinned, previous, far }, content)
        },
    )
}

/// A frame's parts, and where it stands.
#[derive(Debug, Clone)]
struct Parts {
    sums: Sums,
    offset: u64,
    header: FrameHeader,
    fields: Fields,
    records: Vec<(RecordHead, Option<Content>)>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let header = |offset: u64| {
        let numbers = (any::<u32>(), any::<u64>(), 0..=offset, any::<u64>());
        numbers.prop_map(|(kind, tid, durable_upto, chain)| FrameHeader {
            kind: FrameKind::new(kind % 8),
            body_len: 0,
            tid: Tid::new(tid),
            durable_upto,
            chain,
            next_oid: Oid::new(BOUND),
            record_count: 0,
            fields_len: 0,
        })
    };
    place().prop_flat_map(move |offset| {
        let records = vec(record(offset), 0..4);
        (sums(), Just(offset), header(offset), fields(), records).prop_map(
            |(sums, offset, header, fields, records)| Parts {
                sums,
                offset,
                header,
                fields,
                records,
            },
        )
    })
}

fn build(parts: &Parts) -> Vec<u8> {
    let Parts { sums, offset, header, fields, records } = parts;
    let mut bytes = Vec::new();
    fields.encode(&mut bytes);
    let mut builder = FrameBuilder::new(header.kind, &bytes).unwrap();
    for (head, content) in records {
        let content = content.as_ref().map(|(id, oids, data)| {
            let mut references = Vec::new();
            References::encode(oids, &mut references);
            (*id, references, data)
        });
        builder.push(head, content.as_ref().map(|(id, refs, data)| (*id, &**refs, &***data)));
    }
    let length = builder.length();
    builder.place(sums, *offset, header.tid).unwrap();
    builder.finish(sums, header.chain, header.durable_upto, header.next_oid);
    assert_eq!(builder.bytes().len() as u64, length, "the length was known before the place");
    builder.bytes().to_vec()
}

fn file_header() -> impl Strategy<Value = FileHeader> {
    let additions = (any::<u16>(), any::<u32>(), any::<[u8; 32]>())
        .prop_map(|(minor, compatible, bytes)| Additions { minor, compatible, bytes });
    (any::<[u8; 16]>(), any::<[u64; 5]>(), additions).prop_map(|(id, numbers, additions)| {
        let [generation, history_from, last_tid, next_oid, forgot_before] = numbers;
        FileHeader {
            generation,
            history_from: Tid::new(history_from),
            last_tid: Tid::new(last_tid),
            next_oid: Oid::new(next_oid),
            forgot_before: Tid::new(forgot_before),
            additions,
            ..FileHeader::new(DatabaseId::new(id))
        }
    })
}

fn index_header() -> impl Strategy<Value = IndexHeader> {
    (any::<[u8; 16]>(), any::<[u64; 10]>()).prop_map(|(id, numbers)| {
        let [generation, scan_from, valid_upto, chain, tid, next, forgot, pages, len, sum] =
            numbers;
        IndexHeader {
            database: DatabaseId::new(id),
            generation,
            scan_from,
            valid_upto,
            chain,
            tid: Tid::new(tid),
            next_oid: Oid::new(next),
            forgot_before: Tid::new(forgot),
            pages,
            tables_len: len,
            tables_sum: sum,
        }
    })
}

fn index_tables() -> impl Strategy<Value = IndexTables> {
    let pairs = || vec((gtid(), any::<u64>()), 0..3);
    let (sums, types) = (vec(any::<u64>(), 0..4), vec(definition(), 0..3));
    (sums, types, vec(oid(), 0..4), pairs(), pairs()).prop_map(
        |(page_sums, types, pinned, decisions, prepared)| IndexTables {
            page_sums,
            types,
            pinned,
            decisions,
            prepared,
        },
    )
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Asks every reader of the format about these bytes.
fn read_all(sums: &Sums, offset: u64, bytes: &[u8]) {
    let _ = Frame::decode(sums, offset, bytes).map(|frame| frame.records(sums).count());
    let _ = Fields::decode(bytes);
    let _ = Record::decode(sums, offset, &mut Reader::new(bytes));
    let _ = Record::probe(bytes);
    let _ = bytes.first_chunk().map(FileHeader::decode);
    let _ = bytes.first_chunk().map(|bytes| FrameHeader::decode(sums, offset, bytes));
    let _ = bytes
        .first_chunk()
        .map(|bytes| IndexHeader::decode(bytes).map(|header: IndexHeader| header.tables_start()));
    for pages in [0, 1, u64::MAX] {
        let _ = IndexTables::decode(pages, bytes);
    }
    assert!(References::of(bytes).iter().count() <= bytes.len());
    let _ = Reader::new(bytes).string();
    let _ = Reader::new(bytes).varint32();
}

proptest! {
    #[test]
    fn a_number_and_a_text_are_read_as_written(number: u64, text in ".{0,40}") {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number);
        prop_assert_eq!(bytes.len(), varint_len(number));
        put_bytes(&mut bytes, text.as_bytes());

        let mut reader = Reader::new(&bytes);

        prop_assert_eq!(reader.varint(), Ok(number));
        prop_assert_eq!(reader.string(), Ok(&*text));
        prop_assert!(reader.is_done());
    }

    /// Equal numbers have equal bytes: no other bytes are read as a number.
    #[test]
    fn a_varint_has_one_encoding(bytes in vec(any::<u8>(), 1..11)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(number) = reader.varint() {
            let mut again = Vec::new();
            put_varint(&mut again, number);
            prop_assert_eq!(again.len() + reader.rest().len(), bytes.len());
            prop_assert!(bytes.starts_with(&again));
        }
    }

    #[test]
    fn a_file_header_is_read_as_written(header in file_header()) {
        let bytes = header.encode();

        let read = FileHeader::decode(&bytes);

        prop_assert_eq!(read.as_ref(), Ok(&header));
        prop_assert!(bytes.ends_with(&header.sum().to_le_bytes()));
    }

    #[test]
    fn a_frame_is_read_as_written(parts in parts()) {
        let bytes = build(&parts);

        let frame = Frame::decode(&parts.sums, parts.offset, &bytes).unwrap();

        prop_assert_eq!(frame.end(), parts.offset + bytes.len() as u64);
        let header = FrameHeader {
            body_len: frame.header.body_len,
            record_count: parts.records.len() as u32,
            fields_len: frame.header.fields_len,
            ..parts.header
        };
        prop_assert_eq!(frame.header, header);
        prop_assert_eq!(Fields::decode(frame.fields()), Ok(parts.fields.clone()));
        let records: Result<Vec<_>, _> = frame.records(&parts.sums).collect();
        let records = records.unwrap();
        prop_assert_eq!(records.len(), parts.records.len());
        for ((at, record), (head, content)) in records.into_iter().zip(&parts.records) {
            prop_assert_eq!(record.oid, head.oid);
            prop_assert_eq!(record.tid, parts.header.tid);
            prop_assert_eq!(record.back, at - parts.offset);
            prop_assert_eq!((record.pinned, record.previous), (head.pinned, head.previous));
            prop_assert_eq!(record.far, head.far);
            let read = record.content.map(|it| {
                let oids: Result<Vec<Oid>, _> = it.references.iter().collect();
                (it.type_id.0, oids.unwrap(), it.data.to_vec())
            });
            prop_assert_eq!(&read, content);
        }
    }

    #[test]
    fn an_index_is_read_as_written(header in index_header(), tables in index_tables()) {
        prop_assert_eq!(IndexHeader::decode(&header.encode()), Ok(header));
        let pages = tables.page_sums.len() as u64;
        prop_assert_eq!(IndexTables::decode(pages, &tables.encode()), Ok(tables));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        sums in sums(), offset: u64, bytes in vec(any::<u8>(), 0..300),
    ) {
        read_all(&sums, offset, &bytes);
    }

    /// Bytes that are nearly right come farther than random ones.
    #[test]
    fn no_damage_to_good_bytes_makes_a_reader_panic(
        parts in parts(), layout in 0..12usize, edits in vec((any::<usize>(), any::<u8>()), 1..4),
        cut in 0..64usize,
    ) {
        let structures = layouts::all();
        for mut bytes in [build(&parts), structures[layout % structures.len()].bytes.clone()] {
            for &(at, byte) in &edits {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            read_all(&parts.sums, parts.offset, &bytes);
        }
    }

    #[test]
    fn a_flipped_bit_of_a_frame_is_refused(parts in parts(), bit: usize) {
        let bytes = flipped(&build(&parts), bit);

        prop_assert!(Frame::decode(&parts.sums, parts.offset, &bytes).is_err());
        if bit % (bytes.len() * 8) < FrameHeader::LEN * 8 {
            let header = bytes.first_chunk().unwrap();
            prop_assert!(FrameHeader::decode(&parts.sums, parts.offset, header).is_err());
        }
    }

    /// A record is read alone: its own sum refuses what the frame's would.
    #[test]
    fn a_flipped_bit_of_a_record_is_refused(parts in parts(), bit: usize) {
        let bytes = build(&parts);
        let frame = Frame::decode(&parts.sums, parts.offset, &bytes).unwrap();
        let places: Vec<u64> = frame.records(&parts.sums).map(|it| it.unwrap().0).collect();
        for at in places {
            let alone = &bytes[(at - parts.offset) as usize..];
            let alone = &alone[..Record::probe(alone).unwrap().0];
            let read = |bytes: &[u8], at| {
                Record::decode(&parts.sums, at, &mut Reader::new(bytes)).is_ok()
            };

            prop_assert!(read(alone, at));
            prop_assert!(!read(&flipped(alone, bit), at));
            prop_assert!(!read(alone, at + 8), "another place is another sum");
        }
    }

    /// Bytes of another place, generation or database never pass.
    #[test]
    fn a_frame_is_good_in_one_place_of_one_file(parts in parts(), other in sums(), far in place()) {
        let bytes = build(&parts);

        prop_assert!(Frame::decode(&other, parts.offset, &bytes).is_err());
        prop_assume!(far != parts.offset);
        prop_assert!(Frame::decode(&parts.sums, far, &bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_of_a_header_is_refused(
        file in file_header(), index in index_header(), bit: usize,
    ) {
        let bytes = flipped(&file.encode(), bit);
        let fault = FileHeader::decode(bytes.first_chunk().unwrap());
        prop_assert!(matches!(fault, Err(HeaderFault::Foreign | HeaderFault::Damaged)));
        let bytes = flipped(&index.encode(), bit);
        prop_assert!(IndexHeader::decode(bytes.first_chunk().unwrap()).is_err());
    }

    /// The sums of pages and tables stand elsewhere; a flipped bit changes them.
    #[test]
    fn a_flipped_bit_of_an_index_changes_its_sum(
        sums in sums(), page: u64, bytes in vec(any::<u8>(), 1..99), bit: usize,
    ) {
        let changed = flipped(&bytes, bit);

        prop_assert_ne!(page_sum(&sums, page, &bytes), page_sum(&sums, page, &changed));
    }
}

/// The sums, made by hand as the document says.
#[test]
fn sums_are_what_the_document_says() {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
    let (bytes, offset, tid) = (b"any bytes", 4096u64, Tid::new(77));
    let id: [u8; 16] = std::array::from_fn(|number| number as u8);
    let seed = xxh3_64(&[&id[..], &3u64.to_le_bytes()].concat()).wrapping_add(offset);

    let sums = Sums::new(DatabaseId::new(id), 3);

    assert_eq!(plain_sum(bytes), xxh3_64(bytes));
    assert_eq!(sums.sum(offset, bytes), xxh3_64_with_seed(bytes, seed));
    assert_eq!(page_sum(&sums, offset, bytes), xxh3_64_with_seed(bytes, seed));
    let mix = xxh3_64_with_seed(&77u64.to_le_bytes(), seed);
    let crc = crc32fast::hash(bytes);
    assert_eq!(sums.record(offset, tid, crc), crc ^ mix as u32 ^ (mix >> 32) as u32);
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926, "the IEEE polynomial, reflected");
}

#[test]
fn a_kind_of_a_later_version_is_not_a_bad_header() {
    let story = Story::get();
    let told = story.told("Seal");
    let frame = Frame::decode(&story.sums, told.offset, &told.bytes).unwrap();

    let header = FrameHeader { kind: FrameKind::new(77), ..frame.header };
    let read = FrameHeader::decode(&story.sums, 8192, &header.encode(&story.sums, 8192));

    assert_eq!(read, Ok(header));
    assert_eq!(header.kind, FrameKind::Later(77));
}

#[test]
fn fields_are_in_order_and_not_repeated() {
    let with = |tags: &[u64]| {
        let mut bytes = Vec::new();
        for &tag in tags {
            put_varint(&mut bytes, tag);
            put_bytes(&mut bytes, b"x");
        }
        Fields::decode(&bytes).is_ok()
    };

    assert!(with(&[1, 2, 64, 64, 900]), "unknown tags from 64 on are passed over");
    assert!(!with(&[2, 1]) && !with(&[1, 1]) && !with(&[2, 2]));
    assert!(!with(&[9]) && !with(&[63]) && !with(&[0]), "unknown tags below are refused");
}

#[test]
fn a_body_ends_with_its_last_record() {
    let story = Story::get();
    let told = story.told("Decision");
    let frame = Frame::decode(&story.sums, told.offset, &told.bytes).unwrap();
    let mut bytes = told.bytes.clone();
    let header = FrameHeader { record_count: 1, ..frame.header };
    bytes[..FrameHeader::LEN].copy_from_slice(&header.encode(&story.sums, told.offset));
    let sum = story.sums.sum(told.offset, &bytes[..bytes.len() - 16]).to_le_bytes();
    let at = bytes.len() - 16;
    bytes[at..at + 8].copy_from_slice(&sum);

    let frame = Frame::decode(&story.sums, told.offset, &bytes).unwrap();
    let records: Vec<_> = frame.records(&story.sums).collect();

    assert_eq!(records.len(), 2);
    assert!(records[0].is_ok() && records[1].is_err());
}
