//! How a node starts and ends, and when it refuses to start.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use redb::TableDefinition;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Folder, Node,
    client::Client,
    command::{Done, run},
    connection::{Call, Connection},
    patiently, wasm_fn,
};

/// What became of the requests of many connections.
#[derive(Default)]
struct Calls {
    /// Set before the node is told to end.
    ending: AtomicBool,
    answered: AtomicU32,
    /// Connections that the node had never taken up when it closed its listener.
    never_accepted: AtomicU32,
}

/// Calls `path` over one connection after the other until the node accepts no more.
async fn keep_calling(calls: &Calls, address: SocketAddr, path: &str, http2: bool) -> Result<(), String> {
    while let Some(mut connection) = Connection::open(address, http2).await {
        let mut served = false;
        loop {
            match connection.call(address, path).await {
                Call::Answered => {
                    served = true;
                    calls.answered.fetch_add(1, Ordering::Relaxed);
                }
                Call::NotSent => break,
                // The kernel had accepted the connection, the node had not.
                Call::Broken(_) if !served && calls.ending.load(Ordering::Relaxed) => {
                    calls.never_accepted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Call::Broken(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn node_that_ends_under_load_breaks_no_request() {
    let mut node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy("slow").await;
    let idle = Connection::open(node.listen, false).await.unwrap();
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..24)
        .map(|n| {
            let (calls, address) = (Arc::clone(&calls), node.listen);
            let path = if n % 4 == 0 { "/slow?ms=100" } else { "/hello" };
            tokio::spawn(async move { keep_calling(&calls, address, path, n % 3 == 0).await })
        })
        .collect();
    let busy = async {
        while calls.answered.load(Ordering::Relaxed) < 500 {
            tokio::task::yield_now().await;
        }
    };
    patiently("five hundred answers", busy).await;
    calls.ending.store(true, Ordering::Relaxed);
    let before = calls.answered.load(Ordering::Relaxed);
    node.terminate();
    let status = node.ended().await;
    for caller in callers {
        let ended = patiently("a caller", caller).await.unwrap();
        assert_eq!(ended, Ok(()), "a request was accepted and not answered\n{}", node.process().log());
    }
    drop(idle);
    let answered = calls.answered.load(Ordering::Relaxed);
    let never = calls.never_accepted.load(Ordering::Relaxed);
    println!(
        "{before} answers before the signal, {} after it; {never} connections were never accepted",
        answered - before
    );
    assert_eq!(status.code(), Some(0), "{}", node.process().log());
}

#[tokio::test]
async fn request_in_flight_is_finished_before_the_node_ends() {
    let mut node = Node::start().await;
    node.deploy("echo").await;
    for http2 in [false, true] {
        let client = if http2 { Client::http2(node.listen) } else { Client::http1(node.listen) };
        let mut exchange = client.begin("/echo", "before ", &[]).await.unwrap();
        exchange.read("before ").await;
        node.terminate();
        refuses_connections(node.listen).await;
        exchange.write("after").await;
        assert_eq!(exchange.finish().await.unwrap().text(), "after");
        assert_eq!(node.ended().await.code(), Some(0));
        if !http2 {
            node = Node::start_on(node.folder().clone(), &[]).await;
        }
    }
}

/// Waits until nothing listens at `address` any more.
async fn refuses_connections(address: SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    patiently("the listener's end", refused).await;
}

#[tokio::test]
async fn second_signal_ends_the_node_at_once() {
    let mut node = Node::start_with(&["--drain-timeout", "1h"]).await;
    node.deploy_with("echo", "echo", json!({ "timeout_ms": 3_600_000 })).await;
    let mut exchange = node.http.begin("/echo", "here", &[]).await.unwrap();
    exchange.read("here").await;
    node.terminate();
    refuses_connections(node.listen).await;
    node.terminate();
    node.ended().await;
    assert!(exchange.finish().await.is_err(), "the request was finished");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let mut node = Node::start_with(&["--drain-timeout", "300ms"]).await;
    node.deploy_with("echo", "echo", json!({ "timeout_ms": 3_600_000 })).await;
    let mut exchange = node.http.begin("/echo", "here", &[]).await.unwrap();
    exchange.read("here").await;
    node.terminate();
    node.ended().await;
    assert!(exchange.finish().await.is_err(), "the request was finished");
}

/// Starts a node that is expected to refuse.
async fn serve(listen: &str, admin: &str, data_dir: &Path) -> Done {
    let mut command = wasm_fn();
    command.args(["serve", "--listen", listen, "--admin", admin]).arg("--data-dir").arg(data_dir);
    run(&mut command).await
}

const ANY: &str = "127.0.0.1:0";

#[tokio::test]
async fn address_in_use_is_named() {
    let node = Node::start().await;
    let (taken, folder) = (node.listen.to_string(), Folder::new());
    serve(&taken, ANY, &folder.data()).await.refused(&[&taken, "--listen"]);
    serve(ANY, &taken, &folder.data()).await.refused(&[&taken, "--admin"]);
}

#[tokio::test]
async fn data_directory_of_another_node_is_refused() {
    let node = Node::start().await;
    let data = node.folder().data();
    serve(ANY, ANY, &data).await.refused(&[data.to_str().unwrap(), "in use by another node"]);
    node.deploy("hello-v1").await;
    node.http.get("/hello-v1").await.ok();
}

#[tokio::test]
async fn data_directory_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    let below_a_file = folder.write("file", "").join("data");
    serve(ANY, ANY, &below_a_file).await.refused(&[below_a_file.to_str().unwrap()]);
    let nowhere = Path::new("/proc/wasm-fn-data");
    serve(ANY, ANY, nowhere).await.refused(&["/proc/wasm-fn-data"]);
}

#[tokio::test]
async fn state_of_a_newer_program_is_refused_and_left_alone() {
    const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
    let folder = {
        let node = Node::start().await;
        node.deploy("hello-v1").await;
        node.kill().await
    };
    let set_format = |format: u64| {
        let database = redb::Database::open(folder.data().join("state.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let before = transaction.open_table(META).unwrap().insert("format", format).unwrap().unwrap().value();
        transaction.commit().unwrap();
        before
    };
    let known = set_format(99);
    let state = folder.data().join("state.redb");
    serve(ANY, ANY, &folder.data()).await.refused(&[
        "format 99",
        "expected at most 2",
        state.to_str().unwrap(),
    ]);
    assert_eq!(set_format(known), 99);
    Node::start_on(folder, &[]).await.http.get("/hello-v1").await.ok();
}

#[tokio::test]
async fn data_directory_that_is_damaged_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    let shown = folder.data().to_string_lossy().into_owned();
    folder.write("data/state.redb", vec![b'x'; 100_000]);
    serve(ANY, ANY, &folder.data()).await.refused(&[&shown, "redb"]);
    folder.write("data/state.redb", "");
    folder.write("data/token", "not a token");
    serve(ANY, ANY, &folder.data()).await.refused(&[&shown, "token", "11 bytes"]);
}
