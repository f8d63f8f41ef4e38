//! Nodes of a cluster ask each other, within the rights of whoever asked them.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use futures_util::future::BoxFuture;
use wasm_fn_api::{ClusterNodeView, ClusterView, RightsSpec};
use wasm_fn_core::NodeName;

use super::*;

/// The cluster of the node `a`, whose other nodes are `b`, which answers, and `c`, which is not there.
struct Cluster {
    name: NodeName,
    other: Arc<Admin<FakeHost, FakeStore>>,
    silent: AtomicBool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClusterSource for Cluster {
    fn node(&self) -> &NodeName {
        &self.name
    }

    fn seen(&self) -> ClusterView {
        let node = |name: &str, heard_ms, ready| ClusterNodeView {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            revision: 1,
            lag: 2,
            heard_ms,
            ready,
            leads: vec!["hello/live".to_owned()],
        };
        ClusterView {
            cluster: "prod".to_owned(),
            node: "a".to_owned(),
            in_touch: true,
            out_of_touch_since_ms: None,
            problem: None,
            nodes: vec![node("a", 0, Some(true)), node("b", 900, Some(false)), node("c", 9000, Some(true))],
            servers: Vec::new(),
        }
    }

    fn view(&self) -> BoxFuture<'_, ClusterView> {
        Box::pin(async { self.seen() })
    }

    fn drain(&self, _: &NodeName) {}

    fn others(&self) -> Vec<OtherNode> {
        let other = |name: &str, silent: Option<&str>| OtherNode {
            name: name.parse().unwrap(),
            silent: silent.map(str::to_owned),
        };
        vec![other("b", None), other("c", Some("it was not heard of"))]
    }

    fn ask(
        &self,
        node: NodeName,
        question: NodeQuestion,
        _: Duration,
    ) -> BoxFuture<'_, Result<NodeAnswer, String>> {
        assert_eq!(node.as_str(), "b", "nobody asks a node that is not there");
        Box::pin(async move {
            if self.silent.load(SeqCst) {
                Err("it said nothing".to_owned())
            } else {
                Ok(self.other.answer(question).await)
            }
        })
    }
}

/// Two nodes, of which the first asks the second.
async fn pair() -> (Api, Api, Arc<Cluster>) {
    let b = Api::start().await;
    let (name, other) = ("a".parse().unwrap(), Arc::clone(&b.admin));
    let cluster = Arc::new(Cluster { name, other, silent: AtomicBool::new(false) });
    let a = Api::in_cluster(10_000, Some(Arc::clone(&cluster) as _)).await;
    for api in [&a, &b] {
        assert_eq!(api.deploy("hello", b"v1", json!({})).await.status, 200);
    }
    (a, b, cluster)
}

fn missing(answer: &Answer) -> Vec<(String, bool)> {
    let nodes = answer.json()["nodes"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    let is_missing = |node: &Value| (node["node"].as_str().unwrap().to_owned(), !node["missing"].is_null());
    nodes.iter().map(is_missing).collect()
}

#[tokio::test]
async fn answer_has_all_nodes_and_names_those_that_are_missing() {
    let (a, b, cluster) = pair().await;
    let expected = [("a", false), ("b", false), ("c", true)].map(|(name, is)| (name.to_owned(), is));
    let paths = [
        "/v1/functions",
        "/v1/functions/hello",
        "/v1/functions/hello/series",
        "/v1/functions/hello/traces",
        "/v1/series?functions=hello",
    ];
    for path in paths {
        assert_eq!(missing(&a.get(path).await), expected, "{path}");
    }
    let status = a.get("/v1/functions/hello").await.json();
    let nodes = &status["stages"][0]["versions"][0]["nodes"];
    assert_eq!((&nodes[0]["node"], &nodes[1]["node"]), (&json!("a"), &json!("b")), "{status}");
    // The other node is alone, and says nothing of nodes.
    assert_eq!(b.get("/v1/functions/hello").await.json()["nodes"], Value::Null);
    cluster.silent.store(true, SeqCst);
    let answer = a.get("/v1/functions").await;
    assert_eq!(missing(&answer)[1], ("b".to_owned(), true));
    assert_eq!(answer.json()["nodes"][1]["missing"], "it said nothing");
}

#[tokio::test]
async fn request_about_one_node_is_answered_by_it() {
    let (a, b, cluster) = pair().await;
    assert_eq!(b.deploy("only-b", b"v2", json!({})).await.status, 200);
    for (path, count) in [("/v1/functions?node=a", 1), ("/v1/functions?node=b", 2), ("/v1/functions", 1)] {
        let list = a.get(path).await.json();
        assert_eq!(list["functions"].as_array().unwrap().len(), count, "{path}: {list}");
    }
    assert_eq!(a.get("/v1/functions/only-b?node=b").await.status, 200);
    assert_eq!(a.get("/v1/functions/only-b").await.problem(), (404, "no-such-function".to_owned()));
    assert_eq!(a.get("/v1/functions/hello/logs?node=b&after=3").await.status, 200);
    assert_eq!(
        a.get("/v1/functions/hello/logs?after=3").await.problem(),
        (400, "invalid-request".to_owned())
    );
    assert_eq!(a.get("/v1/functions?node=x").await.problem(), (404, "no-such-node".to_owned()));
    assert_eq!(a.get("/v1/functions?node=X!").await.problem(), (400, "invalid-name".to_owned()));
    assert_eq!(a.get("/v1/functions?node=c").await.problem(), (503, "node-silent".to_owned()));
    assert_eq!(b.get("/v1/functions?node=a").await.problem(), (409, "no-cluster".to_owned()));
    cluster.silent.store(true, SeqCst);
    assert_eq!(a.get("/v1/functions?node=b").await.problem(), (503, "node-silent".to_owned()));
    let logs = a.get("/v1/functions/hello/logs").await;
    let missing: Vec<_> = logs.lines().iter().map(|line| line["node"].as_str().unwrap().to_owned()).collect();
    assert_eq!(missing, ["b", "c"], "{logs:?}");
}

#[tokio::test]
async fn caller_may_ask_another_node_for_no_more_than_this_one() {
    let (_, b, _) = pair().await;
    let ask = async |target: &str, roles: &[&str], functions: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let rights = RightsSpec { roles: texts(roles), functions: texts(functions), stages: Vec::new() };
        let question = NodeQuestion { target: target.to_owned(), actor: "bob".to_owned(), rights };
        b.admin.answer(question).await
    };
    assert_eq!(ask("/v1/functions/hello", &["viewer"], &[]).await.status, 200);
    assert_eq!(ask("/v1/functions/hello", &["viewer"], &["shop-*"]).await.status, 404);
    let list = ask("/v1/functions", &["viewer"], &["shop-*"]).await;
    assert_eq!(serde_json::from_slice::<Value>(&list.body).unwrap()["functions"], json!([]));
    // Nothing else than what a node counts for itself can be asked for, whoever asks.
    for path in
        ["/v1/tokens", "/v1/audit", "/v1/backup", "/v1/functions/hello/stages/live/secrets", "/metrics"]
    {
        assert_eq!(ask(path, &["admin"], &[]).await.status, 404, "{path}");
    }
    for (target, roles) in [("/v1/functions", &["boss"][..]), ("/v1/functions", &[]), ("\u{0}", &["viewer"])]
    {
        assert_eq!(ask(target, roles, &[]).await.status, 400, "{target:?} {roles:?}");
    }
}

#[tokio::test]
async fn revision_is_waited_for_here_and_on_the_others() {
    let (a, b, cluster) = pair().await;
    let revision = a.revision();
    let published = a.get("/v1/revision").await;
    assert_eq!(published.json(), json!({ "revision": revision }));
    assert_eq!(published.headers[wasm_fn_api::PUBLISHED_REVISION], revision.to_string());
    let everywhere = a.get("/v1/revision?everywhere=true").await.json();
    let node =
        |at: usize| (everywhere["nodes"][at]["published"].clone(), everywhere["nodes"][at]["live"].clone());
    assert_eq!(
        (node(0), node(1)),
        ((json!(true), json!(true)), (json!(false), json!(false))),
        "{everywhere}"
    );
    // The other node is behind.
    assert_eq!(a.deploy("hello", b"v2", json!({})).await.status, 200);
    let path = "/v1/revision?everywhere=true&wait_ms=50";
    let behind = a.get(path).await.json()["nodes"][0].clone();
    assert_eq!((&behind["published"], &behind["live"]), (&json!(false), &json!(true)), "{behind}");
    let reason = behind["missing"].as_str().unwrap();
    assert!(reason.contains(&format!("expected at least {}", a.revision())), "{reason}");
    let waiting = a.get("/v1/revision?everywhere=true");
    let (deployed, waited) = tokio::join!(b.deploy("hello", b"v2", json!({})), waiting);
    assert_eq!((deployed.status, waited.json()["nodes"][0]["published"].clone()), (200, json!(true)));
    cluster.silent.store(true, SeqCst);
    assert_eq!(a.get(path).await.json()["nodes"][0]["missing"], "it said nothing");

    let ahead = format!("/v1/revision?at_least={}&wait_ms=1", revision + 100);
    assert_eq!(a.get(&ahead).await.problem(), (503, "revision-not-reached".to_owned()));
    assert_eq!(a.get("/v1/revision?wait_ms=60001").await.problem(), (400, "invalid-request".to_owned()));
    let with = async |value: &str| {
        let request = a.request("GET", "/v1/functions/hello").header(wasm_fn_api::AT_LEAST_REVISION, value);
        a.send(request.body(Full::default()).unwrap()).await
    };
    assert_eq!(with(&a.revision().to_string()).await.status, 200);
    for bad in ["", "-1", "soon", "99999999999999999999"] {
        assert_eq!(with(bad).await.problem(), (400, "invalid-request".to_owned()), "{bad:?}");
    }
}

#[tokio::test]
async fn metrics_tell_of_the_cluster_only_in_one() {
    let (a, b, _) = pair().await;
    let metrics = a.get("/metrics").await.text;
    for line in [
        "wasm_fn_node_info{cluster=\"prod\",node=\"a\"} 1",
        "wasm_fn_cluster_in_touch 1",
        "wasm_fn_cluster_nodes 2",
        "wasm_fn_cluster_nodes_ready 1",
        "wasm_fn_cluster_lag_revisions 2",
        "wasm_fn_cluster_rollouts_led 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(!b.get("/metrics").await.text.contains("wasm_fn_cluster"));
}

#[tokio::test]
async fn stream_of_changes_has_the_numbers_of_all_nodes() {
    let (a, _, _) = pair().await;
    let stream = a.get("/v1/watch?once=true").await.text;
    let first = stream.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["functions"][0]["function"], "hello", "{first}");
    assert_eq!(first["nodes"].as_array().unwrap().len(), 3, "{first}");
    let stream = a.get("/v1/functions/hello/watch?once=true").await.text;
    let first: Value = serde_json::from_str(stream.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(first["status"]["nodes"][2]["missing"], "it was not heard of", "{first}");
}
