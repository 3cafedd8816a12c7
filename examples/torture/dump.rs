//! `dump`: every object in a canonical text form, read without the types of this program.

use crate::{DATABASE, Failure};
use perennial::file::DiskDirectory;
use perennial::shape::{Shape, decode_by_shape};
use perennial::storage::file::{FileOptions, Mode};
use perennial::storage::{FileStorage, Load, Revision, Storage};
use perennial::{Oid, Result};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

pub fn dump(directory: &Path) -> Result<(), Failure> {
    let options = FileOptions { mode: Mode::ReadOnly, ..FileOptions::default() };
    let directory = Arc::new(DiskDirectory::new(directory));
    let storage = FileStorage::open(directory, DATABASE, options)?;
    let snapshot = storage.snapshot()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for oid in (0..storage.facts().next_oid.number()).map(Oid::new) {
        let line = match snapshot.load(oid) {
            Ok(Load::Absent) => continue,
            Ok(Load::Removed(tid)) => format!("oid {oid} tid {} removed", tid.number()),
            Ok(Load::Found(revision)) => describe(&storage, oid, &revision),
            Err(error) => format!("oid {oid} error {error}"),
        };
        match writeln!(out, "{line}") {
            // Whoever reads this has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| Failure::Error(error.to_string()))?,
        }
    }
    out.flush().map_err(|error| Failure::Error(error.to_string()))
}

fn describe(storage: &FileStorage, oid: Oid, revision: &Revision<'_>) -> String {
    let tid = revision.tid.number();
    let Some(definition) = storage.type_def(revision.type_id) else {
        return format!("oid {oid} tid {tid} error type {} is not defined", revision.type_id.0);
    };
    let value = Shape::parse(&definition.shape)
        .and_then(|shape| decode_by_shape(&shape, &revision.data))
        .map_or_else(|error| format!("error {error}"), |value| value.to_string());
    let pinned = if revision.pinned { " pinned" } else { "" };
    format!("oid {oid} tid {tid} type {}/{}{pinned} {value}", definition.name, definition.version)
}
