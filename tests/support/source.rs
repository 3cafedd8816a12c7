//! Source files as the house rules see them: their tokens, the paths they name and the functions
//! they define. Everything is found in the tokens, which macros and attributes have too, so that
//! no spelling escapes.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};
use std::fs;
use std::path::Path;

/// One source file.
pub struct Source {
    /// Its path from the top of the project.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The module it is: for `src/a/mod.rs` and `src/a.rs` it is `a`, for `src/lib.rs` nothing.
    pub module: Vec<String>,
    tokens: Vec<TokenTree>,
}

/// A word or mark, and its line.
pub struct Token {
    /// How it is written.
    pub text: String,
    /// Its line.
    pub line: usize,
}

/// A path of this crate that is named somewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its segments from the crate's root on.
    pub path: Vec<String>,
    /// Whether everything in it is meant.
    pub glob: bool,
    /// Where.
    pub line: usize,
}

/// A function's extent.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`.
    pub line: usize,
    /// How many lines it has, up to its last brace.
    pub lines: usize,
}

impl Source {
    /// The file `path` with this text.
    pub fn new(path: &str, text: &str) -> Source {
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        let inside = path.strip_prefix("src/").unwrap_or(path);
        let mut module: Vec<String> =
            inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        module.pop_if(|last| last == "mod" || last == "lib");
        Source {
            path: path.into(),
            text: text.into(),
            module,
            tokens: tokens.into_iter().collect(),
        }
    }

    /// All Rust files in a folder of the project and below it, without what a package in there has
    /// built; none where there is no such folder.
    pub fn all(folder: &str) -> Vec<Source> {
        let mut files: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("the folder can be read"))
            .collect();
        files.sort_by_key(fs::DirEntry::path);
        let mut sources = Vec::new();
        for file in files {
            let path = format!("{folder}/{}", file.file_name().to_str().expect("names are text"));
            if file.path().is_dir() {
                if file.file_name() != "target" {
                    sources.extend(Source::all(&path));
                }
            } else if path.ends_with(".rs") {
                sources.push(Source::new(&path, &read(&path)));
            }
        }
        sources
    }

    /// All tokens, with those within brackets, in order; brackets themselves are left out.
    pub fn tokens(&self) -> Vec<Token> {
        let mut flat = Vec::new();
        flatten(&self.tokens, &mut flat);
        flat
    }

    /// Every path that begins with `crate`, `self` or `super`, from the root on.
    pub fn paths(&self) -> Vec<Named> {
        let mut found = Vec::new();
        Scan { found: &mut found }.scan(&self.tokens, &self.module);
        found
    }

    /// Every function that has a body, those in macros and in other functions too.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        functions(&self.tokens, &mut found);
        found
    }
}

/// The text of a file of the project.
pub fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn flatten(tokens: &[TokenTree], flat: &mut Vec<Token>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => flatten(&inner(group.stream()), flat),
            other => flat.push(Token { text: other.to_string(), line: line(other) }),
        }
    }
}

fn inner(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => {
            Some(ident.to_string().trim_start_matches("r#").to_owned())
        }
        _ => None,
    }
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    is_mark(tokens.get(at), ':') && is_mark(tokens.get(at + 1), ':')
}

fn braces(token: Option<&TokenTree>) -> Option<Vec<TokenTree>> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            Some(inner(group.stream()))
        }
        _ => None,
    }
}

/// Collects paths.
struct Scan<'a> {
    found: &'a mut Vec<Named>,
}

impl Scan<'_> {
    /// Looks at code that stands in `module`.
    fn scan(&mut self, tokens: &[TokenTree], module: &[String]) {
        for at in 0..tokens.len() {
            let before = |count: usize| at.checked_sub(count).and_then(|place| tokens.get(place));
            if let TokenTree::Group(group) = &tokens[at] {
                let inside = inner(group.stream());
                let mut module = module.to_vec();
                if word(before(2)).is_some_and(|word| word == "mod") {
                    module.extend(word(before(1)));
                } else if is_mark(before(1), '#') {
                    self.scan_strings(&inside, &module);
                }
                self.scan(&inside, &module);
                continue;
            }
            let base = match word(tokens.get(at)).as_deref() {
                Some("crate") => Vec::new(),
                Some("self") => module.to_vec(),
                Some("super") => parent(module),
                _ => continue,
            };
            let begins = !(is_mark(before(1), ':') && is_mark(before(2), ':'));
            let renamed = word(tokens.get(at + 1));
            if begins && colons(tokens, at + 1) {
                self.follow(tokens, at + 3, base);
            } else if begins && renamed.is_some_and(|word| word == "as") && base.is_empty() {
                self.name(base, true, &tokens[at]);
            }
        }
    }

    /// Follows a path whose beginning is `base` and whose next segment stands at `at`.
    fn follow(&mut self, tokens: &[TokenTree], at: usize, mut base: Vec<String>) {
        let Some(token) = tokens.get(at) else { return };
        if is_mark(Some(token), '*') {
            return self.name(base, true, token);
        }
        if let Some(entries) = braces(Some(token)) {
            let entries = entries.split(|token| is_mark(Some(token), ','));
            return entries.for_each(|entry| self.follow(entry, 0, base.clone()));
        }
        match word(Some(token)).as_deref() {
            Some("super") => base = parent(&base),
            // `{self}` names the module itself; of the root that is everything.
            Some("self") => {
                let root = base.is_empty();
                return self.name(base, root, token);
            }
            Some(segment) => base.push(segment.into()),
            None => return self.name(base, false, token),
        }
        if colons(tokens, at + 1) {
            self.follow(tokens, at + 3, base);
        } else {
            let root = base.is_empty();
            self.name(base, root, token);
        }
    }

    fn name(&mut self, path: Vec<String>, glob: bool, token: &TokenTree) {
        self.found.push(Named { path, glob, line: line(token) });
    }

    /// Looks at the strings of an attribute that is not documentation: serde takes paths in them.
    fn scan_strings(&mut self, tokens: &[TokenTree], module: &[String]) {
        if word(tokens.first()).is_some_and(|word| word == "doc") {
            return;
        }
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.scan_strings(&inner(group.stream()), module),
                TokenTree::Literal(literal) => {
                    let known = self.found.len();
                    let code: TokenStream = unquoted(literal).parse().unwrap_or_default();
                    self.scan(&inner(code), module);
                    self.found[known..].iter_mut().for_each(|named| named.line = line(token));
                }
                _ => {}
            }
        }
    }
}

fn unquoted(literal: &Literal) -> String {
    let text = literal.to_string();
    text.trim_start_matches('r').trim_matches('#').trim_matches('"').to_owned()
}

fn parent(module: &[String]) -> Vec<String> {
    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

fn functions(tokens: &[TokenTree], found: &mut Vec<Function>) {
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            functions(&inner(group.stream()), found);
        }
        let (Some("fn"), Some(name)) = (word(Some(token)).as_deref(), word(tokens.get(at + 1)))
        else {
            continue;
        };
        let ends = |token: &&TokenTree| is_mark(Some(token), ';') || braces(Some(token)).is_some();
        if let Some(TokenTree::Group(body)) = tokens[at..].iter().find(ends) {
            let lines = body.span_close().end().line - line(token) + 1;
            found.push(Function { name, line: line(token), lines });
        }
    }
}
