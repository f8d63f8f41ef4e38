//! Signatures as cosign makes them.

use wasm_fn_core::Digest;

use super::{PublicKey, PublicKeyError, SIGNATURE, SignatureError, candidates, tag};
use crate::layout::Descriptor;

/// Made by openssl: `openssl dgst -sha256 -sign` with the key whose public half is `cosign.pub`, over a
/// payload as cosign writes it.
const PAYLOAD: &str = include_str!("fixtures/payload.json");
const PAYLOAD_SIGNATURE: &str = include_str!("fixtures/payload.sig");
const KEY: &str = include_str!("fixtures/cosign.pub");
const OTHER_KEY: &str = include_str!("fixtures/other.pub");
const P384_KEY: &str = include_str!("fixtures/p384.pub");

/// What the payload names.
const SIGNED: &str = "d7b96b991245ae81ec246b55bc4c9f8a7eec61e985f2b5109d0d39e1cd7fc1f8";

fn key(pem: &str) -> PublicKey {
    pem.parse().unwrap()
}

fn signed() -> Digest {
    SIGNED.parse().unwrap()
}

fn layer(signature: Option<&str>) -> Descriptor {
    Descriptor {
        media_type: "application/vnd.dev.cosign.simplesigning.v1+json".to_owned(),
        digest: "sha256:00".to_owned(),
        size: 1,
        annotations: signature.map(|text| (SIGNATURE.to_owned(), text.to_owned())).into_iter().collect(),
    }
}

#[test]
fn a_signature_by_the_key_is_good() {
    let layer = layer(Some(PAYLOAD_SIGNATURE));
    assert_eq!(key(KEY).check(PAYLOAD.as_bytes(), &layer, signed()), Ok(()));
}

#[test]
fn other_keys_bytes_and_signatures_are_refused() {
    let good = layer(Some(PAYLOAD_SIGNATURE));
    let check =
        |pem: &str, payload: &str, layer: &Descriptor| key(pem).check(payload.as_bytes(), layer, signed());
    assert_eq!(check(OTHER_KEY, PAYLOAD, &good), Err(SignatureError::Wrong));
    assert_eq!(check(KEY, &PAYLOAD.replace("acme", "evil"), &good), Err(SignatureError::Wrong));
    assert_eq!(check(KEY, "", &good), Err(SignatureError::Wrong));
    for text in ["", "?", "AAAA"] {
        let bad = layer(Some(text));
        assert_eq!(check(KEY, PAYLOAD, &bad), Err(SignatureError::Wrong), "{text}");
    }
    assert_eq!(check(KEY, PAYLOAD, &layer(None)), Err(SignatureError::None));
}

#[test]
fn a_signature_of_another_artifact_is_refused() {
    let expected = Digest([7; 32]);
    let found = key(KEY).check(PAYLOAD.as_bytes(), &layer(Some(PAYLOAD_SIGNATURE)), expected);
    assert_eq!(found, Err(SignatureError::OtherArtifact { found: format!("sha256:{SIGNED}"), expected }));
}

#[test]
fn keys_of_other_kinds_are_named() {
    let private = "-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n";
    for (text, kind) in [
        (P384_KEY, "a public key of another kind"),
        (private, "a private key"),
        ("", "not a public key in PEM"),
        ("ssh-ed25519 AAAA", "not a public key in PEM"),
    ] {
        assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError(kind)), "{text}");
    }
}

#[test]
fn signatures_are_layers_of_their_type_with_an_annotation() {
    let mut other = layer(Some("x"));
    other.media_type = "application/wasm".to_owned();
    let layers: Vec<_> = [other, layer(None)].into_iter().chain((0..100).map(|_| layer(Some("x")))).collect();
    assert_eq!(candidates(&layers).count(), 64);
    assert_eq!(candidates(&layers[..2]).count(), 0);
    assert_eq!(tag(signed()), format!("sha256-{SIGNED}.sig"));
}
