//! What a prepared transaction is called in PostgreSQL: [`Name`].
//!
//! It is all that is left after a crash, so it says which transaction it is, and whom to ask.
//!
//! # Invariants
//! - A name is made of hexadecimal digits, digits and dashes, and needs no quoting.

use perennial::{DatabaseId, GlobalId, Tid};
use std::fmt;

/// What names of ours begin with.
pub(crate) const PREFIX: &str = "perennial-";

/// The name of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) gtid: GlobalId,
    /// The database that decides.
    pub(crate) database: DatabaseId,
    /// The last transaction of that database before this one: an older copy of it has no answer.
    pub(crate) last_tid: Tid,
}

impl Name {
    /// Reads a name; nothing where it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Name> {
        let mut parts = text.strip_prefix(PREFIX)?.split('-');
        let (gtid, database, last_tid) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Name {
            gtid: GlobalId::new(sixteen_bytes(gtid)?),
            database: DatabaseId::new(sixteen_bytes(database)?),
            last_tid: Tid::new(last_tid.parse().ok()?),
        };
        // What is written differently would be another name to PostgreSQL.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}-{}", self.gtid, self.database, self.last_tid.number())
    }
}

fn sixteen_bytes(digits: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(digits, 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_one() {
        let (gtid, database) = (GlobalId::new([0x0a; 16]), DatabaseId::new([0xff; 16]));
        let name = Name { gtid, database, last_tid: Tid::MAX };

        assert_eq!(Name::parse(&name.to_string()), Some(name));
        assert!(name.to_string().len() < 200, "PostgreSQL takes no more");
        for other in ["", "perennial-", "perennial-1-2-3", "other"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        assert_eq!(Name::parse(&name.to_string().to_uppercase()), None);
        assert_eq!(Name::parse(&format!("{name}-1")), None);
    }
}
