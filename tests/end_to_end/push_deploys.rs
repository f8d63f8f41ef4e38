//! Deploying on push: events as GitHub sends them, tags that are watched, artifacts in a real registry and at
//! an https URL, and what becomes of those that cannot be deployed.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use ring::{digest, hmac};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use wasm_fn_oci::{Annotations, Artifact, Credentials, Reference, RegistryClient, RegistryOptions};

use crate::harness::{
    registry::Registry,
    tls::{Authority, Pair, parameters},
    *,
};

const KEY: &[u8] = b"It's a Secret to Everybody";

/// Commits of the repository, in order.
const COMMITS: [&str; 3] = [
    "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
    "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
];

/// Pushes a prebuilt guest to the registry, as `app` with this tag.
async fn publish(registry: &Registry, guest: &str, tag: &str) -> Artifact {
    let authorities = registry.authorities.clone();
    let options = RegistryOptions { plain_http: false, timeout: PATIENCE, authorities, judge: None };
    let client = RegistryClient::new(options).unwrap();
    let reference: Reference = registry.reference(&format!("app:{tag}")).parse().unwrap();
    let module = guests::bytes(guest).into();
    let (credentials, annotations) = (Credentials::Anonymous, Annotations::new());
    client.push(&reference, &credentials, module, &annotations, SystemTime::UNIX_EPOCH).await.unwrap()
}

/// What GitHub sends of a push to `branch` that leads from one of the [`COMMITS`] to the next.
fn pushed(branch: &str, commit: usize) -> Value {
    let (before, after) = (COMMITS[commit - 1], COMMITS[commit]);
    let url = format!("https://github.com/Codertocat/Hello-World/commit/{after}");
    json!({
        "ref": format!("refs/heads/{branch}"), "before": before, "after": after,
        "created": false, "deleted": false, "forced": false, "base_ref": null,
        "compare": format!("https://github.com/Codertocat/Hello-World/compare/{before}...{after}"),
        "repository": {
            "id": 186_853_002, "name": "Hello-World", "full_name": "Codertocat/Hello-World", "private": false,
            "owner": { "name": "Codertocat", "login": "Codertocat", "id": 21_031_067 },
            "html_url": "https://github.com/Codertocat/Hello-World", "default_branch": "main",
            "created_at": 1_557_933_565, "pushed_at": 1_557_933_657,
        },
        "pusher": { "name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com" },
        "sender": { "login": "Codertocat", "id": 21_031_067, "type": "User" },
        "commits": [{ "id": after, "message": "Say it better", "url": url }],
        "head_commit": { "id": after, "message": "Say it better", "url": url, "timestamp": "2019-05-15T15:20:41Z" },
    })
}

/// Sends what GitHub would send; gives the status of the answer.
async fn send(node: &Node, hook: &str, id: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), body.as_bytes());
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = node
        .http
        .request(Method::POST, hook)
        .header("x-github-event", "push")
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .header("content-type", "application/json");
    node.http.send(request.body(body).unwrap()).await.unwrap().status.as_u16()
}

/// Adds a webhook of `hello` that deploys `artifact`; gives its path.
async fn webhook(node: &Node, artifact: &str, args: &[&str]) -> String {
    let mut set = node.command(&["secrets", "set", "WEBHOOK_KEY", "-f", "hello"]);
    command::run_with(&mut set, KEY).await.ok();
    let add = ["triggers", "add", "webhook", "hello", "--provider", "github", "--secret", "WEBHOOK_KEY"];
    let added = node.cli_ok(&[&add, &["--deploy", artifact][..], args].concat()).await;
    assert!(added.contains(&format!("deploys {artifact}")), "{added}");
    trigger(node, "github").await["url_path"].as_str().unwrap().to_owned()
}

async fn trigger(node: &Node, name: &str) -> Value {
    node.api_ok(Method::GET, &format!("/v1/functions/hello/stages/live/triggers/{name}"), None).await
}

/// Waits until `holds` says so of a trigger of `hello`.
async fn until(node: &Node, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    patiently(what, async {
        loop {
            let trigger = trigger(node, name).await;
            if holds(&trigger) {
                return trigger;
            }
        }
    })
    .await
}

/// Waits until events of the trigger led `times` to `result`.
async fn led(node: &Node, name: &str, result: &str, times: u64) -> Value {
    let what = format!("{times} of {name} {result}");
    until(node, name, &what, |trigger| trigger["counts"]["deployments"][result] == times).await
}

/// Waits until the event `id` is settled with this text.
async fn said(node: &Node, id: &str, text: &str) {
    let path = format!("/v1/functions/hello/stages/live/triggers/github/events/{id}");
    patiently(text, async { while node.api_ok(Method::GET, &path, None).await["state"]["text"] != text {} })
        .await;
}

/// Why the only dead letter of the trigger is one.
async fn refusal(node: &Node, name: &str) -> String {
    until(node, name, "a dead letter", |trigger| trigger["inbox"]["dead"] == 1).await;
    let list = node.cli_json(&["events", "list", "hello", name, "--dead"]).await;
    list["events"][0]["state"]["reason"].as_str().unwrap().to_owned()
}

async fn stable(node: &Node) {
    node.deploy_with("hello", "hello-v1", json!({})).await;
}

#[tokio::test]
async fn push_starts_a_canary_that_says_whose_it_is() {
    let Some(registry) = Registry::open("push_starts_a_canary_that_says_whose_it_is").await else { return };
    let node = Node::start().await;
    stable(&node).await;
    let artifact = publish(&registry, "hello-v2", COMMITS[1]).await;
    let args = ["--branch", "main", "--canary=10%", "--allow-new"];
    let hook = webhook(&node, &registry.reference("app:{sha}"), &args).await;

    assert_eq!(send(&node, &hook, "1", &pushed("dev", 1)).await, 202);
    led(&node, "github", "skipped", 1).await;
    assert!(node.live("hello").await["rollout"].is_null(), "another branch deploys nothing");
    said(&node, "1", "branch \"dev\" does not deploy here, expected main").await;

    assert_eq!(send(&node, &hook, "2", &pushed("main", 1)).await, 202);
    led(&node, "github", "deployed", 1).await;
    let live = node.live("hello").await;
    assert_eq!(
        (&live["rollout"]["canary"], &live["rollout"]["weight"]),
        (&json!("v2"), &json!("10%")),
        "{live}"
    );
    let history = node.cli_json(&["history", "hello"]).await;
    let entry = &history["entries"][0];
    assert_eq!(entry["actor"], "trigger hello/live/github", "{entry}");
    assert_eq!(entry["message"], "push to main of Codertocat/Hello-World by Codertocat");
    let reference =
        format!("{}@sha256:{}", registry.reference(&format!("app:{}", COMMITS[1])), artifact.manifest);
    assert_eq!(
        entry["provenance"],
        json!({
            "artifact": reference, "trigger": "github", "event": "2", "repository": "Codertocat/Hello-World",
            "reference": "main", "commit": COMMITS[1], "author": "Codertocat",
            "url": format!("https://github.com/Codertocat/Hello-World/commit/{}", COMMITS[1]),
        })
    );
    for shown in [&["history", "hello"][..], &["versions", "hello"], &["status", "hello"], &["audit"]] {
        let shown = node.cli_ok(shown).await;
        assert!(shown.contains(&reference) && shown.contains("by Codertocat"), "{shown}");
    }
    let audit = node.cli_ok(&["audit", "-o", "json"]).await;
    assert!(audit.contains(COMMITS[1]), "{audit}");

    // The same push again, as somebody sends it again by hand, and an older one that comes late.
    assert_eq!(send(&node, &hook, "3", &pushed("main", 1)).await, 202);
    led(&node, "github", "skipped", 2).await;
    let mut older = pushed("main", 1);
    (older["before"], older["after"]) = (json!(COMMITS[2]), json!(COMMITS[0]));
    publish(&registry, "broken", COMMITS[0]).await;
    assert_eq!(send(&node, &hook, "4", &older).await, 202);
    led(&node, "github", "skipped", 3).await;
    said(&node, "4", "a later event of this trigger took its place").await;

    // A later one waits for the end of the rollout, as a person has to.
    publish(&registry, "env", COMMITS[2]).await;
    assert_eq!(send(&node, &hook, "5", &pushed("main", 2)).await, 202);
    until(&node, "github", "the wait", |trigger| {
        trigger["counts"]["deployments"]["retried"].as_u64().unwrap() > 0
    })
    .await;
    node.cli_ok(&["abort", "hello"]).await;
    led(&node, "github", "deployed", 2).await;
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v3");
}

#[tokio::test]
async fn artifact_that_is_still_in_the_making_is_waited_for() {
    let Some(registry) = Registry::open("artifact_that_is_still_in_the_making_is_waited_for").await else {
        return;
    };
    let node = Node::start().await;
    stable(&node).await;
    let hook = webhook(&node, &registry.reference("app:{sha}"), &["--all-at-once", "--allow-new"]).await;
    // `main` is the default branch.
    send(&node, &hook, "1", &pushed("main", 1)).await;
    until(&node, "github", "an attempt", |trigger| {
        trigger["counts"]["deployments"]["retried"].as_u64().unwrap() > 0
    })
    .await;
    let list = node.cli_json(&["events", "list", "hello", "github"]).await;
    assert!(list.to_string().contains("registry has no"), "{list}");
    publish(&registry, "hello-v2", COMMITS[1]).await;
    led(&node, "github", "deployed", 1).await;
    let live = node.live("hello").await;
    assert_eq!(live["stable"], "v2", "{live}");
    let metrics = node.api(Method::GET, "/metrics", None).await.text();
    let counter = "wasm_fn_trigger_deployments_total{function=\"hello\",stage=\"live\",trigger=\"github\",result=\"deployed\"} 1";
    assert!(metrics.contains(counter), "{metrics}");
}

#[tokio::test]
async fn artifact_with_another_digest_is_refused() {
    let Some(registry) = Registry::open("artifact_with_another_digest_is_refused").await else { return };
    let node = Node::start().await;
    stable(&node).await;
    let artifact = publish(&registry, "hello-v2", COMMITS[1]).await;
    let blob = registry.blob(&artifact.module.to_string());
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let hook = webhook(&node, &registry.reference("app:{sha}"), &["--all-at-once"]).await;
    send(&node, &hook, "1", &pushed("main", 1)).await;
    let reason = refusal(&node, "github").await;
    assert!(reason.contains("has the digest sha256:") && reason.contains("expected sha256:"), "{reason}");
    assert_eq!(node.live("hello").await["stable"], "v1");
}

#[tokio::test]
async fn event_of_a_function_that_was_deleted_deploys_nothing() {
    let Some(registry) = Registry::open("event_of_a_function_that_was_deleted_deploys_nothing").await else {
        return;
    };
    let node = Node::start().await;
    stable(&node).await;
    let hook = webhook(&node, &registry.reference("app:{sha}"), &["--all-at-once", "--allow-new"]).await;
    send(&node, &hook, "1", &pushed("main", 1)).await;
    until(&node, "github", "an attempt", |trigger| {
        trigger["counts"]["deployments"]["retried"].as_u64().unwrap() > 0
    })
    .await;
    node.cli_ok(&["delete", "hello", "--yes"]).await;
    publish(&registry, "hello-v2", COMMITS[1]).await;
    node.process().lines("events are removed with their trigger", 1).await;
    assert_eq!(send(&node, &hook, "2", &pushed("main", 1)).await, 404);
    assert_eq!(node.api(Method::GET, "/v1/functions/hello", None).await.status.as_u16(), 404);
}

#[tokio::test]
async fn watched_tag_deploys_what_it_leads_to_until_it_vanishes() {
    let Some(registry) = Registry::open("watched_tag_deploys_what_it_leads_to_until_it_vanishes").await
    else {
        return;
    };
    let node = Node::start().await;
    stable(&node).await;
    publish(&registry, "hello-v1", "prod").await;
    let artifact = registry.reference("app:prod");
    let add = ["triggers", "add", "watch", "hello", "--artifact", &artifact, "--every", "5s", "--canary=20%"];
    node.cli_ok(&[&add[..], &["--allow-new"]].concat()).await;
    // At first, it leads to what is stable.
    led(&node, "watch", "skipped", 1).await;
    let second = publish(&registry, "hello-v2", "prod").await;
    let shown = led(&node, "watch", "deployed", 1).await;
    assert_eq!(shown["watch"]["digest"], format!("sha256:{}", second.manifest), "{shown}");
    let live = node.live("hello").await;
    assert_eq!(
        (&live["rollout"]["canary"], &live["rollout"]["weight"]),
        (&json!("v2"), &json!("20%")),
        "{live}"
    );
    let entry = &node.cli_json(&["history", "hello"]).await["entries"][0];
    assert_eq!(entry["provenance"]["artifact"], format!("{artifact}@sha256:{}", second.manifest));

    std::fs::remove_dir_all(registry.stored("repositories/app/_manifests/tags/prod")).unwrap();
    let shown = until(&node, "watch", "the failure", |trigger| !trigger["watch"]["failing"].is_null()).await;
    let failing = shown["watch"]["failing"].as_str().unwrap();
    assert!(failing.contains(&format!("registry has no {artifact}")), "{failing}");
    let text = node.cli_ok(&["triggers", "show", "hello", "watch"]).await;
    assert!(text.contains("failing since") && text.contains("last seen: sha256:"), "{text}");
    let list = node.cli_ok(&["triggers", "list", "hello"]).await;
    assert!(list.contains("  failing  "), "{list}");
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v2", "nothing else happens");
    assert_eq!((&shown["inbox"]["waiting"], &shown["inbox"]["dead"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn registry_of_a_private_authority_is_watched_by_a_node_that_trusts_it() {
    let test = "registry_of_a_private_authority_is_watched_by_a_node_that_trusts_it";
    let authority = Authority::new("the registry's authority");
    let Some(registry) = Registry::encrypted(test, &authority).await else { return };
    publish(&registry, "hello-v2", "prod").await;
    let artifact = registry.reference("app:prod");
    let add = ["triggers", "add", "watch", "hello", "--artifact", &artifact, "--every", "5s", "--allow-new"];

    let node = Node::start().await;
    stable(&node).await;
    node.cli_ok(&add).await;
    let shown = until(&node, "watch", "the failure", |trigger| !trigger["watch"]["failing"].is_null()).await;
    let failing = shown["watch"]["failing"].as_str().unwrap();
    let expected = format!("the certificate of registry {} is not trusted", registry.address);
    for fact in [expected.as_str(), "UnknownIssuer", "`egress_ca`"] {
        assert!(failing.contains(fact), "{failing}");
    }

    let folder = Folder::new();
    folder.write("ca.pem", authority.pem());
    let node = Node::start_on(folder, &["--egress-ca", "ca.pem"]).await;
    stable(&node).await;
    node.cli_ok(&[&add[..], &["--all-at-once"]].concat()).await;
    led(&node, "watch", "deployed", 1).await;
    assert_eq!(node.live("hello").await["stable"], "v2");
}

/// A server that has the guest `hello-v2` at `/right.wasm` and at `/wrong.wasm`, where it says another
/// digest. `/moved.wasm` redirects to the first, but only for those who show the token.
async fn https(pair: &Pair) -> SocketAddr {
    let certificates =
        CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                let bytes = stream.read(&mut buffer).await.unwrap();
                assert!(bytes > 0, "a client sends a whole head");
                request.extend_from_slice(&buffer[..bytes]);
            }
            let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
            let has_token = request.contains("authorization: bearer let-me-in");
            let body = guests::bytes("hello-v2");
            let digest = |text: &[u8]| STANDARD.encode(digest::digest(&digest::SHA256, text));
            let found = |digest: String| {
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nrepr-digest: sha-256=:{digest}:\r\n\r\n",
                    body.len()
                )
            };
            let (head, body) = match request.split(' ').nth(1).unwrap() {
                "/moved.wasm" if has_token => (
                    "HTTP/1.1 302 Found\r\nlocation: /right.wasm\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    Vec::new(),
                ),
                "/right.wasm" => (found(digest(&body)), body.clone()),
                "/wrong.wasm" => (found(digest(b"something else")), body.clone()),
                _ => ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), Vec::new()),
            };
            // A client that has seen enough may be gone.
            let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn artifact_at_an_https_url_is_deployed_if_its_digest_is_right() {
    let authority = Authority::new("the tests' authority");
    let address = https(&authority.issue(&parameters("127.0.0.1"))).await;
    let folder = Folder::new();
    folder.write("ca.pem", authority.pem());
    let node = Node::start_on(folder, &["--egress-ca", "ca.pem"]).await;
    stable(&node).await;
    let mut set = node.command(&["secrets", "set", "TOKEN", "-f", "hello"]);
    command::run_with(&mut set, b"let-me-in").await.ok();

    let hook =
        webhook(&node, &format!("https://{address}/wrong.wasm"), &["--all-at-once", "--allow-new"]).await;
    send(&node, &hook, "1", &pushed("main", 1)).await;
    let reason = refusal(&node, "github").await;
    assert!(reason.contains("wrong.wasm has the digest sha256:"), "{reason}");
    node.cli_ok(&["triggers", "remove", "hello", "github"]).await;

    let moved = format!("https://{address}/moved.wasm");
    let args = ["--all-at-once", "--allow-new", "--credentials", "TOKEN"];
    let hook = webhook(&node, &moved, &args).await;
    send(&node, &hook, "2", &pushed("main", 1)).await;
    led(&node, "github", "deployed", 1).await;
    let entry = &node.cli_json(&["history", "hello"]).await["entries"][0];
    let artifact = entry["provenance"]["artifact"].as_str().unwrap();
    assert!(artifact.starts_with(&format!("{moved}#sha256=")), "{entry}");
    node.cli(&["secrets", "delete", "TOKEN", "-f", "hello"]).await.refused(&["gets what it deploys"]);
    assert!(!node.process().log().contains("let-me-in"));
}

#[tokio::test]
async fn nothing_is_fetched_from_where_the_node_may_not() {
    let folder = Folder::new();
    folder.write("node.toml", "[serve]\nartifact_sources = [\"127.0.0.1:*/app\", \"ghcr.io/acme/*\"]\n");
    let mut wrong = serve(&folder, &["--config", "node.toml"]);
    command::run(&mut wrong).await.refused(&["serve.artifact_sources[0]", "ghcr.io/acme/*"]);

    let node = Node::start().await;
    stable(&node).await;
    let hook = webhook(&node, &format!("oci://{}/app:{{sha}}", node.admin), &["--all-at-once"]).await;
    send(&node, &hook, "1", &pushed("main", 1)).await;
    let reason = refusal(&node, "github").await;
    assert!(reason.contains("the admin API of this node, which nothing is fetched from"), "{reason}");

    folder.write("node.toml", "[serve]\nartifact_sources = [\"ghcr.io/acme/*\"]\n");
    let node = Node::start_on(folder, &["--config", "node.toml"]).await;
    stable(&node).await;
    let hook = webhook(&node, "oci://ghcr.io/other/app:{sha}", &["--all-at-once"]).await;
    send(&node, &hook, "1", &pushed("main", 1)).await;
    let reason = refusal(&node, "github").await;
    assert!(
        reason.contains("is not of the node's artifact_sources, expected one of ghcr.io/acme/*"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_cannot_deploy_is_refused_when_it_is_added() {
    let node = Node::start().await;
    stable(&node).await;
    let mut set = node.command(&["secrets", "set", "KEY", "-f", "hello"]);
    command::run_with(&mut set, KEY).await.ok();
    let add = ["triggers", "add", "webhook", "hello", "--secret", "KEY", "--provider"];
    for (args, facts) in [
        (
            &["stripe", "--deploy", "oci://r.example/app:{sha}"][..],
            &["events of stripe are not about code"][..],
        ),
        (&["github", "--deploy", "oci://r.example/app:{commit}"], &["placeholder {commit} is not known"]),
        (&["github", "--deploy", "http://r.example/app"], &["does not begin with oci:// or https://"]),
        (&["github", "--deploy", "oci://r.example/app:{tag}"], &["a push says no {tag}"]),
        (
            &["github", "--deploy", "oci://r.example/app:x", "--mode", "sync"],
            &["mode is sync, expected async"],
        ),
        (&["github", "--deploy", "oci://r.example/app:x", "--credentials", "LOGIN"], &["LOGIN is not set"]),
        (&["github", "--canary=10%"], &["--canary is of a trigger that deploys"]),
    ] {
        node.cli(&[&add, args].concat()).await.refused(facts);
    }
    let watch = ["triggers", "add", "watch", "hello", "--artifact"];
    node.cli(&[&watch[..], &["oci://r.example/app"]].concat())
        .await
        .refused(&["cannot be watched, expected a tag"]);
}
