//! Which files can be used, and what is said of the others.

use std::time::Duration;

use rcgen::date_time_ymd;
use tempfile::TempDir;

use super::*;
use crate::tls::tests::{authority, files, intermediate, issue, now, parameters, write};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The error for files that `change` has changed.
fn refused(change: impl FnOnce(&KeyPairFiles)) -> (KeyPairFiles, String) {
    let folder = folder();
    let pair = files(&folder, &issue(&parameters("a.test"), &authority("root")));
    change(&pair);
    let error = pair.read(now()).unwrap_err().to_string();
    (pair, error)
}

#[test]
fn a_certificate_with_its_key_is_used() {
    let folder = folder();
    let pair = files(&folder, &issue(&parameters("A.test"), &authority("root"))).read(now()).unwrap();
    assert_eq!(pair.certificate.dns_names, ["a.test"]);
    assert_eq!(pair.certified.cert.len(), 1);
    assert_eq!(pair.warnings, []);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let chmod = |mode: u32| {
        move |pair: &KeyPairFiles| {
            std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    for mode in [0o644, 0o604, 0o601, 0o660, 0o666] {
        let (pair, error) = refused(chmod(mode));
        let expected = format!(
            "{} has mode {mode:04o}, expected 0600, or 0640 for a group: other users have access to the key",
            pair.key.display()
        );
        assert_eq!(error, expected);
    }
    for mode in [0o600, 0o400, 0o640, 0o440] {
        let folder = folder();
        let pair = files(&folder, &issue(&parameters("a.test"), &authority("root")));
        chmod(mode)(&pair);
        pair.read(now()).unwrap();
    }
}

#[test]
fn the_key_of_another_certificate_is_refused_by_both_names() {
    let (_, other) = issue(&parameters("a.test"), &authority("root"));
    let (pair, error) = refused(|pair| write(&pair.key, &other));
    let (cert, key) = (pair.cert.display(), pair.key.display());
    assert_eq!(error, format!("the key in {key} is not that of a certificate in {cert}"));
}

#[test]
fn files_that_are_missing_or_something_else_are_named() {
    let (pair, error) = refused(|pair| std::fs::remove_file(&pair.cert).unwrap());
    assert_eq!(error, format!("{}: No such file or directory (os error 2)", pair.cert.display()));
    let (pair, error) = refused(|pair| std::fs::remove_file(&pair.key).unwrap());
    assert_eq!(error, format!("{}: No such file or directory (os error 2)", pair.key.display()));
    for text in ["", "hello", "-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n"] {
        let (pair, error) = refused(|pair| write(&pair.cert, text));
        let expected = "found no certificate, expected PEM with -----BEGIN CERTIFICATE-----";
        assert_eq!(error, format!("{}: {expected}", pair.cert.display()), "{text:?}");
    }
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for text in ["", "hello", encrypted] {
        let (pair, error) = refused(|pair| write(&pair.key, text));
        let expected =
            "found no private key that is not encrypted, expected PEM with -----BEGIN PRIVATE KEY-----";
        assert_eq!(error, format!("{}: {expected}", pair.key.display()), "{text:?}");
    }
    let (pair, error) = refused(|pair| write(&pair.cert, "-----BEGIN CERTIFICATE-----\naGVsbG8=\n"));
    assert!(error.starts_with(&format!("{}: ", pair.cert.display())), "{error}");
    assert!(error.ends_with(", expected PEM"), "{error}");
    let malformed = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let (pair, error) = refused(|pair| write(&pair.cert, malformed));
    assert!(
        error.starts_with(&format!("{}: certificate 1 cannot be read: ", pair.cert.display())),
        "{error}"
    );
    let malformed = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    let (pair, error) = refused(|pair| write(&pair.key, malformed));
    assert!(error.starts_with(&format!("{}: the key cannot be used: ", pair.key.display())), "{error}");
    let (pair, error) = refused(|pair| write(&pair.cert, &"x".repeat(2 << 20)));
    assert_eq!(
        error,
        format!("{}: found more than 1048576 bytes, expected at most that", pair.cert.display())
    );
}

#[test]
fn a_chain_in_the_wrong_order_is_put_in_order_with_a_warning() {
    let root = authority("root");
    let (middle, folder) = (intermediate("middle", &root), folder());
    let (cert, key) = issue(&parameters("a.test"), &middle);
    let (middle, root) = (middle.pem(), root.pem());
    let other = authority("other").pem();
    let ordered = files(&folder, &(format!("{cert}{middle}{root}"), key.clone())).read(now()).unwrap();
    assert_eq!(ordered.warnings, []);
    for (chain, number, kept) in [
        ([&cert, &root, &middle], 2, 3),
        ([&middle, &cert, &root], 1, 3),
        ([&root, &middle, &cert], 1, 3),
        // Nothing for a client.
        ([&cert, &middle, &other], 3, 2),
    ] {
        let chain = chain.map(String::as_str).concat();
        let pair = files(&folder, &(chain, key.clone()));
        let read = pair.read(now()).unwrap();
        assert_eq!(read.certified.cert, ordered.certified.cert[..kept]);
        let cert = pair.cert.clone();
        assert_eq!(read.warnings, [Warning::WrongOrder { cert, number }]);
        let told = read.warnings[0].to_string();
        assert!(told.contains(&pair.cert.display().to_string()), "{told}");
        assert!(told.contains(&format!("certificate {number} is not the next one")), "{told}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_used_with_a_warning() {
    let folder = folder();
    let root = authority("root");
    let valid = |from: i32, to: i32| {
        let mut parameters = parameters("a.test");
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(to, 1, 1);
        parameters
    };
    // It is January of 2027.
    for (parameters, expected) in [
        (valid(2026, 2028), None),
        (valid(2025, 2026), Some("expired at 2026-01-01T00:00:00Z: clients refuse it")),
        (valid(2028, 2029), Some("is valid only from 2028-01-01T00:00:00Z: clients refuse it")),
    ] {
        let pair = files(&folder, &issue(&parameters, &root));
        let warnings = pair.read(now()).unwrap().warnings;
        let cert = pair.cert.display();
        let expected = expected.map(|expected| format!("the certificate of a.test in {cert} {expected}"));
        assert_eq!(warnings.first().map(ToString::to_string), expected);
    }
    let pair = files(&folder, &issue(&valid(2026, 2028), &root)).read(now()).unwrap();
    let left = pair.certificate.not_after.duration_since(now()).unwrap();
    assert_eq!(pair.certificate.validity(now()), Validity::Valid(left));
    let after = pair.certificate.not_after + Duration::from_secs(1);
    assert_eq!(pair.certificate.validity(after), Validity::Expired(Duration::from_secs(1)));
}
