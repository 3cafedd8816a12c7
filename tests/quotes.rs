//! Code in a document that comes from a file of the project: it is what stands there.

use crate::support::source::read;

/// Documents whose code is all quoted.
const DOCUMENTS: [&str; 1] = ["docs/data-managers.md"];

/// Stands, alone in a line, for lines that are left out.
const CUT: &str = "// …";

/// A piece of code in a document, and the file that the line before it names.
#[derive(Debug)]
struct Quote {
    line: usize,
    file: Option<String>,
    code: Vec<String>,
}

fn quotes(document: &str) -> Vec<Quote> {
    let (mut quotes, mut open, mut said) = (Vec::new(), None::<Quote>, "");
    for (at, line) in document.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => quotes.extend(open.take()),
            Some(quote) => quote.code.push(line.to_owned()),
            None if line.starts_with("```rust") => {
                let file = said.rsplit_once("](../").and_then(|(_, rest)| rest.split_once(')'));
                let file = file.map(|(path, _)| path.to_owned());
                open = Some(Quote { line: at + 1, file, code: Vec::new() });
            }
            None if line.is_empty() => {}
            None => said = line,
        }
    }
    quotes
}

/// Whether these lines stand in the file, one after the other, at whatever indentation; where the
/// quote has a cut, with others in between.
fn stands_in(code: &[String], file: &str) -> bool {
    let lines: Vec<_> = file.lines().collect();
    let mut from = 0;
    code.split(|line| line.trim() == CUT).filter(|piece| !piece.is_empty()).all(|piece| {
        let rest = &lines[from..];
        let found = rest.windows(piece.len()).position(|window| same(piece, window));
        from += found.map_or(0, |at| at + piece.len());
        found.is_some()
    })
}

fn same(piece: &[String], window: &[&str]) -> bool {
    let indent = window[0].len().saturating_sub(piece[0].len());
    piece.iter().zip(window).all(|(quoted, line)| {
        let (margin, line) = line.split_at_checked(indent).unwrap_or((" ", ""));
        quoted == line && (line.is_empty() || margin.trim().is_empty())
    })
}

/// What is not quoted as it stands.
fn misquoted(document: &str, files: impl Fn(&str) -> String) -> Vec<usize> {
    let good = |quote: &Quote| {
        quote.file.as_ref().is_some_and(|file| stands_in(&quote.code, &files(file)))
    };
    quotes(document).iter().filter(|quote| !good(quote)).map(|quote| quote.line).collect()
}

#[test]
fn code_in_documents_is_that_of_the_files_they_name() {
    for name in DOCUMENTS {
        let document = read(name);
        assert!(quotes(&document).len() > 5, "{name} was read");
        let lines = misquoted(&document, read);
        assert!(lines.is_empty(), "{name}: what these lines quote does not stand there: {lines:?}");
    }
}

#[test]
fn a_misquotation_is_seen() {
    let file = |_: &str| {
        "mod x {\n    fn f() {\n        a();\n\n        b();\n        c();\n    }\n}".into()
    };
    let bad = |code: &str| {
        misquoted(&format!("From [x](../x.rs):\n\n```rust,ignore\n{code}\n```\n"), file).len()
    };

    assert_eq!(bad("fn f() {\n    a();\n\n    b();"), 0);
    assert_eq!(bad("fn f() {\n    // …\n    c();\n}"), 0);
    for code in ["fn f() {\n    b();", "a();\nb();", "fn f() {\n  a();", "b();\n// …\na();", "d();"]
    {
        assert_eq!(bad(code), 1, "{code}");
    }
    assert_eq!(misquoted("No file.\n```rust\na();\n```", file), [2]);
}
