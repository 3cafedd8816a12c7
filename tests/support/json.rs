//! Reading JSON, strictly: [`Json::parse`] refuses what no standard allows.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The value of this text, which is nothing else.
    pub fn parse(text: &str) -> Json {
        let mut rest = text.chars().peekable();
        let value = value(&mut rest);
        blank(&mut rest);
        assert_eq!(rest.next(), None, "after the value");
        value
    }

    /// The value under this name of an object.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(entries) => &entries[name],
            other => panic!("{other:?} has no {name}"),
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }

    /// The number.
    pub fn number(&self) -> u64 {
        match self {
            Json::Number(digits) => digits.parse().unwrap(),
            other => panic!("{other:?} is no number"),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }
}

fn blank(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|char| " \n\r\t".contains(*char)).is_some() {}
}

fn value(rest: &mut Peekable<Chars<'_>>) -> Json {
    blank(rest);
    match rest.peek().copied().expect("a value") {
        '"' => Json::Text(text(rest)),
        '[' => {
            let mut items = Vec::new();
            separated(rest, ['[', ']'], |rest| items.push(value(rest)));
            Json::List(items)
        }
        '{' => {
            let mut entries = BTreeMap::new();
            separated(rest, ['{', '}'], |rest| {
                blank(rest);
                let name = text(rest);
                blank(rest);
                assert_eq!(rest.next(), Some(':'));
                assert_eq!(entries.insert(name, value(rest)), None, "a name twice");
            });
            Json::Object(entries)
        }
        _ => word(rest),
    }
}

fn separated(
    rest: &mut Peekable<Chars<'_>>,
    [open, close]: [char; 2],
    mut item: impl FnMut(&mut Peekable<Chars<'_>>),
) {
    assert_eq!(rest.next(), Some(open));
    blank(rest);
    if rest.next_if_eq(&close).is_some() {
        return;
    }
    loop {
        item(rest);
        blank(rest);
        match rest.next() {
            Some(',') => {}
            Some(char) if char == close => return,
            other => panic!("{other:?} within {open}{close}"),
        }
    }
}

fn text(rest: &mut Peekable<Chars<'_>>) -> String {
    assert_eq!(rest.next(), Some('"'));
    let mut text = String::new();
    loop {
        match rest.next().expect("the text ends") {
            '"' => return text,
            '\\' => text.push(match rest.next().expect("an escape") {
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let number = u32::from_str_radix(&digits, 16).expect("four digits");
                    char::from_u32(number).expect("a character")
                }
                char @ ('"' | '\\' | '/') => char,
                char => panic!("the escape {char:?}"),
            }),
            char => {
                assert!(char >= ' ', "a control character");
                text.push(char);
            }
        }
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Json {
    let mut word = String::new();
    while let Some(char) =
        rest.next_if(|char| char.is_ascii_alphanumeric() || "+-.".contains(*char))
    {
        word.push(char);
    }
    match &*word {
        "null" => Json::Null,
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        _ => {
            let whole = word.trim_start_matches('-');
            let zero = whole.len() > 1 && whole.starts_with('0') && !whole.starts_with("0.");
            assert!(word.parse::<f64>().is_ok() && !zero, "the word {word:?}");
            Json::Number(word)
        }
    }
}
