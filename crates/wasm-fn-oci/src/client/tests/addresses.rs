//! Where registries may be, and lead to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use super::*;
use crate::AddressJudge;

/// Prohibits some addresses, and notes which it was asked about.
#[derive(Debug)]
struct Prohibiting {
    addresses: Vec<SocketAddr>,
    asked: Mutex<Vec<SocketAddr>>,
}

impl AddressJudge for Prohibiting {
    fn judge(&self, address: SocketAddr) -> Result<(), String> {
        self.asked.lock().unwrap().push(address);
        if self.addresses.contains(&address) { Err(format!("{address} is prohibited")) } else { Ok(()) }
    }
}

/// What becomes of looking for `reference` if nothing may be read from `addresses`, and what was judged.
async fn found(reference: &str, addresses: &[&str]) -> (Result<Artifact, RegistryError>, Vec<SocketAddr>) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let judge = Arc::new(Prohibiting { addresses, asked: Mutex::default() });
    let options = RegistryOptions { judge: Some(Arc::clone(&judge) as _), ..options() };
    let client = RegistryClient::new(options).unwrap();
    let found = client.find(&reference.parse().unwrap(), &Credentials::Anonymous).await;
    let asked = judge.asked.lock().unwrap().clone();
    (found, asked)
}

/// Checks that it is refused for `address`.
fn prohibited(result: Result<Artifact, RegistryError>, address: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::Prohibited { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("cannot be asked: {address} is prohibited")), "{error}");
}

/// `localhost` with the port of `address`.
fn by_name(address: &str) -> String {
    address.replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn a_registry_is_judged_by_address_and_port_however_it_is_named() {
    let server = server(good_manifest(), vec![]).await;
    let named = by_name(&server.address);
    for host in [&server.address, &named] {
        let reference = format!("oci://{host}/acme/hello:v1");
        let (result, _) = found(&reference, &[&server.address]).await;
        prohibited(result, &server.address);
        assert_eq!(server.requests(), Vec::<String>::new());
    }
    for host in [&server.address, &named] {
        let reference = format!("oci://{host}/acme/hello:v1");
        // Another port of the same machine is another server.
        let (result, asked) = found(&reference, &["127.0.0.1:1"]).await;
        assert_eq!(result.unwrap().module, layout::sha256(COMPONENT));
        assert!(asked.contains(&server.address.parse().unwrap()), "{asked:?}");
    }
}

#[tokio::test]
async fn where_a_registry_redirects_to_is_judged_too() {
    for host_of in [str::to_owned, by_name] {
        let target = server(good_manifest(), vec![]).await;
        let host = host_of(&target.address);
        let location: &str = format!("location: http://{host}/v2/acme/hello/manifests/v1").leak();
        let moved = answer("307 Temporary Redirect", &[location], "");
        let first = Scripted::start(|_| vec![(PING, answer("200 OK", &[], "{}")), (MANIFEST, moved)]).await;
        let reference = first.reference(":v1").to_string();
        let (result, _) = found(&reference, &[&target.address]).await;
        prohibited(result, &target.address);
        assert_eq!(target.requests(), Vec::<String>::new());
        let (result, _) = found(&reference, &[]).await;
        assert_eq!(result.unwrap().module, layout::sha256(COMPONENT));
        assert_eq!(target.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_token_service_is_judged_before_it_is_shown_anything() {
    let service = Scripted::start(|_| vec![]).await;
    let realm: &str = format!("www-authenticate: Bearer realm=\"http://{}/token\"", service.address).leak();
    let registry = Scripted::start(|_| vec![(PING, answer("401 Unauthorized", &[realm], ""))]).await;
    let (result, _) = found(&registry.reference(":v1").to_string(), &[&service.address]).await;
    prohibited(result, &service.address);
    assert_eq!(service.requests(), Vec::<String>::new());
}

#[test]
fn authorities_without_a_certificate_are_refused() {
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let options = RegistryOptions { authorities: Some(Bytes::from_static(pem.as_bytes())), ..options() };
        let error = RegistryClient::new(options).unwrap_err();
        assert!(matches!(error, RegistryError::Setup(_)), "{error}");
    }
}
