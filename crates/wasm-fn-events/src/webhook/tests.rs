//! Tests for `webhook`, with the examples that providers publish where they do. Other signatures are made by
//! an HMAC of these tests' own, from RFC 2104, on another implementation of SHA-256.

mod fuzzing;
mod providers;

use http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::*;

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_769_600);

/// HMAC-SHA256, by RFC 2104.
pub(super) fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |&(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

#[test]
fn hmac_of_these_tests_is_that_of_rfc_4231() {
    // Test cases 2 and 6.
    let digits = hex::encode(hmac(b"Jefe", b"what do ya want for nothing?"));
    assert_eq!(digits, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let digits = hex::encode(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"));
    assert_eq!(digits, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

#[test]
fn providers_are_known_by_their_words() {
    for provider in PROVIDERS {
        assert_eq!(provider.as_str().parse(), Ok(provider));
    }
    let error = "bitbucket".parse::<Provider>().unwrap_err().to_string();
    let known = "expected one of github, gitlab, gitea, stripe, slack, standard";
    assert_eq!(error, format!(r#"webhook provider "bitbucket" is not known, {known}"#));
}

#[test]
fn without_a_secret_nothing_is_verified() {
    for provider in PROVIDERS {
        for secrets in [&[][..], &[&b""[..]], &[b"c2VjcmV0", b""]] {
            let error = provider.verify(&HeaderMap::new(), b"", secrets, NOW).unwrap_err();
            assert_eq!(error, WebhookError::NoSecret, "{provider}");
            assert!(error.is_ours());
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let seconds = Duration::from_secs;
    for (error, text) in [
        (WebhookError::Missing { header: "x" }, "header x is missing"),
        (WebhookError::Doubled { header: "x" }, "header x is there more than once"),
        (WebhookError::Malformed { header: "x", expected: "y" }, "header x is malformed, expected y"),
        (
            WebhookError::Signature,
            "the signature is wrong: the body was changed, or signed with another secret",
        ),
        (
            WebhookError::TooOld { age: seconds(301) },
            "the request was signed 301 s ago, expected at most 300 s",
        ),
        (
            WebhookError::InFuture { ahead: seconds(301) },
            "the request was signed for a time in 301 s, expected at most 300 s: check the clocks",
        ),
        (WebhookError::NoSecret, "there is no secret to verify with, or it is empty"),
        (WebhookError::Secret { expected: "y" }, "a secret is malformed, expected y"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
