//! Guests are built once for the same source, and what cannot be built says why.

use std::{fs, path::Path};

use super::{Recipe, build};

const RECIPE: Recipe = Recipe { folder: "guest", script: "build.sh", beside: &["other/wit"] };

/// A repository whose guest counts how often it was built.
fn repository(script: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("guest/dist")).unwrap();
    fs::create_dir_all(root.path().join("other/wit")).unwrap();
    fs::write(root.path().join("guest/dist/hello.wasm"), "not from here").unwrap();
    fs::write(root.path().join("guest/build.sh"), script).unwrap();
    fs::write(root.path().join("other/wit/world.wit"), "world hello {}").unwrap();
    root
}

fn built(root: &Path) -> String {
    fs::read_to_string(build(&RECIPE, root, &root.join("cache")).unwrap()).unwrap()
}

#[test]
fn guest_is_built_anew_only_when_its_source_changed() {
    let root =
        repository("mkdir -p dist && echo built >> count && cat wit/world.wit count > dist/hello.wasm");
    assert_eq!(built(root.path()), "world hello {}built\n");
    assert_eq!(built(root.path()), "world hello {}built\n");
    fs::write(root.path().join("other/wit/world.wit"), "world other {}").unwrap();
    assert_eq!(built(root.path()), "world other {}built\nbuilt\n");
}

#[test]
fn failed_build_says_its_last_line_and_leaves_nothing_that_looks_built() {
    let root = repository("mkdir -p dist && echo wasm > dist/hello.wasm && echo no compiler >&2 && exit 3");
    for _ in 0..2 {
        // The second time the source is unchanged.
        let refused = build(&RECIPE, root.path(), &root.path().join("cache")).unwrap_err().to_string();
        assert_eq!(refused, "`guest/build.sh` ended with exit status: 3: no compiler");
    }
}
