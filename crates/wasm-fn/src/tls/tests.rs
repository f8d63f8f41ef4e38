//! Certificates that tests make, and files that change while a listener serves.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair as Key, KeyUsagePurpose,
};
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::{listener::TlsError, *};

/// When everything here happens.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// An authority, its parameters and its key.
pub(crate) type Authority = CertifiedIssuer<'static, Key>;

pub(crate) fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn authority_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

pub(crate) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_parameters(name), Key::generate().unwrap()).unwrap()
}

pub(crate) fn intermediate(name: &str, above: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority_parameters(name), Key::generate().unwrap(), above).unwrap()
}

/// A certificate and its key, in PEM.
pub(crate) fn issue(parameters: &CertificateParams, by: &Authority) -> (String, String) {
    let key = Key::generate().unwrap();
    (parameters.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

/// Writes a file that only its owner may read, in one step.
pub(crate) fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Files for `pair`.
pub(crate) fn files(folder: &TempDir, (cert, key): &(String, String)) -> KeyPairFiles {
    let files = KeyPairFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    write(&files.cert, cert);
    write(&files.key, key);
    files
}

fn listener(pair: KeyPairFiles, client_ca: Option<&Path>) -> Result<ListenerTls, TlsError> {
    let client_ca = client_ca.map(Path::to_owned);
    ListenerTls::load(
        ListenerFiles { pairs: vec![pair], client_ca, protocols: &["h2"], challenges: None },
        now(),
    )
}

#[test]
fn changed_files_are_read_once_they_have_settled() {
    let (folder, root) = (tempfile::tempdir().unwrap(), authority("root"));
    let pair = files(&folder, &issue(&parameters("a.test"), &root));
    let tls = listener(pair.clone(), None).unwrap();
    let config = || Arc::as_ptr(&tls.config.load());
    let mut watched = reload::Watched::new(tls.clone());
    let first = config();
    watched.look();
    watched.look();
    assert_eq!(config(), first, "nothing has changed");
    // The two files are replaced one after the other, with a look in between.
    let (cert, key) = issue(&parameters("a.test"), &root);
    write(&pair.cert, &cert);
    watched.look();
    assert_eq!(config(), first, "it may still change");
    write(&pair.key, &key);
    watched.look();
    watched.look();
    let second = config();
    assert_ne!(second, first);
    watched.look();
    assert_eq!(config(), second, "it was read once");
}

#[test]
fn files_that_cannot_be_used_change_nothing_until_they_change_again() {
    let (folder, root) = (tempfile::tempdir().unwrap(), authority("root"));
    let pair = files(&folder, &issue(&parameters("a.test"), &root));
    let tls = listener(pair.clone(), None).unwrap();
    let mut watched = reload::Watched::new(tls.clone());
    let first = Arc::as_ptr(&tls.config.load());
    let mut settle = |expected: bool| {
        let before = Arc::as_ptr(&tls.config.load());
        watched.look();
        watched.look();
        assert_eq!(Arc::as_ptr(&tls.config.load()) != before, expected);
    };
    write(&pair.cert, "nonsense");
    settle(false);
    std::fs::remove_file(&pair.key).unwrap();
    settle(false);
    assert_eq!(Arc::as_ptr(&tls.config.load()), first);
    let (cert, key) = issue(&parameters("a.test"), &root);
    write(&pair.cert, &cert);
    write(&pair.key, &key);
    settle(true);
}

#[test]
fn authorities_of_clients_are_certificates() {
    let (folder, root) = (tempfile::tempdir().unwrap(), authority("root"));
    let pair = files(&folder, &issue(&parameters("a.test"), &root));
    let ca = folder.path().join("ca.pem");
    write(&ca, &root.pem());
    listener(pair.clone(), Some(&ca)).unwrap();
    let refused = |text: &str| {
        write(&ca, text);
        listener(pair.clone(), Some(&ca)).unwrap_err().to_string()
    };
    let shown = ca.display().to_string();
    let expected = "found no certificate, expected PEM with -----BEGIN CERTIFICATE-----";
    assert_eq!(refused(""), format!("{shown}: {expected}"));
    let malformed = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let error = refused(&format!("{}{malformed}", root.pem()));
    assert!(
        error.starts_with(&format!("{shown}: certificate 2 cannot be used as an authority: ")),
        "{error}"
    );
}

/// Whether a client with `client` believes that `server` is `a.test`.
fn believes(client: ClientConfig, server: &ListenerTls) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(Arc::new(client), "a.test".try_into().unwrap())?;
    let mut server = ServerConnection::new(server.config.load_full())?;
    while client.is_handshaking() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        let mut rest = &there[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn servers_of_issuers_are_believed_by_the_authority_of_the_user_too() {
    let (folder, root) = (tempfile::tempdir().unwrap(), authority("root"));
    let server = listener(files(&folder, &issue(&parameters("a.test"), &root)), None).unwrap();
    let ca = folder.path().join("ca.pem");
    write(&ca, &root.pem());
    assert_eq!(believes(public_or(Some(&ca), None, now()).unwrap(), &server), Ok(()));
    let error = believes(public_or(None, None, now()).unwrap(), &server).unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    write(&ca, "");
    assert!(public_or(Some(&ca), None, now()).unwrap_err().to_string().contains("found no certificate"));
}
