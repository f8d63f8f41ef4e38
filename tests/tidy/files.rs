//! What every file has, and what none has.

use crate::sources::{all, none, root};

/// Columns of a line, also of a comment.
const COLUMNS_MAX: usize = 110;

/// Lines from which on a file does a second thing.
const LINES_MAX: usize = 600;

#[test]
fn every_file_says_what_it_is_for() {
    let silent = all().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(&silent.map(|source| format!("{} does not open with `//!`", source.path)).collect::<Vec<_>>());
}

#[test]
fn modules_are_named_by_their_files() {
    let unnamed = all().into_iter().filter(|source| source.path.ends_with("/mod.rs"));
    none(&unnamed.map(|source| source.path).collect::<Vec<_>>());
}

#[test]
fn files_are_short_enough_to_read() {
    let lines = all().into_iter().map(|source| (source.text.lines().count(), source.path));
    let long = lines.filter(|&(lines, _)| lines > LINES_MAX);
    none(
        &long
            .map(|(lines, path)| format!("{path} has {lines} lines, expected at most {LINES_MAX}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn lines_fit_beside_each_other() {
    let mut faults = Vec::new();
    // Guests' sources are as they were when they were built.
    for source in all().into_iter().filter(|source| !source.path.starts_with("guest-examples/")) {
        // A text that people search for stays in one piece.
        let lines = source.text.lines().enumerate().filter(|(_, line)| {
            line.trim_start().starts_with("//") || !(line.contains('"') || source.is_test())
        });
        let long = lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
        faults.extend(long.map(|(index, _)| format!("{}:{}", source.path, index + 1)));
    }
    none(&faults);
}

#[test]
fn nothing_is_left_to_be_done() {
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let mut faults = Vec::new();
    for source in all() {
        for (number, line) in source.code() {
            let found = macros.iter().filter(|name| line.contains(name.as_str()));
            faults.extend(found.map(|name| format!("{}:{number} has {name}", source.path)));
        }
        let notes = ["TODO", "FIXME", "XXX"].map(|note| format!("// {note}"));
        if notes.iter().any(|note| source.text.contains(note.as_str())) {
            faults.push(format!("{} has a note of something to be done", source.path));
        }
    }
    none(&faults);
}

#[test]
fn no_test_is_left_out_or_expected_to_panic() {
    let attributes = ["ignore", "should_panic"].map(|name| format!("#[{name}"));
    let mut faults = Vec::new();
    for source in all() {
        for (number, line) in source.code() {
            let found = attributes.iter().filter(|name| line.trim_start().starts_with(name.as_str()));
            faults.extend(found.map(|name| format!("{}:{number} has {name}]", source.path)));
        }
    }
    none(&faults);
}

#[test]
fn page_on_functions_shows_the_examples_as_they_are() {
    let page = std::fs::read_to_string(root().join("docs/tutorials/functions.md")).unwrap();
    let missing = ["c-hello/hello.c", "go/main.go", "rust/src/main.rs"].into_iter().filter(|example| {
        let text = std::fs::read_to_string(root().join("guest-examples").join(example)).unwrap();
        // The comment at the top is for those who read the file alone.
        let code: Vec<_> =
            text.lines().skip_while(|line| line.starts_with("//") || line.is_empty()).collect();
        !page.contains(&code.join("\n"))
    });
    none(
        &missing
            .map(|example| format!("docs/tutorials/functions.md does not show {example} as it is"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn page_on_ci_shows_its_files_as_they_are() {
    let page = std::fs::read_to_string(root().join("docs/how-to/ci.md")).unwrap();
    let shown = |file: &&str| {
        let text = std::fs::read_to_string(root().join("docs/how-to/ci").join(file)).unwrap();
        page.contains(&format!("\n{text}```\n"))
    };
    let files = ["github-actions.yml", "gitlab-ci.yml", "node.toml"];
    let missing = files.into_iter().filter(|file| !shown(file));
    none(
        &missing
            .map(|file| format!("docs/how-to/ci.md does not show docs/how-to/ci/{file} as it is"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn prebuilt_guests_are_built_from_these_sources() {
    xtask::guests::check(&root()).unwrap();
}
