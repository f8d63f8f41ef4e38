//! The check must find every kind of mismatch between prebuilt guests and sources.

use super::*;

/// A folder in which every guest's sources, file and entry match.
fn agreeing() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::of(root.path());
    fs::create_dir_all(layout.guests.join("support")).unwrap();
    fs::create_dir_all(&layout.prebuilt).unwrap();
    fs::write(layout.guests.join("Cargo.toml"), "[workspace]").unwrap();
    fs::write(layout.guests.join("Cargo.lock"), "version = 4").unwrap();
    fs::write(layout.guests.join("support/lib.rs"), "//! Shared.").unwrap();
    let mut manifest = Manifest::default();
    for prebuilt in &PREBUILT {
        fs::create_dir_all(layout.guests.join(prebuilt.guest)).unwrap();
        fs::write(layout.guests.join(prebuilt.guest).join("source"), prebuilt.guest).unwrap();
        fs::write(layout.wasm(prebuilt.name), prebuilt.name).unwrap();
        manifest.insert(
            prebuilt.name,
            Entry {
                guest: prebuilt.guest.into(),
                sha256: sources::sha256(prebuilt.name.as_bytes()),
                sources: sources::hash(&layout.guests, prebuilt).unwrap(),
                target: prebuilt.recipe.target().into(),
                toolchain: "none".into(),
            },
        );
    }
    manifest.store(&layout.manifest()).unwrap();
    root
}

/// Applies `change` to a folder without mismatches; returns the lines of the check's error without the
/// first.
fn faults(change: impl FnOnce(&Layout)) -> Vec<String> {
    let root = agreeing();
    change(&Layout::of(root.path()));
    match check(root.path()) {
        Ok(()) => Vec::new(),
        Err(error) => error.to_string().lines().skip(1).map(|line| line.trim().into()).collect(),
    }
}

#[test]
fn agreeing_guests_pass() {
    assert_eq!(faults(|_| ()), Vec::<String>::new());
}

#[test]
fn changed_file_is_found() {
    let faults = faults(|layout| fs::write(layout.wasm("echo"), "other").unwrap());
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("`echo`: file has SHA-256 "), "{faults:?}");
}

#[test]
fn changed_source_is_found_in_every_build_of_it() {
    let faults = faults(|layout| fs::write(layout.guests.join("hello/source"), "other").unwrap());
    assert_eq!(faults.len(), 2);
    assert!(faults[0].starts_with("`hello-v1`: sources hash to "), "{faults:?}");
    assert!(faults[1].starts_with("`hello-v2`: sources hash to "), "{faults:?}");
}

#[test]
fn added_source_is_found() {
    let faults = faults(|layout| fs::write(layout.guests.join("env/more"), "").unwrap());
    assert_eq!(faults.len(), 1);
}

#[test]
fn shared_source_counts_for_every_rust_guest_and_no_other() {
    let faults = faults(|layout| fs::write(layout.guests.join("support/lib.rs"), "//! Other.").unwrap());
    let rust = PREBUILT.iter().filter(|prebuilt| prebuilt.recipe.is_rust()).count();
    assert_eq!(faults.len(), rust);
}

#[test]
fn missing_file_is_found() {
    let faults = faults(|layout| fs::remove_file(layout.wasm("cgi")).unwrap());
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("`cgi`: it is in the manifest, but "), "{faults:?}");
}

#[test]
fn file_without_a_guest_is_found() {
    let faults = faults(|layout| fs::write(layout.wasm("stray"), "").unwrap());
    assert_eq!(faults, ["`stray`: no guest produces it, expected no such file or entry"]);
}

#[test]
fn unknown_guest_is_refused_by_name() {
    let root = agreeing();
    let error = rebuild(root.path(), &["helo".into()]).unwrap_err().to_string();
    assert!(
        error.starts_with("no guest is named `helo`, expected one of as-hello, broken, c-hello, "),
        "{error}"
    );
}
