//! Facts about the templates that are part of the program.

use std::{collections::BTreeSet, path::Path};

use super::{Template, UnknownTemplate};

#[test]
fn languages_are_found_by_their_names_and_others_are_told_the_nearest() {
    for (asked, name) in
        [("rust", "rust"), ("Rust", "rust"), ("typescript", "ts"), ("golang", "go"), ("py", "python")]
    {
        assert_eq!(Template::find(asked).map(|template| template.name), Ok(name));
    }
    for (asked, nearest) in [
        ("rsut", Some("rust")),
        ("pyhton", Some("python")),
        ("javscript", Some("js")),
        ("cobol", None),
        ("", None),
    ] {
        let expected = UnknownTemplate { found: asked.to_owned(), nearest };
        assert_eq!(Template::find(asked).err(), Some(expected), "{asked}");
    }
    let error = Template::find("pyton").unwrap_err().to_string();
    assert_eq!(error, "found \"pyton\", expected rust, js, ts, python, go or c; did you mean `python`?");
}

#[test]
fn every_file_of_a_template_is_filled_in_and_the_first_is_there() {
    for template in Template::all() {
        let files = template.files("hello");
        let paths: BTreeSet<_> = files.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths.len(), files.len(), "{}: a path is there twice", template.name);
        for needed in ["README.md", "checks.toml", "wasm-fn.toml", ".gitignore", template.main] {
            assert!(paths.contains(needed), "{} has no {needed}", template.name);
        }
        for (path, text) in &files {
            assert!(!text.contains("{{"), "{}: {path} has a word that was not filled in", template.name);
        }
    }
}

/// The paths of the files below `folder`.
fn below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else {
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_in_the_folder_of_templates_is_part_of_one() {
    let mut found = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    below(&folder, &mut found);
    let sources = include_str!("../template.rs");
    for path in found {
        let name = path.strip_prefix(folder.to_str().unwrap()).unwrap().trim_start_matches('/');
        assert!(sources.contains(&format!("\"{name}\"")), "{name} is in no template");
    }
}
