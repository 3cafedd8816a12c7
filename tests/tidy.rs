//! The house rules. Each is a function from sources to complaints; one test applies it to the
//! project, and one shows it a bad example, so that the rule itself is seen to work.

use crate::support::source::{Source, read};
use std::collections::{BTreeMap, BTreeSet};

const LINES_OF_A_FILE: usize = 500;
const LINES_OF_A_FUNCTION: usize = 70;

/// Modules of one layer: though one comes first in lib.rs, it is not below the other.
const SIBLINGS: [[&str; 2]; 2] = [["format", "file"], ["storage", "transaction"]];

/// The only file with unsafe code.
const UNSAFE: &str = "src/file/mmap.rs";

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The modules as lib.rs lists them, lowest first, and where its re-exports come from.
struct Layers {
    order: Vec<String>,
    exports: BTreeMap<String, String>,
}

impl Layers {
    fn of(root: &str) -> Layers {
        let mut layers = Layers { order: Vec::new(), exports: BTreeMap::new() };
        for item in syn::parse_file(root).expect("lib.rs is Rust").items {
            match item {
                syn::Item::Mod(module) => layers.order.push(module.ident.to_string()),
                syn::Item::Use(exports) => layers.export(&exports.tree, None),
                _ => {}
            }
        }
        layers
    }

    fn export(&mut self, tree: &syn::UseTree, from: Option<&str>) {
        let name = match tree {
            syn::UseTree::Path(path) => {
                let first = path.ident.to_string();
                return match from {
                    None if first == "self" || first == "crate" => self.export(&path.tree, None),
                    _ => self.export(&path.tree, Some(from.unwrap_or(&first))),
                };
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.export(tree, from));
            }
            syn::UseTree::Name(name) => &name.ident,
            syn::UseTree::Rename(rename) => &rename.rename,
            syn::UseTree::Glob(_) => panic!("lib.rs names what it exports"),
        };
        self.exports.insert(name.to_string(), from.unwrap_or_default().into());
    }

    fn place(&self, module: &str) -> Option<usize> {
        self.order.iter().position(|layer| layer == module)
    }

    /// The layer in which the name `first` of the crate's root is defined.
    fn home<'a>(&'a self, first: &'a str) -> Option<&'a str> {
        self.place(first).map(|_| first).or_else(|| self.exports.get(first).map(String::as_str))
    }

    /// Whether code in the layer `here` may name the layer `there`.
    fn may_name(&self, here: &str, there: &str) -> bool {
        let siblings = SIBLINGS.iter().any(|pair| pair.contains(&here) && pair.contains(&there));
        here == there || (self.place(there) < self.place(here) && !siblings)
    }
}

/// A module names only modules earlier in lib.rs's list, and no sibling, however it is spelled.
fn arrows_that_point_up(layers: &Layers, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let Some(here) = source.module.first().filter(|first| layers.place(first).is_some()) else {
            continue;
        };
        for named in source.paths() {
            let place = format!("{}:{}: {here}", source.path, named.line);
            match named.path.first() {
                None if named.glob => complaints.push(format!("{place} takes the whole crate")),
                None => {}
                Some(first) => match layers.home(first) {
                    Some(there) if layers.may_name(here, there) => {}
                    Some(there) => complaints.push(format!("{place} names {there}")),
                    None => complaints.push(format!("{place} names crate::{first}, of no layer")),
                },
            }
        }
    }
    complaints
}

/// What would hide an arrow from the rule above.
fn hidden_arrows(sources: &[Source]) -> Vec<String> {
    let spellings: [&[&str]; 4] =
        [&["extern", "crate"], &["path", "=", STRING], &["include", "!"], &["crate", "as"]];
    spellings.into_iter().flat_map(|words| uses(sources, words)).collect()
}

/// Stands for any string among the tokens that are looked for.
const STRING: &str = "\"…\"";

/// Where these tokens follow one another.
fn uses(sources: &[Source], words: &[&str]) -> Vec<String> {
    let is = |text: &str, word: &str| match word {
        STRING => text.ends_with(['"', '#']) && text.len() > 1,
        _ => text == word,
    };
    let mut complaints = Vec::new();
    for source in sources {
        let tokens = source.tokens();
        let matches = tokens
            .windows(words.len())
            .filter(|window| window.iter().zip(words).all(|(token, word)| is(&token.text, word)));
        let complain = |line| format!("{}:{line}: {}", source.path, words.join(" "));
        complaints.extend(matches.map(|window| complain(window[0].line)));
    }
    complaints
}

/// Files and functions stay small.
fn too_long(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > LINES_OF_A_FILE {
            complaints.push(format!("{}: {lines} lines", source.path));
        }
        let long = |lines: usize| lines > LINES_OF_A_FUNCTION;
        complaints.extend(source.functions().iter().filter(|f| long(f.lines)).map(|function| {
            format!(
                "{}:{}: {} has {} lines",
                source.path, function.line, function.name, function.lines
            )
        }));
    }
    complaints
}

/// Nothing is left for later.
fn left_for_later(sources: &[Source]) -> Vec<String> {
    let macros = ["todo", "unimplemented", "dbg"];
    let mut complaints: Vec<_> =
        macros.into_iter().flat_map(|name| uses(sources, &[name, "!"])).collect();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            let note = ["TODO", "FIXME"].into_iter().find(|note| line.contains(note));
            complaints.extend(note.map(|note| format!("{}:{}: {note}", source.path, number + 1)));
        }
    }
    complaints
}

/// Unsafe code stands in one file.
fn unsafe_code(sources: &[Source]) -> Vec<String> {
    let mut complaints = uses(sources, &["unsafe"]);
    complaints.retain(|complaint| !complaint.starts_with(&format!("{UNSAFE}:")));
    complaints
}

/// A test file that is not declared is never run; a helper that is not named helps nobody.
fn forgotten(sources: &[Source]) -> Vec<String> {
    let names = |source: &Source, words: [&str; 2]| {
        source.tokens().windows(2).any(|pair| pair[0].text == words[0] && pair[1].text == words[1])
    };
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !source.path.ends_with("/main.rs")) {
        let file = source.path.strip_suffix("/mod.rs").unwrap_or(&source.path);
        let (folder, name) = file.rsplit_once('/').expect("it is in a folder");
        let name = name.trim_end_matches(".rs");
        let parents = match folder {
            "tests" => vec!["tests/main.rs".into()],
            _ => ["/mod.rs", "/main.rs", ".rs"].map(|end| format!("{folder}{end}")).into(),
        };
        let mut parents = sources.iter().filter(|other| parents.contains(&other.path));
        let used = || sources.iter().any(|o| o.path != source.path && names(o, [name, ":"]));
        if !parents.any(|parent| names(parent, ["mod", name])) {
            complaints.push(format!("{} is not declared", source.path));
        } else if folder == "tests/support" && !used() {
            complaints.push(format!("{} is used nowhere", source.path));
        }
    }
    complaints
}

/// Every exported type has its word in the glossary: in a heading, or first in a row of a table.
fn words_without_meaning(layers: &Layers, glossary: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    for line in glossary.lines() {
        let entry = match line.strip_prefix('|') {
            Some(row) => row.split('|').next().unwrap_or_default(),
            None if line.starts_with('#') => line,
            None => continue,
        };
        known.extend(entry.split('`').skip(1).step_by(2));
    }
    let types = layers.exports.keys().filter(|name| name.starts_with(char::is_uppercase));
    let missing = types.filter(|name| !known.contains(name.as_str()));
    missing.map(|name| format!("docs/glossary.md does not say what `{name}` is")).collect()
}

fn layers() -> Layers {
    Layers::of(&read("src/lib.rs"))
}

#[test]
fn a_module_names_only_what_is_below_it() {
    let sources = Source::all("src");
    assert!(layers().order.len() > 3, "the list of layers was read");
    assert!(sources.iter().map(|source| source.paths().len()).sum::<usize>() > 20);

    assert_none(arrows_that_point_up(&layers(), &sources));
    assert_none(hidden_arrows(&sources));
}

#[test]
fn files_and_functions_are_short() {
    let sources = Source::all("src");
    assert!(sources.iter().map(|source| source.functions().len()).sum::<usize>() > 50);

    assert_none(too_long(&sources));
}

#[test]
fn nothing_is_left_for_later() {
    let folders = ["src", "examples", "benches"];

    assert_none(left_for_later(
        &folders.map(Source::all).into_iter().flatten().collect::<Vec<_>>(),
    ));
}

#[test]
fn unsafe_code_stands_in_one_file() {
    assert_none(unsafe_code(&Source::all("src")));
}

#[test]
fn no_test_is_forgotten() {
    assert_none(forgotten(&Source::all("tests")));
}

#[test]
fn every_exported_type_is_in_the_glossary() {
    assert_none(words_without_meaning(&layers(), &read("docs/glossary.md")));
}

/// The layers of the bad examples below.
const EXAMPLE: &str = "mod id; pub mod error; pub mod format; pub mod file; pub mod transaction;
    pub mod storage; pub use error::{Error, Result as Outcome}; pub use self::storage::Storage;";

/// How many complaints there are about this text of a file.
fn arrows(path: &str, text: &str) -> usize {
    arrows_that_point_up(&Layers::of(EXAMPLE), &[Source::new(path, text)]).len()
}

#[test]
fn an_arrow_down_or_within_a_layer_is_fine() {
    let code =
        "use crate::{id::Oid, error::{self, Error}, format::*}; use super::file; use self::a;
        pub(crate) fn f(&self) -> crate::Outcome { self.x(); super::file::g(); id::h() }
        /// See [`crate::transaction::T`].
        pub(in crate::storage) mod a { use super::super::file; use super::b; }";

    assert_eq!(arrows("src/storage/mod.rs", code), 0);
    assert_eq!(arrows("src/storage/part.rs", "use super::*; use super::super::error::Error;"), 0);
    assert_eq!(arrows("src/lib.rs", "pub use crate::storage::Storage;"), 0, "the root names all");
}

#[test]
fn no_spelling_of_an_arrow_up_escapes() {
    let spellings = [
        "use crate::storage;",
        "use super::storage::Storage as S;",
        "use super::{error, r#storage::{Storage, self}};",
        "use {crate::{error::{self}, storage as s}, std::io};",
        "use self::super::storage::*;",
        "use crate::Storage;",
        "fn f() { let x: crate::storage::S<u8> = super::storage::S::<u8>::new(); }",
        "fn f(x: &dyn crate::storage::Storage) {}",
        "impl<T: crate::storage::Storage> X for T {}",
        "fn f() { println!(\"{}\", crate::storage::X); }",
        "macro_rules! m { () => { $crate::storage::X } }",
        "#[serde(with = \"crate::storage::seconds\")] struct S;",
        "#[derive(crate::storage::D)] struct S;",
        "pub(in crate::storage) fn f() {}",
        "#[doc(hidden)] pub use crate::storage::X;",
        "mod inner { mod deeper { use super::super::super::storage; } }",
        "fn f() -> <crate::storage::S as T>::X {}",
        "use crate::*;",
        "use super::*;",
        "use super::{*};",
        "use crate as root;",
        "use crate::{self as root};",
        "use crate::unknown;",
    ];
    for text in spellings {
        assert!(arrows("src/error.rs", text) > 0, "{text}");
    }
    assert_eq!(arrows("src/error/part.rs", "use super::super::storage::X;"), 1);
}

#[test]
fn an_arrow_between_siblings_is_seen_in_both_directions() {
    for [one, other] in SIBLINGS {
        let path = |layer| format!("src/{layer}/mod.rs");
        assert_eq!(arrows(&path(one), &format!("use crate::{other}::X;")), 1);
        assert_eq!(arrows(&path(other), &format!("use crate::{one}::X;")), 1);
    }
}

#[test]
fn what_would_hide_an_arrow_is_seen() {
    for text in [
        "extern crate self as perennial;",
        "#[path = \"storage/mod.rs\"] mod other;",
        "#[cfg_attr(unix, path = r#\"storage/mod.rs\"#)] mod other;",
        "include!(\"storage/mod.rs\");",
        "mod a { use crate as root; }",
    ] {
        assert_eq!(hidden_arrows(&[Source::new("src/error.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn a_long_file_and_a_long_function_are_seen() {
    let complaints = |text: &str| too_long(&[Source::new("src/x.rs", text)]).len();
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", "f();\n".repeat(lines - 2));

    assert_eq!(complaints(&"\n".repeat(LINES_OF_A_FILE)), 0);
    assert_eq!(complaints(&"\n".repeat(LINES_OF_A_FILE + 1)), 1);
    for around in ["#", "impl X { # }", "macro_rules! m { () => { # } }", "fn g() {} trait T { # }"]
    {
        let with = |lines| around.replace('#', &function(lines));
        assert_eq!(complaints(&with(LINES_OF_A_FUNCTION)), 0, "{around}");
        assert_eq!(complaints(&with(LINES_OF_A_FUNCTION + 1)), 1, "{around}");
    }
}

#[test]
fn what_is_left_for_later_is_seen() {
    for text in ["// TO\u{44}O: more", "/* FIX\u{4D}E */", "fn f() { todo!() }", "m! { dbg!(1) }"] {
        assert_eq!(left_for_later(&[Source::new("src/x.rs", text)]).len(), 1, "{text}");
    }
    assert_eq!(
        left_for_later(&[Source::new("src/x.rs", "fn f() { unimplemented ! {} }")]).len(),
        1
    );
}

#[test]
fn unsafe_code_elsewhere_is_seen() {
    let text = "fn f() { unsafe { g() } }";

    assert_eq!(unsafe_code(&[Source::new("src/x.rs", text)]).len(), 1);
    assert_eq!(unsafe_code(&[Source::new(UNSAFE, text)]).len(), 0);
    assert_eq!(unsafe_code(&[Source::new("src/x.rs", "#![deny(unsafe_code)]")]).len(), 0);
}

#[test]
fn a_forgotten_test_is_seen() {
    let tests = |main: &str, support: &str| {
        forgotten(&[
            Source::new("tests/main.rs", main),
            Source::new("tests/a.rs", "mod part; use crate::support::rng::Rng;"),
            Source::new("tests/a/part.rs", ""),
            Source::new("tests/support/mod.rs", support),
            Source::new("tests/support/rng.rs", ""),
            Source::new("tests/support/idle.rs", "use super::rng::Rng;"),
        ])
    };

    assert_eq!(tests("mod support;", "pub mod rng;").len(), 2, "a and idle are not declared");
    assert_eq!(
        tests("mod a;", "pub mod rng; pub mod idle;").len(),
        2,
        "support is not, idle is idle"
    );
    assert_eq!(tests("mod a; mod support;", "pub mod rng; pub mod idle;").len(), 1, "idle");
}

#[test]
fn a_word_without_meaning_is_seen() {
    let missing = |glossary| words_without_meaning(&Layers::of(EXAMPLE), glossary).len();

    assert_eq!(missing("it speaks of `Error`, `Outcome` and `Storage`"), 3);
    assert_eq!(missing("## `Error`\n| `Outcome`, `Storage` | meaning |"), 0);
    assert_eq!(missing("| `Error` | not a `Storage` |"), 2);
}
