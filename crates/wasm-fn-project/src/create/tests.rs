//! Facts about making a project in a folder, from a template, a directory or a repository.

use std::{fs, path::Path};

use super::{CreateError, TemplateSource, create};

#[test]
fn template_is_a_name_a_url_or_a_directory() {
    let kind = |text: &str| match TemplateSource::parse(text) {
        Ok(TemplateSource::Template(template)) => template.name,
        Ok(TemplateSource::Directory(_)) => "directory",
        Ok(TemplateSource::Git(_)) => "git",
        Err(_) => "unknown",
    };
    for (text, expected) in [
        ("rust", "rust"),
        ("https://example.com/template", "git"),
        ("ssh://git@example.com/template.git", "git"),
        ("git@example.com:team/template", "git"),
        ("template.git", "git"),
        ("./template", "directory"),
        ("/srv/template", "directory"),
        ("..", "directory"),
        ("rusty-template", "unknown"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn folder_with_a_file_in_it_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let source = TemplateSource::parse("rust").unwrap();
    let error = create(folder.path(), &source, "hello").unwrap_err();
    assert!(matches!(&error, CreateError::NotEmpty { first, .. } if first == "notes.txt"), "{error}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    // An empty one is as good as none.
    let empty = tempfile::tempdir().unwrap();
    create(empty.path(), &source, "hello").unwrap();
    assert!(empty.path().join("src/lib.rs").is_file());
}

/// A template with a script and bytes that are no text.
fn template(root: &Path) {
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("wasm-fn.toml"), "[function.{{name}}]\n").unwrap();
    fs::write(root.join("src/logo.bin"), b"\xff{{name}}").unwrap();
}

#[test]
fn directory_is_copied_with_the_name_filled_in() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = TemplateSource::Directory(from.path().to_owned());
    let target = to.path().join("shop");
    let error = create(&target, &source, "shop").unwrap_err();
    assert!(matches!(error, CreateError::NoTemplate { .. }), "{error}");
    assert!(!target.exists());
    template(from.path());
    create(&target, &source, "shop").unwrap();
    assert_eq!(fs::read_to_string(target.join("wasm-fn.toml")).unwrap(), "[function.shop]\n");
    assert_eq!(fs::read(target.join("src/logo.bin")).unwrap(), b"\xff{{name}}");
}
