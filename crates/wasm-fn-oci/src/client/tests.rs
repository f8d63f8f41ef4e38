//! Registries of every kind of behaviour.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use wasm_fn_core::Digest;

use super::{RegistryClient, RegistryOptions};
use crate::{Artifact, Credentials, PublicKey, Reference, RegistryError, layout};
use scripted::{Scripted, answer};

mod addresses;
mod scripted;

/// A component that imports and exports nothing.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

const PING: &str = "GET /v2/";
const MANIFEST: &str = "GET /v2/acme/hello/manifests/v1";

fn options() -> RegistryOptions {
    let timeout = Duration::from_secs(60);
    RegistryOptions { plain_http: false, timeout, authorities: None, judge: None }
}

fn client() -> RegistryClient {
    RegistryClient::new(options()).unwrap()
}

/// A manifest of a module with this digest and size.
fn manifest(module: Digest, bytes: usize) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.wasm.config.v0+json"}},
        "layers":[{{"mediaType":"application/wasm","digest":"sha256:{module}","size":{bytes}}}],
        "annotations":{{"org.opencontainers.image.revision":"abc"}}}}"#
    )
}

fn good_manifest() -> String {
    manifest(layout::sha256(COMPONENT), COMPONENT.len())
}

fn blob(module: Digest) -> &'static str {
    format!("GET /v2/acme/hello/blobs/sha256:{module}").leak()
}

/// Finds and pulls `reference` with a bound of `max` bytes.
async fn pulled(reference: &Reference, max: u64) -> Result<(Artifact, Vec<u8>), RegistryError> {
    let (client, mut out) = (client(), Vec::new());
    let artifact = client.find(reference, &Credentials::Anonymous).await?;
    client.pull(&artifact, &Credentials::Anonymous, max, &mut out).await?;
    Ok((artifact, out))
}

/// A server with a manifest at the tag v1, and whatever is there for its module.
async fn server(manifest: String, blobs: Vec<(&'static str, Vec<u8>)>) -> Scripted {
    Scripted::start(|_| {
        let own = [(PING, answer("200 OK", &[], "{}")), (MANIFEST, answer("200 OK", &[], manifest))];
        own.into_iter().chain(blobs).collect()
    })
    .await
}

#[tokio::test]
async fn a_module_is_found_and_pulled() {
    let module = layout::sha256(COMPONENT);
    let server = server(good_manifest(), vec![(blob(module), answer("200 OK", &[], COMPONENT))]).await;
    let (artifact, bytes) = pulled(&server.reference(":v1"), 8).await.unwrap();
    assert_eq!(bytes, COMPONENT);
    assert_eq!((artifact.module, artifact.bytes), (module, 8));
    assert_eq!(artifact.manifest, layout::sha256(good_manifest().as_bytes()));
    assert_eq!(artifact.reference, server.reference(":v1").with_digest(artifact.manifest));
    assert_eq!(artifact.annotations["org.opencontainers.image.revision"], "abc");
}

#[tokio::test]
async fn a_module_that_is_too_large_is_not_asked_for() {
    let server = server(good_manifest(), vec![]).await;
    let error = pulled(&server.reference(":v1"), 7).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { found: 8, max: 7, .. }), "{error}");
    assert!(error.to_string().ends_with("has 8 bytes, expected at most 7 bytes"), "{error}");
    assert!(!server.requests().iter().any(|request| request.contains("/blobs/")));
}

#[tokio::test]
async fn a_module_that_is_another_one_is_refused() {
    let module = layout::sha256(COMPONENT);
    for body in [&b"\0asm\x01\0\0\0"[..], b"\0asm", b"\0asm\x0d\0\x01\0 and more"] {
        let server = server(good_manifest(), vec![(blob(module), answer("200 OK", &[], body))]).await;
        let error = pulled(&server.reference(":v1"), 100).await.unwrap_err();
        let is_longer = body.len() > COMPONENT.len();
        match error {
            RegistryError::DigestMismatch { what: "module", expected, found, .. } if !is_longer => {
                assert_eq!((expected, found), (module, layout::sha256(body)));
            }
            RegistryError::Malformed { ref cause, .. } if is_longer => {
                assert!(cause.ends_with("goes on after its 8 bytes"), "{error}");
            }
            error => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_manifest_that_is_another_one_is_refused() {
    let server = Scripted::start(|_| {
        let other: &str = format!("GET /v2/acme/hello/manifests/sha256:{}", Digest([7; 32])).leak();
        let claimed: &str = format!("docker-content-digest: sha256:{}", Digest([8; 32])).leak();
        vec![
            (PING, answer("200 OK", &[], "")),
            (other, answer("200 OK", &[], good_manifest())),
            (MANIFEST, answer("200 OK", &[claimed], good_manifest())),
        ]
    })
    .await;
    for (tag, asked) in [(format!("@sha256:{}", Digest([7; 32])), 7), (":v1".to_owned(), 8)] {
        let error = pulled(&server.reference(&tag), 8).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::DigestMismatch { what: "manifest", expected, .. }
                if expected == Digest([asked; 32])),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_gone() {
    let module = layout::sha256(COMPONENT);
    let gone =
        answer("404 Not Found", &[], r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#);
    let server = server(good_manifest(), vec![(blob(module), gone)]).await;
    let error = pulled(&server.reference(":v1"), 8).await.unwrap_err();
    assert!(matches!(&error, RegistryError::ModuleGone(_, cause) if cause == "blob unknown"), "{error}");
    let error = client().resolve(&server.reference(":v2"), &Credentials::Anonymous).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound(..)), "{error}");
    assert!(error.to_string().contains("/acme/hello:v2: 404 not found"), "{error}");
}

#[tokio::test]
async fn answers_without_bounds_are_cut_off() {
    const HUGE: &str = "200 OK\r\ncontent-length: 9000000000\r\n\r\n{";
    let endless = [&b"200 OK\r\nconnection: close\r\n\r\n"[..], &vec![b' '; (4 << 20) + 1]].concat();
    for body in [HUGE.as_bytes().to_vec(), endless] {
        let server = Scripted::start(|_| vec![(PING, answer("200 OK", &[], "")), (MANIFEST, body)]).await;
        let error = pulled(&server.reference(":v1"), 8).await.unwrap_err();
        assert!(error.to_string().contains("it sends more than 4194304 bytes"), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_no_manifests_are_refused() {
    for body in ["", "<html>", "[]", r#"{"layers":7}"#] {
        let server = server(body.to_owned(), vec![]).await;
        let error = pulled(&server.reference(":v1"), 8).await.unwrap_err();
        assert!(error.to_string().contains("does not answer as a registry: manifest of oci://"), "{error}");
    }
    let server = server(r#"{"manifests":[]}"#.to_owned(), vec![]).await;
    let error = pulled(&server.reference(":v1"), 8).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::NotWasm { found, .. } if found == "an index of 0 manifests"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_service_gives_tokens_for_passwords_and_for_refresh_tokens() {
    let service = |address: &str| {
        let challenge: &str =
            format!("www-authenticate: Bearer realm=\"http://{address}/token?a=1\",service=\"reg\"").leak();
        let query = "a=1&scope=repository%3Aacme%2Fhello%3Apull&service=reg";
        vec![
            (PING, answer("401 Unauthorized", &[challenge], "")),
            (format!("GET /token?{query}").leak() as &str, answer("200 OK", &[], r#"{"token":"t1"}"#)),
            ("POST /token?a=1", answer("200 OK", &[], r#"{"access_token":"t2","refresh_token":"r"}"#)),
            (MANIFEST, answer("200 OK", &[], good_manifest())),
        ]
    };
    for (credentials, asked, token) in [
        (Credentials::Anonymous, "GET /token?a=1&scope=repository%3Aacme%2Fhello%3Apull&service=reg", "t1"),
        (
            Credentials::basic("me", "secret"),
            "GET /token?a=1&scope=repository%3Aacme%2Fhello%3Apull&service=reg | Basic bWU6c2VjcmV0",
            "t1",
        ),
        (
            Credentials::IdentityToken("refresh".to_owned().into()),
            "POST /token?a=1 | scope=repository%3Aacme%2Fhello%3Apull&service=reg&grant_type=refresh_token\
             &client_id=wasm-fn&refresh_token=refresh",
            "t2",
        ),
    ] {
        let server = Scripted::start(service).await;
        client().find(&server.reference(":v1"), &credentials).await.unwrap();
        assert_eq!(server.requests(), [PING, asked, &format!("{MANIFEST} | Bearer {token}")]);
    }
    let server = Scripted::start(service).await;
    let credentials = Credentials::RegistryToken("mine".to_owned().into());
    client().find(&server.reference(":v1"), &credentials).await.unwrap();
    assert_eq!(server.requests(), [format!("{MANIFEST} | Bearer mine")]);
}

#[tokio::test]
async fn token_services_that_refuse_or_misbehave_are_named() {
    let long = "x".repeat((256 << 10) + 1);
    for (token, fact) in [
        (answer("401 Unauthorized", &[], "who are you"), "without credentials: token service: who are you"),
        (answer("503 Service Unavailable", &[], ""), "answers with status 503: token service: 503"),
        (answer("200 OK", &[], "{}"), "its token service gives no token"),
        (answer("200 OK", &[], r#"{"token":""}"#), "its token service gives no token"),
        (answer("200 OK", &[], r#"{"token":"a\nb"}"#), "a token that cannot be sent"),
        (answer("200 OK", &[], "no"), "answer of its token service: expected"),
        (answer("200 OK", &[], long), "it sends more than 262144 bytes"),
    ] {
        let server = Scripted::start(|address| {
            let challenge: &str = format!("www-authenticate: Bearer realm=\"http://{address}/token\"").leak();
            vec![
                (PING, answer("401 Unauthorized", &[challenge], "")),
                ("GET /token?scope=repository%3Aacme%2Fhello%3Apull", token),
            ]
        })
        .await;
        let error = pulled(&server.reference(":v1"), 8).await.unwrap_err().to_string();
        assert!(error.contains(fact), "{error}");
    }
    let server = Scripted::start(|_| {
        vec![(PING, answer("401 Unauthorized", &["www-authenticate: Bearer realm=\"nowhere\""], ""))]
    })
    .await;
    let error = pulled(&server.reference(":v1"), 8).await.unwrap_err().to_string();
    assert!(error.ends_with("its token service is nowhere, expected a URL"), "{error}");
}

#[tokio::test]
async fn a_registry_that_wants_a_password_is_not_asked_without_one() {
    let server = Scripted::start(|_| {
        vec![(PING, answer("401 Unauthorized", &["www-authenticate: Basic realm=\"x\""], ""))]
    })
    .await;
    let error = pulled(&server.reference(":v1"), 8).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { had: false, .. }), "{error}");
    assert_eq!(server.requests(), [PING]);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirection_to_another_host() {
    let storage = Scripted::start(|_| vec![("GET /blob", answer("200 OK", &[], COMPONENT))]).await;
    let module = layout::sha256(COMPONENT);
    // Another host by its name, though it is this machine again.
    let elsewhere: &str =
        format!("location: http://localhost:{}/blob", storage.address.split(':').nth(1).unwrap()).leak();
    let server = Scripted::start(|_| {
        vec![
            (PING, answer("401 Unauthorized", &["www-authenticate: Basic realm=\"x\""], "")),
            (MANIFEST, answer("200 OK", &[], good_manifest())),
            (blob(module), answer("307 Temporary Redirect", &[elsewhere], "")),
        ]
    })
    .await;
    let (client, credentials, mut out) = (client(), Credentials::basic("me", "secret"), Vec::new());
    let artifact = client.find(&server.reference(":v1"), &credentials).await.unwrap();
    client.pull(&artifact, &credentials, 8, &mut out).await.unwrap();
    assert_eq!(out, COMPONENT);
    assert!(server.requests().last().unwrap().ends_with("| Basic bWU6c2VjcmV0"));
    assert_eq!(storage.requests(), ["GET /blob"]);
}

#[tokio::test]
async fn a_circle_of_redirections_ends() {
    let server = Scripted::start(|_| {
        vec![
            (PING, answer("200 OK", &[], "")),
            (MANIFEST, answer("307 Temporary Redirect", &["location: /v2/acme/hello/manifests/v1"], "")),
        ]
    })
    .await;
    let error = pulled(&server.reference(":v1"), 8).await.unwrap_err().to_string();
    assert!(error.contains("too many redirections"), "{error}");
    assert!(server.requests().len() < 10);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let reference = format!("oci://{address}/acme/hello:v1").parse().unwrap();
    let error = pulled(&reference, 8).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("registry {address} cannot be reached: ")), "{error}");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_has_its_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("oci://{}/acme/hello:v1", listener.local_addr().unwrap()).parse().unwrap();
    let options = RegistryOptions { timeout: Duration::from_millis(50), ..options() };
    let client = RegistryClient::new(options).unwrap();
    let error = client.resolve(&reference, &Credentials::Anonymous).await.unwrap_err();
    assert!(error.to_string().ends_with("was not done within 50ms"), "{error}");
}

#[tokio::test]
async fn other_machines_are_not_spoken_to_in_the_clear() {
    let client = client();
    assert!(client.is_plain(&"oci://localhost:5000/a".parse().unwrap()));
    assert!(!client.is_plain(&"oci://ghcr.io/a".parse().unwrap()));
    let options = RegistryOptions { plain_http: true, ..options() };
    assert!(RegistryClient::new(options).unwrap().is_plain(&"oci://ghcr.io/a".parse().unwrap()));
    let refused = client.encrypted.client.get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert!(refused.is_builder(), "{refused:?}");
}

#[tokio::test]
async fn a_refusal_to_be_written_to_is_said() {
    let uploads = "POST /v2/acme/hello/blobs/uploads/";
    let denied = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    for (status, fact) in [
        ("403 Forbidden", "refuses access to acme/hello without credentials: read only"),
        ("500 Internal Server Error", "answers with status 500: read only"),
    ] {
        let server = Scripted::start(|_| {
            vec![(PING, answer("200 OK", &[], "")), (uploads, answer(status, &[], denied))]
        })
        .await;
        let error = client()
            .push(
                &server.reference(":v1"),
                &Credentials::Anonymous,
                Bytes::from_static(COMPONENT),
                &BTreeMap::new(),
                SystemTime::UNIX_EPOCH,
            )
            .await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(fact), "{error}");
    }
}

#[tokio::test]
async fn an_artifact_without_a_signature_is_not_verified() {
    let server = server(good_manifest(), vec![]).await;
    let key: PublicKey = include_str!("../signature/fixtures/cosign.pub").parse().unwrap();
    let client = client();
    let artifact = client.find(&server.reference(":v1"), &Credentials::Anonymous).await.unwrap();
    let error = client.verify(&artifact, &Credentials::Anonymous, &key).await.unwrap_err().to_string();
    assert!(
        error.contains("is not verified: it has no signature, expected one that `cosign sign --key`"),
        "{error}"
    );
}

/// An artifact that was signed, and the artifact with its signature beside it.
async fn signed(payload: &'static str) -> Scripted {
    const SIGNED: &str = include_str!("../signature/fixtures/manifest.json");
    const SIGNATURE: &str = include_str!("../signature/fixtures/payload.sig");
    let digest = layout::sha256(payload.as_bytes());
    let signatures = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json"}},"layers":[
        {{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"sha256:{digest}","size":1,
        "annotations":{{"dev.cosignproject.cosign/signature":"{SIGNATURE}"}}}}]}}"#
    );
    let beside: &str =
        format!("GET /v2/acme/hello/manifests/sha256-{}.sig", layout::sha256(SIGNED.as_bytes())).leak();
    let blobs =
        vec![(beside, answer("200 OK", &[], signatures)), (blob(digest), answer("200 OK", &[], payload))];
    server(SIGNED.to_owned(), blobs).await
}

#[tokio::test]
async fn an_artifact_is_verified_by_the_key_that_signed_it_only() {
    const PAYLOAD: &str = include_str!("../signature/fixtures/payload.json");
    let key = |pem: &str| pem.parse::<PublicKey>().unwrap();
    let signer = key(include_str!("../signature/fixtures/cosign.pub"));
    let other = key(include_str!("../signature/fixtures/other.pub"));
    let (client, nobody) = (client(), Credentials::Anonymous);
    let server = signed(PAYLOAD).await;
    let artifact = client.find(&server.reference(":v1"), &nobody).await.unwrap();
    client.verify(&artifact, &nobody, &signer).await.unwrap();
    let error = client.verify(&artifact, &nobody, &other).await.unwrap_err().to_string();
    assert!(error.ends_with("is not verified: its signature is not one by this key"), "{error}");
    // What is signed was changed, and its digest with it.
    let server = signed(r#"{"critical":{}}"#).await;
    let artifact = client.find(&server.reference(":v1"), &nobody).await.unwrap();
    let error = client.verify(&artifact, &nobody, &signer).await.unwrap_err().to_string();
    assert!(error.ends_with("is not verified: its signature is not one by this key"), "{error}");
}
