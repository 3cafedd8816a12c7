//! `perennial log`: the transactions of a file.

use crate::json::Json;
use crate::report::{Failure, Outcome, Report};
use crate::{Subject, warn_of_damage};
use perennial::storage::{FileStorage, Revision, Storage, StoredTransaction};
use perennial::{Oid, Tid};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// At most this many; all where it is not given.
    #[arg(short, value_name = "NUMBER")]
    number: Option<usize>,
    /// Also the objects that each stored, and their types.
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(arguments: &Arguments, report: &mut Report) -> Result<Outcome, Failure> {
    let storage = arguments.subject.open()?;
    let most = arguments.number.unwrap_or(usize::MAX);
    let newest_first = storage.transactions(Tid::ZERO, Tid::MAX)?.rev().take(most);
    if arguments.subject.json {
        let items = newest_first.map(|it| Ok(json(&storage, &it?, arguments.verbose)));
        report.list(items)?;
    } else {
        for transaction in newest_first {
            print(&storage, &transaction?, arguments.verbose, report)?;
        }
    }
    Ok(warn_of_damage(&storage))
}

/// Bytes of the objects that it stored.
fn bytes(transaction: &StoredTransaction) -> u64 {
    let revisions = transaction.records.iter().filter_map(|(_, revision)| revision.as_ref());
    revisions.map(|revision| revision.data.len() as u64).sum()
}

/// The name of the type of what was stored; none where the object was removed.
fn type_name(storage: &FileStorage, revision: Option<&Revision<'_>>) -> Option<String> {
    let id = revision?.type_id;
    Some(storage.type_def(id).map_or_else(|| format!("type {}", id.0), |it| it.name.to_string()))
}

fn print(
    storage: &FileStorage,
    transaction: &StoredTransaction,
    verbose: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let (tid, metadata) = (transaction.tid, &transaction.metadata);
    let (count, bytes) = (transaction.records.len(), bytes(transaction));
    let objects = if count == 1 { "object" } else { "objects" };
    let mut line = format!("{}  {tid}  {count} {objects}, {bytes} bytes", tid.number());
    for text in [&metadata.user, &metadata.note] {
        if !text.is_empty() {
            line.push_str(&format!("  {text}"));
        }
    }
    report.line(line)?;
    for (oid, revision) in transaction.records.iter().filter(|_| verbose) {
        let type_name = type_name(storage, revision.as_ref());
        report.line(format_args!("    {oid} {}", type_name.as_deref().unwrap_or("removed")))?;
    }
    Ok(())
}

fn json(storage: &FileStorage, transaction: &StoredTransaction, verbose: bool) -> Json {
    let (tid, metadata) = (transaction.tid, &transaction.metadata);
    let mut entries = vec![
        ("tid", Json::Number(tid.number())),
        ("time", Json::text(tid)),
        ("user", Json::text(&metadata.user)),
        ("note", Json::text(&metadata.note)),
        ("objects", Json::Number(transaction.records.len() as u64)),
        ("bytes", Json::Number(bytes(transaction))),
    ];
    if verbose {
        let record = |(oid, revision): &(Oid, Option<Revision<'_>>)| {
            Json::Object(vec![
                ("oid", Json::Number(oid.number())),
                ("type", Json::option(type_name(storage, revision.as_ref()), Json::Text)),
            ])
        };
        entries.push(("stored", Json::list(&transaction.records, record)));
    }
    Json::Object(entries)
}
