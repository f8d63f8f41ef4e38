//! Functions from registries, and to them: a real registry, and everything that can be wrong with one.

use std::{fs, process::Command};

use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::harness::{
    Folder, Node,
    command::{Done, run},
    guests,
    registry::Registry,
    tls::Authority,
    wasm_fn,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `wasm-fn push` of a guest, with nobody logged in to any registry.
fn push(guest: &str, reference: &str) -> Command {
    let mut command = wasm_fn();
    command.arg("push").arg(guests::path(guest)).arg(reference).env("DOCKER_CONFIG", "/nonexistent");
    command
}

/// Pushes a guest; gives what the command prints in JSON.
async fn pushed(guest: &str, reference: &str) -> Value {
    let done = run(push(guest, reference).args(["-o", "json"])).await.ok();
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

fn deploy(node: &Node, args: &[&str]) -> Command {
    let mut command = node.command(&[&["deploy"], args].concat());
    command.env("DOCKER_CONFIG", "/nonexistent");
    command
}

/// Deploys as `hello` and checks that it is refused, says all of `facts`, and left nothing.
async fn refused(node: &Node, args: &[&str], facts: &[&str]) -> Done {
    let done = run(&mut deploy(node, &[args, &["-f", "hello"]].concat())).await;
    done.refused(&[&["`hello` was not deployed"], facts].concat());
    node.cli(&["versions", "hello"]).await.refused(&["hello"]);
    done
}

#[tokio::test]
async fn what_was_pushed_is_deployed_by_its_tag_and_by_its_digest() {
    let test = "what_was_pushed_is_deployed_by_its_tag_and_by_its_digest";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let tag = registry.reference("acme/hello:v1");
    let first = pushed("hello-v1", &tag).await;
    let by_digest = first["reference"].as_str().unwrap().to_owned();
    assert_eq!(by_digest, format!("{tag}@{}", first["digest"].as_str().unwrap()));
    assert_eq!(first["bytes"], json!(guests::bytes("hello-v1").len()));

    let done = run(&mut deploy(&node, &[&tag])).await.ok();
    assert!(done.stderr.contains("the function is named hello after the repository"), "{done:?}");
    assert!(done.stderr.contains("pulling hello:v1"), "{done:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    // The tag moves on; the digest does not.
    pushed("hello-v2", &tag).await;
    run(&mut deploy(&node, &[&tag, "-m", "a better one"])).await.ok();
    let second = node.http.get("/hello").await.ok();
    assert_eq!(second.version(), "v2");
    // What the node has is not pulled again.
    let done = run(&mut deploy(&node, &[&by_digest])).await.ok();
    assert!(!done.stderr.contains("pulling"), "{done:?}");
    let third = node.http.get("/hello").await.ok();
    // It is the same component with the same settings, so it is the same version.
    assert_eq!(third.version(), "v1");
    assert_ne!(third.text(), second.text());
    // The history says where the code is from.
    let history = node.cli_ok(&["history", "hello"]).await;
    assert!(history.contains(&format!("from {by_digest}")), "{history}");
    assert!(history.contains(&format!("a better one (from {tag}@sha256:")), "{history}");
}

#[tokio::test]
async fn a_configuration_names_an_artifact_as_its_component() {
    let test = "a_configuration_names_an_artifact_as_its_component";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let reference = registry.reference("acme/shop/cart");
    pushed("hello-v1", &reference).await;
    let config = format!("[function.cart]\ncomponent = {reference:?}\nroutes = [\"/shop/*\"]\n");
    node.folder().write("wasm-fn.toml", config);
    run(&mut deploy(&node, &[])).await.ok();
    assert_eq!(node.http.get("/shop/x").await.ok().version(), "v1");
}

#[tokio::test]
async fn an_artifact_has_the_layout_that_other_tools_read() {
    let test = "an_artifact_has_the_layout_that_other_tools_read";
    let Some(registry) = Registry::open(test).await else { return };
    let reference = registry.reference("acme/hello:v1");
    let annotated = ["--revision", "abc", "--source", "https://git.example.com/hello", "--annotation", "a=b"];
    let component = run(push("hello-v1", &reference).args(annotated)).await.ok();
    assert!(component.stdout.starts_with(&format!("{reference}@sha256:")), "{component:?}");
    pushed("cgi", &registry.reference("acme/command:v1")).await;
    let http = registry.http();
    for (repository, os, is_component) in [("hello", "wasip2", true), ("command", "wasip1", false)] {
        let path = format!("/v2/acme/{repository}/manifests/v1");
        let manifest = http.get_as(&path, &[("accept", MANIFEST)]).await.ok();
        assert_eq!(manifest.header("content-type"), MANIFEST);
        let manifest: Value = serde_json::from_str(&manifest.text()).unwrap();
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], "application/wasm");
        if is_component {
            let annotations = &manifest["annotations"];
            assert_eq!(annotations["org.opencontainers.image.revision"], "abc");
            assert_eq!(annotations["org.opencontainers.image.source"], "https://git.example.com/hello");
            assert_eq!(annotations["a"], "b");
        }
        let digest = manifest["config"]["digest"].as_str().unwrap();
        let config = http.get(&format!("/v2/acme/{repository}/blobs/{digest}")).await.ok().text();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!((config["os"].as_str(), config["architecture"].as_str()), (Some(os), Some("wasm")));
        assert_eq!(config["layerDigests"][0], layer["digest"]);
        assert_eq!(config["component"].is_object(), is_component, "{config}");
        if is_component {
            let exports = config["component"]["exports"].to_string();
            assert!(exports.contains("wasi:http/"), "{exports}");
        }
    }
}

#[tokio::test]
async fn a_module_whose_digest_does_not_match_is_not_deployed() {
    let test = "a_module_whose_digest_does_not_match_is_not_deployed";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let reference = registry.reference("acme/hello:v1");
    let module = pushed("hello-v1", &reference).await["component"].as_str().unwrap().to_owned();
    let mut bytes = guests::bytes("hello-v1");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(registry.blob(&module), bytes).unwrap();
    refused(
        &node,
        &[&reference],
        &["the module of oci://", "has the digest sha256:", &format!("expected sha256:{module}")],
    )
    .await;
    // Shorter than its manifest says, and longer.
    for bytes in [&b"\0asm"[..], &[0; 1 << 20]] {
        fs::write(registry.blob(&module), bytes).unwrap();
        refused(&node, &[&reference], &["the module of oci://"]).await;
    }
    // A digest that the registry does not have, at a tag that it has.
    let other = format!("{reference}@sha256:{}", "0".repeat(64));
    refused(&node, &[&other], &["registry has no oci://", "0000"]).await;
}

#[tokio::test]
async fn a_tag_that_vanished_is_named() {
    let test = "a_tag_that_vanished_is_named";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let reference = registry.reference("acme/hello:v1");
    let module = pushed("hello-v1", &reference).await["component"].as_str().unwrap().to_owned();
    fs::remove_dir_all(registry.stored("repositories/acme/hello/_manifests/tags/v1")).unwrap();
    refused(&node, &[&reference], &[&format!("registry has no {reference}"), "manifest unknown"]).await;
    let nothing = registry.reference("acme/nothing:v1");
    refused(&node, &[&nothing], &[&format!("registry has no {nothing}")]).await;
    // The tag is there again, and its module is not.
    pushed("hello-v1", &reference).await;
    fs::remove_file(registry.blob(&module)).unwrap();
    fs::remove_dir_all(registry.stored(format!("repositories/acme/hello/_layers/sha256/{module}"))).unwrap();
    refused(&node, &[&reference], &["is not in the registry any more"]).await;
}

#[tokio::test]
async fn credentials_are_those_of_docker_login() {
    let test = "credentials_are_those_of_docker_login";
    let Some(registry) = Registry::with_password(test).await else { return };
    let node = Node::start().await;
    let reference = registry.reference("acme/hello:v1");
    let (folder, wrong) = (Folder::new(), Folder::new());
    let config =
        |auth: &str| json!({ "auths": { registry.address.to_string(): { "auth": auth } } }).to_string();
    // me:secret and me:hunter2
    folder.write("config.json", config("bWU6c2VjcmV0"));
    wrong.write("config.json", config("bWU6aHVudGVyMg=="));

    let none = run(&mut push("hello-v1", &reference)).await;
    none.refused(&[
        "nothing was pushed to",
        "refuses access to acme/hello without credentials",
        "`docker login`",
    ]);
    let refused_push = run(push("hello-v1", &reference).env("DOCKER_CONFIG", wrong.path())).await;
    refused_push.refused(&["refuses access to acme/hello with these credentials"]);
    assert!(!refused_push.stderr.contains("hunter2"), "{refused_push:?}");
    run(push("hello-v1", &reference).env("DOCKER_CONFIG", folder.path())).await.ok();

    refused(&node, &[&reference], &["without credentials"]).await;
    let done = run(deploy(&node, &[&reference]).env("WASM_FN_REGISTRY_CREDENTIALS", "me:hunter2")).await;
    done.refused(&["with these credentials"]);
    assert!(!done.stderr.contains("hunter2"), "{done:?}");
    let done = run(deploy(&node, &[&reference]).env("WASM_FN_REGISTRY_CREDENTIALS", "hunter2")).await;
    done.refused(&["credentials are not as expected: USER:PASSWORD"]);
    assert!(!done.stderr.contains("hunter2"), "{done:?}");
    run(deploy(&node, &[&reference]).env("WASM_FN_REGISTRY_CREDENTIALS", "me:secret")).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    run(deploy(&node, &[&reference]).env("DOCKER_CONFIG", folder.path())).await.ok();
}

#[tokio::test]
async fn a_registry_with_a_private_authority_is_trusted_by_its_certificate() {
    let test = "a_registry_with_a_private_authority_is_trusted_by_its_certificate";
    let authority = Authority::new("the registry's authority");
    let Some(registry) = Registry::encrypted(test, &authority).await else { return };
    let folder = Folder::new();
    let [ca, other, empty] = [
        folder.write("ca.pem", authority.pem()),
        folder.write("other.pem", Authority::new("another authority").pem()),
        folder.write("empty.pem", ""),
    ];
    let node = Node::start().await;
    let reference = registry.reference("acme/hello:v1");
    let facts = [
        &*format!("the certificate of registry {} is not trusted", registry.address),
        "UnknownIssuer",
        "--registry-ca",
    ];
    run(&mut push("hello-v1", &reference)).await.refused(&facts);
    run(push("hello-v1", &reference).env("WASM_FN_REGISTRY_CA", &other)).await.refused(&facts);
    let done = run(push("hello-v1", &reference).arg("--registry-ca").arg(&empty)).await;
    done.refused(&["found no certificate, expected PEM"]);
    run(push("hello-v1", &reference).arg("--registry-ca").arg(&ca)).await.ok();
    refused(&node, &[&reference], &facts).await;
    run(deploy(&node, &[&reference]).env("WASM_FN_REGISTRY_CA", &ca)).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
}

#[tokio::test]
async fn what_is_no_module_is_neither_pushed_nor_deployed() {
    let test = "what_is_no_module_is_neither_pushed_nor_deployed";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let script = node.folder().write("script.wasm", "#!/bin/sh\n");
    let reference = registry.reference("acme/script:v1");
    let mut command = wasm_fn();
    let done = run(command.arg("push").arg(script).arg(&reference)).await;
    done.refused(&[&format!("nothing was pushed to {reference}"), "it is not WebAssembly"]);
    refused(&node, &[&reference], &["registry has no"]).await;

    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let request = registry.http().request(Method::PUT, "/v2/acme/image/manifests/v1");
    let request = request.header(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json");
    let answer = registry.http().send(request.body(index).unwrap()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let image = registry.reference("acme/image:v1");
    let facts = ["is an index of 0 manifests, expected an artifact with one layer of type application/wasm"];
    refused(&node, &[&image], &facts).await;
}

#[tokio::test]
async fn a_module_that_is_too_large_for_the_node_is_not_pulled() {
    let test = "a_module_that_is_too_large_for_the_node_is_not_pulled";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start_with(&["--component-max", "1KiB"]).await;
    let reference = registry.reference("acme/hello:v1");
    let module = pushed("hello-v1", &reference).await["component"].as_str().unwrap().to_owned();
    // Whoever asks for it gets an error of its own.
    fs::remove_file(registry.blob(&module)).unwrap();
    refused(&node, &[&reference], &["expected at most 1024 bytes", "--component-max"]).await;
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let node = Node::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("oci://{}/acme/hello:v1", listener.local_addr().unwrap());
    drop(listener);
    refused(&node, &[&reference], &["registry 127.0.0.1:", "cannot be reached"]).await;
    run(&mut push("hello-v1", &reference)).await.refused(&["cannot be reached"]);
}

#[tokio::test]
async fn texts_that_are_no_references_are_refused_before_anything_happens() {
    let node = Node::start().await;
    for (text, fact) in [
        ("oci://hello", "names no repository"),
        ("oci://registry/hello", "without domain or port"),
        ("oci://127.0.0.1:1/hello@sha256:1", "has a digest other than"),
    ] {
        let done = run(&mut deploy(&node, &[text])).await;
        done.refused(&["nothing was deployed", fact, "expected oci://REGISTRY"]);
        let done = run(&mut push("hello-v1", text)).await;
        assert_eq!(done.code, Some(64), "{done:?}");
        assert!(done.stderr.contains(fact), "{done:?}");
    }
    let digest = format!("oci://127.0.0.1:1/hello@sha256:{}", "0".repeat(64));
    run(&mut push("hello-v1", &digest)).await.refused(&["the reference has a digest, expected a tag"]);
}

/// The base64 of a signature by `key` over `payload`, in ASN.1.
fn signature(key: &ring::signature::EcdsaKeyPair, payload: &str) -> String {
    let random = ring::rand::SystemRandom::new();
    let signature = key.sign(&random, payload.as_bytes()).unwrap();
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature)
}

/// A key, and its public half in PEM.
fn signer() -> (ring::signature::EcdsaKeyPair, String) {
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ALGORITHM, EcdsaKeyPair};
    let pair = rcgen::KeyPair::generate().unwrap();
    let random = ring::rand::SystemRandom::new();
    (EcdsaKeyPair::from_pkcs8(&ALGORITHM, pair.serialized_der(), &random).unwrap(), pair.public_key_pem())
}

/// Puts a blob into `acme/hello`, as clients of registries do; gives its digest.
async fn put_blob(registry: &Registry, bytes: String) -> String {
    let digest = format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)));
    let http = registry.http();
    let begun = http.post("/v2/acme/hello/blobs/uploads/", "").await;
    let location = begun.header("location").replace(&format!("http://{}", registry.address), "");
    let request = http.request(Method::PUT, &format!("{location}&digest={digest}"));
    let answer = http.send(request.body(bytes).unwrap()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest
}

/// Signs the manifest with this digest as `cosign sign --key` does.
async fn sign(registry: &Registry, key: &ring::signature::EcdsaKeyPair, signed: &str, beside: &str) {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": format!("{}/acme/hello", registry.address) },
            "image": { "docker-manifest-digest": signed },
            "type": "cosign container image signature"
        },
        "optional": null
    })
    .to_string();
    let (signature, bytes) = (signature(key, &payload), payload.len());
    let layer = put_blob(registry, payload).await;
    let config = put_blob(registry, "{}".to_owned()).await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": layer,
            "size": bytes,
            "annotations": { "dev.cosignproject.cosign/signature": signature }
        }]
    });
    let path = format!("/v2/acme/hello/manifests/{}.sig", beside.replace(':', "-"));
    let request: http::request::Builder = registry.http().request(Method::PUT, &path);
    let request: Request<String> =
        request.header(header::CONTENT_TYPE, MANIFEST).body(manifest.to_string()).unwrap();
    let answer = registry.http().send(request).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn only_what_the_holder_of_the_key_signed_is_deployed_if_that_is_asked_for() {
    let test = "only_what_the_holder_of_the_key_signed_is_deployed_if_that_is_asked_for";
    let Some(registry) = Registry::open(test).await else { return };
    let node = Node::start().await;
    let ((key, public), (other, _)) = (signer(), signer());
    node.folder().write("cosign.pub", public);
    node.folder().write("no.pub", "hello");
    let reference = registry.reference("acme/hello:v1");
    let verified = [reference.as_str(), "--verify-key", "cosign.pub"];
    let first = pushed("hello-v1", &reference).await["digest"].as_str().unwrap().to_owned();
    refused(&node, &verified, &["is not verified: it has no signature"]).await;
    refused(&node, &[&reference, "--verify-key", "no.pub"], &["no.pub: it is not a public key in PEM"]).await;
    sign(&registry, &other, &first, &first).await;
    refused(&node, &verified, &["is not verified: its signature is not one by this key"]).await;
    // A good signature, of something else.
    sign(&registry, &key, &format!("sha256:{}", "0".repeat(64)), &first).await;
    refused(&node, &verified, &["is not verified: its signature is for sha256:0000"]).await;
    sign(&registry, &key, &first, &first).await;
    run(&mut deploy(&node, &[&verified[..], &["-f", "hello"]].concat())).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    // Somebody moves the tag to what nobody signed.
    pushed("hello-v2", &reference).await;
    let done = run(&mut deploy(&node, &[&verified[..], &["-f", "hello"]].concat())).await;
    done.refused(&["is not verified: it has no signature"]);
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    let file = guests::path("hello-v1");
    let file = [file.to_str().unwrap(), "-f", "hello", "--verify-key", "cosign.pub"];
    run(&mut deploy(&node, &file)).await.refused(&["a file has no signature"]);
}
