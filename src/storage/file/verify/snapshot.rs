//! The index snapshot against the log: [`Compared`].
//!
//! The snapshot describes the log up to a mark, so it is compared when the scan comes by there. Its
//! pages may have been copied later and know more: slots that lead beyond the mark are compared at
//! the end.
//!
//! # Invariants
//! - A page with a bad sum, and a snapshot of another log, are passed over, as at an opening.

use super::finding::{Finding, FindingKind};
use super::tally::Tally;
use crate::error::Result;
use crate::file::{Access, Directory};
use crate::format::{FileHeader, PAGE_LEN, PAGE_SLOTS, PAGES_START, Sums};
use crate::id::{GlobalId, Oid};
use crate::storage::file::index_file::{Told, name_of, read_file};
use crate::storage::file::log::Reads;
use crate::storage::file::walk::Mark;
use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;

/// An index snapshot that is being compared with the log.
#[derive(Debug)]
pub(super) struct Compared {
    told: Told,
    /// Whether the scan has come by the snapshot's mark.
    done: bool,
    /// Whether the log came by there as the snapshot says.
    counts: bool,
    /// Slots that point beyond the mark.
    later: Vec<(Oid, u64)>,
}

/// The snapshot beside the database `name`, if it is one of this very file.
pub(super) fn read(
    directory: &dyn Directory,
    name: &str,
    header: &FileHeader,
    sums: &Sums,
    findings: &mut Vec<Finding>,
) -> Option<Compared> {
    let wrong = match directory.open(&name_of(name), Access::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => error.to_string().into(),
        Ok(file) => match read_file(&file, Reads::Pread, header, sums) {
            Ok(told) => {
                return Some(Compared { told, done: false, counts: true, later: Vec::new() });
            }
            Err(wrong) => wrong.0,
        },
    };
    findings.push(Finding::new(FindingKind::IndexPassedOver, 0, wrong));
    None
}

/// Where the slot of `oid` stands in a snapshot.
fn place(oid: Oid) -> u64 {
    PAGES_START.saturating_add(oid.number().saturating_mul(8))
}

impl Compared {
    /// Everything below was durable when the snapshot was written.
    pub(super) fn proven(&self) -> u64 {
        self.told.header.valid_upto
    }

    /// Compares the pages, if the scan has come to the snapshot's mark. `continued`: what precedes
    /// `mark` is known.
    pub(super) fn pass(
        &mut self,
        mark: &Mark,
        continued: bool,
        tally: &mut Tally<'_>,
    ) -> Result<()> {
        let header = self.told.header;
        if self.done || mark.at < header.scan_from {
            return Ok(());
        }
        self.done = true;
        let leads = (mark.at, mark.chain) == (header.scan_from, header.chain);
        if continued && !leads {
            let what = format!("no frame ends at offset {} as it should", header.scan_from);
            tally.find(Finding::new(FindingKind::IndexPassedOver, 0, what));
            self.counts = false;
            return Ok(());
        }
        let fits = leads && mark.tid == header.tid;
        if continued && !fits {
            let what = "it names another transaction as the last one before its mark";
            tally.find(Finding::new(FindingKind::Index, 0, what));
        }
        for page in 0..header.pages {
            self.compare_page(page, tally)?;
        }
        if fits && !tally.is_doubtful {
            self.compare_promises(tally);
        }
        let covered = header.pages.saturating_mul(PAGE_SLOTS as u64);
        let beyond = tally.objects.stored().map(|(oid, object)| (oid, object.newest()));
        let beyond: Vec<_> = beyond.filter(|(oid, _)| oid.number() >= covered).collect();
        beyond.into_iter().for_each(|(oid, newest)| differ(tally, oid, 0, newest));
        Ok(())
    }

    fn compare_promises(&self, tally: &mut Tally<'_>) {
        let at = self.told.header.tables_start().unwrap_or(u64::MAX);
        let tables = &self.told.tables;
        let sorted = |list: &[(GlobalId, u64)]| list.iter().copied().collect::<BTreeSet<_>>();
        let pairs = [
            (&tables.decisions, tally.promises.decisions(), "which decisions have no end"),
            (&tables.prepared, tally.promises.open(), "which promises are open"),
        ];
        for (told, is, what) in pairs {
            if sorted(told) != sorted(&is) {
                let what = format!("{what} is not what the log says");
                tally.find(Finding::new(FindingKind::Index, at, what));
            }
        }
    }

    fn compare_page(&mut self, page: u64, tally: &mut Tally<'_>) -> Result<()> {
        let Some(slots) = self.told.page(page)? else {
            let at = PAGES_START + page * PAGE_LEN as u64;
            let what = "the page is bad, and will be made from the log";
            tally.find(Finding::new(FindingKind::IndexPassedOver, at, what));
            return Ok(());
        };
        for (oid, slot) in slots {
            let newest = tally.objects.newest(oid);
            if slot == newest {
                continue;
            }
            if slot >= self.told.header.scan_from {
                self.later.push((oid, slot));
            } else {
                settle(tally, oid, slot, newest)?;
            }
        }
        Ok(())
    }

    /// Looks at what could not be compared before the whole log was read.
    pub(super) fn finish(self, tally: &mut Tally<'_>) -> Result<()> {
        for (oid, slot) in self.later {
            let newest = tally.objects.newest(oid);
            if newest < slot {
                settle(tally, oid, slot, newest)?;
            }
        }
        if tally.has_losses() || !self.done || !self.counts {
            return Ok(());
        }
        let at = self.told.header.tables_start().unwrap_or(u64::MAX);
        for (id, definition) in self.told.tables.types {
            if tally.types.get(id).is_some_and(|known| *known != definition) {
                let what = format!("type number {} is not what the log says", id.0);
                let finding = Finding::new(FindingKind::Index, at, what);
                tally.find(Finding { type_name: Some(definition.name), ..finding });
            }
        }
        let pinned: HashSet<Oid> = self.told.tables.pinned.into_iter().collect();
        let before = |newest: u64| newest < self.told.header.scan_from;
        let settled = tally.objects.stored().filter(|(_, object)| before(object.newest()));
        let differs = settled.filter(|(oid, object)| pinned.contains(oid) != object.is_pinned());
        let unknown = pinned.iter().filter(|&&oid| tally.objects.newest(oid) == 0);
        let mut differs: Vec<Oid> = differs.map(|(oid, _)| oid).chain(unknown.copied()).collect();
        differs.sort_unstable();
        for oid in differs {
            let what = "whether the object is pinned is not what the log says";
            tally.find(Finding::new(FindingKind::Index, at, what).of(oid, None));
        }
        Ok(())
    }
}

/// The snapshot has the newest record of `oid` at `slot`, the log as it was read at `newest`:
/// where the log could not be read in order, the record itself decides.
fn settle(tally: &mut Tally<'_>, oid: Oid, slot: u64, newest: u64) -> Result<()> {
    if !tally.is_lost(slot) {
        differ(tally, oid, slot, newest);
        return Ok(());
    }
    if let Some(record) = tally.look_up(oid, slot)? {
        tally.objects.put(slot, &record);
    }
    Ok(())
}

fn differ(tally: &mut Tally<'_>, oid: Oid, slot: u64, newest: u64) {
    let what = format!("it has the newest record at offset {slot}, the log has it at {newest}");
    tally.find(Finding::new(FindingKind::Index, place(oid), what).of(oid, None));
}
