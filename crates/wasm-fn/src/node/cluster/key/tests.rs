//! Tests of the file with a cluster's key.

use super::*;

#[test]
fn key_comes_back_from_its_file_and_is_put_into_directories() {
    let folder = tempfile::tempdir().unwrap();
    let (file, node) = (folder.path().join("cluster.key"), folder.path().join("node"));
    let made = ClusterKey::make(folder.path()).unwrap();
    made.write(&file).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = ClusterKey::read(&file).unwrap();
    assert_eq!(read.0, made.0);
    fs::create_dir(&node).unwrap();
    read.install(&node, false).unwrap();
    read.install(&node, false).expect("the second time it is there");
    assert_eq!(ClusterKey::of_node(&node).unwrap().0, made.0);
    Access::open(&node).expect("a node can use it");
    assert!(matches!(made.write(&file), Err(ClusterKeyError::File { .. })), "no key is replaced");
}

#[test]
fn directory_with_other_keys_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) =
        (ClusterKey::make(folder.path()).unwrap(), ClusterKey::make(folder.path()).unwrap());
    let node = folder.path().join("node");
    fs::create_dir(&node).unwrap();
    fs::write(node.join("token.key"), &first.0["token.key"][..]).unwrap();
    assert!(
        matches!(second.install(&node, false), Err(ClusterKeyError::Differs(path)) if path.ends_with("token.key"))
    );
    assert_eq!(fs::read_dir(&node).unwrap().count(), 1);
    first.install(&node, true).unwrap();
    assert!(!node.join("secrets.key").exists(), "the node has it from elsewhere");
}

#[test]
fn file_that_is_no_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.key");
    assert!(matches!(ClusterKey::read(&file), Err(ClusterKeyError::Missing(path)) if path == file));
    ClusterKey::make(folder.path()).unwrap().write(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(ClusterKey::read(&file), Err(ClusterKeyError::Mode { found: 0o640, .. })));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for (text, expected) in [
        ("", "found no artifact.key, expected one"),
        ("token.key zz\n", "line 1: expected hexadecimal digits"),
        (
            "other.key 00\n",
            "line 1: expected one of artifact.key, preview.key, secrets.key, token.key, and its bytes",
        ),
    ] {
        fs::write(&file, text).unwrap();
        match ClusterKey::read(&file) {
            Err(ClusterKeyError::Malformed { reason, .. }) => assert_eq!(reason, expected),
            _ => panic!("{text:?} was read"),
        }
    }
}
