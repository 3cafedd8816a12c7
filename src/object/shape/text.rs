//! A shape as text, and text as a shape.
//!
//! # Invariants
//! - One shape has one text: nothing about it is a matter of taste.
//! - No text makes the parser panic or nest beyond [`MAX_DEPTH`].
//!
//! Format: docs/format.md, "Shapes".

use super::{Fields, Scalar, Shape};
use crate::error::{Error, Result};
use crate::object::codec::MAX_DEPTH;
use std::fmt::{self, Write as _};

/// Words that stand for shapes; a type or field of such a name is quoted.
fn is_reserved(word: &str) -> bool {
    matches!(word, "Ref" | "Option" | "enum" | "opaque")
        || Scalar::ALL.iter().any(|scalar| scalar.word() == word)
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !is_reserved(name) && name.chars().all(is_word)
}

/// A name as it stands in a shape or a value: quoted unless it is a plain word.
pub(super) struct Name<'a>(pub &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for char in self.0.chars() {
            if matches!(char, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(char)?;
        }
        f.write_char('"')
    }
}

/// Writes `items` with commas between them.
pub(super) fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Scalar(scalar) => f.write_str(scalar.word()),
            Shape::Ref => f.write_str("Ref"),
            Shape::Option(inner) => write!(f, "Option<{inner}>"),
            Shape::Seq(inner) => write!(f, "[{inner}]"),
            Shape::Map(key, value) => write!(f, "{{{key} => {value}}}"),
            Shape::Tuple(items) => positions(f, items),
            Shape::Struct(name, fields) => {
                if let Some(name) = name {
                    Name(name).fmt(f)?;
                }
                fields.fmt(f)
            }
            Shape::Enum(name, variants) => {
                f.write_str("enum ")?;
                if let Some(name) = name {
                    write!(f, "{} ", Name(name))?;
                }
                f.write_char('{')?;
                list(f, variants, |f, (name, fields)| write!(f, "{}{fields}", Name(name)))?;
                f.write_char('}')
            }
            Shape::Same(number) => write!(f, "^{number}"),
            Shape::Opaque => f.write_str("opaque"),
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fields::Unit => Ok(()),
            Fields::Positions(items) => positions(f, items),
            Fields::Names(fields) => {
                f.write_char('{')?;
                list(f, fields, |f, (name, shape)| write!(f, "{}: {shape}", Name(name)))?;
                f.write_char('}')
            }
        }
    }
}

fn positions(f: &mut fmt::Formatter<'_>, items: &[Shape]) -> fmt::Result {
    f.write_char('(')?;
    list(f, items, |f, item| write!(f, "{item}"))?;
    f.write_char(')')
}

pub(super) fn parse(text: &str) -> Result<Shape> {
    let mut parser = Parser { text, rest: text, depth: 0, definitions: 1 };
    let shape = parser.shape()?;
    match parser.rest {
        "" => Ok(shape),
        _ => Err(parser.expected("the end")),
    }
}

/// Reads from the front of `rest`.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
    /// How many definitions have begun; the whole is one.
    definitions: usize,
}

impl<'a> Parser<'a> {
    fn expected(&self, what: &str) -> Error {
        let at = self.text.len() - self.rest.len();
        Error::InvalidArgument(format!("a shape needs {what} at byte {at}: {}", self.text).into())
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(token)) }
    }

    /// The longest run of word characters; empty where there is none.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|char| !is_word(char)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn name(&mut self) -> Result<Box<str>> {
        if !self.eat("\"") {
            return match self.word() {
                "" => Err(self.expected("a name")),
                word if is_reserved(word) => Err(self.expected("quotes around a reserved word")),
                word => Ok(word.into()),
            };
        }
        let mut name = String::new();
        let mut chars = self.rest.chars();
        while let Some(char) = chars.next() {
            match char {
                '"' => {
                    self.rest = chars.as_str();
                    return Ok(name.into());
                }
                '\\' => name.extend(chars.next()),
                other => name.push(other),
            }
        }
        Err(self.expected("a closing quote"))
    }

    /// What `item` reads, with commas between, up to `close`.
    fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close) {
                return Ok(items);
            }
            self.need(", ")?;
        }
    }

    fn shape(&mut self) -> Result<Shape> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected("less depth"));
        }
        let shape = self.shape_inside()?;
        self.depth -= 1;
        Ok(shape)
    }

    fn shape_inside(&mut self) -> Result<Shape> {
        if self.eat("[") {
            let inner = Box::new(self.shape()?);
            self.need("]")?;
            return Ok(Shape::Seq(inner));
        }
        if self.eat("(") {
            return Ok(Shape::Tuple(self.list(")", Parser::shape)?));
        }
        if self.eat("^") {
            let number: Option<usize> = self.word().parse().ok();
            let inside = self.depth > 1;
            let known = number.filter(|&number| inside && number < self.definitions);
            return known.map(Shape::Same).ok_or_else(|| self.expected("a definition's number"));
        }
        if self.rest.starts_with('{') {
            return self.braces();
        }
        let before = self.rest;
        match self.word() {
            "Ref" => Ok(Shape::Ref),
            "opaque" => Ok(Shape::Opaque),
            "Option" => {
                self.need("<")?;
                let inner = Box::new(self.shape()?);
                self.need(">")?;
                Ok(Shape::Option(inner))
            }
            "enum" => self.variants(),
            word => match Scalar::ALL.into_iter().find(|scalar| scalar.word() == word) {
                Some(scalar) => Ok(Shape::Scalar(scalar)),
                None => {
                    self.rest = before;
                    self.structure()
                }
            },
        }
    }

    fn structure(&mut self) -> Result<Shape> {
        let name = self.name()?;
        self.definitions += 1;
        Ok(Shape::Struct(Some(name), self.fields()?))
    }

    fn variants(&mut self) -> Result<Shape> {
        self.need(" ")?;
        let name = if self.rest.starts_with('{') { None } else { Some(self.name()?) };
        if name.is_some() {
            self.need(" ")?;
        }
        if self.depth > 1 {
            self.definitions += 1;
        }
        self.need("{")?;
        let variants = self.list("}", |parser| Ok((parser.name()?, parser.fields()?)))?;
        Ok(Shape::Enum(name, variants))
    }

    fn fields(&mut self) -> Result<Fields> {
        if self.eat("(") {
            return Ok(Fields::Positions(self.list(")", Parser::shape)?));
        }
        if self.eat("{") {
            return Ok(Fields::Names(self.list("}", Parser::field)?));
        }
        Ok(Fields::Unit)
    }

    fn field(&mut self) -> Result<(Box<str>, Shape)> {
        let name = self.name()?;
        self.need(": ")?;
        Ok((name, self.shape()?))
    }

    /// A map, or a struct without a name: told apart by whether a name and a colon come first.
    fn braces(&mut self) -> Result<Shape> {
        self.need("{")?;
        let inside = self.rest;
        let is_struct = self.eat("}") || self.name().is_ok() && self.eat(": ");
        self.rest = inside;
        if is_struct {
            if self.depth > 1 {
                self.definitions += 1;
            }
            return Ok(Shape::Struct(None, Fields::Names(self.list("}", Parser::field)?)));
        }
        let key = Box::new(self.shape()?);
        self.need(" => ")?;
        let value = Box::new(self.shape()?);
        self.need("}")?;
        Ok(Shape::Map(key, value))
    }
}
