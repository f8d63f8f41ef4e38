//! Facts about changes of files in a project that is watched.

use std::{
    fs,
    path::PathBuf,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use super::Watch;

/// Longer than any event takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches a folder with a project in it.
fn watched() -> (tempfile::TempDir, PathBuf, Watch, Receiver<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for name in ["src", "target"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("src/lib.rs"), "one").unwrap();
    let (sender, changes) = sync_channel(64);
    let tell = move |path: &std::path::Path| sender.send(path.to_owned()).unwrap_or_default();
    let watch = Watch::start(&root, &[PathBuf::from("function.wasm")], tell).unwrap();
    (folder, root, watch, changes)
}

#[test]
fn saved_created_and_removed_files_are_told() {
    let (_folder, root, _watch, changes) = watched();
    let next = || changes.recv_timeout(PATIENCE).expect("a change is told");
    fs::write(root.join("src/lib.rs"), "two").unwrap();
    assert_eq!(next(), root.join("src/lib.rs"));
    // As editors save: a new file that takes the place of the old one.
    fs::write(root.join("src/new"), "three").unwrap();
    fs::rename(root.join("src/new"), root.join("src/lib.rs")).unwrap();
    assert!(next().starts_with(root.join("src")));
    fs::remove_file(root.join("src/lib.rs")).unwrap();
    assert_eq!(next(), root.join("src/lib.rs"));
    // A folder that is new is watched as well.
    fs::create_dir(root.join("src/deep")).unwrap();
    assert_eq!(next(), root.join("src/deep"));
    fs::write(root.join("src/deep/a.rs"), "four").unwrap();
    assert_eq!(next(), root.join("src/deep/a.rs"));
}

#[test]
fn what_the_build_writes_is_not_told() {
    let (_folder, root, _watch, changes) = watched();
    fs::write(root.join("target/out.o"), "x").unwrap();
    fs::write(root.join("function.wasm"), "x").unwrap();
    fs::read(root.join("src/lib.rs")).unwrap();
    fs::write(root.join("src/lib.rs~"), "x").unwrap();
    fs::write(root.join("last"), "x").unwrap();
    assert_eq!(changes.recv_timeout(PATIENCE), Ok(root.join("last")));
}

#[test]
fn folder_that_is_not_there_is_named() {
    let error = Watch::start("/nonexistent/project".as_ref(), &[], |_| {}).err().expect("it is refused");
    assert!(error.to_string().contains("/nonexistent/project"), "{error}");
}
