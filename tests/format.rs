//! docs/format.md, executed: its tables and examples are what the code writes and reads; and the
//! laws of the layouts themselves.

mod check;
mod document;
mod examples;
mod laws;
mod layouts;
mod story;

use crate::support::source::{Source, read};
use check::complaints;
use document::Document;
use perennial::file::{Access, Directory, MemoryDirectory};
use perennial::shape::{Shape, decode_by_shape};
use perennial::storage::file::{FileOptions, Mode};
use perennial::storage::{FileStorage, Load, Storage};
use perennial::{Oid, Tid};
use std::sync::Arc;
use story::Story;

const DOCUMENT: &str = "docs/format.md";

/// The text of the document, which says what the code does.
fn text() -> String {
    let text = read(DOCUMENT);
    let complaints = complaints(&text);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    text
}

#[test]
fn the_document_says_what_the_code_does() {
    assert!(text().contains("## Opening"));
}

/// A pointer in the code names a section of the document.
#[test]
fn every_pointer_into_the_document_leads_somewhere() {
    let text = text();
    let headings: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|it| it.trim_start_matches(['#', ' ']))
        .collect();
    let mut pointers = 0;
    for source in Source::all("src") {
        for section in source.text.split("docs/format.md, \"").skip(1) {
            let section = section.split('"').next().unwrap_or_default();
            assert!(headings.contains(&section), "{}: {section}", source.path);
            pointers += 1;
        }
    }
    assert!(pointers > 10, "only {pointers} were found");
}

/// The document with one line changed.
fn with_line(text: &str, number: usize, change: impl Fn(&str) -> String) -> String {
    let lines = text.lines().enumerate();
    let changed: Vec<String> =
        lines.map(|(at, line)| if at == number { change(line) } else { line.to_owned() }).collect();
    changed.join("\n")
}

/// The row with another text in one of its cells.
fn with_cell(row: &str, number: usize, text: &str) -> String {
    let mut cells: Vec<&str> = row.split('|').collect();
    cells[number + 1] = text;
    cells.join("|")
}

#[test]
fn every_change_of_a_table_is_seen() {
    let text = text();
    let document = Document::parse(&text).unwrap();
    let mut changes = 0;
    for row in document.layouts.values().flatten() {
        let size = row.cell(1).parse::<usize>().map_or("9".into(), |size| (size + 1).to_string());
        let offset =
            row.cell(0).parse::<usize>().map_or("1".into(), |offset| (offset + 1).to_string());
        for (cell, text_of_cell) in [(0, offset.as_str()), (1, size.as_str()), (2, "`other`")] {
            let changed = with_line(&text, row.line, |line| with_cell(line, cell, text_of_cell));
            assert!(!complaints(&changed).is_empty(), "line {}, cell {cell}", row.line + 1);
            changes += 1;
        }
    }
    for row in document.tables.values().flatten() {
        for cell in [0, 1] {
            let changed = with_line(&text, row.line, |line| with_cell(line, cell, "no"));
            assert!(!complaints(&changed).is_empty(), "line {}, cell {cell}", row.line + 1);
            changes += 1;
        }
    }
    assert!(changes > 200, "only {changes} changes were tried");
}

#[test]
fn a_missing_row_or_table_is_seen() {
    let text = text();
    let document = Document::parse(&text).unwrap();

    for row in document.layouts.values().chain(document.tables.values()).flatten() {
        let without: Vec<&str> =
            text.lines().enumerate().filter(|(at, _)| *at != row.line).map(|(_, it)| it).collect();
        assert!(!complaints(&without.join("\n")).is_empty(), "line {}", row.line + 1);
    }
    for mark in ["<!-- layout: ", "<!-- table: ", "```hex "] {
        for (at, _) in text.match_indices(mark) {
            let changed = format!("{}{mark}x{}", &text[..at], &text[at + mark.len()..]);
            assert!(!complaints(&changed).is_empty(), "at {at}");
        }
    }
}

#[test]
fn every_change_of_a_byte_in_an_example_is_seen() {
    let text = text();
    let document = Document::parse(&text).unwrap();
    let mut changes = 0;
    for line in document.examples.values().flatten() {
        for number in 0..line.bytes.len() {
            let changed = with_line(&text, line.line, |line| {
                let mut at = number * 3;
                at += line.len() - line.trim_start().len();
                let digit = if &line[at + 1..at + 2] == "0" { "1" } else { "0" };
                format!("{}{digit}{}", &line[..=at], &line[at + 2..])
            });
            let examples = Document::parse(&changed).unwrap();
            assert!(!examples::complaints(&examples).is_empty(), "line {}", line.line + 1);
            changes += 1;
        }
    }
    assert!(changes > 1000, "only {changes} changes were tried");
}

#[test]
fn every_change_of_a_number_beside_an_example_is_seen() {
    let text = text();
    let document = Document::parse(&text).unwrap();
    let mut changes = 0;
    for line in document.examples.values().flatten() {
        let Some(number) = examples::number_beside(line) else { continue };
        let changed = with_line(&text, line.line, |line| {
            let (front, _) = line.rsplit_once(&number.to_string()).unwrap();
            format!("{front}{}", number.wrapping_add(3))
        });
        let complaints = examples::complaints(&Document::parse(&changed).unwrap());
        assert!(!complaints.is_empty(), "line {}", line.line + 1);
        changes += 1;
    }
    assert!(changes > 80, "only {changes} changes were tried");
}

/// The file that the document describes, in a directory of its own.
fn directory(index: bool) -> Arc<MemoryDirectory> {
    let (story, directory) = (Story::get(), Arc::new(MemoryDirectory::default()));
    let put = |name: &str, bytes: &[u8]| {
        directory.open(name, Access::CreateNew).unwrap().append(0, bytes).unwrap();
    };
    put("bank.db", &story.file());
    if index {
        put("bank.db.index", &story.index());
    }
    directory
}

#[test]
fn the_database_of_the_document_opens() {
    for (index, mode) in [false, true]
        .into_iter()
        .flat_map(|index| [Mode::ReadOnly, Mode::Existing].map(|mode| (index, mode)))
    {
        let options = FileOptions { mode, ..FileOptions::default() };

        let storage = FileStorage::open(directory(index), "bank.db", options).unwrap();

        assert_eq!(storage.last_tid(), Tid::new(story::SECOND));
        assert_eq!(storage.pinned().unwrap(), [Oid::new(2)]);
        let types = storage.types().into_iter().map(|(id, it)| (id, (*it).clone()));
        assert_eq!(types.collect::<Vec<_>>(), [story::account(), story::card()]);
        let snapshot = storage.snapshot().unwrap();
        let load = |oid| snapshot.load(Oid::new(oid)).unwrap();
        let Load::Found(ann) = load(1) else { panic!("{:?}", load(1)) };
        let shape = Shape::parse(&story::account().1.shape).unwrap();
        let value = decode_by_shape(&shape, &ann.data).unwrap();
        assert_eq!(value.to_string(), "{owner: \"ann\", cents: 250}");
        let Load::Found(card) = load(2) else { panic!("{:?}", load(2)) };
        assert_eq!(card.references.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![Oid::new(1)]));
        assert!(matches!(load(3), Load::Removed(_)));
        assert!(matches!(load(4), Load::Absent));
    }
}

/// What is whole and continues the log was written by somebody who knew more: no torn end.
#[test]
fn a_frame_of_a_later_version_is_refused_and_not_cut() {
    use perennial::format::{FrameBuilder, FrameKind};
    let story = Story::get();
    let last = story.told("End");
    let mut builder = FrameBuilder::new(FrameKind::Later(9), &[]).unwrap();
    builder.place(&story.sums, last.end(), Tid::new(story::SECOND + 1)).unwrap();
    let at = last.bytes.len() - 16;
    let chain = u64::from_le_bytes(last.bytes[at..at + 8].try_into().unwrap());
    builder.finish(&story.sums, chain, 4096, Oid::new(4));
    let mut bytes = story.file();
    bytes.extend_from_slice(builder.bytes());
    let directory = Arc::new(MemoryDirectory::default());
    let file = directory.open("bank.db", Access::CreateNew).unwrap();
    file.append(0, &bytes).unwrap();

    let refusal = FileStorage::open(directory, "bank.db", FileOptions::default());

    let message = refusal.expect_err("it must be refused").to_string();
    assert!(message.contains("kind 9"), "{message}");
    let mut now = vec![0; bytes.len()];
    file.read_at(0, &mut now).unwrap();
    assert!(now == bytes && file.len().unwrap() == bytes.len() as u64);
}

/// The first frame is chained to what stands in the file, also where a later version put it there.
#[test]
fn a_later_minor_version_is_read() {
    use perennial::format::{Additions, FileHeader, FrameBuilder, FrameKind};
    let story = Story::get();
    let additions = Additions { minor: 3, compatible: 1, bytes: [5; 32] };
    let header = FileHeader { additions, ..story.header };
    let mut builder = FrameBuilder::new(FrameKind::Seal, &[]).unwrap();
    builder.place(&story.sums, 4096, Tid::ZERO).unwrap();
    builder.finish(&story.sums, header.sum(), 4096, Oid::new(1));
    let mut bytes = header.encode_file();
    bytes.extend_from_slice(builder.bytes());
    let directory = Arc::new(MemoryDirectory::default());
    directory.open("bank.db", Access::CreateNew).unwrap().append(0, &bytes).unwrap();

    let options = FileOptions { mode: Mode::ReadOnly, ..FileOptions::default() };
    let storage = FileStorage::open(directory, "bank.db", options).unwrap();

    assert_eq!(storage.facts().log_end, bytes.len() as u64, "the frame was accepted");
}
