//! Facts about artefacts of another engine.

use wasmtime::Config;

use super::*;

/// An engine with fuel or without: its code is different.
fn engine(has_fuel: bool) -> Engine {
    let mut config = Config::new();
    // The compiling threads are the node's compiler's to start.
    config.consume_fuel(has_fuel).parallel_compilation(false);
    Engine::new(&config).unwrap()
}

/// The files of a digest's artefact and of its hash.
fn files(artifacts: &Artifacts, digest: Digest) -> [PathBuf; 2] {
    let code = artifacts.path(&artifacts.name(digest, Kind::Http02));
    [code.with_extension("mac"), code]
}

#[test]
fn code_of_another_engine_is_not_loaded_even_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (engine(false), engine(true));
    let before = Artifacts::open(dir.path(), &old, true).unwrap();
    let after = Artifacts::open(dir.path(), &new, true).unwrap();
    assert_ne!(before.engine, after.engine);

    let digest = Digest([7; 32]);
    let component = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
    let compile = |engine| Compiled::new(engine, &component, false).unwrap();
    before.store(digest, Kind::Http02, &compile(&old)).unwrap();
    assert!(before.has(digest) && before.load(digest).is_some());
    assert!(!after.has(digest) && after.load(digest).is_none());

    // As if somebody had renamed the files to spare the compilation.
    for (from, to) in files(&before, digest).iter().zip(files(&after, digest)) {
        fs::rename(from, to).unwrap();
    }
    assert!(after.has(digest) && after.load(digest).is_none());

    // Both engines can keep their code beside each other, as during an upgrade.
    before.store(digest, Kind::Http02, &compile(&old)).unwrap();
    after.store(digest, Kind::Http02, &compile(&new)).unwrap();
    for (artifacts, engine) in [(&before, &old), (&after, &new)] {
        let (kind, artifact) = artifacts.load(digest).unwrap();
        assert_eq!((kind, artifact.is_fused()), (Kind::Http02, false));
        assert!(artifact.component(engine).is_ok());
    }
}

#[test]
fn linked_code_and_other_code_do_not_pass_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(false);
    let [linked, unlinked] = [true, false].map(|links| Artifacts::open(dir.path(), &engine, links).unwrap());
    let digest = Digest([7; 32]);
    let compiled = Compiled::new(&engine, &wat::parse_str("(component)").unwrap(), true).unwrap();
    linked.store(digest, Kind::Command, &compiled).unwrap();
    assert!(linked.load(digest).is_some() && !unlinked.has(digest));
    // As if somebody had renamed the file.
    for extension in ["mac", "cwasm"] {
        let path = |artifacts: &Artifacts| {
            artifacts.path(&artifacts.name(digest, Kind::Command)).with_extension(extension)
        };
        fs::rename(path(&linked), path(&unlinked)).unwrap();
    }
    assert!(unlinked.has(digest) && unlinked.load(digest).is_none());
}

#[test]
fn the_hash_of_a_piece_is_no_hash_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(dir.path(), &engine(false), true).unwrap();
    // A piece that says what the hash of a file covers.
    let name = artifacts.name(Digest([7; 32]), Kind::Command);
    let numbers = [0; NUMBERS_BYTES];
    let piece = [name.as_bytes(), b"\n", &numbers].concat();
    assert_ne!(artifacts.hash_piece(&piece), artifacts.authenticate(&name, &numbers, []));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Artifacts::open(dir.path(), &engine(false), true);
    let key = *open().unwrap().key();
    let path = dir.path().join("artifact.key");
    for mode in [0o640, 0o604, 0o620, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = open().err().unwrap().to_string();
        assert!(refused.contains(&format!("has mode {mode:04o}, expected 0600")), "{refused}");
        // A pod's volume is what only gives rights to a group.
        assert_eq!(refused.contains("fsGroupChangePolicy"), mode & 0o007 == 0, "{refused}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(open().unwrap().key(), &key);
    // Only root can give it away.
    if geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        let refused = open().err().unwrap().to_string();
        assert!(refused.contains("belongs to user 12345, expected user 0"), "{refused}");
    }
}

#[test]
fn whether_a_component_was_fused_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(false);
    let artifacts = Artifacts::open(dir.path(), &engine, true).unwrap();
    for (digest, is_fused) in [(Digest([1; 32]), true), (Digest([2; 32]), false)] {
        let compiled = Compiled::new(&engine, &wat::parse_str("(component)").unwrap(), is_fused).unwrap();
        artifacts.store(digest, Kind::Command, &compiled).unwrap();
        assert_eq!(compiled.artifact("name").unwrap().is_fused(), is_fused);
        assert_eq!(artifacts.load(digest).unwrap().1.is_fused(), is_fused);
    }
}
