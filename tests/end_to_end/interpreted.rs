//! Functions in languages with an interpreter, whose components are too large to keep in the repository.
//! `build.sh` beside the source of each builds it, where its packages can be installed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use crate::harness::{Node, programs::present};

/// How long the compilation of an interpreter may take: thousands of functions, in a build without
/// optimisation.
const COMPILATION_MAX: Duration = Duration::from_secs(600);

/// Where the guest of `language` is once it was built.
fn component(language: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples").join(language);
    folder.join("dist/hello.wasm")
}

/// `component` with one custom section more (component binary format: id 0, size, name): another version that
/// does the same.
fn marked(component: &[u8]) -> Vec<u8> {
    [component, &[0, 6, 1, b'm', 0, 0, 0, 1]].concat()
}

/// Deploys `component` as `hello`.
async fn deploy(node: &Node, component: &Path, strategy: &[&str]) {
    let mut command = node.command(&["deploy"]);
    command.arg(component).args(["-f", "hello"]).args(strategy);
    let deployed = timeout(COMPILATION_MAX, spawn_blocking(move || command.output())).await;
    let deployed = deployed.expect("it is compiled in time").expect("nothing panics");
    let deployed = deployed.expect("the binary starts");
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
}

/// Deploys the guest of `language`, and as a canary the same once more; both answer with `text`.
async fn is_served_and_released(language: &str, text: &str, test: &str) {
    let component = component(language);
    if !present(&component, test) {
        return;
    }
    let node = Node::start().await;
    deploy(&node, &component, &["--all-at-once"]).await;
    // More than the instances that were made ahead: each request has an instance of its own.
    for _ in 0..50 {
        assert_eq!(node.http.get("/hello").await.ok().text(), text);
    }
    let second = node.folder().write("second.wasm", marked(&std::fs::read(&component).unwrap()));
    deploy(&node, &second, &["--canary=50%", "--step-min", "0s", "--watch-for", "0s"]).await;
    while node.live("hello").await["stable"] != "v2" {
        assert_eq!(node.http.get("/hello").await.ok().text(), text);
    }
}

#[tokio::test]
async fn python_function_is_served_and_released() {
    let test = "python_function_is_served_and_released";
    is_served_and_released("python", "hello from Python\n", test).await;
}

#[tokio::test]
async fn javascript_function_is_served_and_released() {
    let test = "javascript_function_is_served_and_released";
    is_served_and_released("js", "hello from JavaScript\n", test).await;
}
