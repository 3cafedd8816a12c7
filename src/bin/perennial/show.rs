//! `perennial show`: one object, by the shape that its type had when it was stored.

use crate::json::Json;
use crate::report::{Failure, Outcome, Report, complain, with_causes};
use crate::{Subject, warn_of_damage};
use perennial::format::TypeDef;
use perennial::shape::{Shape, Value, decode_by_shape};
use perennial::storage::{Change, Load, Revision, Snapshot, Storage};
use perennial::{Oid, Tid};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The object's number; 0 holds the roots by their names.
    oid: u64,
    /// As it was at this transaction, a number as `log` prints it.
    #[arg(long, value_name = "TID")]
    at: Option<u64>,
}

/// What is told of an object.
struct Shown<'a> {
    oid: Oid,
    revision: &'a Revision<'a>,
    definition: Option<Arc<TypeDef>>,
    references: Vec<Oid>,
    value: Option<Value>,
    history: Vec<Change>,
}

pub fn run(arguments: &Arguments, report: &mut Report) -> Result<Outcome, Failure> {
    let storage = arguments.subject.open()?;
    let oid = Oid::new(arguments.oid);
    let snapshot = match arguments.at {
        Some(tid) => storage.snapshot_at(Tid::new(tid))?,
        None => storage.snapshot()?,
    };
    let revision = find(&*snapshot, oid)?;
    let definition = storage.type_def(revision.type_id);
    let value = match &definition {
        Some(definition) => value(definition, &revision.data),
        None => Err(perennial::Error::other(format!("its type {} is unknown", revision.type_id.0))),
    };
    let bad = value
        .as_ref()
        .err()
        .map(|error| format!("object {oid} as it is stored: {}", with_causes(error)));
    let references = revision.references.iter().map_while(Result::ok).collect();
    let history = storage.history(oid)?;
    let shown =
        Shown { oid, revision: &revision, definition, references, value: value.ok(), history };
    match arguments.subject.json {
        true => report.json(&shown.json())?,
        false => shown.print(report)?,
    }
    bad.iter().for_each(complain);
    Ok(match warn_of_damage(&storage) {
        Outcome::Fine => Outcome::damaged_if(bad.is_some()),
        damaged => damaged,
    })
}

fn find(snapshot: &dyn Snapshot, oid: Oid) -> Result<Revision<'_>, Failure> {
    match snapshot.load(oid)? {
        Load::Found(revision) => Ok(revision),
        Load::Removed(tid) => {
            Err(Failure::usage(format!("object {oid} was removed by tid {}", tid.number())))
        }
        Load::Absent => {
            let tid = snapshot.tid().number();
            Err(Failure::usage(format!("there is no object {oid} as of tid {tid}")))
        }
    }
}

fn value(definition: &TypeDef, data: &[u8]) -> perennial::Result<Value> {
    decode_by_shape(&Shape::parse(&definition.shape)?, data)
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shown<'_> {
    fn print(&self, report: &mut Report) -> Result<(), Failure> {
        report.fact("object", self.oid)?;
        match &self.definition {
            Some(it) => report.fact("type", format_args!("{}, version {}", it.name, it.version))?,
            None => report.fact("type", "unknown")?,
        }
        let tid = self.revision.tid;
        report.fact("stored by", format_args!("{} ({tid})", tid.number()))?;
        if self.revision.pinned {
            report.fact("pinned", "yes")?;
        }
        let references: Vec<String> = self.references.iter().map(Oid::to_string).collect();
        report.fact(
            "refers to",
            match references.is_empty() {
                true => "nothing".to_owned(),
                false => references.join(", "),
            },
        )?;
        match &self.value {
            Some(value) => report.fact("value", value)?,
            None => report.fact("bytes", hex(&self.revision.data))?,
        }
        for change in &self.history {
            report.fact("history", told(change))?;
        }
        Ok(())
    }

    fn json(&self) -> Json {
        let definition = self.definition.as_deref();
        Json::Object(vec![
            ("oid", Json::Number(self.oid.number())),
            ("type", Json::option(definition, |it| Json::text(&it.name))),
            ("version", Json::option(definition, |it| Json::Number(it.version.into()))),
            ("tid", Json::Number(self.revision.tid.number())),
            ("time", Json::text(self.revision.tid)),
            ("pinned", Json::Bool(self.revision.pinned)),
            ("references", Json::list(&self.references, |oid| Json::Number(oid.number()))),
            ("value", Json::option(self.value.as_ref(), |it| Json::Ready(it.to_json()))),
            (
                "bytes",
                match self.value {
                    Some(_) => Json::Null,
                    None => Json::Text(hex(&self.revision.data)),
                },
            ),
            (
                "history",
                Json::list(&self.history, |change| {
                    Json::Object(vec![
                        ("tid", Json::Number(change.tid.number())),
                        ("time", Json::text(change.tid)),
                        ("user", Json::text(&change.metadata.user)),
                        ("note", Json::text(&change.metadata.note)),
                        ("size", Json::option(change.size, Json::Number)),
                    ])
                }),
            ),
        ])
    }
}

/// A line about one change.
fn told(change: &Change) -> String {
    let tid = change.tid;
    let what = change.size.map_or("removed".to_owned(), |size| format!("{size} bytes"));
    let mut line = format!("{} ({tid}) {what}", tid.number());
    for text in [&change.metadata.user, &change.metadata.note] {
        if !text.is_empty() {
            line.push_str(&format!("  {}", text));
        }
    }
    line
}
