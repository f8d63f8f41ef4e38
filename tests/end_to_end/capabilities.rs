//! What functions may reach.

use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Node, client::Origin};

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
