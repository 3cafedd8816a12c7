//! `perennial recover`: a new file with the undamaged transactions of another.

use crate::Subject;
use crate::json::Json;
use crate::report::{Failure, Outcome, Report, with_progress};
use crate::verify;
use perennial::storage::file::{Loss, LossKind, Recovery, recover};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The new file, which must not exist. The damaged one is only read.
    new: PathBuf,
}

pub fn run(arguments: &Arguments, report: &mut Report) -> Result<Outcome, Failure> {
    let (directory, name) = arguments.subject.place()?;
    let (target, new) = crate::place(&arguments.new)?;
    let recovery =
        with_progress(|progress| recover((&directory, &name), (&target, &new), progress))?;
    match arguments.subject.json {
        true => report.json(&json(&recovery))?,
        false => print(&recovery, report)?,
    }
    // What a crash leaves is no damage.
    let damaged = recovery.losses.iter().any(|loss| loss.kind != LossKind::Tail);
    Ok(Outcome::damaged_if(damaged || !recovery.findings.is_empty()))
}

fn print(recovery: &Recovery, report: &mut Report) -> Result<(), Failure> {
    for loss in &recovery.losses {
        let harmless = if loss.is_harmless() { " (nothing is missing)" } else { "" };
        report.line(format_args!("{loss}{harmless}"))?;
    }
    for finding in &recovery.findings {
        report.line(format_args!("in the new file, {finding}"))?;
    }
    for gtid in &recovery.in_doubt {
        report.line(format_args!("in doubt, as before: the promise to transaction {gtid}"))?;
    }
    report.fact("size", format_args!("{} bytes", recovery.length))?;
    report.fact("new size", format_args!("{} bytes", recovery.copied_length))?;
    report.fact("transactions", recovery.frames.commits)?;
    report.fact("records", recovery.records)?;
    report.fact("objects", recovery.objects)?;
    let of = |kind| recovery.losses.iter().filter(move |loss| loss.kind == kind);
    let frames = of(LossKind::Frame).count() + of(LossKind::Promise).count();
    let (older, gone): (Vec<_>, Vec<_>) =
        of(LossKind::Revision).partition(|loss| loss.stands.is_some());
    let (older, gone) = (older.len(), gone.len());
    report.fact("lost", format_args!("{frames} frames; {gone} objects gone, {older} older now"))?;
    let tid = recovery.last_tid;
    report.fact("last transaction", format_args!("{} ({tid})", tid.number()))?;
    report.fact(
        "verdict",
        match recovery.is_complete() {
            true => "all of it is recovered",
            false => "something is lost; see above",
        },
    )
}

fn json(recovery: &Recovery) -> Json {
    let number = Json::Number;
    Json::Object(vec![
        ("complete", Json::Bool(recovery.is_complete())),
        ("database", Json::text(recovery.database)),
        ("size", number(recovery.length)),
        ("new_size", number(recovery.copied_length)),
        ("last_tid", number(recovery.last_tid.number())),
        ("frames", verify::frames(&recovery.frames)),
        ("records", number(recovery.records)),
        ("objects", number(recovery.objects)),
        ("in_doubt", Json::list(&recovery.in_doubt, Json::text)),
        ("losses", Json::list(&recovery.losses, loss)),
        ("findings", Json::list(&recovery.findings, verify::finding)),
    ])
}

fn loss(loss: &Loss) -> Json {
    Json::Object(vec![
        ("kind", Json::text(loss.kind.word())),
        ("harmless", Json::Bool(loss.is_harmless())),
        ("offset", Json::Number(loss.offset)),
        ("length", Json::option(loss.length, Json::Number)),
        ("what", Json::text(&loss.what)),
        ("certain", Json::Bool(loss.certain)),
        ("oid", Json::option(loss.oid, |oid| Json::Number(oid.number()))),
        ("tid", Json::option(loss.tid, |tid| Json::Number(tid.number()))),
        ("type", Json::option(loss.type_name.as_ref(), Json::text)),
        ("stands", Json::option(loss.stands, |tid| Json::Number(tid.number()))),
    ])
}
