//! People who log in: `wasm-fn login` at npm's oidc-provider, a certified issuer, in a browser of the test's
//! own; and at an issuer that does not do what it should.

mod browser;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http::Method;
use serde_json::{Value, json};

use self::browser::Browser;
use crate::harness::{
    Folder, Node, Process,
    command::{Done, run},
    guests,
    issuer::{SigningKey, TestIssuer},
    programs::starts,
};

/// The folder with the issuer.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end/logging_in")
}

/// Whether the issuer can be started.
pub(crate) fn installed(test: &str) -> bool {
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", "import 'oidc-provider'"]).current_dir(folder());
    starts(&mut command, "npm's oidc-provider (see .ci/run)", test)
}

/// An issuer whose ID tokens and codes live for so many seconds, and its identifier.
pub(crate) async fn issuer(id_token_s: u32, code_s: u32) -> (Process, String) {
    let mut command = Command::new("node");
    command.arg("issuer.mjs").args([id_token_s.to_string(), code_s.to_string()]);
    let process = Process::spawn(command.current_dir(folder()).stdin(Stdio::null()).stdout(Stdio::null()));
    let named = |line: &str| line.strip_prefix("issuer is listening at ").map(str::to_owned);
    let issuer = process.line("the issuer's address", named).await;
    (process, issuer)
}

fn config(issuer: &str, login: &str) -> String {
    format!(
        "[[serve.oidc]]\nissuer = {issuer:?}\naudience = \"wasm-fn\"\n{login}\n\n[[serve.oidc.rules]]\n\
         name = \"people\"\nroles = [\"deployer\"]\nclaims = {{ groups = \"staff\" }}\n"
    )
}

const LOGIN: &str = "login = { client_id = \"wasm-fn\", scopes = [\"openid\", \"offline_access\"] }";

/// A node on which people log in at `issuer`.
pub(crate) async fn node(issuer: &str) -> Node {
    let folder = Folder::new();
    folder.write("node.toml", config(issuer, LOGIN));
    Node::start_on(folder, &["--config", "node.toml"]).await
}

/// `wasm-fn` with `args`, run by a user who has no token of the node, but is next to its data directory.
fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = node.command(args);
    command.env_remove("WASM_FN_TOKEN").env("WASM_FN_DATA_DIR", "data");
    command.env("XDG_CONFIG_HOME", config_home(node));
    command
}

fn config_home(node: &Node) -> PathBuf {
    node.folder().path().join("config")
}

async fn cli(node: &Node, args: &[&str]) -> Done {
    run(&mut command(node, args)).await
}

fn credentials(node: &Node) -> PathBuf {
    config_home(node).join("wasm-fn/credentials.json")
}

/// The stored login to `node`.
fn stored(node: &Node) -> Value {
    let text = std::fs::read_to_string(credentials(node)).expect("there is a login");
    let stored: Value = serde_json::from_str(&text).expect("it is JSON");
    stored["logins"][format!("http://{}", node.admin)].clone()
}

/// Begins to log in. Returns the command, and the address that has the code in it.
async fn begin(node: &Node) -> (tokio::task::JoinHandle<Done>, String) {
    let mut login = command(node, &["login", "-o", "json"]);
    let process = Process::spawn(login.stdout(Stdio::piped()));
    let asked = process.line("the code", |line| serde_json::from_str::<Value>(line).ok()).await;
    let address = asked["verification_uri_complete"].as_str().expect("it has the code").to_owned();
    assert_eq!(asked["server"], format!("http://{}", node.admin));
    assert!(asked["user_code"].as_str().is_some_and(|code| address.contains(code)), "{asked}");
    (tokio::spawn(process.done("login")), address)
}

/// Logs `user` in.
async fn log_in(node: &Node, user: &str) -> Done {
    let (login, address) = begin(node).await;
    Browser::default().confirm(&address, user).await;
    login.await.expect("waiting for it does not panic")
}

#[tokio::test]
async fn person_logs_in_acts_under_their_name_and_logs_out() {
    if !installed("person_logs_in_acts_under_their_name_and_logs_out") {
        return;
    }
    let (_issuer, url) = issuer(3600, 600).await;
    let node = node(&url).await;
    let offered = node.api_as(None, Method::GET, "/v1/login", None).await.ok();
    let offered: Value = serde_json::from_slice(&offered.body).expect("it is JSON");
    let scopes = ["openid", "offline_access"];
    let expected =
        json!([{ "issuer": url, "client_id": "wasm-fn", "scopes": scopes, "audience": "wasm-fn" }]);
    assert_eq!(offered["issuers"], expected);

    let done = log_in(&node, "ann").await.ok();
    let who: Value = serde_json::from_str(&done.stdout).expect("stdout is JSON");
    assert_eq!(who["token"]["name"], "people/ann");
    assert_eq!(who["token"]["rights"]["roles"], json!(["deployer"]));
    let mode = std::fs::metadata(credentials(&node)).expect("there is a login").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let login = stored(&node);
    assert!(login["refresh_token"].is_string());
    for secret in [&login["token"], &login["refresh_token"]] {
        let secret = secret.as_str().expect("it is text");
        assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{done:?}");
        assert!(!node.process().log().contains(secret));
    }

    // It counts before the data directory's token, which may do everything, and after a given one.
    let hello = guests::path("hello-v1");
    cli(&node, &["deploy", hello.to_str().expect("it is text"), "-f", "hello"]).await.ok();
    cli(&node, &["tokens", "list"]).await.refused(&["the token `people/ann` has the role deployer"]);
    let audit = node.cli_ok(&["audit", "--actor", "people/ann"]).await;
    assert!(audit.contains("deploy"), "{audit}");
    let given = run(command(&node, &["whoami"]).env("WASM_FN_TOKEN", &node.token)).await.ok();
    assert!(given.stdout.starts_with("admin has the role admin"), "{}", given.stdout);
    let elsewhere = run(command(&node, &["whoami"]).env("XDG_CONFIG_HOME", "/nonexistent")).await.ok();
    assert!(elsewhere.stdout.starts_with("admin has the role admin"), "{}", elsewhere.stdout);

    let out: Value = serde_json::from_str(&cli(&node, &["logout", "-o", "json"]).await.ok().stdout)
        .expect("stdout is JSON");
    assert_eq!((&out["logged_in"], &out["revoked"]), (&json!(true), &json!(true)));
    assert!(stored(&node).is_null());
    let admin = cli(&node, &["whoami"]).await.ok().stdout;
    assert!(admin.starts_with("admin has the role admin"), "{admin}");
    let again = cli(&node, &["logout"]).await.ok().stdout;
    assert!(again.starts_with("there was no login to http://127.0.0.1"), "{again}");
}

#[tokio::test]
async fn login_is_renewed_once_when_several_commands_run() {
    if !installed("login_is_renewed_once_when_several_commands_run") {
        return;
    }
    // Its tokens are always in the last minute of their life.
    let (issuer, url) = issuer(50, 600).await;
    let node = node(&url).await;
    log_in(&node, "ann").await.ok();
    let first = stored(&node);
    let shown = cli(&node, &["whoami"]).await.ok().stdout;
    assert!(shown.starts_with("people/ann has the role deployer"), "{shown}");
    let second = stored(&node);
    assert_ne!(first["refresh_token"], second["refresh_token"], "the issuer gives each once");

    // The issuer takes a refresh token that comes twice for a stolen one, and ends the login.
    let (a, b, c) =
        tokio::join!(cli(&node, &["whoami"]), cli(&node, &["functions"]), cli(&node, &["status"]),);
    for done in [a, b, c] {
        done.ok();
    }
    cli(&node, &["whoami"]).await.ok();

    // While the issuer is away, the token is good until its end.
    drop(issuer);
    cli(&node, &["whoami"]).await.ok();
    let mut login = stored(&node);
    let server = format!("http://{}", node.admin);
    let write = |login: &Value| {
        let file = json!({ "format": 1, "logins": { &server: login } });
        std::fs::write(credentials(&node), file.to_string()).expect("it is writable");
    };
    login["expires_ms"] = json!(1);
    write(&login);
    let away = cli(&node, &["whoami"]).await;
    away.refused(&["expired at 1970-01-01T00:00:00Z, and was not renewed", "cannot be fetched", "try again"]);
    login.as_object_mut().expect("it is an object").remove("refresh_token");
    write(&login);
    let over = cli(&node, &["whoami"]).await;
    over.refused(&["and its issuer lets nobody renew it", "run `wasm-fn login`"]);
    let out = cli(&node, &["logout"]).await.ok();
    assert!(out.stdout.starts_with("logged out of http://127.0.0.1"), "{out:?}");
}

#[tokio::test]
async fn who_is_denied_or_matches_no_rule_is_not_logged_in() {
    if !installed("who_is_denied_or_matches_no_rule_is_not_logged_in") {
        return;
    }
    let (_issuer, url) = issuer(3600, 600).await;
    let node = node(&url).await;
    let (login, address) = begin(&node).await;
    Browser::default().deny(&address).await;
    let done = login.await.expect("waiting for it does not panic");
    let problem = |done: &Done| -> Value {
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{done:?}");
        let last = done.stderr.lines().last().expect("it says why");
        serde_json::from_str(last).expect("errors are JSON")
    };
    assert_eq!(problem(&done)["code"], "login-denied");
    assert_eq!(problem(&done)["detail"], format!("the login was denied at {url}"));

    let stranger = log_in(&node, "bob").await;
    let refusal = problem(&stranger);
    assert_eq!(refusal["title"], "the node does not accept your login");
    let why = format!("no rule for {url} matches the claims of \"bob\", expected one that gives rights");
    assert_eq!(refusal["detail"], why);
    assert!(!credentials(&node).exists());
}

#[tokio::test]
async fn nobody_waits_for_a_code_that_has_expired() {
    if !installed("nobody_waits_for_a_code_that_has_expired") {
        return;
    }
    let (_issuer, url) = issuer(3600, 2).await;
    let node = node(&url).await;
    let done = cli(&node, &["login"]).await;
    done.refused(&[
        "was not confirmed at http://127.0.0.1",
        "before it expired",
        "run `wasm-fn login` again",
    ]);
    for said in ["To log in to http://127.0.0.1", "/device\nand enter the code\n    ", "compare the code:\n"]
    {
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
}

#[tokio::test]
async fn login_that_cannot_begin_says_why() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let node = node(&issuer.url).await;
    let login = async |facts: &[&str]| cli(&node, &["login"]).await.refused(facts);
    login(&[&issuer.url, "has no device authorization endpoint", "RFC 8628"]).await;
    cli(&node, &["login", "--issuer", "https://id.example.com"])
        .await
        .refused(&["does not offer login at \"https://id.example.com\", expected http://127.0.0.1"]);

    let place = |path: &str| format!("{}/{path}", issuer.url);
    issuer.discovery(&json!({
        "issuer": issuer.url, "jwks_uri": place("keys"), "token_endpoint": place("token"),
        "device_authorization_endpoint": place("device"),
    }));
    issuer.endpoint("/device", 200, "<html>");
    login(&["/device is not as expected"]).await;
    issuer.endpoint("/device", 200, " ".repeat(300 << 10));
    login(&["/device has more than 262144 bytes"]).await;
    issuer.endpoint("/device", 401, json!({ "error": "invalid_client" }));
    login(&["refuses with \"invalid_client\"", "a public client"]).await;
    let code = json!({
        "device_code": "d", "user_code": "A", "verification_uri": place("v"), "expires_in": 60, "interval": 1,
    });
    issuer.endpoint("/device", 200, code);
    let opaque = json!({ "access_token": "opaque", "id_token": key.sign(&issuer.claims("ann")) });
    issuer.endpoint("/token", 200, opaque);
    login(&["an ID token for the audience \"node\" and an access token that is no JSON Web Token"]).await;

    let path = credentials(&node);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is writable");
    std::fs::write(&path, "{}").expect("the folder is writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let exposed = "credentials.json has mode 0644, expected 0600: others may have read it";
    login(&[exposed]).await;
    cli(&node, &["status"]).await.refused(&[exposed]);
    std::fs::remove_file(&path).expect("it is ours");

    drop(issuer);
    login(&["cannot be fetched"]).await;
    let folder = Folder::new();
    folder.write("node.toml", config("https://id.example.com", ""));
    let closed = Node::start_on(folder, &["--config", "node.toml"]).await;
    cli(&closed, &["login"]).await.refused(&[
        "no issuer that http://127.0.0.1",
        "offers login",
        "add `login`",
    ]);
}
