//! Protected stages: who releases to them, and whom others have to approve.

use std::process::Command;

use crate::harness::{
    Folder, Node,
    command::{Done, run},
    guests, serve,
};

/// `live` is protected and asks for two approvals, `qa` is protected without.
const RULES: &str = "[stage.live]\nprotected = true\napprovers = 2\n\n[stage.qa]\nprotected = true\n";

struct People {
    node: Node,
    ci: String,
    ann: String,
    bob: String,
}

fn file(guest: &str) -> String {
    guests::path(guest).to_str().expect("the path is text").to_owned()
}

impl People {
    async fn gather(rules: &str) -> Self {
        let folder = Folder::new();
        folder.write("node.toml", rules);
        let node = Node::start_as(&mut Self::serve(&folder), folder.clone()).await;
        let ci = Self::token(&node, "ci", "deployer").await;
        let ann = Self::token(&node, "ann", "releaser").await;
        let bob = Self::token(&node, "bob", "releaser").await;
        Self { node, ci, ann, bob }
    }

    fn serve(folder: &Folder) -> Command {
        serve(folder, &["--config", "node.toml"])
    }

    async fn token(node: &Node, name: &str, role: &str) -> String {
        node.cli_ok(&["tokens", "create", name, "--role", role]).await.trim().to_owned()
    }

    async fn by(&self, token: &str, args: &[&str]) -> Done {
        run(self.node.command(args).env("WASM_FN_TOKEN", token)).await
    }

    async fn deploy(&self, token: &str, guest: &str, more: &[&str]) -> Done {
        self.by(token, &[&["deploy", &file(guest), "-f", "hello"], more].concat()).await
    }

    async fn answers(&self) -> String {
        let answer = self.node.http.get("/hello").await;
        if answer.status == 404 { "nobody".to_owned() } else { answer.ok().version().to_owned() }
    }
}

#[tokio::test]
async fn release_begins_with_the_last_approval_and_not_before() {
    let people = People::gather(RULES).await;
    let waits = people.deploy(&people.ci, "hello-v1", &["-m", "first"]).await.ok();
    assert_eq!(waits.stdout.trim(), "hello v1 waits for 2 approvals");
    assert_eq!(people.answers().await, "nobody");
    let again = people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    assert!(again.stdout.contains("waits for 2 approvals"), "the same deployment asks only once: {again:?}");

    people.by(&people.ci, &["approve", "hello"]).await.refused(&["`ci` has the role deployer", "approve"]);
    let first = people.by(&people.ann, &["approve", "hello", "-m", "looks right"]).await.ok();
    assert!(first.stderr.contains("proposed by ci: first"), "what is approved is shown: {first:?}");
    assert_eq!(first.stdout.trim(), "hello v1 needs one more approval for stage live");
    people.by(&people.ann, &["approve", "hello"]).await.refused(&["`ann` has approved the release already"]);
    assert_eq!(people.answers().await, "nobody");
    let status = people.node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("1 of 2 approvals (by ann)"), "{status}");
    people.by(&people.bob, &["approve", "hello"]).await.ok();
    assert_eq!(people.answers().await, "v1");
    people.by(&people.bob, &["approve", "hello"]).await.refused(&["no release of `hello` waits"]);

    let history = people.node.cli_ok(&["history", "hello"]).await;
    for fact in ["propose", "approve", "looks right", "ann", "bob", "ci"] {
        assert!(history.contains(fact), "{fact}: {history}");
    }
}

#[tokio::test]
async fn nobody_gets_around_the_approval_and_going_back_waits_for_nobody() {
    let people = People::gather(RULES).await;
    let approved = async || {
        people.by(&people.bob, &["approve", "hello"]).await.ok();
        people.node.cli_ok(&["approve", "hello"]).await;
    };
    people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    approved().await;
    // The author is a releaser here, whose own approval does not count.
    let ann = people.node.cli_ok(&["tokens", "create", "eve", "--role", "deployer,releaser"]).await;
    let eve = ann.trim();
    people.deploy(eve, "hello-v2", &["--canary=50%", "--step-min", "1h"]).await.ok();
    people.by(eve, &["approve", "hello"]).await.refused(&["`eve` proposed the release"]);
    people.by(eve, &["traffic", "hello", "v2=100%"]).await.refused(&["v2 of `hello` is not approved"]);
    people.by(eve, &["rollback", "hello", "--to", "v2"]).await.refused(&["v2 of `hello` is not approved"]);
    people.by(eve, &["promote", "hello", "--full"]).await.refused(&["rollout"]);
    // Another deployment asks again, from the beginning.
    people.by(&people.bob, &["approve", "hello"]).await.ok();
    people.deploy(eve, "hello-v2", &["--canary=10%", "--step-min", "1h"]).await.ok();
    let status = people.node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("0 of 2 approvals"), "{status}");
    approved().await;
    people.by(&people.bob, &["promote", "hello", "--full"]).await.refused(&["v2 of `hello` is not approved"]);
    people.by(&people.bob, &["pause", "hello"]).await.ok();
    people.by(&people.bob, &["abort", "hello"]).await.ok();
    assert_eq!(people.answers().await, "v1");
}

#[tokio::test]
async fn approval_of_a_revoked_token_does_not_count_and_a_rejected_release_is_gone() {
    let people = People::gather(RULES).await;
    people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    people.by(&people.ann, &["approve", "hello"]).await.ok();
    people.node.cli_ok(&["tokens", "revoke", "ann"]).await;
    let second = people.by(&people.bob, &["approve", "hello"]).await.ok();
    assert_eq!(people.answers().await, "nobody", "{second:?}");
    assert_eq!(second.stdout.trim(), "hello v1 needs one more approval for stage live");
    let status = people.node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("1 of 2 approvals (by bob)"), "{status}");
    // Whoever gets a token of that name next has not approved anything, and neither has the one who rotates.
    let ann = People::token(&people.node, "ann", "viewer").await;
    people.node.cli_ok(&["tokens", "rotate", "bob"]).await;
    let status = people.by(&ann, &["status", "hello"]).await.ok().stdout;
    assert!(status.contains("0 of 2 approvals"), "{status}");
    people.node.cli_ok(&["reject", "hello", "-m", "not today"]).await;
    people.node.cli(&["approve", "hello"]).await.refused(&["no release of `hello` waits"]);
    let versions = people.node.cli_ok(&["versions", "hello"]).await;
    assert!(versions.contains("v1"), "the version stays: {versions}");
}

#[tokio::test]
async fn release_that_nobody_approved_in_time_needs_another_deployment() {
    let people = People::gather("[stage.live]\nprotected = true\napprovers = 1\nexpires = \"1ms\"\n").await;
    people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    let status = people.node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("0 of 1 approvals, its time is over"), "{status}");
    let late = people.by(&people.ann, &["approve", "hello"]).await;
    late.refused(&["the time to approve the release is over, expected another deployment"]);
    assert_eq!(people.answers().await, "nobody");
    let before = people.node.revision().await;
    people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    assert!(people.node.revision().await > before, "the same deployment asks again");
}

#[tokio::test]
async fn proposal_survives_the_death_of_the_node() {
    let people = People::gather(RULES).await;
    people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    people.by(&people.ann, &["approve", "hello"]).await.ok();
    let People { node, bob, .. } = people;
    let folder = node.kill().await;
    let node = Node::start_as(&mut People::serve(&folder), folder.clone()).await;
    run(node.command(&["approve", "hello"]).env("WASM_FN_TOKEN", bob)).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    node.cli_ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn deployment_that_waits_for_its_release_waits_for_the_approval_first() {
    let people = People::gather("[stage.live]\nprotected = true\napprovers = 1\n").await;
    let waiting = people.deploy(&people.ci, "hello-v1", &["--wait", "--timeout", "50s"]);
    let approving = async { while people.by(&people.ann, &["approve", "hello"]).await.code != Some(0) {} };
    let (waited, ()) = tokio::join!(waiting, approving);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let late = people.deploy(&people.ci, "hello-v2", &["--wait", "--timeout", "1ms"]).await;
    assert_eq!(late.code, Some(3), "{late:?}");
}

#[tokio::test]
async fn version_without_traffic_is_released_by_what_is_printed() {
    let people = People::gather(RULES).await;
    let printed = |done: &Done| {
        let (_, command) = done.stderr.split_once("wasm-fn deploy ").expect("a command is printed");
        command.split("  ").next().expect("a text has a first part").trim().to_owned()
    };
    let quiet = people.deploy(&people.ci, "hello-v1", &["--no-traffic"]).await.ok();
    assert!(!quiet.stderr.contains("wasm-fn traffic"), "it would be refused: {quiet:?}");
    assert_eq!(printed(&quiet), format!("{} -f hello", file("hello-v1")));
    let proposed = people.deploy(&people.ci, "hello-v1", &[]).await.ok();
    assert_eq!(proposed.stdout.trim(), "hello v1 waits for 2 approvals");
    people.by(&people.ann, &["approve", "hello"]).await.ok();
    people.by(&people.bob, &["approve", "hello"]).await.ok();
    assert_eq!(people.answers().await, "v1");
    // Who had traffic may have it again, without asking.
    let known = people.deploy(&people.ci, "hello-v1", &["-s", "qa", "--no-traffic"]).await.ok();
    assert!(known.stderr.contains("wasm-fn traffic hello -s qa v1=100%"), "{known:?}");
}

#[tokio::test]
async fn protected_stage_without_approvers_is_for_releasers() {
    let people = People::gather(RULES).await;
    let on = ["-s", "qa"];
    people.deploy(&people.ci, "hello-v1", &on).await.refused(&["stage `qa` is protected", "--no-traffic"]);
    people.deploy(&people.ci, "hello-v1", &["-s", "qa", "--no-traffic"]).await.ok();
    people.by(&people.ann, &["traffic", "hello", "-s", "qa", "v1=100%"]).await.ok();
    assert_eq!(people.node.http.get("/hello@qa").await.ok().version(), "v1");
}

#[tokio::test]
async fn rules_that_cannot_hold_are_refused() {
    for (rules, fact) in [
        ("[stage.live]\napprovers = 2\n", "expected `protected = true`"),
        ("[stage.live]\nprotected = true\napprovers = 101\n", "expected at most 100"),
        ("[stage.live]\nprotected = true\nexpires = \"0s\"\n", "expires: found less than 1ms"),
        ("[stage.Live]\nprotected = true\n", "stage name \"Live\""),
        ("[stage.live]\nprotect = true\n", "unknown field `protect`"),
    ] {
        let folder = Folder::new();
        folder.write("node.toml", rules);
        run(&mut People::serve(&folder)).await.refused(&["node.toml", fact]);
    }
}
