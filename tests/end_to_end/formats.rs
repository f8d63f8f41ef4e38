//! Data directories of earlier programs: each opens, serves what it served, and goes on.
//!
//! `formats/N` holds `state.redb` and `blobs/` as a program wrote them whose format was N. A change of what
//! is written, be it a new format or not, adds a folder and leaves those that are there.

use std::{fs, path::Path};

use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Folder, Node, patiently};

/// The folders of `formats`.
const FORMATS: [&str; 1] = ["1"];

/// A data directory as format `format` left it.
fn left_by(format: &str) -> Folder {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end/formats").join(format);
    let folder = Folder::new();
    let to = folder.data();
    fs::create_dir_all(to.join("blobs")).expect("the temporary directory is writable");
    fs::copy(from.join("state.redb"), to.join("state.redb")).expect("a format has a state");
    for blob in fs::read_dir(from.join("blobs")).expect("a format has components") {
        let blob = blob.expect("a folder can be read to its end");
        fs::copy(blob.path(), to.join("blobs").join(blob.file_name())).expect("a component can be copied");
    }
    folder
}

#[tokio::test]
async fn states_of_every_format_open_serve_and_go_on() {
    for format in FORMATS {
        let node = Node::start_on(left_by(format), &[]).await;
        let revision = node.revision().await;
        // Native code is no part of a format, so everything is compiled first.
        let ready = async { while node.api(Method::GET, "/readyz", None).await.status != StatusCode::OK {} };
        patiently("the node to be ready", ready).await;

        // A canary with steps by cohort, which a person paused at a share of everybody.
        let hello = node.live("hello").await;
        let rollout = &hello["rollout"];
        assert_eq!(
            (&rollout["phase"], &rollout["step"], &rollout["weight"]),
            (&json!("paused"), &json!(3), &json!("25%")),
            "format {format}: {hello}"
        );
        let beta = node.http.get_as("/hello", &[("x-group", "beta")]).await.ok();
        assert_eq!((beta.version(), beta.text().as_str()), ("v2", "hello from number 2"));
        let history = node.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
        let actions: Vec<_> =
            history["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
        assert_eq!(actions, ["pause", "step", "step", "deploy", "deploy"], "format {format}");
        // That program did not store the revisions of functions; the journal has them.
        let status = node.api_ok(Method::GET, "/v1/functions/hello", None).await;
        assert_eq!(status["revision"], history["entries"][0]["revision"], "format {format}");
        // Green is watched after its checks passed; what was split by hand was rolled back; one is gone.
        assert_eq!(node.live("green").await["rollout"]["phase"], "watching", "format {format}");
        assert_eq!(node.http.get("/green").await.ok().text(), "hello from number 2");
        assert_eq!(node.http.get("/split").await.ok().version(), "v1");
        node.http.get("/gone").await.problem(404, "no-such-function");

        node.cli_ok(&["promote", "hello", "--full"]).await;
        let node = Node::start_on(node.kill().await, &[]).await;
        assert_eq!(node.revision().await, revision + 1, "format {format}");
        assert_eq!(node.live("hello").await["stable"], "v2", "format {format}");
        assert_eq!(node.http.get("/hi").await.ok().text(), "hello from number 2");
    }
}
