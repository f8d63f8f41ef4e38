//! Users behind proxies, and what those say of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::harness::{Node, Process, client::connect, patiently, programs::installed};

/// How many users there are. On each side of an even split are at least 5 of them but for once in 100,000
/// runs.
const USERS: u8 = 40;

/// A node that is told `args`, with a canary of half of the addresses.
async fn node(args: &[&str]) -> Node {
    let node = Node::start_with(args).await;
    node.hello_canary("50%", json!({ "sticky": "ip" })).await;
    node
}

/// Checks that each version answers some users.
#[track_caller]
fn both_sides(placed: &BTreeMap<u8, String>) {
    let canary = placed.values().filter(|version| *version == "v2").count();
    println!("{canary} of {USERS} users are on the canary");
    assert!((5..=usize::from(USERS) - 5).contains(&canary), "{placed:?}");
}

/// The versions that answer the users whose address a proxy on this machine tells in `header`.
async fn placed(node: &Node, header: &str, entry: impl Fn(u8) -> String) -> BTreeMap<u8, String> {
    let mut placed = BTreeMap::new();
    for user in 1..=USERS {
        let answer = node.http.get_as("/hello", &[(header, &entry(user))]).await.ok();
        placed.insert(user, answer.version().to_owned());
    }
    placed
}

/// What comes back for `sent` on a connection of its own.
async fn exchange(mut stream: TcpStream, sent: &str) -> String {
    stream.write_all(sent.as_bytes()).await.expect("the node reads");
    let mut answer = String::new();
    patiently("an answer", stream.read_to_string(&mut answer)).await.expect("the node answers");
    answer
}

/// The version that gave the answer.
fn version(answer: &str) -> String {
    let version = answer.lines().find_map(|line| line.strip_prefix("wasm-fn-version: "));
    version.unwrap_or_else(|| panic!("no version answered:\n{answer}")).to_owned()
}

#[tokio::test]
async fn users_behind_a_trusted_proxy_are_split_by_their_own_addresses() {
    let node = node(&["--trusted-proxy", "127.0.0.0/8"]).await;
    let first = placed(&node, "x-forwarded-for", |user| format!("198.51.100.{user}")).await;
    both_sides(&first);
    // The same whoever tells it, and whatever the user wrote in front.
    let entry = |user| format!("203.0.113.9, 198.51.100.{user}, 127.0.0.7");
    assert_eq!(placed(&node, "x-forwarded-for", entry).await, first);
    let entry = |user| format!("for=\"198.51.100.{user}:4711\";proto=https, for=127.0.0.7");
    assert_eq!(placed(&node, "forwarded", entry).await, first);
}

#[tokio::test]
async fn users_behind_a_proxy_that_is_not_trusted_are_one() {
    for args in [&[][..], &["--trusted-proxy", "10.0.0.0/8"]] {
        let node = node(args).await;
        let placed = placed(&node, "x-forwarded-for", |user| format!("198.51.100.{user}")).await;
        assert_eq!(placed.values().collect::<BTreeSet<_>>().len(), 1, "{placed:?}");
    }
}

#[tokio::test]
async fn users_whom_a_proxy_header_names_are_split() {
    let node = node(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]).await;
    let mut placed = BTreeMap::new();
    for user in 1..=USERS {
        let header = format!("PROXY TCP4 198.51.100.{user} 127.0.0.1 4711 80\r\n");
        let request = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = exchange(connect(node.listen).await, &format!("{header}{request}")).await;
        placed.insert(user, version(&answer));
    }
    both_sides(&placed);
}

#[tokio::test]
async fn guests_see_of_a_client_only_what_a_trusted_proxy_says() {
    let told = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-real-ip", "192.0.2.1")];
    let spelled = [("x_forwarded_for", "192.0.2.2")];
    let headers = [&told[..], &spelled, &[("x-user", "1")]].concat();
    for (args, sees) in [(&[][..], false), (&["--trusted-proxy", "127.0.0.1"], true)] {
        let node = Node::start_with(args).await;
        node.deploy("cgi").await;
        let text = node.http.get_as("/cgi", &headers).await.ok().text();
        assert!(text.contains("HTTP_X_USER=1\n"), "{text}");
        for line in [
            "HTTP_X_FORWARDED_FOR=192.0.2.1\n",
            "HTTP_X_FORWARDED_PROTO=https\n",
            "HTTP_X_REAL_IP=192.0.2.1\n",
        ] {
            assert_eq!(text.contains(line), sees, "{line}{text}");
        }
        assert!(!text.contains("192.0.2.2"), "{text}");
    }
}

#[tokio::test]
async fn function_with_one_user_is_warned_of_once() {
    let node = node(&[]).await;
    let ask = |requests: u32| {
        let answers = stream::iter(0..requests).map(|_| node.http.get("/hello")).buffer_unordered(8);
        answers.for_each(|answer| async move {
            answer.ok();
        })
    };
    let warnings = || {
        let lines: Vec<Value> =
            node.process().log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter().filter(|line| line["level"] == "WARN").collect::<Vec<_>>()
    };
    // One request of eight is looked at, and 125 of those make a verdict.
    patiently("a warning", async {
        while warnings().is_empty() {
            ask(500).await;
        }
    })
    .await;
    ask(2000).await;
    let warnings = warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let fields = &warnings[0];
    assert_eq!((&fields["function"], &fields["client"]), (&json!("hello"), &json!("127.0.0.1")), "{fields}");
    assert!(fields["message"].as_str().unwrap().contains("--trusted-proxy"), "{fields}");
}

/// The snippets in the language `language` of the operator's manual, in their order, for `node`.
fn snippets(language: &str, node: &Node) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to/operating.md");
    let manual = std::fs::read_to_string(path).expect("the manual is there");
    let opening = format!("```{language}\n");
    let blocks = manual.split(&opening).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("a block ends"));
    blocks.map(|block| block.replace("10.0.0.9:8080", &node.listen.to_string())).collect()
}

/// An address of this machine that nobody listened on a moment ago. Its host belongs to this process, so that
/// no other test takes the port meanwhile, be it for a connection.
fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let free = std::net::TcpListener::bind((Ipv4Addr::new(127, 77, high, low), 0)).expect("a port is free");
    free.local_addr().expect("it is bound")
}

/// nginx in front of `node`, configured as the manual says, once it listens.
pub(crate) async fn nginx(node: &Node) -> (Process, SocketAddr) {
    let (folder, address) = (node.folder(), free_address());
    let path = folder.path().display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"));
    let [location] = snippets("nginx", node).try_into().expect("the manual has one");
    let config = format!(
        "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{}\
         access_log off;\nserver {{\nlisten {address};\n{location}}}\n}}\n",
        paths.concat(),
    );
    let config = folder.write("nginx.conf", config);
    let mut command = Command::new("nginx");
    command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(config).stdout(Stdio::null());
    (listening(&mut command, address).await, address)
}

/// HAProxy in front of `node`, with the backend of the manual that has `mode`, once it listens.
pub(crate) async fn haproxy(node: &Node, mode: &str) -> (Process, SocketAddr) {
    let address = free_address();
    let snippets = snippets("haproxy", node);
    let backend = snippets.iter().find(|backend| backend.contains(mode)).expect("the manual has one");
    let config = format!(
        "defaults\n    {mode}\n    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n\
         frontend clients\n    bind {address}\n    default_backend functions\n{backend}"
    );
    let config = node.folder().write("haproxy.cfg", config);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config).stdout(Stdio::null());
    (listening(&mut command, address).await, address)
}

/// The process of `command`, once it listens at `address`.
async fn listening(command: &mut Command, address: SocketAddr) -> Process {
    let process = Process::spawn(command);
    patiently("the proxy", connect_from(Ipv4Addr::LOCALHOST, address)).await;
    process
}

/// A connection to `address` from `source`, once somebody listens.
async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        if let Ok(stream) = socket.connect(address).await {
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

/// The versions that answer users of different addresses behind the proxy at `address`, who claim to be
/// somebody else.
async fn placed_behind(address: SocketAddr) -> BTreeMap<u8, String> {
    let mut placed = BTreeMap::new();
    for user in 1..=USERS {
        let source = Ipv4Addr::new(127, 0, 1, user);
        let stream = patiently("the proxy", connect_from(source, address)).await;
        let request = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\nforwarded: for=192.0.2.1\r\n\
                       x-forwarded-for: 192.0.2.1\r\n\r\n";
        placed.insert(user, version(&exchange(stream, request).await));
    }
    placed
}

#[tokio::test]
async fn users_behind_nginx_are_split_by_their_own_addresses() {
    if installed("nginx", "users_behind_nginx_are_split_by_their_own_addresses") {
        let node = node(&["--trusted-proxy", "127.0.0.1"]).await;
        let (_nginx, address) = nginx(&node).await;
        both_sides(&placed_behind(address).await);
    }
}

#[tokio::test]
async fn users_behind_haproxy_are_split_by_their_own_addresses() {
    if installed("haproxy", "users_behind_haproxy_are_split_by_their_own_addresses") {
        let node = node(&["--trusted-proxy", "127.0.0.1"]).await;
        let (_haproxy, address) = haproxy(&node, "mode http").await;
        both_sides(&placed_behind(address).await);
    }
}

#[tokio::test]
async fn users_whom_haproxy_names_by_proxy_headers_are_split() {
    if installed("haproxy", "users_whom_haproxy_names_by_proxy_headers_are_split") {
        let node = node(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]).await;
        let (_haproxy, address) = haproxy(&node, "mode tcp").await;
        both_sides(&placed_behind(address).await);
    }
}
