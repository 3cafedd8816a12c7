//! JSON, as far as the commands print it: [`Json`].
//!
//! # Invariants
//! - Its text is valid JSON on one line.

use std::fmt::{self, Display, Write};

/// A JSON value.
pub enum Json {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
    /// What is JSON already.
    Ready(String),
}

impl Json {
    /// The text of `value`.
    pub fn text(value: impl Display) -> Json {
        Json::Text(value.to_string())
    }

    /// The value, or null.
    pub fn option<T>(value: Option<T>, json: impl FnOnce(T) -> Json) -> Json {
        value.map_or(Json::Null, json)
    }

    /// A list of what `json` makes of the items.
    pub fn list<T>(items: impl IntoIterator<Item = T>, json: impl FnMut(T) -> Json) -> Json {
        Json::List(items.into_iter().map(json).collect())
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => value.fmt(f),
            Json::Number(value) => value.fmt(f),
            Json::Text(text) => string(f, text),
            Json::Ready(text) => f.write_str(text),
            Json::List(items) => {
                f.write_char('[')?;
                separated(f, items, |f, item| item.fmt(f))?;
                f.write_char(']')
            }
            Json::Object(entries) => {
                f.write_char('{')?;
                separated(f, entries, |f, (name, value)| {
                    string(f, name)?;
                    write!(f, ": {value}")
                })?;
                f.write_char('}')
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(f, "\\{char}")?,
            control if control < ' ' => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}
