//! What has no room left refuses changes by name, and goes on serving.

use std::process::Command;

use http::Method;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use super::{Cluster, half, held};
use crate::harness::{Folder, Node, patiently, serve};

/// A node whose files can be kept from growing, as a full disk does, while it goes on.
struct Cramped(Node);

impl Cramped {
    async fn start(cluster: &Cluster, name: &str) -> Self {
        let (folder, args) = (Folder::new(), cluster.args(name));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let usual = serve(&folder, &args);
        // Without the signal, writing beyond the limit is an error, as on a full disk.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(usual.get_program())
            .args(usual.get_args());
        command.current_dir(folder.path()).env("NO_COLOR", "1").env("XDG_CONFIG_HOME", "/nonexistent");
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        Self(Node::start_as(&mut command, folder).await)
    }

    /// Sets how large files may be.
    fn limit(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.0.process().id().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }
}

#[tokio::test]
async fn node_whose_disk_is_full_serves_and_refuses_changes_by_name() {
    let test = "node_whose_disk_is_full_serves_and_refuses_changes_by_name";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let cramped = Cramped::start(&cluster, "a").await;
    let b = cluster.node("b").await;
    let a = &cramped.0;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.roll_out("hello-v2", json!({}), half(), held()).await;
    b.has_state_of(a).await;
    cramped.limit(Some(4096));
    // The log has the first one, and this node cannot keep it.
    let body = json!({ "name": "first", "rights": { "roles": ["viewer"] } });
    let refused = a.api(Method::POST, "/v1/tokens", Some(&body)).await.text();
    assert!(refused.contains("no space") && refused.contains("outcome-unknown"), "{refused}");
    // From then on by name, and nothing of it is made.
    patiently("that change elsewhere", async { while b.revision().await < 3 {} }).await;
    let again = a
        .api(Method::POST, "/v1/tokens", Some(&json!({ "name": "late", "rights": { "roles": ["viewer"] } })))
        .await;
    assert!(again.text().contains("no space"), "{}", again.text());
    assert_eq!(b.revision().await, 3);
    // It may not know everything, so nobody gets a canary; everybody gets an answer.
    a.in_cluster("a node that knows that it is behind", |view| view["in_touch"] == false).await;
    assert_eq!(a.canaries(40).await, 0);
    let view = a.api_ok(Method::GET, "/v1/cluster", None).await;
    assert!(view["problem"].as_str().is_some_and(|problem| problem.contains("no space")), "{view}");
    // The others go on, and do not wait for it.
    b.cli_ok(&["tokens", "create", "meanwhile", "--role", "viewer"]).await;
    assert!(a.revision().await < b.revision().await, "it has not published what it cannot keep");
    cramped.limit(None);
    a.has_state_of(&b).await;
    a.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
    a.cli_ok(&["tokens", "create", "afterwards", "--role", "viewer"]).await;
    b.has_state_of(a).await;
    assert_eq!(a.cli_json(&["audit", "verify"]).await, b.cli_json(&["audit", "verify"]).await);
}
