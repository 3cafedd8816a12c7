//! The bugs that are planted on purpose (`tests/simulation/plants`) fit the code as it is: one that
//! does not would be planted nowhere, and a simulation that finds it proves nothing.

use crate::support::source::read;
use std::fs;

const FOLDER: &str = "tests/simulation/plants";

/// The lines that a part of a patch changes, and those around them.
#[derive(Debug, Default)]
struct Part {
    file: String,
    lines: Vec<String>,
}

/// The parts of a patch, with the lines that it expects to find.
fn parts(patch: &str) -> Vec<Part> {
    let (mut parts, mut file) = (Vec::<Part>::new(), "");
    for line in patch.lines() {
        if let Some(name) = line.strip_prefix("--- a/") {
            file = name;
        } else if line.starts_with("@@ ") {
            parts.push(Part { file: file.into(), lines: Vec::new() });
        } else if let (Some(part), false) = (parts.last_mut(), line.starts_with('+')) {
            part.lines.push(line.get(1..).unwrap_or_default().into());
        }
    }
    parts
}

/// Whether these lines stand somewhere in the text, one after the other.
fn stands(lines: &[String], text: &str) -> bool {
    let text: Vec<&str> = text.lines().collect();
    text.windows(lines.len()).any(|found| found == lines)
}

#[test]
fn every_planted_bug_fits_the_code() {
    let told = read("docs/reliability.md");
    let patches = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    for path in patches.filter(|path| path.extension().is_some_and(|it| it == "patch")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(told.contains(&format!("\n| `{name}` |")), "docs/reliability.md tells of {name}");
        let parts = parts(&fs::read_to_string(&path).unwrap());
        assert!(!parts.is_empty(), "{name} changes nothing");
        for Part { file, lines } in parts {
            assert!(stands(&lines, &read(&file)), "{name} does not fit {file}:\n{lines:#?}");
        }
    }
}

#[test]
fn a_planted_bug_that_does_not_fit_is_seen() {
    let patch = "It is wrong.\n\n--- a/x.rs\n+++ b/x.rs\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n";
    let parts = parts(patch);

    assert_eq!((parts.len(), &*parts[0].file), (1, "x.rs"));
    assert!(stands(&parts[0].lines, "before\na\nb\nd\nbehind"));
    assert!(!stands(&parts[0].lines, "a\nc\nd"), "it is planted already");
    assert!(!stands(&parts[0].lines, "a\nb\n\nd"));
}
