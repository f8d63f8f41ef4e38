//! ARCHITECTURE.md is a map: short, and of what there is.

use std::fs;

use crate::sources::{none, root};

/// The map's path from the root.
const MAP: &str = "ARCHITECTURE.md";

/// Lines from which on nobody reads it.
const LINES_MAX: usize = 300;

/// Columns of a line.
const COLUMNS_MAX: usize = 110;

/// A line of the map, with its number.
type Line = (usize, String);

fn lines() -> Vec<Line> {
    let text = fs::read_to_string(root().join(MAP)).expect("there is a map");
    text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
}

/// The folder of every crate, by name.
fn crates() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).expect("there are crates");
    let names = folders.map(|folder| folder.expect("a folder can be read to its end").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Whether `word`, which stood between backticks, is meant as a path.
fn is_path(word: &str) -> bool {
    let page_or_folder = [".md", ".toml", "/"].iter().any(|end| word.ends_with(end));
    word.ends_with(".rs") || (word.contains('/') && page_or_folder)
}

/// The paths that `word` stands for: `a/{b,c}.rs` is two.
fn expanded(word: &str) -> Vec<String> {
    let braces = word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match braces {
        Some((before, (between, after))) => {
            between.split(',').map(|part| format!("{before}{part}{after}")).collect()
        }
        None => vec![word.to_owned()],
    }
}

/// Where `path` is: from the root, or from the `src` folder of a crate.
fn places(path: &str, crates: &[String]) -> Vec<String> {
    let shortened = crates.iter().map(|name| format!("crates/{name}/src/{path}"));
    let exists = |place: &String| {
        let place = root().join(place);
        if path.ends_with('/') { place.is_dir() } else { place.is_file() }
    };
    std::iter::once(path.to_owned()).chain(shortened).filter(exists).collect()
}

#[test]
fn map_names_only_paths_that_exist() {
    let (crates, mut faults, mut found) = (crates(), Vec::new(), 0);
    for (number, line) in lines() {
        for path in line.split('`').skip(1).step_by(2).filter(|word| is_path(word)).flat_map(expanded) {
            found += 1;
            match &places(&path, &crates)[..] {
                [_] => {}
                [] => faults.push(format!("{MAP}:{number}: there is no {path}")),
                several => faults.push(format!("{MAP}:{number}: {path} may be any of {several:?}")),
            }
        }
    }
    none(&faults);
    assert!(found > 100, "{found} paths were found, expected far more");
}

#[test]
fn map_has_every_crate() {
    let text: Vec<_> = lines().into_iter().map(|(_, line)| line).collect();
    let text = text.join("\n");
    let missing = crates().into_iter().filter(|name| !text.contains(&format!("`crates/{name}/`")));
    none(&missing.map(|name| format!("{MAP} does not have crates/{name}/")).collect::<Vec<_>>());
}

#[test]
fn map_is_short_enough_to_read() {
    let lines = lines();
    assert!(lines.len() < LINES_MAX, "{} lines, expected fewer than {LINES_MAX}", lines.len());
    let long = lines.iter().filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    none(&long.map(|(number, _)| format!("{MAP}:{number} is too long")).collect::<Vec<_>>());
}
