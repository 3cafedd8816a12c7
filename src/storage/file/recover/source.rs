//! The damaged file: opened, locked, and read even where its disk cannot read: [`Source`].
//!
//! # Invariants
//! - Nothing is written, and nobody else writes meanwhile.
//! - What the disk cannot read is taken for zeros, which are no good frame and no good record.

use crate::error::{Damage, Error, Result};
use crate::file::{Access, AppendFile, Directory, FileIdentity, Map, Slots};
use crate::format::{FileHeader, HEADER_COPY, HeaderFault, IndexHeader, Sums};
use crate::storage::file::create::{lock, read_header};
use crate::storage::file::index_file::{Told, name_of, read_file};
use crate::storage::file::log::{Log, Reads};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The file, and what is known of it before its first frame is read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) log: Log,
    pub(super) length: u64,
    pub(super) header: FileHeader,
    /// What is wrong with the header's page.
    pub(super) damage: Option<Damage>,
    /// Whether the header was made from what the index snapshot says.
    pub(super) guessed: bool,
    /// What the index snapshot tells, where it is good and of this very file.
    pub(super) told: Option<Told>,
}

impl Source {
    pub(super) fn open(directory: &dyn Directory, name: &str) -> Result<Source> {
        let path = directory.path(name);
        let file = directory.open(name, Access::Read).map_err(|it| Error::io("open", &path, it))?;
        if !lock(&*file).map_err(|error| Error::io("lock", &path, error))? {
            return Err(Error::Locked(Box::new(path).into()));
        }
        let file: Arc<dyn AppendFile> = Arc::new(Patient(file));
        let (header, damage, guessed) = match read_header(&path, &*file) {
            Ok((header, damage)) => (header, damage, false),
            Err(error) => {
                let guessed = is_damaged(&*file).then(|| guess(directory, name)).flatten();
                let header = guessed.ok_or(error)?;
                let what = "both copies of the file header are bad; what they said is in the \
                            index snapshot";
                (header, Some(Damage::new(&path, 0, 0, what)), true)
            }
        };
        let sums = Sums::new(header.database, header.generation);
        let told = directory.open(&name_of(name), Access::Read).ok();
        let told = told.and_then(|file| read_file(&file, Reads::Pread, &header, &sums).ok());
        let length = file.len().map_err(|it| Error::io("measure", &path, it))?;
        let log = Log::new(file, path, sums, Reads::Pread);
        Ok(Source { log, length, header, damage, guessed, told })
    }
}

/// Whether the header is bad, and not one that another version wrote.
fn is_damaged(file: &dyn AppendFile) -> bool {
    let is_bad = |start| {
        let mut bytes = [0; FileHeader::LEN];
        let read = file.read_at(start, &mut bytes);
        let fault = FileHeader::decode(&bytes).err();
        read.is_ok() && matches!(fault, Some(HeaderFault::Foreign | HeaderFault::Damaged))
    };
    is_bad(0) && is_bad(HEADER_COPY)
}

/// The header that the database `name` had, as its index snapshot tells.
fn guess(directory: &dyn Directory, name: &str) -> Option<FileHeader> {
    let file = directory.open(&name_of(name), Access::Read).ok()?;
    let mut bytes = [0; IndexHeader::LEN];
    file.read_at(0, &mut bytes).ok()?;
    let told = IndexHeader::decode(&bytes).ok()?;
    let new = FileHeader::new(told.database);
    Some(FileHeader { generation: told.generation, forgot_before: told.forgot_before, ..new })
}

/// A file of which some blocks cannot be read.
#[derive(Debug)]
struct Patient(Arc<dyn AppendFile>);

/// How much is given up where the disk cannot read.
const BLOCK: u64 = 4096;

impl AppendFile for Patient {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.0.read_at(offset, buffer) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {}
            outcome => return outcome,
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let room = usize::try_from(BLOCK - at % BLOCK).unwrap_or(rest.len());
            let (block, further) = rest.split_at_mut(room.min(rest.len()));
            if let Err(error) = self.0.read_at(at, block) {
                tracing::warn!(at, %error, "a block cannot be read");
                block.fill(0);
            }
            at += block.len() as u64;
            rest = further;
        }
        Ok(())
    }

    fn append(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn rewrite(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn trim(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.0.identity()
    }

    fn map(&self, _: u64, _: usize) -> Option<Map> {
        None
    }

    fn map_slots(&self, _: u64, _: usize) -> Option<Slots> {
        None
    }
}
