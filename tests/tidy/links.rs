//! A link in a page leads to a file that is there, and to a heading that is in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::sources::{none, root};

/// The Markdown files below `folder`.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read to its end").path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// The lines of a page that are no code.
fn prose(text: &str) -> Vec<&str> {
    let mut code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            lines.push(line);
        }
    }
    lines
}

/// What a heading is called in a link: lower case, `-` for blanks, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|sign| sign.is_alphanumeric() || "-_ ".contains(*sign));
    kept.flat_map(char::to_lowercase).map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

/// Whether the page at `path` has a heading called `name`.
fn has_heading(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut headings = prose(&text).into_iter().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == name)
}

/// Where the links of a line lead, but for those that leave the repository.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    links.filter(|link| !link.contains("://"))
}

#[test]
fn links_lead_to_what_is_there() {
    let mut paths = pages(&root().join("docs"));
    paths.extend(
        ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)),
    );
    let (mut faults, mut found) = (Vec::new(), 0);
    for path in paths {
        let text = fs::read_to_string(&path).expect("a page is text");
        for target in prose(&text).into_iter().flat_map(targets) {
            found += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = path.parent().expect("a page is in a folder");
            let to = if file.is_empty() { path.clone() } else { folder.join(file) };
            if !to.exists() || !(heading.is_empty() || has_heading(&to, heading)) {
                faults.push(format!("{} links to {target}, which is not there", path.display()));
            }
        }
    }
    none(&faults);
    assert!(found > 200, "{found} links were found, expected far more");
}
