//! What a transaction is about to rename: [`Intent`], a small file that outlives a crash.
//!
//! # Invariants
//! - A file of this name is whole: it was written under another one, and synced, before.

use super::folder::{Folder, STAGED};
use perennial::{DatabaseId, Error, GlobalId, Result, Tid};

/// The first line: what this is.
const TITLE: &str = "staged files, to be renamed";

/// The renames of one transaction, and who decides about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub gtid: GlobalId,
    /// Nobody, where the file itself is the decision: they were the only ones to commit.
    pub decider: Option<Decider>,
    /// From temporary names to those that are asked for, in the order of the writes.
    pub renames: Vec<(String, String)>,
}

/// A database that is asked what became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decider {
    pub database: DatabaseId,
    /// The last transaction there before this one: an older copy has no answer.
    pub last_tid: Tid,
}

impl Intent {
    /// Writes it under another name; nothing has happened yet.
    pub fn draft(&self, folder: &Folder) -> Result<()> {
        folder.write_new(&self.draft_name(), self.text().as_bytes())
    }

    /// Gives it its name, for good. The same sync keeps the names of the staged files.
    pub fn seal(&self, folder: &Folder) -> Result<()> {
        folder.rename(&self.draft_name(), &self.name())?;
        folder.sync()
    }

    /// Renames what is not renamed yet, and goes.
    pub fn apply(&self, folder: &Folder) -> Result<()> {
        for (temporary, name) in &self.renames {
            folder.rename(temporary, name)?;
        }
        folder.sync()?;
        folder.remove(&self.name())?;
        // The decision may be forgotten from here on, so that nobody must ever ask for it again.
        folder.sync()
    }

    /// Removes what is not renamed, and goes.
    pub fn forget(&self, folder: &Folder) -> Result<()> {
        self.renames.iter().try_for_each(|(temporary, _)| folder.remove(temporary))?;
        folder.remove(&self.draft_name())?;
        folder.remove(&self.name())
    }

    /// Reads the one of this name; nothing where the name is not that of an intent.
    pub fn read(folder: &Folder, name: &str) -> Result<Option<Intent>> {
        let Some(gtid) = name.strip_prefix(STAGED).and_then(sixteen_bytes) else { return Ok(None) };
        let text = folder.read(name)?.and_then(|bytes| String::from_utf8(bytes).ok());
        let intent = text.and_then(|text| Intent::parse(GlobalId::new(gtid), &text));
        let broken = || Error::other(format!("{} is no intent", folder.path(name).display()));
        intent.map(Some).ok_or_else(broken)
    }

    fn parse(gtid: GlobalId, text: &str) -> Option<Intent> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == TITLE)?;
        let decider = match lines.next()?.split_once(' ') {
            None => None,
            Some((database, last_tid)) => Some(Decider {
                database: DatabaseId::new(sixteen_bytes(database)?),
                last_tid: Tid::new(last_tid.parse().ok()?),
            }),
        };
        let pair = |line: &str| line.split_once(' ').map(|(from, to)| (from.into(), to.into()));
        Some(Intent { gtid, decider, renames: lines.map(pair).collect::<Option<_>>()? })
    }

    fn name(&self) -> String {
        format!("{STAGED}{}", self.gtid)
    }

    fn draft_name(&self) -> String {
        format!("{STAGED}{}-draft", self.gtid)
    }

    fn text(&self) -> String {
        let decider = self.decider.map_or("decided".into(), |Decider { database, last_tid }| {
            format!("{database} {}", last_tid.number())
        });
        let mut text = format!("{TITLE}\n{decider}\n");
        for (temporary, name) in &self.renames {
            text.extend([temporary, " ", name, "\n"]);
        }
        text
    }
}

fn sixteen_bytes(digits: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(number.to_be_bytes())
}
