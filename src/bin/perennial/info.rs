//! `perennial info`: what a file says of itself.

use crate::json::Json;
use crate::report::{Failure, Outcome, Report};
use crate::{Subject, warn_of_damage};
use perennial::format::{FIRST_FRAME, TypeDef, TypeId};
use perennial::storage::file::FileFacts;
use perennial::storage::{FileStorage, Load, Storage};
use perennial::{DatabaseId, Oid, Tid};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Count the objects, of each type too; this reads the newest record of each.
    #[arg(long)]
    count: bool,
}

/// What is told.
struct Info {
    path: String,
    database: DatabaseId,
    facts: FileFacts,
    size: u64,
    has_writer: bool,
    last_tid: Tid,
    pinned: usize,
    types: Vec<(TypeId, Arc<TypeDef>)>,
    counts: Option<BTreeMap<TypeId, u64>>,
}

pub fn run(arguments: &Arguments, report: &mut Report) -> Result<Outcome, Failure> {
    let storage = arguments.subject.open()?;
    let size = std::fs::metadata(storage.path());
    let size = size.map_err(|error| perennial::Error::io("measure", storage.path(), error))?;
    let info = Info {
        path: storage.path().display().to_string(),
        database: storage.id(),
        facts: storage.facts(),
        size: size.len(),
        has_writer: storage.has_writer(),
        last_tid: storage.last_tid(),
        pinned: storage.pinned()?.len(),
        types: storage.types(),
        counts: if arguments.count { Some(count(&storage)?) } else { None },
    };
    match arguments.subject.json {
        true => report.json(&info.json())?,
        false => info.print(report)?,
    }
    Ok(warn_of_damage(&storage))
}

/// How many objects of each type there are.
fn count(storage: &FileStorage) -> Result<BTreeMap<TypeId, u64>, Failure> {
    let snapshot = storage.snapshot()?;
    let mut counts = BTreeMap::new();
    for oid in (0..storage.facts().stored_below.number()).map(Oid::new) {
        if let Load::Found(revision) = snapshot.load(oid)? {
            *counts.entry(revision.type_id).or_default() += 1;
        }
    }
    Ok(counts)
}

impl Info {
    fn unproven(&self) -> u64 {
        self.facts.log_end.saturating_sub(self.facts.durable)
    }

    /// Whether an index snapshot is in use.
    fn has_index(&self) -> bool {
        self.facts.replay_from > FIRST_FRAME
    }

    fn to_replay(&self) -> u64 {
        self.facts.log_end.saturating_sub(self.facts.replay_from)
    }

    fn objects(&self) -> Option<u64> {
        self.counts.as_ref().map(|counts| counts.values().sum())
    }

    fn of_type(&self, id: TypeId) -> Option<u64> {
        self.counts.as_ref().map(|counts| counts.get(&id).copied().unwrap_or(0))
    }

    fn print(&self, report: &mut Report) -> Result<(), Failure> {
        let facts = &self.facts;
        report.fact("path", &self.path)?;
        report.fact("database", self.database)?;
        report.fact("format", facts.format)?;
        report.fact("generation", facts.generation)?;
        report.fact("size", format_args!("{} bytes", self.size))?;
        report.fact("log end", facts.log_end)?;
        report.fact("durable", format_args!("{}, {} unproven", facts.durable, self.unproven()))?;
        report.fact("open for writing", if self.has_writer { "yes" } else { "no" })?;
        let tid = self.last_tid;
        report.fact("last transaction", format_args!("{} ({tid})", tid.number()))?;
        if let Some(objects) = self.objects() {
            report.fact("objects", objects)?;
        }
        report.fact("pinned objects", self.pinned)?;
        report.fact("next oid", facts.next_oid)?;
        match self.has_index() {
            true => report.fact(
                "index snapshot",
                format_args!("up to {}, {} bytes to replay", facts.replay_from, self.to_replay()),
            )?,
            false => report.fact("index snapshot", "none in use")?,
        }
        report.fact("types", self.types.len())?;
        for (id, definition) in &self.types {
            let count = self.of_type(*id).map(|count| format!(", {count} stored"));
            report.line(format_args!("  {definition}{}", count.unwrap_or_default()))?;
        }
        Ok(())
    }

    fn json(&self) -> Json {
        let facts = &self.facts;
        Json::Object(vec![
            ("path", Json::text(&self.path)),
            ("database", Json::text(self.database)),
            ("format", Json::Number(facts.format.into())),
            ("generation", Json::Number(facts.generation)),
            ("size", Json::Number(self.size)),
            ("log_end", Json::Number(facts.log_end)),
            ("durable", Json::Number(facts.durable)),
            ("unproven_bytes", Json::Number(self.unproven())),
            ("open_for_writing", Json::Bool(self.has_writer)),
            ("last_tid", Json::Number(self.last_tid.number())),
            ("last_time", Json::text(self.last_tid)),
            ("objects", Json::option(self.objects(), Json::Number)),
            ("pinned", Json::Number(self.pinned as u64)),
            ("next_oid", Json::Number(facts.next_oid.number())),
            (
                "index_upto",
                match self.has_index() {
                    true => Json::Number(facts.replay_from),
                    false => Json::Null,
                },
            ),
            (
                "types",
                Json::list(&self.types, |(id, definition)| {
                    Json::Object(vec![
                        ("name", Json::text(&definition.name)),
                        ("version", Json::Number(definition.version.into())),
                        ("shape", Json::text(&definition.shape)),
                        ("objects", Json::option(self.of_type(*id), Json::Number)),
                    ])
                }),
            ),
        ])
    }
}
