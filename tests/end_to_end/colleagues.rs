//! What a colleague, a CI job and an auditor with tokens of their own can do, by the commands that they type.

use serde_json::json;

use crate::harness::{
    Folder, Node,
    command::{Done, run},
    guests,
};

/// Runs a command with `token`.
async fn as_token(node: &Node, token: &str, args: &[&str]) -> Done {
    run(node.command(args).env("WASM_FN_TOKEN", token)).await
}

async fn token(node: &Node, args: &[&str]) -> String {
    let token = node.cli_ok(&[&["tokens", "create"], args].concat()).await;
    assert_eq!(token.lines().count(), 1, "stdout is the token and nothing else: {token}");
    token.trim().to_owned()
}

fn file(guest: &str) -> String {
    guests::path(guest).to_str().expect("the path is text").to_owned()
}

#[tokio::test]
async fn a_ci_job_deploys_to_staging_and_a_releaser_takes_it_live() {
    let node = Node::start().await;
    let (v1, v2) = (file("hello-v1"), file("hello-v2"));
    node.cli_ok(&["deploy", &v1, "-f", "hello"]).await;
    let ci = token(&node, &["ci", "--role", "deployer", "-f", "hel*", "-s", "staging", "--ttl", "1h"]).await;
    let ann = token(&node, &["ann", "--role", "releaser"]).await;

    as_token(&node, &ci, &["deploy", &v2, "-f", "hello", "-s", "staging"]).await.ok();
    let refused = as_token(&node, &ci, &["deploy", &v2, "-f", "hello"]).await;
    refused.refused(&[
        "`ci` is for function `hel*` in stage `staging`, expected one for stage `live` of `hello`",
    ]);
    let refused = as_token(&node, &ci, &["promote-stage", "hello", "staging", "live"]).await;
    let facts = ["`hello` has no traffic in stage `live`", "`ci` is for function `hel*` in stage `staging`"];
    refused.refused(&facts);
    let refused = as_token(&node, &ci, &["deploy", &v2, "-f", "other", "-s", "staging"]).await;
    refused.refused(&["`ci` is for function `hel*` in stage `staging`, expected one for `other`"]);
    // What it may not see is told like what does not exist.
    for name in ["other", "others"] {
        if name == "other" {
            node.cli_ok(&["deploy", &v1, "-f", name]).await;
        }
        let hidden = as_token(&node, &ci, &["status", name]).await;
        let cause = format!("there is no function `{name}`");
        hidden.refused(&[&cause, "the token `ci` is for function `hel*` in stage `staging`"]);
    }
    let shown = as_token(&node, &ci, &["whoami"]).await.ok().stdout;
    assert!(shown.contains(" deploy,") && !shown.contains("read-audit"), "it may read no audit log: {shown}");
    let refused = as_token(&node, &ci, &["traffic", "hello", "-s", "staging", "v1=100%"]).await;
    refused.refused(&["`ci` has the role deployer", "`move-traffic`: releaser, admin"]);
    as_token(&node, &ci, &["logs", "hello", "-s", "live"]).await.refused(&["`live`"]);
    let shown = as_token(&node, &ci, &["status", "hello", "-o", "json"]).await.ok().stdout;
    assert!(shown.contains("staging") && !shown.contains("\"live\""), "other stages are hidden: {shown}");

    // The same version, by its number, without an upload.
    let promoted = as_token(&node, &ann, &["promote-stage", "hello", "staging", "live"]).await.ok();
    assert!(promoted.stdout.contains("v2") && !promoted.stderr.contains("uploading"), "{promoted:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
    as_token(&node, &ann, &["rollback", "hello"]).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    as_token(&node, &ann, &["deploy", &v1, "-f", "new"]).await.refused(&["upload-components"]);
}

#[tokio::test]
async fn a_stage_is_promoted_by_its_own_strategy() {
    let node = Node::start().await;
    let (v1, v2) = (file("hello-v1"), file("hello-v2"));
    let config = format!(
        "[function.hello]\ncomponent = {v2:?}\n\n[function.hello.rollout]\nstrategy = \"all-at-once\"\n\n\
         [function.hello.stage.live.rollout]\nstrategy = \"canary\"\nsteps = [\"20%\"]\nstep_min = \"1h\"\n"
    );
    node.cli_ok(&["deploy", &v1, "-f", "hello"]).await;
    node.cli_ok(&["deploy", &v1, "-f", "hello", "-s", "staging"]).await;
    node.folder().write("wasm-fn.toml", config);
    node.cli_ok(&["deploy", "-s", "staging"]).await;
    let staging = node.cli_json(&["promote-stage", "hello", "staging", "live"]).await;
    assert_eq!(
        staging["split"],
        json!([{ "version": "v2", "weight": "20%" }, { "version": "v1", "weight": "80%" }])
    );
    let again = node.cli_json(&["promote-stage", "hello", "staging", "live"]).await;
    assert_eq!(again["unchanged"], true, "the same promotion twice is one");
    node.cli(&["promote-stage", "hello", "nowhere", "live"])
        .await
        .refused(&["no traffic in stage `nowhere`"]);
}

#[tokio::test]
async fn a_token_ends_when_it_is_rotated_or_revoked_and_the_audit_tells_it() {
    let folder = Folder::new();
    let node = Node::start_on(folder, &[]).await;
    node.cli_ok(&["deploy", &file("hello-v1"), "-f", "hello"]).await;
    let old = token(&node, &["auditor", "--role", "viewer", "-m", "for the yearly look"]).await;
    let shown = as_token(&node, &old, &["tokens", "show"]).await.ok().stdout;
    assert!(shown.contains("auditor has the role viewer for everything"), "{shown}");
    let new = node.cli_ok(&["tokens", "rotate", "auditor"]).await;
    as_token(&node, &old, &["functions"]).await.refused(&["no token of this node has this secret"]);
    as_token(&node, new.trim(), &["functions"]).await.ok();
    as_token(&node, new.trim(), &["tokens", "list"]).await.refused(&["`manage-tokens`: admin"]);
    as_token(&node, &new.trim()[..40], &["functions"]).await.refused(&["not complete"]);

    let head = as_token(&node, new.trim(), &["audit", "head"]).await.ok().stdout;
    node.cli_ok(&["tokens", "revoke", "auditor", "-m", "done"]).await;
    as_token(&node, new.trim(), &["functions"]).await.refused(&["token"]);
    let audit = node.cli_ok(&["audit"]).await;
    for fact in
        ["create-token", "token auditor", "for the yearly look", "rotate-token", "revoke-token", "deploy"]
    {
        assert!(audit.contains(fact), "{fact}: {audit}");
    }
    assert!(audit.contains("wrong token") || audit.contains("manage-tokens"), "refusals are there: {audit}");
    let by_admin = node.cli_ok(&["audit", "--actor", "admin", "--function", "hello", "--since", "1h"]).await;
    assert_eq!(by_admin.lines().count(), 2, "the header and one deployment: {by_admin}");
    node.cli_ok(&["audit", "verify", "--head", head.trim()]).await;
    let (revision, hash) = head.trim().split_once(':').expect("a revision and a hash");
    let forged = format!("{revision}:{}", hash.chars().rev().collect::<String>());
    node.cli(&["audit", "verify", "--head", &forged]).await.refused(&["another hash than was noted"]);
    node.cli(&["audit", "verify", "--head", &format!("999:{hash}")])
        .await
        .refused(&["expected an entry 999"]);
}

#[tokio::test]
async fn rotated_admin_token_is_in_the_data_directory_and_survives_a_restart() {
    let node = Node::start().await;
    let old = node.token.clone();
    let new = node.cli_ok(&["tokens", "rotate"]).await;
    as_token(&node, &old, &["functions"]).await.refused(&["no token of this node"]);
    let folder = node.kill().await;
    let node = Node::start_on(folder, &[]).await;
    assert_eq!(node.token, new.trim());
    node.cli_ok(&["functions"]).await;
    let facts = ["cannot be revoked", "run `wasm-fn tokens rotate`"];
    node.cli(&["tokens", "revoke", "admin"]).await.refused(&facts);
    as_token(&node, &old, &["functions"]).await.refused(&["no token of this node"]);
}

#[tokio::test]
async fn tokens_survive_the_death_of_the_node_and_revoked_ones_stay_dead() {
    let node = Node::start().await;
    let kept = token(&node, &["kept", "--role", "viewer"]).await;
    let gone = token(&node, &["gone", "--role", "viewer"]).await;
    node.cli_ok(&["tokens", "revoke", "gone"]).await;
    let folder = node.kill().await;
    let node = Node::start_on(folder, &[]).await;
    as_token(&node, &kept, &["functions"]).await.ok();
    as_token(&node, &gone, &["functions"]).await.refused(&["no token of this node"]);
}

#[tokio::test]
async fn malformed_rights_are_refused_by_name() {
    let node = Node::start().await;
    let refused = async |args: &[&str], code, fact: &str| {
        let done = node.cli(&[&["tokens", "create"], args].concat()).await;
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.stderr.contains(fact), "{done:?}");
    };
    refused(&["a", "--role", "owner"], 64, "role \"owner\", expected viewer, deployer, releaser or admin")
        .await;
    refused(&["a", "--role", "viewer", "-f", "*x"], 64, "expected it at the end only, as in `shop-*`").await;
    refused(&["a"], 64, "--role").await;
    refused(&["admin", "--role", "viewer"], 1, "the name `admin` belongs to the node").await;
    refused(&["a", "--role", "viewer", "--ttl", "0s"], 1, "would expire at once").await;
    // Patterns and stages that match nothing yet are no error: functions may come.
    node.cli_ok(&["deploy", &file("hello-v1"), "-f", "hello"]).await;
    let args = ["tokens", "create", "a", "--role", "viewer", "-f", "nobody-*", "-f", "hel*", "-s", "nowhere"];
    let created = node.cli(&args).await.ok().stderr;
    for note in
        ["note: no function is called nobody-* so far", "note: no function has the stage nowhere so far"]
    {
        assert!(created.contains(note), "{created}");
    }
    assert!(!created.contains("hel* so far"), "{created}");
    refused(&["a", "--role", "viewer"], 1, "there is already a token `a`").await;
}
