//! Fields: what a frame says beside its records.
//!
//! Each is a tag, a length and bytes, so that later formats can say more: a reader passes over
//! tags from [`IGNORABLE`] on that it does not know, and refuses those below.
//!
//! Format: docs/format.md, "Fields".

use super::bytes::{Malformed, Reader, put_bytes, put_varint};
use super::types::{Decision, Metadata, Participant, TypeDef, TypeId};
use crate::id::{DatabaseId, GlobalId, Oid, Tid};

/// Unknown tags from here on may be passed over.
pub const IGNORABLE: u64 = 64;

const USER: u64 = 1;
const NOTE: u64 = 2;
const EXTENSION: u64 = 3;
const TYPE: u64 = 4;
const GLOBAL: u64 = 5;
const PARTICIPANT: u64 = 6;
const COORDINATOR: u64 = 7;
const READ: u64 = 8;

/// Tags that stand in a frame at most once.
const ONCE: [u64; 4] = [USER, NOTE, GLOBAL, COORDINATOR];

/// What a frame says beside its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// What the transaction says of itself.
    pub metadata: Metadata,
    /// Types that the records of this frame, or of later ones, name.
    pub types: Vec<(TypeId, TypeDef)>,
    /// The global transaction that a Prepare, Abort or End frame is about, or that a Commit
    /// frame decides or finishes.
    pub gtid: Option<GlobalId>,
    /// Those that a deciding Commit frame decides for.
    pub participants: Vec<Participant>,
    /// Of a Prepare frame: who decides.
    pub coordinator: Option<Coordinator>,
    /// Of a Prepare frame: the objects that must stay at these revisions.
    pub reads: Vec<(Oid, Tid)>,
}

/// The database that decides a global transaction, as a participant knew it and a file keeps it.
///
/// A data manager is told of it as a `transaction::Coordinator`: transactions know no files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator {
    /// Its id.
    pub database: DatabaseId,
    /// Its last durable transaction at the time.
    pub last_tid: Tid,
    /// Where its file was; empty where that is no UTF-8.
    pub path: String,
}

impl Fields {
    /// The fields of a commit.
    pub fn of_commit(
        metadata: Metadata,
        types: Vec<(TypeId, TypeDef)>,
        decision: Option<Decision>,
    ) -> Fields {
        let (gtid, participants) = match decision {
            Some(decision) => (Some(decision.gtid), decision.participants),
            None => (None, Vec::new()),
        };
        Fields { metadata, types, gtid, participants, ..Fields::default() }
    }

    /// Appends their encoding, in the order of their tags.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut field = Vec::new();
        let mut put = |tag: u64, write: &dyn Fn(&mut Vec<u8>)| {
            field.clear();
            write(&mut field);
            put_varint(out, tag);
            put_bytes(out, &field);
        };
        for (tag, text) in [(USER, &self.metadata.user), (NOTE, &self.metadata.note)] {
            if !text.is_empty() {
                put(tag, &|out| out.extend_from_slice(text.as_bytes()));
            }
        }
        for (key, value) in &self.metadata.extension {
            put(EXTENSION, &|out| {
                put_bytes(out, key.as_bytes());
                out.extend_from_slice(value);
            });
        }
        for (id, definition) in &self.types {
            put(TYPE, &|out| put_type(out, *id, definition));
        }
        if let Some(gtid) = self.gtid {
            put(GLOBAL, &|out| out.extend_from_slice(&gtid.bytes()));
        }
        for participant in &self.participants {
            put(PARTICIPANT, &|out| put_participant(out, participant));
        }
        if let Some(coordinator) = &self.coordinator {
            put(COORDINATOR, &|out| {
                out.extend_from_slice(&coordinator.database.bytes());
                out.extend_from_slice(&coordinator.last_tid.number().to_le_bytes());
                out.extend_from_slice(coordinator.path.as_bytes());
            });
        }
        for &(oid, tid) in &self.reads {
            put(READ, &|out| {
                put_varint(out, oid.number());
                out.extend_from_slice(&tid.number().to_le_bytes());
            });
        }
    }

    /// The fields in `bytes`, which are nothing else.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn decode(bytes: &[u8]) -> Result<Fields, Malformed> {
        let mut fields = Fields::default();
        let mut reader = Reader::new(bytes);
        let mut last = 0;
        while !reader.is_done() {
            let tag = reader.varint()?;
            if tag < last || tag == last && ONCE.contains(&tag) {
                return Err(Malformed::new(format!("the field with tag {tag} is out of place")));
            }
            last = tag;
            let mut field = Reader::new(reader.bytes()?);
            fields.take(tag, &mut field)?;
            if !field.is_done() && tag < IGNORABLE {
                return Err(Malformed::new(format!("the field with tag {tag} is too long")));
            }
        }
        Ok(fields)
    }

    /// The part of `bytes` that says what only a later version understands, and that may be passed
    /// over: who writes the fields again keeps it, at their end.
    ///
    /// # Errors
    /// The rule of the format that is broken.
    pub fn unknown(bytes: &[u8]) -> Result<&[u8], Malformed> {
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            let rest = reader.rest();
            if reader.varint()? >= IGNORABLE {
                return Ok(rest);
            }
            reader.bytes()?;
        }
        Ok(&[])
    }

    fn take(&mut self, tag: u64, field: &mut Reader<'_>) -> Result<(), Malformed> {
        match tag {
            USER => self.metadata.user = take_text(field)?,
            NOTE => self.metadata.note = take_text(field)?,
            EXTENSION => {
                let key = field.string()?.to_owned();
                let value = field.take(field.rest().len())?.to_vec();
                if self.metadata.extension.insert(key, value).is_some() {
                    return Err("two extension fields with one key".into());
                }
            }
            TYPE => self.types.push(take_type(field)?),
            GLOBAL => self.gtid = Some(GlobalId::new(field.array()?)),
            PARTICIPANT => self.participants.push(take_participant(field)?),
            COORDINATOR => {
                self.coordinator = Some(Coordinator {
                    database: DatabaseId::new(field.array()?),
                    last_tid: Tid::new(field.u64()?),
                    path: take_text(field)?,
                });
            }
            READ => self.reads.push((Oid::new(field.varint()?), Tid::new(field.u64()?))),
            _ if tag >= IGNORABLE => {}
            _ => {
                return Err(Malformed::new(format!(
                    "the field tag {tag} says what only a later version could mean"
                )));
            }
        }
        Ok(())
    }
}

/// Appends the definition of a type.
pub(super) fn put_type(out: &mut Vec<u8>, id: TypeId, definition: &TypeDef) {
    put_varint(out, u64::from(id.0));
    put_varint(out, u64::from(definition.version));
    put_bytes(out, definition.name.as_bytes());
    put_bytes(out, definition.shape.as_bytes());
}

/// The next definition of a type.
pub(super) fn take_type(reader: &mut Reader<'_>) -> Result<(TypeId, TypeDef), Malformed> {
    let id = TypeId(reader.varint32()?);
    let version = reader.varint32()?;
    let (name, shape) = (reader.string()?.into(), reader.string()?.into());
    Ok((id, TypeDef { name, version, shape }))
}

fn put_participant(out: &mut Vec<u8>, participant: &Participant) {
    put_bytes(out, participant.name.as_bytes());
    if let Some(database) = participant.database {
        out.extend_from_slice(&database.bytes());
    }
}

fn take_participant(field: &mut Reader<'_>) -> Result<Participant, Malformed> {
    let name = field.string()?.to_owned();
    let database = if field.is_done() { None } else { Some(DatabaseId::new(field.array()?)) };
    Ok(Participant { name, database })
}

fn take_text(field: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = field.take(field.rest().len())?;
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text that is not UTF-8".into())
}
