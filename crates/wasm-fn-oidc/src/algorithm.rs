//! The algorithms of signatures, verified by the cryptography that TLS uses too.

use std::{fmt, str::FromStr};

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};

/// How tokens may be signed. Each has a public key: there is neither `none` nor a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// RSA with PSS and SHA-256.
    Ps256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// A text that is no algorithm that may be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("algorithm {found:?}, expected RS256, PS256, ES256, ES384 or EdDSA")]
pub struct SignatureAlgorithmError {
    /// The rejected text.
    pub found: String,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// What is allowed where the configuration lists none.
    pub const DEFAULT: [Self; 2] = [Self::Rs256, Self::Es256];

    /// Its name in RFC 7518 or RFC 8037.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) const fn jwa(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = SignatureAlgorithmError;

    fn from_str(text: &str) -> Result<Self, SignatureAlgorithmError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| SignatureAlgorithmError { found: text.to_owned() })
    }
}

/// Verifies, and does nothing else.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // Only for making keys, which this program does not.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` verify with ring. It has only one such choice a process.
pub(crate) fn install() {
    // It is installed already if there is another `Issuers`: nothing else in this program chooses.
    let _ = PROVIDER.install_default();
}

/// A public key and how to verify with it.
struct Ring {
    algorithm: SignatureAlgorithm,
    key: DecodingKey,
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let found = SignatureAlgorithm::ALL.into_iter().find(|known| known.jwa() == *algorithm);
    match found {
        Some(algorithm) if key.family() == family(algorithm) => {
            Ok(Box::new(Ring { algorithm, key: key.clone() }))
        }
        Some(_) => Err(ErrorKind::InvalidKeyFormat.into()),
        None => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

/// The family of keys with which `algorithm` verifies.
pub(crate) fn family(algorithm: SignatureAlgorithm) -> jsonwebtoken::AlgorithmFamily {
    match algorithm {
        SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => jsonwebtoken::AlgorithmFamily::Rsa,
        SignatureAlgorithm::Es256 | SignatureAlgorithm::Es384 => jsonwebtoken::AlgorithmFamily::Ec,
        SignatureAlgorithm::EdDsa => jsonwebtoken::AlgorithmFamily::Ed,
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm.jwa()
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let rsa = |parameters: &RsaParameters| match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(ring::error::Unspecified),
        };
        let point = |algorithm: &'static dyn VerificationAlgorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(point) => {
                UnparsedPublicKey::new(algorithm, point).verify(message, signature)
            }
            DecodingKeyKind::RsaModulusExponent { .. } => Err(ring::error::Unspecified),
        };
        let verified = match self.algorithm {
            SignatureAlgorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            SignatureAlgorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            SignatureAlgorithm::Es256 => point(&ECDSA_P256_SHA256_FIXED),
            SignatureAlgorithm::Es384 => point(&ECDSA_P384_SHA384_FIXED),
            SignatureAlgorithm::EdDsa => point(&ED25519),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

#[cfg(test)]
mod tests;
