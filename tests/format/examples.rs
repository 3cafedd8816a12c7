//! The document's examples: each is what the code writes for the values that the document gives,
//! and what it writes is read back as these values.

use super::document::{Document, HexLine};
use super::story::{Story, data};
use perennial::format::{
    FIRST_FRAME, Fields, FileHeader, Frame, FrameBuilder, FrameKind, IndexHeader, IndexTables,
    Reader, Record, RecordHead, Sums, put_varint,
};
use perennial::shape::{Shape, decode_by_shape};
use perennial::{Oid, Tid};
use std::sync::OnceLock;

/// The examples whose bytes the code makes, by their names in the document.
pub fn made() -> &'static [(&'static str, Vec<u8>)] {
    static MADE: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(make)
}

fn make() -> Vec<(&'static str, Vec<u8>)> {
    let story = Story::get();
    let mut made = vec![("FileHeader", story.header.encode().to_vec())];
    made.extend(story.frames.iter().map(|told| (told.name, told.bytes.clone())));
    made.push(("FarRecord", far_record(&story.sums)));
    made.push(("IndexHeader", story.index_header().encode().to_vec()));
    made.push(("IndexPage", story.page()[..40].to_vec()));
    made.push(("IndexTables", story.tables().encode()));
    made.push(("Values", values()));
    made
}

/// Where the record with a second back pointer stands.
pub const FAR_RECORD: u64 = FAR_FRAME + 64;
const FAR_FRAME: u64 = 65_536;

fn far_head() -> RecordHead {
    RecordHead { oid: Oid::new(1), pinned: false, previous: 60_000, far: Some(4096) }
}

fn far_record(sums: &Sums) -> Vec<u8> {
    let mut builder = FrameBuilder::new(FrameKind::Commit, &[]).unwrap();
    builder.push(&far_head(), Some((0, &[], &data(("ann", 300i64)))));
    let end = builder.length() as usize - 16;
    builder.place(sums, FAR_FRAME, Tid::new(super::story::SECOND)).unwrap();
    let bytes = &builder.bytes()[64..];
    let (length, back) = Record::probe(bytes).unwrap();
    assert_eq!(back, 64);
    assert!(length <= end);
    bytes[..length].to_vec()
}

/// One value of every kind, as codec 1 writes it.
fn values() -> Vec<u8> {
    #[derive(serde::Serialize)]
    enum Kind {
        #[expect(dead_code, reason = "the first, so that the second is not")]
        Plain,
        Sized(u8, u16),
    }
    let mut out = Vec::new();
    for value in [
        data((true, 'é', 200u8, -1i8)),
        data((250u16, 251u16, 65_536u32, 1u64 << 32, 1u128 << 64)),
        data((0i64, -1i64, 1i64, 125i16, -126i16, i32::MIN)),
        data((1.5f32, -2.0f64)),
        data(("ab", vec![7u16, 300], ())),
        data((None::<u8>, Some(9u8))),
        data(std::collections::BTreeMap::from([("k", 5u8)])),
        data(Kind::Sized(1, 2)),
    ] {
        out.extend(value);
    }
    out
}

/// Where the examples and the code differ.
pub fn complaints(document: &Document) -> Vec<String> {
    let mut complaints = Vec::new();
    let made = made();
    for (name, bytes) in made {
        match document.example(name) {
            Some(example) if &example == bytes => {}
            Some(example) => {
                let at = example.iter().zip(bytes).take_while(|(one, other)| one == other).count();
                complaints.push(format!("example {name}: the code writes otherwise from {at} on"));
            }
            None => complaints.push(format!("there is no example of {name}")),
        }
    }
    let known = |name: &str| name == "Varints" || made.iter().any(|(known, _)| known == &name);
    let strange = document.examples.keys().filter(|name| !known(name));
    complaints.extend(strange.map(|name| format!("example {name} is checked by nothing")));
    complaints.extend(varints(document));
    complaints.extend(numbers(document));
    complaints.extend(values_by_shape(document));
    complaints.extend(read_back(document).err());
    complaints
}

/// Each line of this example is one varint; its comment is the number.
fn varints(document: &Document) -> Vec<String> {
    let lines = document.examples.get("Varints").map(Vec::as_slice).unwrap_or_default();
    let mut complaints = Vec::new();
    for line in lines {
        let mut bytes = Vec::new();
        line.comment.parse().map(|number| put_varint(&mut bytes, number)).unwrap_or_default();
        let read = Reader::new(&line.bytes).varint();
        if bytes != line.bytes || !read.is_ok_and(|read| read.to_string() == line.comment) {
            complaints.push(format!("line {}: not the varint {}", line.line + 1, line.comment));
        }
    }
    if lines.is_empty() {
        complaints.push("there is no example of Varints".into());
    }
    complaints
}

/// Each line of this example is one value; its comment is the value's shape and text.
fn values_by_shape(document: &Document) -> Vec<String> {
    let lines = document.examples.get("Values").map(Vec::as_slice).unwrap_or_default();
    let mut complaints = Vec::new();
    for line in lines {
        let text = line.comment.split_once(" = ").and_then(|(shape, text)| {
            let value = decode_by_shape(&Shape::parse(shape).ok()?, &line.bytes).ok()?;
            (value.to_string() == text).then_some(text)
        });
        if text.is_none() {
            complaints.push(format!("line {}: not the value {}", line.line + 1, line.comment));
        }
    }
    complaints
}

/// The number that a comment such as `tid 7` gives to the bytes of its line.
pub fn number_beside(line: &HexLine) -> Option<u64> {
    let (name, number) = line.comment.rsplit_once(' ')?;
    let is_name = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    if is_name { number.parse().ok() } else { None }
}

/// Numbers beside bytes are what the bytes say, fixed or as a varint.
fn numbers(document: &Document) -> Vec<String> {
    let mut complaints = Vec::new();
    for line in document.examples.values().flatten() {
        let Some(number) = number_beside(line) else { continue };
        let fixed = number.to_le_bytes();
        let (front, rest) = fixed.split_at(line.bytes.len().min(8));
        let is_fixed = front == line.bytes && rest.iter().all(|&byte| byte == 0);
        let mut varint = Vec::new();
        put_varint(&mut varint, number);
        if !is_fixed && varint != line.bytes {
            complaints.push(format!("line {}: not {}", line.line + 1, line.comment));
        }
    }
    complaints
}

/// What the document's bytes mean to the code.
fn read_back(document: &Document) -> Result<(), String> {
    let story = Story::get();
    let example = |name: &str| document.example(name).ok_or(format!("no example of {name}"));
    let same = |name: &str, same: bool| match same {
        true => Ok(()),
        false => Err(format!("example {name} reads as something else")),
    };
    let unread = |name: &str, wrong: perennial::format::Malformed| format!("{name}: {}", wrong.0);

    let header = example("FileHeader")?;
    let header = header.first_chunk().map(FileHeader::decode);
    same("FileHeader", header == Some(Ok(story.header)))?;
    let mut offset = FIRST_FRAME;
    for told in &story.frames {
        let bytes = example(told.name)?;
        let frame =
            Frame::decode(&story.sums, offset, &bytes).map_err(|it| unread(told.name, it))?;
        Fields::decode(frame.fields()).map_err(|wrong| unread(told.name, wrong))?;
        let records: Result<Vec<_>, _> = frame.records(&story.sums).collect();
        let records = records.map_err(|wrong| unread(told.name, wrong))?;
        let places: Vec<u64> = records.iter().map(|(at, _)| *at).collect();
        same(told.name, places == told.records)?;
        offset = frame.end();
    }
    let bytes = example("FarRecord")?;
    let record = Record::decode(&story.sums, FAR_RECORD, &mut Reader::new(&bytes))
        .map_err(|wrong| unread("FarRecord", wrong))?;
    let head = far_head();
    same("FarRecord", (record.previous, record.far) == (head.previous, head.far))?;
    let header = example("IndexHeader")?;
    let header = header.first_chunk().map(IndexHeader::decode);
    same("IndexHeader", header == Some(Ok(story.index_header())))?;
    let tables = IndexTables::decode(1, &example("IndexTables")?);
    same("IndexTables", tables == Ok(story.tables()))
}
