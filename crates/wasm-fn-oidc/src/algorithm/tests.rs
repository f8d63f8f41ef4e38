//! Which algorithms can be listed, and which keys they take.

use super::*;

#[test]
fn only_algorithms_with_public_keys_can_be_listed() {
    for algorithm in SignatureAlgorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    for text in ["none", "None", "", "HS256", "HS384", "HS512", "rs256", "RS256 "] {
        let error = text.parse::<SignatureAlgorithm>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("algorithm {text:?}, expected RS256, PS256, ES256, ES384 or EdDSA")
        );
    }
}

#[test]
fn key_of_another_family_verifies_nothing() {
    let ec = DecodingKey::from_ec_der(&[4; 65]);
    let secret = DecodingKey::from_secret(b"secret").unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA] {
        assert!(verifier(&algorithm, &ec).is_err(), "{algorithm:?}");
    }
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256] {
        assert!(verifier(&algorithm, &secret).is_err(), "{algorithm:?}");
    }
    assert!(verifier(&Algorithm::HS256, &ec).is_err(), "a public key is no shared secret");
}
