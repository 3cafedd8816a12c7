//! `perennial verify`: everything that is wrong with a file.

use crate::Subject;
use crate::json::Json;
use crate::report::{Failure, Outcome, Report, with_progress};
use perennial::collections::verify;
use perennial::storage::file::{Finding, FrameCounts, Verification};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
}

pub fn run(arguments: &Arguments, report: &mut Report) -> Result<Outcome, Failure> {
    let (directory, name) = arguments.subject.place()?;
    let verification = with_progress(|progress| verify(&directory, &name, progress))?;
    match arguments.subject.json {
        true => report.json(&json(&verification))?,
        false => print(&verification, report)?,
    }
    Ok(Outcome::damaged_if(!verification.is_sound()))
}

fn print(verification: &Verification, report: &mut Report) -> Result<(), Failure> {
    for finding in &verification.findings {
        let harmless = if finding.is_harmless() { " (harmless)" } else { "" };
        report.line(format_args!("{finding}{harmless}"))?;
    }
    let Verification { length, log_end, unproven_bytes, .. } = verification;
    report.fact("size", format_args!("{length} bytes"))?;
    report.fact("log end", format_args!("{log_end}, {unproven_bytes} bytes unproven"))?;
    report.fact("transactions", verification.frames.commits)?;
    report.fact("records", verification.records)?;
    report.fact("objects", verification.objects)?;
    let (live, garbage) = (verification.live_bytes, verification.garbage_bytes);
    report.fact("bytes of records", format_args!("{live} live, {garbage} garbage"))?;
    let (count, bytes) = (verification.unreachable, verification.unreachable_bytes);
    report.fact("unreachable", format_args!("{count} objects, {bytes} bytes"))?;
    let doubts = verification.in_doubt.len();
    let decisions = verification.open_decisions;
    report
        .fact("promises in doubt", format_args!("{doubts}; {decisions} decisions without end"))?;
    let bad = verification.findings.iter().filter(|finding| !finding.is_harmless()).count();
    match bad {
        0 => report.fact("verdict", "sound"),
        1 => report.fact("verdict", "1 thing is wrong"),
        _ => report.fact("verdict", format_args!("{bad} things are wrong")),
    }
}

fn json(verification: &Verification) -> Json {
    let number = Json::Number;
    Json::Object(vec![
        ("sound", Json::Bool(verification.is_sound())),
        ("database", Json::text(verification.database)),
        ("size", number(verification.length)),
        ("log_end", number(verification.log_end)),
        ("proven", number(verification.proven)),
        ("unproven_bytes", number(verification.unproven_bytes)),
        ("last_tid", number(verification.last_tid.number())),
        ("frames", frames(&verification.frames)),
        ("records", number(verification.records)),
        ("objects", number(verification.objects)),
        ("live_bytes", number(verification.live_bytes)),
        ("garbage_bytes", number(verification.garbage_bytes)),
        ("unreachable", number(verification.unreachable)),
        ("unreachable_bytes", number(verification.unreachable_bytes)),
        ("in_doubt", Json::list(&verification.in_doubt, Json::text)),
        ("open_decisions", number(verification.open_decisions)),
        ("findings", Json::list(&verification.findings, finding)),
    ])
}

/// How many frames of each kind there are.
pub fn frames(frames: &FrameCounts) -> Json {
    let number = Json::Number;
    Json::Object(vec![
        ("commit", number(frames.commits)),
        ("prepare", number(frames.prepares)),
        ("abort", number(frames.aborts)),
        ("end", number(frames.ends)),
        ("seal", number(frames.seals)),
    ])
}

/// What is wrong.
pub fn finding(finding: &Finding) -> Json {
    Json::Object(vec![
        ("kind", Json::text(finding.kind.word())),
        ("harmless", Json::Bool(finding.is_harmless())),
        ("offset", Json::Number(finding.offset)),
        ("what", Json::text(&finding.what)),
        ("oid", Json::option(finding.oid, |oid| Json::Number(oid.number()))),
        ("tid", Json::option(finding.tid, |tid| Json::Number(tid.number()))),
        ("type", Json::option(finding.type_name.as_ref(), Json::text)),
    ])
}
