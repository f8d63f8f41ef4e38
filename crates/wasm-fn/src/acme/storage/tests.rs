//! Facts about what is kept.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::tls::tests::{authority, issue, now, parameters};

fn storage() -> (tempfile::TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    (folder, storage)
}

fn domains() -> Vec<String> {
    vec!["a.test".to_owned()]
}

#[test]
fn a_placeholder_can_be_served_and_is_not_held() {
    let (folder, storage) = storage();
    assert!(storage.held(&domains(), now()).is_none());
    storage.put_placeholder(&domains(), now()).unwrap();
    let pair = storage.files().read(now()).unwrap();
    assert_eq!((pair.warnings, pair.certificate.dns_names), (Vec::new(), domains()));
    assert!(storage.held(&domains(), now()).is_none() && !storage.has_issued(now()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&storage.files().cert), mode(&folder.path().join(FOLDER))), (0o600, 0o700));
}

#[test]
fn only_a_certificate_that_fits_replaces_the_one_so_far() {
    let (_folder, storage) = storage();
    let root = authority("root");
    let (chain, key) = issue(&parameters("a.test"), &root);
    storage.put_certificate(&chain, &key, &domains(), now()).unwrap();
    let before = fs::read(storage.files().cert).unwrap();
    let (others, other_key) = issue(&parameters("b.test"), &root);
    for (chain, key, expected) in [
        (&others, &other_key, "not for the names"),
        (&chain, &other_key, "cannot be used"),
        (&"nonsense".to_owned(), &key, "cannot be used"),
    ] {
        let error = storage.put_certificate(chain, key, &domains(), now()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read(storage.files().cert).unwrap(), before);
    }
    let held = storage.held(&domains(), now()).unwrap();
    assert!(storage.has_issued(now()), "it stays, whatever is asked for");
    assert!((0.0..=1.0).contains(&held.draw) && held.not_after > now(), "{held:?}");
    assert!(
        storage.held(&["a.test".to_owned(), "b.test".to_owned()], now()).is_none(),
        "one more is asked for"
    );
}

#[test]
fn each_server_has_an_account_of_its_own() {
    let (_folder, storage) = storage();
    storage.put_account("https://a.test", "one").unwrap();
    assert_eq!(storage.read_account("https://a.test").unwrap().unwrap(), b"one");
    assert!(storage.read_account("https://b.test").unwrap().is_none());
    storage.forget_account("https://a.test").unwrap();
    assert!(storage.read_account("https://a.test").unwrap().is_none());
}
