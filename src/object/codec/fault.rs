//! What goes wrong inside of serde: [`Fault`].
//!
//! Encoder and decoder return it; the functions of the codec turn it into the crate's error, which
//! knows the type's name.
//!
//! # Invariants
//! - The path grows outwards, one step for every field that the fault passes on its way up.

use crate::error::{CodecFailure, Error};
use crate::id::Oid;
use bincode::error::{DecodeError, EncodeError};
use std::fmt;

/// Why a value could not be encoded or decoded, and where in it.
///
/// Boxed: it travels through every `Result` of a (de)serializer.
#[derive(Debug)]
pub(in crate::object) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    /// Innermost first.
    path: Vec<String>,
    /// The reference of another database that was met.
    foreign: Option<Oid>,
}

impl Fault {
    pub fn new(what: impl Into<String>) -> Fault {
        Fault(Box::new(Inner { what: what.into(), path: Vec::new(), foreign: None }))
    }

    pub fn foreign(oid: Oid) -> Fault {
        let mut fault = Fault::new("a reference of another database");
        fault.0.foreign = Some(oid);
        fault
    }

    /// The same, seen from the struct that has it in the field `step`.
    pub fn within(mut self, step: impl Into<String>) -> Fault {
        self.0.path.push(step.into());
        self
    }

    /// The same, as an error of the type `type_name`.
    pub fn of_type(self, type_name: &str) -> Error {
        match self.0.foreign {
            Some(oid) => Error::ForeignRef { oid },
            None => CodecFailure::new(type_name, self.to_string()).into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            let steps: Vec<&str> = self.0.path.iter().rev().map(String::as_str).collect();
            write!(f, "field {}: ", steps.join("."))?;
        }
        f.write_str(&self.0.what)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<M: fmt::Display>(message: M) -> Fault {
        Fault::new(message.to_string())
    }
}

impl serde::de::Error for Fault {
    fn custom<M: fmt::Display>(message: M) -> Fault {
        Fault::new(message.to_string())
    }
}

impl From<EncodeError> for Fault {
    fn from(error: EncodeError) -> Fault {
        Fault::new(error.to_string())
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        use DecodeError::*;
        Fault::new(match error {
            UnexpectedEnd { additional } => format!("{additional} bytes are missing"),
            Utf8 { inner } => format!("a string is not UTF-8: {inner}"),
            InvalidBooleanValue(byte) => format!("{byte} is not a boolean"),
            InvalidCharEncoding(bytes) => format!("{bytes:02x?} is not a character"),
            InvalidIntegerType { expected, found } => {
                format!("an integer is of size {found:?}, not {expected:?}")
            }
            UnexpectedVariant { found, .. } => format!("{found} does not tell none from some"),
            OutsideUsizeRange(length) => format!("the length {length} is beyond this machine"),
            other => other.to_string(),
        })
    }
}
