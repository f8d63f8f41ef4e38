//! A node that is killed at random points of its work on access, approvals and secrets: afterwards, what was
//! acknowledged is there, what was revoked never works again, what was set together is there together, and
//! every secret can be opened.
//!
//! `WASM_FN_TEST_KILLS` sets how many kills; the seed is printed and can be set as `WASM_FN_TEST_SEED`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::Method;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{Folder, Node, client::Answer, serve};

/// Kills of an ordinary run.
const KILLS: u32 = 12;

/// A secret of a function in a stage that is not protected.
const SECRET: &str = "/v1/functions/vault/stages/staging/secrets/API_KEY";

/// Secrets that are always set together, at the same place.
const PAIR: &str = "/v1/functions/vault/stages/staging/secrets";

/// Longest time from the node's readiness to its death.
const LIFE_MAX_US: u64 = 1_000_000;

/// What is known of the tokens that were asked for.
#[derive(Default)]
struct Known {
    /// Secrets that are valid, by the name of the token.
    valid: BTreeMap<String, String>,
    /// Secrets that were revoked or rotated, and acknowledged as that.
    gone: BTreeSet<String>,
    /// Secrets of which nobody knows, because the node died before it answered.
    unknown: BTreeSet<String>,
    /// Versions of `hello` that were acknowledged.
    versions: BTreeSet<String>,
    /// The value of the secret that was acknowledged last.
    secret: Option<String>,
    /// Values after it of which nobody knows.
    later: BTreeSet<String>,
    /// The token by which releases are approved.
    approver: Option<String>,
    /// The version that was approved last, as far as that was acknowledged.
    live: Option<String>,
    /// Versions whose approval nobody knows of.
    perhaps_live: BTreeSet<String>,
    /// How often the pair of secrets was set at least.
    pairs: u64,
    /// How often a release was approved.
    approvals: u32,
    /// Names that may be taken.
    made: u32,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn call(node: &Node, method: Method, path: &str, body: Value) -> Answer {
    node.api_as(Some(&node.token), method, path, Some(&body)).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("the API answers JSON")
}

/// The id and the version of the release of `hello` that waits for an approval.
async fn waiting(node: &Node) -> Option<(u64, String)> {
    let answer = call(node, Method::GET, "/v1/functions/hello", json!({})).await;
    let waits = if answer.status == 200 { json_of(&answer)["proposals"][0].clone() } else { Value::Null };
    Some((waits["id"].as_u64()?, waits["version"].as_str()?.to_owned()))
}

/// One random command. What it changes is unknown while it is under way.
async fn step(node: &Node, known: &mut Known, random: &mut StdRng, component: &str) {
    let names: Vec<_> = known.valid.keys().cloned().collect();
    let name = (!names.is_empty()).then(|| names[random.random_range(0..names.len())].clone());
    match (random.random_range(0..9), name) {
        (0, Some(name)) => {
            let secret = known.valid.remove(&name).expect("it was just found");
            known.unknown.insert(secret.clone());
            let answer = call(node, Method::DELETE, &format!("/v1/tokens/{name}"), json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            known.unknown.remove(&secret);
            known.gone.insert(secret);
        }
        (1, Some(name)) => {
            let secret = known.valid.remove(&name).expect("it was just found");
            known.unknown.insert(secret.clone());
            let answer = call(node, Method::POST, &format!("/v1/tokens/{name}/rotate"), json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            known.unknown.remove(&secret);
            known.gone.insert(secret);
            let new = json_of(&answer)["secret"].as_str().expect("a secret").to_owned();
            known.valid.insert(name, new);
        }
        (2, _) => {
            // Each is another version, which waits for one approval.
            known.made += 1;
            let config = json!({ "env": { "N": known.made.to_string() } });
            let body = json!({
                "component": component,
                "config": config,
                "strategy": { "name": "all-at-once" },
                "allow_new": true,
                "replace": true,
            });
            let answer = call(node, Method::POST, "/v1/functions/hello/deployments", body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let result = json_of(&answer);
            known.versions.insert(result["version"].as_str().expect("a version").to_owned());
        }
        (5, _) => {
            known.made += 1;
            let value = format!("value {}", known.made);
            known.later.insert(value.clone());
            let body = value.clone().into_bytes();
            let answer = node.api_send(Method::PUT, SECRET, "application/octet-stream", body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            known.later.clear();
            known.secret = Some(value);
        }
        (6, _) => {
            let answer = call(node, Method::POST, "/v1/secrets/rotate-key", json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        (7, _) => {
            let Some((id, version)) = waiting(node).await else { return };
            let approver = known.approver.clone().expect("it was made first");
            known.perhaps_live.insert(version.clone());
            let path = "/v1/functions/hello/approve";
            let body = json!({ "proposal": id });
            let answer = node.api_as(Some(&approver), Method::POST, path, Some(&body)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            known.perhaps_live.clear();
            known.live = Some(version);
            known.approvals += 1;
        }
        (8, _) => {
            known.made += 1;
            let body = json!({ "values": { "PAIR_A": "aHVudGVyMg==", "PAIR_B": "aHVudGVyMg==" } });
            let answer = call(node, Method::POST, PAIR, body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            known.pairs += 1;
        }
        (3, _) => {
            let Some((id, _)) = waiting(node).await else { return };
            let reject = json!({ "proposal": id });
            let answer = call(node, Method::POST, "/v1/functions/hello/reject", reject).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        _ => {
            known.made += 1;
            let name = format!("t{}", known.made);
            let rights = json!({ "roles": ["viewer"] });
            let answer =
                call(node, Method::POST, "/v1/tokens", json!({ "name": name, "rights": rights })).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let secret = json_of(&answer)["secret"].as_str().expect("a secret").to_owned();
            known.valid.insert(name, secret);
        }
    }
}

async fn check(node: &Node, known: &mut Known) {
    let accepted = async |secret: &String| {
        let answer = node.api_as(Some(secret), Method::GET, "/v1/caller", None).await;
        answer.status == 200
    };
    for (name, secret) in &known.valid {
        assert!(accepted(secret).await, "{name} was created and is not known any more");
    }
    for secret in known.gone.iter().rev().take(8) {
        assert!(!accepted(secret).await, "a token that was revoked works again");
    }
    // From now on it is known what became of these.
    for secret in std::mem::take(&mut known.unknown) {
        if !accepted(&secret).await {
            known.gone.insert(secret);
        }
    }
    let listed = node.api_as(Some(&node.token), Method::GET, "/v1/functions/hello/versions", None).await;
    let listed = if listed.status == 200 { json_of(&listed)["versions"].take() } else { json!([]) };
    let found = listed.as_array().expect("a list").iter();
    let found: BTreeSet<_> =
        found.map(|version| version["version"].as_str().unwrap_or_default().to_owned()).collect();
    // A function keeps the newest versions that are not used.
    for version in known.versions.iter().filter(|version| !found.contains(*version)) {
        assert!(found.len() >= 50, "{version} was deployed and is not known any more: {found:?}");
    }
    check_approvals(node, known).await;
    let pair = json_of(&call(node, Method::GET, PAIR, json!({})).await);
    let revision = |name: &str| {
        let found = pair["secrets"].as_array().expect("a list").iter().find(|secret| secret["name"] == name);
        found.map_or(0, |secret| secret["revision"].as_u64().expect("a number"))
    };
    assert_eq!(revision("PAIR_A"), revision("PAIR_B"), "one of two was set: {pair}");
    assert!(revision("PAIR_A") >= known.pairs, "{} times, {pair}", known.pairs);
    node.cli_ok(&["audit", "verify"]).await;
}

/// Checks that the version that was approved last is stable.
async fn check_approvals(node: &Node, known: &mut Known) {
    let answer = call(node, Method::GET, "/v1/functions/hello", json!({})).await;
    let status = if answer.status == 200 { json_of(&answer) } else { Value::Null };
    let live = status["stages"].as_array().into_iter().flatten().find(|stage| stage["stage"] == "live");
    let stable = live.and_then(|live| live["stable"].as_str()).map(str::to_owned);
    assert!(
        stable == known.live || stable.as_ref().is_some_and(|stable| known.perhaps_live.contains(stable)),
        "{stable:?} is neither {:?} nor one of {:?}: {status}",
        known.live,
        known.perhaps_live
    );
    // From now on it is known.
    known.live = stable;
    known.perhaps_live.clear();
}

/// Gives the secret to a function, which tells it.
async fn check_secret(node: &Node, known: &Known) {
    let Some(secret) = &known.secret else { return };
    let component = node.upload(crate::harness::guests::bytes("secrets")).await;
    let body = json!({
        "component": component,
        "config": { "secrets": ["API_KEY"] },
        "stage": "staging",
        "strategy": { "name": "all-at-once" },
        "allow_new": true,
    });
    let answer = call(node, Method::POST, "/v1/functions/vault/deployments", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = node.http.get("/vault@staging/get/API_KEY").await.ok().text();
    assert!(told == *secret || known.later.contains(&told), "{told:?} is neither {secret:?} nor later");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_revoked_returns() {
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    let kills = setting("WASM_FN_TEST_KILLS", u64::from(KILLS));
    println!("WASM_FN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut folder = Folder::new();
    folder.write("node.toml", "[stage.live]\nprotected = true\napprovers = 1\n");
    let mut known = Known::default();
    for _ in 0..kills {
        let mut command = serve(&folder, &["--config", "node.toml"]);
        let node = Node::start_as(&mut command, folder.clone()).await;
        check(&node, &mut known).await;
        if known.approver.is_none() {
            let token = json!({ "name": "approver", "rights": { "roles": ["releaser"] } });
            let answer = call(&node, Method::POST, "/v1/tokens", token).await;
            known.approver = json_of(&answer)["secret"].as_str().map(str::to_owned);
        }
        // A start removes components that no version uses.
        let component = node.upload(crate::harness::guests::bytes("hello-v1")).await;
        let life = Duration::from_micros(random.random_range(0..LIFE_MAX_US));
        let mut work = StdRng::seed_from_u64(random.random());
        let working = async {
            loop {
                step(&node, &mut known, &mut work, &component).await;
            }
        };
        // The moment of its death is what this test draws; nothing waits for it.
        let _ = tokio::time::timeout(life, working).await;
        folder = node.kill().await;
    }
    let mut command = serve(&folder, &["--config", "node.toml"]);
    let node = Node::start_as(&mut command, folder.clone()).await;
    check(&node, &mut known).await;
    check_secret(&node, &known).await;
    println!(
        "{} valid, {} gone, {} versions, {} approvals, {} pairs",
        known.valid.len(),
        known.gone.len(),
        known.versions.len(),
        known.approvals,
        known.pairs
    );
    assert!(known.made > 0, "something was done before the node died");
}
