//! Facts about artefacts.

use super::*;

#[test]
fn whether_a_component_was_fused_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let artifacts = Artifacts::open(dir.path(), &engine).unwrap();
    for (digest, is_fused) in [(Digest([1; 32]), true), (Digest([2; 32]), false)] {
        let compiled = Compiled::new(&engine, &wat::parse_str("(component)").unwrap(), is_fused).unwrap();
        artifacts.store(digest, Kind::Command, &compiled).unwrap();
        assert_eq!(compiled.artifact("name").unwrap().is_fused(), is_fused);
        assert_eq!(artifacts.load(digest).unwrap().1.is_fused(), is_fused);
    }
}
