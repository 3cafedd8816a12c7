//! Bytes as each structure of the format: what is read can be written again as it was, and what
//! cannot be read is refused without a panic and without memory beyond what was given.
//!
//! The first byte chooses the structure, and whether its sums are made right before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennial::format::{
    Fields, FileHeader, Frame, FrameBuilder, FrameHeader, IndexHeader, IndexTables, Malformed,
    Reader, Record, RecordHead, References, plain_sum, put_bytes, put_varint, varint_len,
};
use perennial_fuzz::forge;
use perennial_fuzz::heap::{Counting, within};
use perennial_fuzz::story::Story;

#[global_allocator]
static HEAP: Counting = Counting;

/// Where the bytes are said to stand.
const OFFSET: u64 = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    Story::get();
    within(256 * bytes.len() + (64 << 10), || match choice % 8 {
        0 => numbers(&bytes),
        1 => fields(&bytes),
        2 => tables(choice, &bytes),
        3 => record(&mut bytes, choice >= 128),
        4 => file_header(&mut bytes, choice >= 128),
        5 => index_header(&mut bytes, choice >= 128),
        _ => frame(bytes, choice >= 128),
    });
});

fn numbers(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(number) = reader.varint() {
        let mut again = Vec::new();
        put_varint(&mut again, number);
        let start = bytes.len() - reader.rest().len() - again.len();
        assert_eq!(bytes[start..][..again.len()], again, "a varint has one encoding");
        assert_eq!(again.len(), varint_len(number));
    }
    let mut reader = Reader::new(bytes);
    while let Ok(piece) = reader.bytes() {
        let mut again = Vec::new();
        put_bytes(&mut again, piece);
        let start = bytes.len() - reader.rest().len() - again.len();
        assert_eq!(bytes[start..][..again.len()], again);
    }
    let references = References::of(bytes);
    let oids: Vec<_> = references.iter().collect();
    if let Ok(oids) = oids.into_iter().collect::<Result<Vec<_>, Malformed>>() {
        let mut again = Vec::new();
        References::encode(&oids, &mut again);
        assert_eq!(again, bytes);
    }
}

fn fields(bytes: &[u8]) {
    let Ok(fields) = Fields::decode(bytes) else { return };
    let mut again = Vec::new();
    fields.encode(&mut again);
    assert_eq!(Fields::decode(&again).as_ref(), Ok(&fields));
    assert!(again.len() <= bytes.len(), "nothing is added");
}

fn tables(pages: u8, bytes: &[u8]) {
    let pages = u64::from(pages / 8);
    if let Ok(tables) = IndexTables::decode(pages, bytes) {
        assert_eq!(tables.encode(), bytes);
    }
}

fn record(bytes: &mut Vec<u8>, forged: bool) {
    let sums = Story::get().sums();
    if forged {
        forge::records(&sums, 0, 0, 1, bytes);
    }
    let mut reader = Reader::new(bytes);
    let decoded = Record::decode(&sums, 0, &mut reader);
    let _ = Record::claim(bytes);
    let Ok(record) = decoded else { return };
    let length = bytes.len() - reader.rest().len();
    assert_eq!(Record::probe(bytes), Ok((length, record.back)));
    assert_eq!(Record::claim(bytes), Some(record.oid));
    let Record { oid, tid, pinned, previous, far, .. } = record;
    let head = RecordHead { oid, pinned, previous, far };
    let content = record.content.as_ref();
    let content = content.map(|it| (it.type_id.0, it.references.bytes(), &*it.data));
    // A builder puts the record behind a header, so its distance to its frame is another one, which
    // may take more bytes.
    let mut builder =
        FrameBuilder::new(perennial::format::FrameKind::Commit, &[]).expect("no fields");
    builder.push(&head, content);
    builder.place(&sums, OFFSET, tid).expect("one record");
    builder.finish(&sums, 0, 0, oid);
    let frame = Frame::decode(&sums, OFFSET, builder.bytes()).expect("it was made so");
    let start = builder.record_starts()[0];
    let mut reader = Reader::new(&builder.bytes()[start as usize..]);
    let again = Record::decode(&sums, OFFSET + start, &mut reader).expect("it was made so");
    assert_eq!(Record { back: record.back, length: record.length, ..again }, record);
    assert_eq!(frame.header.record_count, 1);
}

fn file_header(bytes: &mut [u8], forged: bool) {
    if forged && let Some((front, sum)) = bytes.split_at_mut_checked(120) {
        sum.iter_mut().zip(plain_sum(front).to_le_bytes()).for_each(|(old, new)| *old = new);
    }
    if let Some(Ok(header)) = bytes.first_chunk().map(FileHeader::decode) {
        assert_eq!(header.encode(), bytes[..FileHeader::LEN]);
    }
}

fn index_header(bytes: &mut [u8], forged: bool) {
    if forged && let Some((front, sum)) = bytes.split_at_mut_checked(112) {
        sum.iter_mut().zip(plain_sum(front).to_le_bytes()).for_each(|(old, new)| *old = new);
    }
    if let Some(Ok(header)) = bytes.first_chunk().map(IndexHeader::decode) {
        assert_eq!(header.encode(), bytes[..IndexHeader::LEN]);
        let _ = header.tables_start();
    }
}

fn frame(bytes: Vec<u8>, forged: bool) {
    let sums = Story::get().sums();
    let mut file = Story::get().begin(&bytes);
    if forged {
        forge::file(&mut file);
    }
    let bytes = &file[OFFSET as usize..];
    let _ = FrameHeader::looks_like(bytes);
    let Some(Ok(header)) = bytes.first_chunk().map(|it| FrameHeader::decode(&sums, OFFSET, it))
    else {
        return;
    };
    assert_eq!(header.encode(&sums, OFFSET), bytes[..FrameHeader::LEN]);
    let length = header.frame_len().and_then(|it| usize::try_from(it).ok());
    let whole = length.and_then(|length| bytes.get(..length)).unwrap_or(bytes);
    let Ok(frame) = Frame::decode(&sums, OFFSET, whole) else { return };
    assert_eq!((frame.end(), frame.length()), (OFFSET + whole.len() as u64, whole.len() as u64));
    let _ = Fields::decode(frame.fields());
    let mut records = 0;
    for record in frame.records(&sums) {
        let Ok((at, record)) = record else { return };
        assert!(at >= OFFSET + FrameHeader::LEN as u64 && at < frame.end());
        assert_eq!(record.tid, header.tid);
        records += 1;
    }
    assert_eq!(records, header.record_count);
}
