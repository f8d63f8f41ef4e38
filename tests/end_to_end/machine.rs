//! What the machine allows: pools that do not fit, files and memory that run out, and what `doctor` says.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    Folder, Node,
    client::{Client, connect},
    command::{Done, run, through},
    serve, wasm_fn,
};

/// `command`, under a limit that prlimit(1) sets.
fn limited(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(limit);
    through(limited, command)
}

/// `wasm-fn doctor` for a node in `folder`.
fn doctor(folder: &Folder, args: &[&str]) -> Command {
    let mut command = wasm_fn();
    command.args(["doctor", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(folder.data()).args(args).current_dir(folder.path());
    command
}

/// What `doctor` found under `name`, as `-o json` says it.
fn finding(done: &Done, name: &str) -> (String, String) {
    let report: Value = serde_json::from_str(&done.stdout).expect("stdout is one JSON object");
    let findings = report["findings"].as_array().expect("there are findings");
    let named = findings.iter().find(|finding| finding["name"] == name);
    let named = named.unwrap_or_else(|| panic!("nothing called {name}: {report}"));
    let text = |key: &str| named[key].as_str().unwrap_or_default().to_owned();
    (text("status"), format!("{}; {}", text("found"), text("help")))
}

#[tokio::test]
async fn pool_that_does_not_fit_is_refused_with_what_would() {
    let folder = Folder::new();
    run(&mut serve(&folder, &["--instances-max", "1000000000"])).await.refused(&[
        "1000000000 instances need",
        "found",
        "fit",
        "--instances-max",
    ]);
    // Enough for the program, and for a handful of the 4 GiB that each guest's addresses take.
    let small = limited("--as=24000000000", &serve(&folder, &["--instances-max", "100"]));
    run(&mut { small }).await.refused(&["100 instances need", "of address space", "GiB", "--instances-max"]);
    run(&mut serve(&folder, &["--memory-max", "1000TiB"])).await.refused(&["1000.0 TiB", "--memory-max"]);
    assert!(!folder.data().exists(), "a node that did not start left something behind");
}

#[tokio::test]
async fn node_in_a_small_address_space_serves_with_as_many_as_fit() {
    let folder = Folder::new();
    let mut command = limited("--as=24000000000", &serve(&folder, &[]));
    let node = Node::start_as(&mut command, folder).await;
    let chosen = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "instance pool").then(|| line["instances_max"].as_u64())?
    };
    let chosen = node.process().line("the chosen pool", chosen).await;
    assert!((1..=5).contains(&chosen), "{chosen} instances of 4 GiB in 24 GB");
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.http.get("/hello").await.ok();
}

#[tokio::test]
async fn node_without_files_to_open_goes_on_once_there_are_some() {
    let folder = Folder::new();
    // Its open files are counted.
    let node = Node::start_as(&mut serve(&folder, &["--allow-core-dumps"]), folder).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let process = node.process().id();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let room = format!("--nofile={0}:{0}", open + 20);
    let set = Command::new("prlimit").args(["--pid", &process.to_string(), &room]).status().unwrap();
    assert!(set.success());
    let mut connections = Vec::new();
    // All of them are taken by the kernel; which of them the node took up is not told.
    for _ in 0..60 {
        connections.push(connect(node.listen).await);
    }
    let pauses = |line: &str| line.contains("accepting pauses").then_some(());
    node.process().line("the pause", pauses).await;
    // Nothing crashed, and what has no connection yet gets one as soon as others end.
    drop(connections);
    let client = Client::http1(node.listen);
    for _ in 0..20 {
        client.get("/hello").await.ok();
    }
}

#[tokio::test]
async fn node_takes_no_more_connections_than_it_has_files_for() {
    let folder = Folder::new();
    let mut command = limited("--nofile=200:200", &serve(&folder, &[]));
    let node = Node::start_as(&mut command, folder).await;
    let said = |line: &str| line.contains("fewer connections than configured").then_some(());
    node.process().line("the lower limit", said).await;
    let mut connections = Vec::new();
    for _ in 0..120 {
        connections.push(connect(node.listen).await);
    }
    // Those that are open take nothing from the admin API, from the state and from guests.
    node.deploy_with("hello", "hello-v1", json!({})).await;
    drop(connections);
    node.http.get("/hello").await.ok();
    assert!(!node.process().log().contains("accepting pauses"), "{}", node.process().log());
}

#[tokio::test]
async fn node_without_memory_sheds_who_asks_for_it_and_serves_others() {
    let node = Node::start_with(&["--memory-max", "96MiB"]).await;
    node.deploy_with("hog", "hog", json!({ "memory_bytes": 1 << 30 })).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let shed = node.http.get("/hog?mb=200").await;
    shed.problem(503, "node-overloaded");
    assert!(shed.header("retry-after").parse::<u32>().unwrap() >= 1);
    node.http.get("/hello").await.ok();
    assert_eq!(node.http.get("/hog?mb=8").await.ok().text(), "8\n");
}

#[tokio::test]
async fn doctor_finds_a_machine_fit_or_says_what_to_do() {
    let folder = Folder::new();
    let fine = run(&mut doctor(&folder, &["--connections-max", "100"])).await.ok();
    for line in fine.stdout.lines() {
        assert!(line.starts_with("ok ") || line.starts_with("warning "), "{line:?}");
    }
    for name in ["kernel", "cores", "memory", "pool", "mappings", "files", "data-dir", "listen", "clock"] {
        assert!(fine.stdout.contains(name), "nothing of {name}:\n{}", fine.stdout);
    }
    assert!(!folder.data().exists(), "doctor made something");

    let large = run(&mut doctor(&folder, &["--instances-max", "1000000000", "-o", "json"])).await;
    assert_eq!(large.code, Some(1));
    let (status, text) = finding(&large, "pool");
    assert_eq!(status, "problem");
    assert!(text.contains("1000000000 instances need") && text.contains("--instances-max"), "{text}");

    let few = run(&mut limited("--nofile=300:300", &doctor(&folder, &["-o", "json"]))).await;
    assert_eq!((few.code, finding(&few, "files").0.as_str()), (Some(1), "problem"));

    folder.write("file", "");
    let mut nowhere = wasm_fn();
    nowhere.args(["doctor", "-o", "json", "--data-dir", "file/data"]).current_dir(folder.path());
    let nowhere = run(&mut nowhere).await;
    assert_eq!((nowhere.code, finding(&nowhere, "data-dir").0.as_str()), (Some(1), "problem"));
}

#[tokio::test]
async fn doctor_knows_a_node_from_something_else() {
    let node = Node::start().await;
    let (listen, admin) = (node.listen.to_string(), node.admin.to_string());
    let places = ["--listen", &listen, "--admin", &admin, "-o", "json"];
    let ours = run(&mut look(&node, &places)).await.ok();
    assert!(finding(&ours, "listen").1.contains("a node answers"), "{}", ours.stdout);
    let version = env!("CARGO_PKG_VERSION");
    let (_, said) = finding(&ours, "admin");
    assert!(said.contains(&format!("a node of version {version} answers")), "{said}");

    // The admin API names no request, and the data plane does not describe itself.
    let swapped = ["--listen", &admin, "--admin", &listen, "-o", "json"];
    let swapped = run(&mut look(&node, &swapped)).await;
    assert_eq!(swapped.code, Some(1));
    for name in ["listen", "admin"] {
        assert_eq!(finding(&swapped, name).0, "problem", "{}", swapped.stdout);
    }
}

#[tokio::test]
async fn doctor_finds_keys_that_others_can_read() {
    let node = Node::start().await;
    let folder = node.kill().await;
    run(&mut doctor(&folder, &[])).await.ok();
    for name in ["artifact.key", "preview.key", "token"] {
        let key = folder.data().join(name);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = run(&mut doctor(&folder, &[])).await;
        assert_eq!(open.code, Some(1), "{name}");
        let line = open.stdout.lines().find(|line| line.starts_with("problem")).unwrap();
        assert!(line.contains(&format!("{name} has mode 0644")) && line.contains("chmod 600"), "{line}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// `wasm-fn doctor` beside a node that runs.
fn look(node: &Node, args: &[&str]) -> Command {
    let mut command = wasm_fn();
    command.arg("doctor").arg("--data-dir").arg(node.folder().data()).args(args);
    command.current_dir(node.folder().path());
    command
}
