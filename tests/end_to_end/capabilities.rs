//! What functions may reach, and how a version comes to be able to do more than the one before.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Node, client::Origin, command::run, guests};

/// The path at which `fetch` fetches `address`.
fn fetching(address: impl std::fmt::Display) -> String {
    format!("/fetch?url=http%3A%2F%2F{address}%2Fhealthz")
}

impl Node {
    /// Deploys `fetch` with this egress, and lets it fetch `address`.
    async fn fetch(&self, egress: Value, address: impl std::fmt::Display) -> (StatusCode, String) {
        self.deploy_with("fetch", "fetch", json!({ "egress": egress })).await;
        let answer = self.http.get(&fetching(address)).await;
        (answer.status, answer.text())
    }

    /// What the log of `fetch` says was denied last.
    async fn denied(&self) -> String {
        let lines = self.logs("fetch").await;
        let texts = lines.iter().filter_map(|line| line["text"].as_str());
        texts.rev().find_map(|text| text.strip_prefix("egress-denied: ")).unwrap_or_default().to_owned()
    }
}

const PROHIBITED: &str = "DestinationIpProhibited\n";

#[tokio::test]
async fn functions_reach_no_socket_of_the_node_by_accident() {
    let node = Node::start_with(&["--egress-private", "127.0.0.0/8"]).await;
    let (data, admin) = (node.listen, node.admin);
    node.deploy("hello-v1").await;
    // A network that is open does not open the node itself.
    let refused = (StatusCode::BAD_GATEWAY, PROHIBITED.to_owned());
    assert_eq!(node.fetch(json!(["*"]), data).await, refused);
    let expected = format!(
        "http://{data} leads to 127.0.0.1: where the node serves functions, and no entry of `egress` names the address"
    );
    assert_eq!(node.denied().await, expected);
    let (status, _) = node.fetch(json!([format!("http://{data}")]), data).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "no function answers at /healthz");
    // Nothing opens the admin API.
    for egress in [json!(["*"]), json!([format!("http://{admin}"), "http://localhost:1"])] {
        assert_eq!(node.fetch(egress, admin).await, refused);
        let expected = format!(
            "http://{admin} leads to 127.0.0.1: the admin API of the node, which no function may reach"
        );
        assert_eq!(node.denied().await, expected);
    }
    let port = admin.port();
    let by_name = node.fetch(json!([format!("http://localhost:{port}")]), format!("localhost:{port}")).await;
    assert_eq!(by_name, refused);
}

#[tokio::test]
async fn functions_reach_private_addresses_if_they_or_the_node_name_them() {
    let origin = Origin::start("from inside").await;
    let port = origin.address.port();
    let reached = (StatusCode::OK, "from inside".to_owned());
    let refused = (StatusCode::BAD_GATEWAY, PROHIBITED.to_owned());
    let node = Node::start().await;
    assert_eq!(node.fetch(json!(["*"]), origin.address).await, refused);
    assert_eq!(origin.calls(), 0);
    assert_eq!(node.fetch(json!([format!("http://{}", origin.address)]), origin.address).await, reached);
    let localhost = format!("localhost:{port}");
    assert_eq!(node.fetch(json!([format!("http://{localhost}")]), &localhost).await, reached);
    let open = Node::start_with(&["--egress-private", "127.0.0.0/8,::1"]).await;
    assert_eq!(open.fetch(json!(["*"]), &localhost).await, reached);
    assert_eq!(open.fetch(json!(["*"]), format!("2130706433:{port}")).await, reached);
}

#[tokio::test]
async fn a_version_that_could_do_more_is_refused_until_that_is_accepted() {
    let node = Node::start().await;
    let (hello, fetch) = (guests::path("hello-v1"), guests::path("fetch"));
    let (hello, fetch) = (hello.to_str().unwrap(), fetch.to_str().unwrap());
    let first = node.cli(&["deploy", hello, "-f", "hello"]).await.ok();
    assert!(first.stderr.contains("note: v1 can do: memory 128.0 MiB; cpu 10s"), "{}", first.stderr);
    let revision = node.revision().await;

    node.folder().write(
        "wasm-fn.toml",
        "[function.hello]\negress = [\"https://a.test\"]\nmemory = \"256MiB\"\nenv = { KEY = \"1\" }\n",
    );
    // The configuration alone, and what the component imports as well.
    let configured = "egress https://a.test; env KEY; memory 128.0 MiB -> 256.0 MiB";
    let imported = format!("import wasi:http/outgoing-handler; {configured}");
    for file in [hello, fetch] {
        let refused = node.cli(&["deploy", file, "-f", "hello", "-m", "it's more"]).await;
        refused.refused(&["v1", configured, "wasm-fn deploy --allow-new ", "-f hello -m 'it'\\''s more'"]);
    }
    for strategy in ["--no-traffic", "--canary", "--blue-green"] {
        node.cli(&["deploy", fetch, "-f", "hello", strategy]).await.refused(&[configured]);
    }
    assert_eq!(node.revision().await, revision);
    let body = json!({ "component": node.upload(guests::bytes("fetch")).await });
    let path = "/v1/functions/hello/deployments";
    let answer = node.api(Method::POST, path, Some(&body)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let problem: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(problem["code"], "capabilities-grow");
    assert!(
        problem["detail"].as_str().unwrap().ends_with(": import wasi:http/outgoing-handler"),
        "{problem}"
    );
    assert_eq!(node.live("hello").await["split"], json!([{ "version": "v1", "weight": "100%" }]));

    // The command that the help proposes works as it stands.
    let refused = node.cli(&["deploy", fetch, "-f", "hello", "--token", &node.token.clone()]).await;
    let proposed = refused.stderr.split('`').find(|text| text.contains("--allow-new")).unwrap().to_owned();
    assert!(!refused.stderr.contains(&node.token), "{}", refused.stderr);
    let args: Vec<_> = proposed.split(' ').skip(1).collect();
    let done = run(&mut node.command(&args)).await.ok();
    assert!(
        done.stderr.contains(&format!("note: v2 can do more than before: {imported}")),
        "{}",
        done.stderr
    );
    let history = node.cli_ok(&["history", "hello"]).await;
    assert!(
        history.replace('\n', " ").contains("accepted import wasi:http/outgoing-handler, egress"),
        "{history}"
    );

    // What is there already, or less, needs nobody.
    node.cli_ok(&["deploy", fetch, "-f", "hello"]).await;
    node.folder().write("wasm-fn.toml", "[function.hello]\nenv = { KEY = \"2\" }\n");
    let less = node.cli_json(&["deploy", hello, "-f", "hello"]).await;
    assert_eq!((&less["version"], &less["growth"]), (&json!("v3"), &Value::Null));
    // A rollback is no deployment.
    node.cli_ok(&["rollback", "hello"]).await;
    let again = node.cli_json(&["deploy", fetch, "-f", "other"]).await;
    assert_eq!(again["growth"][0], "import wasi:http/outgoing-handler");
}
