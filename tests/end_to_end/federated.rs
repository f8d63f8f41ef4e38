//! CI jobs, people and services without a token of the node: tokens of an issuer, and certificates.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Folder, Node, Process,
    client::Client,
    command::{Done, run},
    guests,
    issuer::{SigningKey, TestIssuer, b64, now_s},
    programs::starts,
    tls::{Authority, parameters},
};

fn config(issuer: &str) -> String {
    format!(
        "[[serve.oidc]]\nissuer = {issuer:?}\naudience = \"node\"\n\n\
         [[serve.oidc.rules]]\nname = \"github-shop\"\nroles = [\"deployer\"]\nfunctions = [\"shop-*\"]\n\
         stages = [\"live\"]\nclaims = {{ repository_id = \"123\", ref = \"refs/heads/main\" }}\n\n\
         [[serve.oidc.rules]]\nname = \"people\"\nroles = [\"viewer\"]\nclaims = {{ groups = \"staff\" }}\n"
    )
}

/// A node that trusts `issuer`.
async fn node(issuer: &str) -> Node {
    let folder = Folder::new();
    folder.write("node.toml", config(issuer));
    Node::start_on(folder, &["--config", "node.toml"]).await
}

async fn as_token(node: &Node, token: &str, args: &[&str]) -> Done {
    run(node.command(args).env("WASM_FN_TOKEN", token)).await
}

fn file(guest: &str) -> String {
    guests::path(guest).to_str().expect("the path is text").to_owned()
}

/// What GitHub says of a job of the shop's main branch.
fn job(issuer: &TestIssuer) -> Value {
    let mut claims = issuer.claims("repo:org/shop:ref:refs/heads/main");
    claims["repository_id"] = json!("123");
    claims["ref"] = json!("refs/heads/main");
    claims
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn ci_job_deploys_to_its_stage_and_nowhere_else() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let node = node(&issuer.url).await;
    let (ci, v1) = (key.sign(&job(&issuer)), file("hello-v1"));
    as_token(&node, &ci, &["deploy", &v1, "-f", "shop-cart"]).await.ok();
    assert_eq!(node.http.get("/shop-cart").await.ok().version(), "v1");
    let who =
        "the token `github-shop/repo:org/shop:ref:refs/heads/main` is for function `shop-*` in stage `live`";
    as_token(&node, &ci, &["deploy", &v1, "-f", "bank"]).await.refused(&[who, "expected one for `bank`"]);
    as_token(&node, &ci, &["deploy", &v1, "-f", "shop-cart", "-s", "staging"])
        .await
        .refused(&[who, "expected one for stage `staging` of `shop-cart`"]);
    as_token(&node, &ci, &["rollback", "shop-cart"]).await.refused(&["has the role deployer"]);
    as_token(&node, &ci, &["tokens", "list"]).await.refused(&["`manage-tokens`: admin"]);
    let shown = as_token(&node, &ci, &["tokens", "show"]).await.ok().stdout;
    assert!(shown.contains("github-shop/repo:org/shop:ref:refs/heads/main has the role deployer"), "{shown}");

    let branch = key.sign(&with(job(&issuer), "ref", json!("refs/heads/feature")));
    as_token(&node, &branch, &["functions"]).await.refused(&["no rule for http://127.0.0.1"]);
    let ann = key.sign(&with(issuer.claims("ann"), "groups", json!(["dev", "staff"])));
    as_token(&node, &ann, &["functions"]).await.ok();
    as_token(&node, &ann, &["deploy", &v1, "-f", "shop-cart"]).await.refused(&["`upload-components`"]);

    let who = "github-shop/repo:org/shop:ref:refs/heads/main";
    let audit = node.cli_ok(&["audit", "--actor", who, "-o", "json"]).await;
    let deployed: Value = audit
        .lines()
        .find_map(|line| {
            let entry: Value = serde_json::from_str(line).expect("a line is JSON");
            (entry["action"] == "deploy").then_some(entry)
        })
        .unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(deployed["actor"], who);
    assert!(deployed["origin"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{audit}");
}

#[tokio::test]
async fn wrong_tokens_are_refused_counted_and_never_repeated() {
    let (key, other) = (SigningKey::es256("a"), SigningKey::es256("a"));
    let issuer = TestIssuer::start(&[&key]).await;
    let node = node(&issuer.url).await;
    let (now, claims) = (now_s(), job(&issuer));
    let unsigned = format!("{}.{}.", b64("{\"alg\":\"none\"}"), b64(claims.to_string()));
    let table = [
        (key.sign(&with(claims.clone(), "aud", json!("other"))), "audience \"other\", expected \"node\""),
        (key.sign(&with(claims.clone(), "iss", json!("https://x.example"))), "issuer \"https://x.example\""),
        (key.sign(&with(claims.clone(), "exp", json!(now - 100))), "the token expired"),
        (key.sign(&with(claims.clone(), "nbf", json!(now + 100))), "is valid only in"),
        (other.sign(&claims), "signature is wrong"),
        (unsigned, "algorithm \"none\", expected RS256 or ES256"),
        (SigningKey::es256("b").sign(&claims), "names the key \"b\""),
    ];
    for (token, expected) in &table {
        let done = as_token(&node, token, &["functions"]).await;
        done.clone().refused(&[expected]);
        let signed = token.rsplit_once('.').expect("it has dots").0;
        assert!(!done.stderr.contains(signed) && !node.process().log().contains(signed), "{done:?}");
    }
    // As with other wrong tokens, ten are answered; after that they have to wait, and the right one does not.
    let token = &table[0].0;
    let mut last = String::new();
    for _ in 0..10 {
        last = as_token(&node, token, &["functions"]).await.stderr;
    }
    assert!(last.contains("too many wrong tokens"), "{last}");
    as_token(&node, &key.sign(&claims), &["tokens", "show"]).await.ok();
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_an_issuer_that_is_away_is_not_the_clients_fault() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::rs256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let node = node(&issuer.url).await;
    issuer.status(500);
    let away = as_token(&node, &old.sign(&job(&issuer)), &["functions"]).await;
    away.refused(&["the keys of http://127.0.0.1", "answers with status 500"]);
    node.process().lines("keys of an issuer cannot be fetched", 1).await;
    let folder = node.kill().await;

    issuer.status(200);
    let node = Node::start_on(folder, &["--config", "node.toml"]).await;
    as_token(&node, &old.sign(&job(&issuer)), &["tokens", "show"]).await.ok();
    issuer.publish(&[&new]);
    as_token(&node, &new.sign(&job(&issuer)), &["tokens", "show"]).await.ok();
    as_token(&node, &old.sign(&job(&issuer)), &["tokens", "show"]).await.refused(&["names the key \"old\""]);
}

#[tokio::test]
async fn client_with_a_certificate_has_the_rights_of_its_name_and_needs_no_token() {
    let (folder, nodes, people) = (Folder::new(), Authority::new("nodes"), Authority::new("people"));
    folder.write_pair("admin", &nodes.issue(&parameters("127.0.0.1")));
    folder.write_pair("ci", &people.issue(&parameters("ci.test")));
    folder.write_pair("other", &people.issue(&parameters("other.test")));
    folder.write("ca.pem", nodes.pem());
    folder.write("people.pem", people.pem());
    let config = "[serve.admin_tls]\ncert = \"admin.pem\"\nkey = \"admin.key\"\nclient_ca = \"people.pem\"\n\
                  clients = [{ dns = \"ci.test\", roles = [\"deployer\"], functions = [\"shop-*\"] }]\n";
    folder.write("node.toml", config);
    let node = Node::start_on(folder, &["--config", "node.toml"]).await;
    let as_client = async |name: &str, token: Option<&str>, args: &[&str]| {
        let mut command = node.command(args);
        command.env("WASM_FN_SERVER", format!("https://{}", node.admin)).env_remove("WASM_FN_TOKEN");
        command.env("WASM_FN_DATA_DIR", "nowhere").args(["--ca", "ca.pem"]);
        command.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
        if let Some(token) = token {
            command.env("WASM_FN_TOKEN", token);
        }
        run(&mut command).await
    };
    let v1 = file("hello-v1");
    as_client("ci", None, &["deploy", &v1, "-f", "shop-cart"]).await.ok();
    as_client("ci", None, &["deploy", &v1, "-f", "bank"]).await.refused(&["the token `dns:ci.test` is for"]);
    as_client("ci", None, &["tokens", "list"]).await.refused(&["`dns:ci.test` has the role deployer"]);
    as_client("other", None, &["functions"])
        .await
        .refused(&["the certificate of dns:other.test gives no rights, expected a token"]);
    // A token counts before a certificate.
    as_client("other", Some(&node.token), &["tokens", "list"]).await.ok();
    as_client("ci", Some("wfn_wrong"), &["functions"]).await.refused(&["characters after `wfn_`"]);
    let audit = as_client("ci", Some(&node.token), &["audit", "--actor", "dns:ci.test"]).await.ok().stdout;
    assert!(audit.contains("deploy"), "{audit}");
}

#[tokio::test]
async fn token_of_an_issuer_of_others_is_accepted() {
    let test = "token_of_an_issuer_of_others_is_accepted";
    if !starts(Command::new("oidc-provider-mock").arg("--help"), "oidc-provider-mock", test) {
        return;
    }
    // It takes a port and does not tell a free one, so one is chosen here and let go.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = Command::new("oidc-provider-mock");
    let claims = r#"{ "sub": "ann", "groups": ["staff"] }"#;
    command.args(["--port", &address.port().to_string(), "--user-claims", claims]);
    let issuing = Process::spawn(command.stdout(std::process::Stdio::null()));
    issuing.lines("Uvicorn running", 1).await;
    let issuer = format!("http://{address}");
    let post = async |path: &str, body: &str| {
        let request = http::Request::post(format!("{issuer}{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.as_bytes().to_vec())
            .expect("the request is well formed");
        Client::http1(address).send(request).await.expect("the issuer answers")
    };
    let query = "response_type=code&client_id=node&redirect_uri=http%3A%2F%2Flocalhost%2F&scope=openid";
    let answer = post(&format!("/oauth2/authorize?{query}"), "sub=ann").await;
    let location = answer.headers["location"].to_str().expect("it is text").to_owned();
    let code = location.split(['?', '&']).find_map(|part| part.strip_prefix("code=")).expect("it has a code");
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2Flocalhost%2F&client_id=node\
         &client_secret=any"
    );
    let answer: Value = serde_json::from_slice(&post("/oauth2/token", &form).await.body).expect("it is JSON");
    let token = answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer}"));

    let advertised: Value = {
        let request = http::Request::get(format!("{issuer}/.well-known/openid-configuration"));
        let request = request.body(Vec::new()).expect("the request is well formed");
        let answer = Client::http1(address).send(request).await.expect("the issuer answers");
        serde_json::from_slice(&answer.body).expect("it is JSON")
    };
    let folder = Folder::new();
    let text = format!(
        "[[serve.oidc]]\nissuer = {}\naudience = \"node\"\n\
         rules = [{{ name = \"people\", roles = [\"viewer\"], claims = {{ sub = \"ann\" }} }}]\n",
        advertised["issuer"]
    );
    folder.write("node.toml", text);
    let node = Node::start_on(folder, &["--config", "node.toml"]).await;
    let shown = as_token(&node, token, &["tokens", "show"]).await.ok().stdout;
    assert!(shown.contains("people/ann has the role viewer"), "{shown}");
}
