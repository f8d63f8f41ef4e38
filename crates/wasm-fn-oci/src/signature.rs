//! Signatures that cosign makes with a key: "simple signing" in the registry.
//!
//! `cosign sign --key` pushes an artifact to the tag `sha256-DIGEST.sig` beside the one that it signs. Each
//! layer is a payload, which names the digest of the signed manifest, and is annotated with its signature:
//! ECDSA on P-256 with SHA-256, over the payload's bytes (cosign, "SIGNATURE_SPEC.md").

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use wasm_fn_core::Digest;

use crate::layout::{self, Descriptor};

/// Largest payload, bytes. They have a few hundred.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// Signatures that are looked at. Others may sign the same artifact.
const SIGNATURES_MAX: usize = 64;

/// The type of a layer that is a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation with a payload's signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What the DER of a public key on P-256 begins with (RFC 5480, section 2.1.1.1). Its point follows.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Length of a point on P-256 that is not compressed, bytes.
const POINT_BYTES: usize = 65;

/// The public half of a key of cosign, `cosign.pub`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: Vec<u8>,
}

/// A text that is no public key of cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is {0}, expected a public key in PEM for ECDSA on P-256, as `cosign generate-key-pair` makes")]
pub struct PublicKeyError(&'static str);

/// Why an artifact does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature at all.
    #[error("it has no signature, expected one that `cosign sign --key` makes")]
    None,
    /// Another key, or other bytes.
    #[error("its signature is not one by this key")]
    Wrong,
    /// A good signature of another artifact.
    #[error("its signature is for {found}, expected sha256:{expected}")]
    OtherArtifact {
        /// The digest that was signed.
        found: String,
        /// The digest of the artifact's manifest.
        expected: Digest,
    },
    /// A payload that is not one of cosign.
    #[error("what it signs is not as expected: {0}")]
    Malformed(String),
}

/// What is signed.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl PublicKey {
    /// Checks one signature of the artifact whose manifest has the digest `manifest`. `layer` describes the
    /// payload and has its signature.
    pub(crate) fn check(
        &self,
        payload: &[u8],
        layer: &Descriptor,
        manifest: Digest,
    ) -> Result<(), SignatureError> {
        let signature = layer.annotations.get(SIGNATURE).ok_or(SignatureError::None)?;
        let signature = STANDARD.decode(signature.trim()).map_err(|_| SignatureError::Wrong)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(payload, &signature)
            .map_err(|_| SignatureError::Wrong)?;
        // Not before: nothing is believed of a payload that is not signed.
        let Payload { critical } =
            serde_json::from_slice(payload).map_err(|error| SignatureError::Malformed(error.to_string()))?;
        // The second is the one of its attestations of other things.
        if critical.kind != "cosign container image signature" {
            return Err(SignatureError::Malformed(format!("a payload of type {:?}", critical.kind)));
        }
        if layout::digest(&critical.image.digest) != Some(manifest) {
            return Err(SignatureError::OtherArtifact { found: critical.image.digest, expected: manifest });
        }
        Ok(())
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        if text.contains("PRIVATE KEY") {
            return Err(PublicKeyError("a private key"));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|_| PublicKeyError("not a public key in PEM"))?;
        match der.strip_prefix(&P256_PREFIX) {
            Some(point) if point.len() == POINT_BYTES => Ok(Self { point: point.to_vec() }),
            _ => Err(PublicKeyError("a public key of another kind")),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

/// The tag at which cosign puts the signatures of the artifact whose manifest has this digest.
pub(crate) fn tag(manifest: Digest) -> String {
    format!("sha256-{manifest}.sig")
}

/// The layers that may be signatures.
pub(crate) fn candidates(layers: &[Descriptor]) -> impl Iterator<Item = &Descriptor> {
    let payloads = layers.iter().filter(|layer| layer.media_type == PAYLOAD);
    payloads.filter(|layer| layer.annotations.contains_key(SIGNATURE)).take(SIGNATURES_MAX)
}

#[cfg(test)]
mod tests;
