//! Facts about who gets the certificate of a challenge.

use rustls::{
    ClientConnection, DigitallySignedStruct, Error, ServerConnection, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_cert::der::Decode as _;

use super::*;
use crate::tls::{
    ListenerFiles, ListenerTls,
    tests::{authority, files, issue, now, parameters},
    unverified,
};

/// Takes every certificate. Others refuse that of a challenge, whose extension they do not know.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a client gets who asks for `name` and speaks `protocols`.
fn shown(server: &ListenerTls, name: &str, protocols: &[&str]) -> Option<x509_cert::Certificate> {
    let mut config = unverified();
    config.dangerous().set_certificate_verifier(Arc::new(Anything));
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(server.config.load_full()).unwrap();
    while client.is_handshaking() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        let mut rest = &there[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().ok()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().ok()?;
        }
    }
    let der = client.peer_certificates()?.first()?;
    Some(x509_cert::Certificate::from_der(der).unwrap())
}

/// Whether it says that the SHA-256 of a key authorization is 32 bytes `byte` (RFC 8737, section 3).
fn is_of_challenge(certificate: &x509_cert::Certificate, byte: u8) -> bool {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let mut own = extensions.filter(|extension| extension.extn_id.to_string() == "1.3.6.1.5.5.7.1.31");
    let value = [&[4, 32][..], &[byte; 32]].concat();
    own.any(|extension| extension.critical && extension.extn_value.as_bytes() == value)
}

#[test]
fn only_who_speaks_nothing_else_gets_the_certificate_of_a_challenge() {
    let folder = tempfile::tempdir().unwrap();
    let pair = files(&folder, &issue(&parameters("a.test"), &authority("root")));
    let challenges = Challenges::default();
    let protocols = &["h2", "http/1.1", PROTOCOL];
    let files =
        ListenerFiles { pairs: vec![pair], client_ca: None, protocols, challenges: Some(challenges.clone()) };
    let server = ListenerTls::load(files, now()).unwrap();
    let is_challenge = |name: &str, protocols: &[&str]| {
        shown(&server, name, protocols).map(|certificate| is_of_challenge(&certificate, 7))
    };
    assert_eq!(is_challenge("a.test", &[PROTOCOL]), None, "nothing is asked");
    let answered = challenges.answer("A.test", [7; 32]).unwrap();
    let other = challenges.answer("b.test", [8; 32]).unwrap();
    assert_eq!(is_challenge("a.test", &[PROTOCOL]), Some(true));
    assert!(is_of_challenge(&shown(&server, "b.test", &[PROTOCOL]).unwrap(), 8));
    assert_eq!(is_challenge("c.test", &[PROTOCOL]), None);
    for others in [&["h2"][..], &["http/1.1"], &[], &["h2", PROTOCOL], &[PROTOCOL, "h2"]] {
        assert_eq!(is_challenge("a.test", others), Some(false), "{others:?}");
    }
    drop(answered);
    assert_eq!(is_challenge("a.test", &[PROTOCOL]), None);
    assert!(shown(&server, "b.test", &[PROTOCOL]).is_some());
    drop(other);
}
