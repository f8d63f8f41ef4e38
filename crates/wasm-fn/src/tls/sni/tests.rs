//! Which certificate is for which name.

use super::*;
use crate::tls::tests::{authority, files, issue, now, parameters};

/// Certificates for these names, one for each.
fn by_sni(names: &[&str]) -> BySni {
    let (folder, root) = (tempfile::tempdir().unwrap(), authority("root"));
    let read = |name: &&str| files(&folder, &issue(&parameters(name), &root)).read(now()).unwrap();
    BySni::new(names.iter().map(read).collect())
}

#[test]
fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let certificates = by_sni(&["first.test", "a.test", "*.a.test", "b.a.test"]);
    for (name, expected) in [
        (None, 0),
        (Some("first.test"), 0),
        (Some("a.test"), 1),
        (Some("A.TEST"), 1),
        (Some("x.a.test"), 2),
        // The name itself comes before a wildcard.
        (Some("b.a.test"), 3),
        // A wildcard is for one label.
        (Some("x.y.a.test"), 0),
        (Some("other.test"), 0),
        (Some("test"), 0),
        (Some(""), 0),
    ] {
        assert_eq!(certificates.choose(name, |_| true), Some(expected), "{name:?}");
    }
}

#[test]
fn a_client_gets_a_certificate_that_it_can_verify() {
    let certificates = by_sni(&["first.test", "a.test", "a.test", "*.b.test"]);
    assert_eq!(certificates.choose(Some("a.test"), |index| index != 1), Some(2));
    assert_eq!(certificates.choose(Some("x.b.test"), |index| index == 2), Some(2));
    assert_eq!(certificates.choose(Some("a.test"), |_| false), None);
}
