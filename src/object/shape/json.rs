//! A value as JSON, for tools.
//!
//! # Invariants
//! - The text is one line of valid JSON, whatever the value.

use super::value::{Content, Hex, Value};
use std::fmt::Write as _;

impl Value {
    /// The value as one line of JSON.
    ///
    /// A reference is `{"$ref": 7}`, bytes are a string of hexadecimal digits, unexplained ones
    /// `{"$opaque": "…"}`; a variant with content is an object of its one name; a map is an object
    /// where all its keys are strings, and a list of pairs otherwise; a number that JSON cannot
    /// say (not finite) is `null`.
    ///
    /// ```
    /// use perennial::shape::{Shape, decode_by_shape};
    /// let shape = Shape::parse("{name: str, next: Option<Ref>}")?;
    /// let value = decode_by_shape(&shape, &[2, b'h', b'i', 1, 7])?;
    /// assert_eq!(value.to_string(), "{name: \"hi\", next: Some(Ref(7))}");
    /// assert_eq!(value.to_json(), "{\"name\": \"hi\", \"next\": {\"$ref\": 7}}");
    /// # perennial::Result::<()>::Ok(())
    /// ```
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Bool(value) => plain(out, value),
            Value::Int(value) => plain(out, value),
            Value::Uint(value) => plain(out, value),
            Value::F32(value) if value.is_finite() => plain(out, format_args!("{value:?}")),
            Value::F64(value) if value.is_finite() => plain(out, format_args!("{value:?}")),
            Value::F32(_) | Value::F64(_) | Value::Option(None) => out.push_str("null"),
            Value::Char(value) => string(out, value.encode_utf8(&mut [0; 4])),
            Value::Str(value) => string(out, value),
            Value::Bytes(bytes) => plain(out, format_args!("\"{}\"", Hex(bytes))),
            Value::Ref(oid) => plain(out, format_args!("{{\"$ref\": {oid}}}")),
            Value::Option(Some(value)) => value.write_json(out),
            Value::Seq(items) | Value::Tuple(items) => array(out, items, Value::write_json),
            Value::Map(entries) => map(out, entries),
            Value::Struct(_, content) => inside(out, content),
            Value::Variant(name, content) => variant(out, name, content),
            Value::Opaque(bytes) => plain(out, format_args!("{{\"$opaque\": \"{}\"}}", Hex(bytes))),
        }
    }
}

fn plain(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a string does not fail");
}

fn string(out: &mut String, value: &str) {
    out.push('"');
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                plain(out, format_args!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn array<T>(out: &mut String, items: &[T], mut write: impl FnMut(&T, &mut String)) {
    out.push('[');
    separated(out, items, &mut write);
    out.push(']');
}

fn object<T>(out: &mut String, items: &[T], mut entry: impl FnMut(&T, &mut String)) {
    out.push('{');
    separated(out, items, &mut entry);
    out.push('}');
}

fn separated<T>(out: &mut String, items: &[T], write: &mut dyn FnMut(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(item, out);
    }
}

fn entry(out: &mut String, name: &str, value: &Value) {
    string(out, name);
    out.push_str(": ");
    value.write_json(out);
}

fn map(out: &mut String, entries: &[(Value, Value)]) {
    if entries.iter().all(|(key, _)| matches!(key, Value::Str(_))) {
        return object(out, entries, |(key, value), out| {
            if let Value::Str(key) = key {
                entry(out, key, value);
            }
        });
    }
    array(out, entries, |(key, value), out| {
        array(out, &[key, value], |item, out| item.write_json(out));
    });
}

fn variant(out: &mut String, name: &str, content: &Content) {
    if let Content::Unit = content {
        return string(out, name);
    }
    out.push('{');
    string(out, name);
    out.push_str(": ");
    inside(out, content);
    out.push('}');
}

fn inside(out: &mut String, content: &Content) {
    match content {
        Content::Unit => out.push_str("null"),
        // As serde_json has it: what wraps one value is that value.
        Content::Positions(items) if items.len() == 1 => {
            items.iter().for_each(|item| item.write_json(out));
        }
        Content::Positions(items) => array(out, items, Value::write_json),
        Content::Names(fields) => object(out, fields, |(name, value), out| entry(out, name, value)),
    }
}
