//! docs/laws.md against the tests: what it names is there, and holds the law that it stands
//! beside; and no test speaks of a law that it does not know.

use crate::support::source::{Source, read};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::Visit;

/// The chapters, by the letters of their codes; `K` are the crash points of jobs.
const CHAPTERS: &str = "THSCRMUXJK";

/// The macro that makes tests of functions.
const LAWS_OF_STORAGES: &str = "storage_laws";

/// A row of the document: what it is about, and which tests it names.
struct Row {
    codes: Vec<String>,
    tests: Vec<String>,
}

struct Laws {
    rows: Vec<Row>,
    /// Those of the last line.
    missing: Vec<String>,
}

impl Laws {
    fn of(document: &str) -> Laws {
        let mut laws = Laws { rows: Vec::new(), missing: Vec::new() };
        for line in document.lines() {
            if let Some(codes) = line.strip_prefix("Not promised yet: ") {
                laws.missing.extend(codes_in(codes));
            }
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, codes, _, tests, _] = cells[..] else { continue };
            if matches!(codes, "code" | "---") {
                continue;
            }
            let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            laws.rows.push(Row { codes: codes_in(codes), tests });
        }
        laws
    }

    fn codes(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().flat_map(|row| &row.codes).chain(&self.missing)
    }
}

/// The codes in a text; `T3–T5` are three.
fn codes_in(text: &str) -> Vec<String> {
    let mut codes = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '–') {
        let ends: Vec<_> = word.split('–').map(code).collect();
        match ends[..] {
            [Some((chapter, number))] => codes.push(format!("{chapter}{number}")),
            [Some((chapter, first)), Some((same, last))] if chapter == same => {
                codes.extend((first..=last).map(|number| format!("{chapter}{number}")));
            }
            _ => {}
        }
    }
    codes
}

fn code(word: &str) -> Option<(char, u32)> {
    let mut letters = word.chars();
    let chapter = letters.next().filter(|letter| CHAPTERS.contains(*letter))?;
    let digits = letters.as_str();
    let short = digits.len() <= 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((chapter, digits.parse().ok().filter(|_| short)?))
}

/// The tests of a source, by the names under which they run; those of a macro by the functions
/// that it calls.
struct Tests {
    path: Vec<String>,
    found: BTreeSet<String>,
}

impl Tests {
    fn of(source: &Source) -> BTreeSet<String> {
        let path = source.path.strip_prefix("tests/").expect("it is a test");
        let path = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let mut tests = Tests { path, found: BTreeSet::new() };
        tests.visit_file(&syn::parse_file(&source.text).expect("it is Rust"));
        tests.found
    }

    fn add(&mut self, names: &[String]) {
        self.found.insert([&self.path, names].concat().join("::"));
    }

    /// Every `chapter { law law … }`.
    fn add_laws(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            let chapter = at.checked_sub(1).map(|before| &tokens[before]);
            let laws: Vec<_> = group.stream().into_iter().collect();
            let names = laws.iter().all(|law| matches!(law, TokenTree::Ident(_)));
            match chapter {
                Some(TokenTree::Ident(chapter))
                    if names && group.delimiter() == Delimiter::Brace =>
                {
                    laws.iter().for_each(|law| self.add(&[chapter.to_string(), law.to_string()]));
                }
                _ => self.add_laws(group.stream()),
            }
        }
    }

    /// Every `#[test] fn law`, whose arguments are not those of a function.
    fn add_properties(&mut self, tokens: TokenStream) {
        let words: Vec<_> = tokens.into_iter().map(|token| token.to_string()).collect();
        for tokens in words.windows(4) {
            if let [mark, test, function, name] = tokens
                && [mark.as_str(), test, function] == ["#", "[test]", "fn"]
            {
                self.add(std::slice::from_ref(name));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            self.add(&[function.sig.ident.to_string()]);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.path.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.path.pop();
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if item.ident.as_ref().is_some_and(|name| name == LAWS_OF_STORAGES) {
            self.add_laws(item.mac.tokens.clone());
        } else if item.mac.path.is_ident("proptest") {
            self.add_properties(item.mac.tokens.clone());
        }
    }
}

/// What comments say: the codes above each function, by its name, and all codes there are.
fn spoken(source: &Source) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let path = source.path.strip_prefix("tests/").expect("it is a test");
    let module = path.trim_end_matches(".rs").replace('/', "::");
    let (mut of_functions, mut all) = (BTreeMap::new(), BTreeSet::new());
    let mut above = BTreeSet::new();
    for line in source.text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("//") {
            above.extend(codes_in(comment));
            all.extend(codes_in(comment));
        } else if let Some((_, rest)) = line.split_once("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            of_functions.insert(format!("{module}::{name}"), std::mem::take(&mut above));
        } else if !line.starts_with("#[") {
            above.clear();
        }
    }
    (of_functions, all)
}

/// What the document and the tests do not agree about.
fn disagreements(document: &str, sources: &[Source]) -> Vec<String> {
    let laws = Laws::of(document);
    let tests: BTreeSet<_> = sources.iter().flat_map(Tests::of).collect();
    let (mut carried, mut complaints) = (BTreeMap::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for code in laws.codes().filter(|code| !seen.insert(*code)) {
        complaints.push(format!("{code} stands there twice"));
    }
    for source in sources {
        let (of_functions, all) = spoken(source);
        carried.extend(of_functions);
        let unknown = all.into_iter().filter(|code| !seen.contains(code));
        complaints.extend(unknown.map(|code| format!("{} speaks of {code}", source.path)));
    }
    for Row { codes, tests: named } in &laws.rows {
        if codes.is_empty() || named.is_empty() {
            complaints.push(format!("a row without a code or a test: {codes:?} {named:?}"));
        }
        for test in named {
            let holds = |code: &String| carried.get(test).is_some_and(|of| of.contains(code));
            if !tests.contains(test) {
                complaints.push(format!("{codes:?}: there is no test {test}"));
            } else if !codes.iter().any(holds) {
                complaints.push(format!("{codes:?}: {test} does not say that it holds it"));
            }
        }
    }
    complaints
}

#[test]
fn every_law_names_tests_that_hold_it_and_no_test_an_unknown_law() {
    let document = read("docs/laws.md");
    assert!(Laws::of(&document).rows.len() > 50, "the document was read");

    let complaints = disagreements(&document, &Source::all("tests"));

    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn what_document_and_tests_do_not_agree_about_is_seen() {
    let code = "
        // T1–T3: three
        #[test] fn one() {}
        /// S4, of course
        fn no_test() {}
        mod inner { #[test] fn two() {} }
        proptest! {
            #![config(x)]
            // X1
            #[test]
            fn four(number in 0..5) {}
        }
        macro_rules! storage_laws { ($x:ty) => { storage_laws!($x: part { three }) } }";
    let part = "// X1\npub fn three(home: &impl Home) {}";
    let sources = [Source::new("tests/a.rs", code), Source::new("tests/a/part.rs", part)];
    let complaints = |text: &str| disagreements(text, &sources).len();
    let good = "| T1 T2 | law | `a::one` |\n| X1 | law | `a::four`, `a::part::three` |\n\
        Not promised yet: T3, S4.";

    assert_eq!(complaints(good), 0);
    for (from, to) in [
        ("`a::one`", "`a::gone`"),
        ("`a::one`", "`a::no_test`"),
        ("`a::one`", "`a::inner::two`"),
        ("`a::one`", "none"),
        ("`a::part::three`", "`a::one`"),
        (", S4", ""),
        (", S4", ", S4, X1"),
    ] {
        assert_eq!(complaints(&good.replace(from, to)), 1, "{to} for {from}");
    }
}
