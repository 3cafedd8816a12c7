//! Comparing docs/format.md with the code: [`complaints`].

use super::document::{Document, Row};
use super::examples;
use super::layouts::{self, Layout};
use perennial::format::{
    CODEC_BINCODE_2, Coordinator, FILE_MAGIC, FIRST_FRAME, FORMAT_VERSION, FRAME_MAGIC, Fields,
    FileHeader, FrameHeader, FrameKind, HEADER_COPY, IGNORABLE, INDEX_MAGIC, INDEX_VERSION,
    IndexHeader, MAX_VARINT, PAGE_LEN, PAGE_SLOTS, PAGES_START, Participant, Reader, Record,
};
use perennial::shape::Shape;
use perennial::{DatabaseId, GlobalId, Oid, Tid};
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// Where the document and the code differ.
pub fn complaints(text: &str) -> Vec<String> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(wrong) => return vec![wrong],
    };
    let mut complaints = Vec::new();
    let layouts = layouts::all();
    for layout in layouts {
        match document.layouts.get(layout.name) {
            Some(rows) => complaints.extend(check_layout(layout, rows).err()),
            None => complaints.push(format!("{} has no table", layout.name)),
        }
    }
    let known = |name: &str| layouts.iter().any(|layout| layout.name == name);
    let strange = document.layouts.keys().filter(|name| !known(name));
    complaints.extend(strange.map(|name| format!("nothing is laid out like {name}")));

    for (name, expected) in tables() {
        match document.tables.get(name) {
            Some(rows) => complaints.extend(check_table(name, &expected, rows)),
            None => complaints.push(format!("there is no table of {name}")),
        }
    }
    if document.tables.len() != tables().len() {
        complaints.push(format!("one of {:?} is checked by nothing", document.tables.keys()));
    }
    complaints.extend(examples::complaints(&document));
    complaints
}

/// Reads the encoded structure as the table says, and compares each field.
fn check_layout(layout: &Layout, rows: &[Row]) -> Result<(), String> {
    let mut reader = Reader::new(&layout.bytes);
    let mut lengths: Vec<(String, usize)> = Vec::new();
    // Where the next field stands, as long as that is the same in every such structure.
    let mut offset = Some(0usize);
    let mut fields = layout.fields.iter();
    for row in rows {
        let (place, size, name) = (row.cell(0), row.cell(1), row.cell(2));
        let wrong = |what: &str| Err(format!("line {}: {name}: {what}", row.line + 1));
        if place != offset.map_or("–".to_owned(), |offset| offset.to_string()) {
            return wrong("the offset is not where the field before it ends");
        }
        let left = reader.rest();
        let length = match size {
            "varint" => {
                let mut front = reader.clone();
                let number = front.varint().map_err(|wrong| wrong.0.to_string())?;
                lengths.push((name.into(), number as usize));
                left.len() - front.rest().len()
            }
            "rest" => left.len(),
            number if number.parse::<usize>().is_ok() => number.parse().unwrap_or_default(),
            other => match lengths.iter().find(|(name, _)| name == other) {
                Some((_, length)) => *length,
                None => return wrong("the size is none"),
            },
        };
        offset = size.parse::<usize>().ok().and_then(|size| Some(offset? + size));
        let Ok(bytes) = reader.take(length) else { return wrong("it ends beyond the structure") };
        match fields.next() {
            Some((field, expected)) if field == &name && expected == bytes => {}
            Some((field, _)) if field != &name => return wrong(&format!("{field} stands there")),
            _ => return wrong("the code writes something else there"),
        }
        if row.cell(3).is_empty() || row.cells.len() > 4 && row.cell(4).is_empty() {
            return wrong("nothing is said of it");
        }
    }
    match fields.next() {
        Some((field, _)) => Err(format!("{}: {field} is missing", layout.name)),
        None if !reader.is_done() => Err(format!("{}: bytes are missing", layout.name)),
        None if layout.length.is_some_and(|length| offset != Some(length)) => {
            Err(format!("{}: the sizes do not sum up to its length", layout.name))
        }
        None => Ok(()),
    }
}

/// The first cells of the rows are what the code says.
fn check_table(name: &str, expected: &[(String, String)], rows: &[Row]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (row, (number, word)) in rows.iter().zip(expected) {
        if (row.cell(0), row.cell(1)) != (number, word) {
            let line = row.line + 1;
            complaints.push(format!("line {line}: the code says {number} is {word}"));
        }
    }
    if rows.len() != expected.len() {
        complaints.push(format!("{} rows of {name}, not {}", expected.len(), rows.len()));
    }
    complaints
}

type Expected = Vec<(String, String)>;

fn tables() -> [(&'static str, Expected); 5] {
    [
        ("constants", constants()),
        ("frame kinds", kinds()),
        ("record flags", flags()),
        ("field tags", tags()),
        ("shapes", shapes()),
    ]
}

fn constants() -> Expected {
    let bytes =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let constants = [
        ("FILE_MAGIC", bytes(&FILE_MAGIC)),
        ("FORMAT_VERSION", FORMAT_VERSION.to_string()),
        ("CODEC_BINCODE_2", CODEC_BINCODE_2.to_string()),
        ("FileHeader::LEN", FileHeader::LEN.to_string()),
        ("HEADER_COPY", HEADER_COPY.to_string()),
        ("FIRST_FRAME", FIRST_FRAME.to_string()),
        ("FRAME_MAGIC", bytes(&FRAME_MAGIC)),
        ("FrameHeader::LEN", FrameHeader::LEN.to_string()),
        ("FrameHeader::TRAILER_LEN", FrameHeader::TRAILER_LEN.to_string()),
        ("FrameHeader::MIN_FRAME", FrameHeader::MIN_FRAME.to_string()),
        ("FrameHeader::ALIGNMENT", FrameHeader::ALIGNMENT.to_string()),
        ("Record::MAX_HEAD", Record::MAX_HEAD.to_string()),
        ("IGNORABLE", IGNORABLE.to_string()),
        ("MAX_VARINT", MAX_VARINT.to_string()),
        ("Oid::MAX", Oid::MAX.to_string()),
        ("INDEX_MAGIC", bytes(&INDEX_MAGIC)),
        ("INDEX_VERSION", INDEX_VERSION.to_string()),
        ("IndexHeader::LEN", IndexHeader::LEN.to_string()),
        ("PAGE_SLOTS", PAGE_SLOTS.to_string()),
        ("PAGE_LEN", PAGE_LEN.to_string()),
        ("PAGES_START", PAGES_START.to_string()),
    ];
    constants.map(|(name, value)| (name.into(), value)).into()
}

fn kinds() -> Expected {
    use FrameKind::{Abort, Commit, End, Prepare, Seal};
    let kinds = [Commit, Prepare, Abort, End, Seal];
    kinds.map(|kind| (kind.number().to_string(), format!("{kind:?}"))).into()
}

fn flags() -> Expected {
    use super::laws::record_flags as flags;
    let rows = [
        (flags(true, false, false), "TOMBSTONE"),
        (flags(false, true, false), "PINNED"),
        (flags(false, false, true), "FAR"),
    ];
    rows.map(|(flag, name)| (flag.to_string(), name.into())).into()
}

/// Types as they are written in Rust, and their shapes.
fn shapes() -> Expected {
    fn row<T: DeserializeOwned + 'static>(rust: &str) -> (String, String) {
        (rust.to_owned(), Shape::of::<T>("a type of the document").unwrap().to_string())
    }
    vec![
        row::<types::Account>("struct Account { owner: String, cents: i64 }"),
        row::<types::Price>("struct Price { cents: Cents }"),
        row::<types::Kind>("enum Kind { A, B(u8), C { x: f32 } }"),
        row::<types::Tree>("struct Tree { kids: Vec<Tree>, of: Ref<Tree> }"),
        row::<HashMap<String, Option<u32>>>("HashMap<String, Option<u32>>"),
    ]
}

#[expect(dead_code, reason = "only their shapes are of interest")]
mod types {
    use perennial::Ref;
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Account {
        owner: String,
        cents: i64,
    }

    #[derive(Deserialize)]
    pub struct Price {
        cents: Cents,
    }

    #[derive(Deserialize)]
    struct Cents(i64);

    #[derive(Deserialize)]
    pub enum Kind {
        A,
        B(u8),
        C { x: f32 },
    }

    #[derive(Deserialize)]
    pub struct Tree {
        kids: Vec<Tree>,
        of: Ref<Tree>,
    }
}

/// The tag that the code gives to each kind of field.
fn tags() -> Expected {
    let mut fields = std::array::from_fn::<Fields, 8, _>(|_| Fields::default());
    let [user, note, extension, types, global, participant, coordinator, read] = &mut fields;
    user.metadata.user.push('u');
    note.metadata.note.push('n');
    extension.metadata.extension.insert(String::new(), Vec::new());
    types.types.push(super::story::card());
    global.gtid = Some(GlobalId::new([0; 16]));
    participant.participants.push(Participant { name: String::new(), database: None });
    let (database, last_tid, path) = (DatabaseId::new([0; 16]), Tid::ZERO, String::new());
    coordinator.coordinator = Some(Coordinator { database, last_tid, path });
    read.reads.push((Oid::ROOT, Tid::ZERO));

    let tag_of = |fields: &Fields| {
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        bytes[0].to_string()
    };
    let names =
        ["User", "Note", "Extension", "Type", "Global", "Participant", "Coordinator", "Read"];
    fields.iter().map(tag_of).zip(names.map(str::to_owned)).collect()
}
