//! Clients and proxies of others: bodies of several sizes, fixed and chunked, that the guest reads or leaves
//! unread. Nobody may see a request fail that the node accepted.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::json;

use crate::{
    harness::{
        Node,
        command::{Done, run},
        programs::{installed, starts},
    },
    proxied::{haproxy, nginx},
};

/// The sizes of bodies, bytes.
const SIZES: [usize; 4] = [0, 1, 64 << 10, 1 << 20];

/// Requests of each kind over one connection.
const TIMES: usize = 3;

/// Requests of a load generator for each kind.
const LOAD: &str = "100";

/// Reads its body and sends it back; answers without reading its body.
const PATHS: [&str; 2] = ["/echo", "/hello"];

/// A node with a function that reads its body and one that does not.
async fn node() -> Node {
    let node = Node::start().await;
    node.deploy("echo").await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node
}

/// Every kind of request over one client: each path, size and way to frame a body, several times.
fn requests() -> usize {
    PATHS.len() * SIZES.len() * 2 * TIMES
}

/// Runs one of the scripts, which print the requests that failed.
async fn script(interpreter: &str, name: &str, library: &str, address: SocketAddr) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end/clients").join(name);
    let mut command = Command::new(interpreter);
    command.arg(script).arg(library).arg(format!("http://{address}")).args(PATHS);
    let done = run(&mut command).await.ok();
    assert_eq!(done.stdout, format!("{} requests\n", requests()), "{library}: {}", done.stderr);
}

/// Whether Python has `library`.
fn python_has(library: &str, test: &str) -> bool {
    let mut import = Command::new("python3");
    starts(import.arg("-c").arg(format!("import {library}")), &format!("python3 with {library}"), test)
}

/// Has curl send every kind of request to `address`, those of one kind over one connection.
async fn curl(node: &Node, address: SocketAddr) {
    for path in PATHS {
        for size in SIZES {
            let body: Vec<u8> = (0..251).cycle().take(size).collect();
            let file = node.folder().write("body", &body);
            for framing in ["content-type: application/octet-stream", "transfer-encoding: chunked"] {
                let mut command = Command::new("curl");
                command.args(["--silent", "--show-error", "--header", framing]).arg("--data-binary");
                command.arg(format!("@{}", file.display())).args(["--write-out", "%{http_code}\n"]);
                let answers: Vec<_> =
                    (0..TIMES).map(|number| node.folder().path().join(format!("answer{number}"))).collect();
                for answer in &answers {
                    command.arg("--output").arg(answer).arg(format!("http://{address}{path}"));
                }
                let done = run(&mut command).await.ok();
                let kind = format!("{path}, {size} bytes, {framing}");
                assert_eq!(done.stdout, "200\n".repeat(TIMES), "{kind}: {}", done.stderr);
                if path == "/echo" {
                    for answer in answers {
                        assert!(std::fs::read(answer).unwrap() == body, "{kind}: another body came back");
                    }
                }
            }
        }
    }
}

/// Has a load generator ask for both paths with bodies of every size; `check` says what is wrong with its
/// report.
async fn load(node: &Node, program: &str, args: &[&str], body: &str, check: impl Fn(&Done) -> bool) {
    for path in PATHS {
        for size in SIZES {
            let mut command = Command::new(program);
            command.args(args);
            // Neither takes an empty file.
            if size > 0 {
                command.arg(body).arg(node.folder().write("body", vec![b'x'; size]));
            }
            command.arg(format!("http://{}{path}", node.listen));
            let done = run(&mut command).await.ok();
            assert!(check(&done), "{path}, {size} bytes:\n{}", done.stdout);
        }
    }
}

#[tokio::test]
async fn curl_is_answered() {
    if starts(Command::new("curl").arg("--version"), "curl", "curl_is_answered") {
        let node = node().await;
        curl(&node, node.listen).await;
    }
}

#[tokio::test]
async fn node_s_fetch_and_http_are_answered() {
    if installed("node", "node_s_fetch_and_http_are_answered") {
        let node = node().await;
        for library in ["fetch", "http"] {
            script("node", "client.mjs", library, node.listen).await;
        }
    }
}

#[tokio::test]
async fn python_s_libraries_are_answered() {
    for library in ["aiohttp", "httpx", "requests"] {
        if python_has(library, "python_s_libraries_are_answered") {
            let node = node().await;
            script("python3", "client.py", library, node.listen).await;
        }
    }
}

#[tokio::test]
async fn clients_behind_nginx_are_answered() {
    let test = "clients_behind_nginx_are_answered";
    if installed("nginx", test) && starts(Command::new("curl").arg("--version"), "curl", test) {
        let node = node().await;
        let (_nginx, address) = nginx(&node).await;
        curl(&node, address).await;
    }
}

#[tokio::test]
async fn clients_behind_haproxy_are_answered() {
    let test = "clients_behind_haproxy_are_answered";
    if installed("haproxy", test) && starts(Command::new("curl").arg("--version"), "curl", test) {
        let node = node().await;
        let (_haproxy, address) = haproxy(&node, "mode http").await;
        curl(&node, address).await;
    }
}

#[tokio::test]
async fn h2load_sees_no_failure() {
    if starts(Command::new("h2load").arg("--version"), "h2load", "h2load_sees_no_failure") {
        let node = node().await;
        let report = format!("{LOAD} done, {LOAD} succeeded, 0 failed, 0 errored, 0 timeout");
        for protocol in [&["-m", "10"][..], &["--h1"][..]] {
            let args = [&["-n", LOAD, "-c", "4"], protocol].concat();
            let answered = |done: &Done| {
                done.stdout.contains(&report) && done.stdout.contains(&format!("status codes: {LOAD} 2xx"))
            };
            load(&node, "h2load", &args, "-d", answered).await;
        }
    }
}

#[tokio::test]
async fn ab_sees_no_failure() {
    if starts(Command::new("ab").arg("-V"), "ab", "ab_sees_no_failure") {
        let node = node().await;
        let args = ["-n", LOAD, "-c", "4", "-k", "-T", "application/octet-stream"];
        let answered = |done: &Done| {
            let line = |name: &str| {
                let line = done.stdout.lines().find(|line| line.starts_with(name))?;
                line.rsplit(' ').next().map(str::to_owned)
            };
            line("Failed requests:").as_deref() == Some("0") && line("Non-2xx responses:").is_none()
        };
        load(&node, "ab", &args, "-p", answered).await;
    }
}
