//! Handing a node over to a new process, and sockets that a service manager opened.

mod clustered;
mod queues;

use std::{
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixDatagram, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::harness::{
    Folder, Node, Process,
    client::{Client, raw},
    command::run,
    connection::{Call, Connection},
    guests, patiently, serve,
    tls::{Authority, parameters, secured},
};

/// How often the node under load is handed over.
const SWAPS: usize = 20;

/// A node whose program can be replaced, and every process that comes of it.
struct Upgraded {
    // Killed before the node is waited for: as long as one process lives, the group's number is its own.
    _group: Group,
    node: Node,
    program: PathBuf,
    /// The process that serves.
    pid: Pid,
}

/// A group of processes that does not outlive its test.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Fails when all of them have ended, which is as good.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

fn pid(number: u64) -> Pid {
    i32::try_from(number).ok().and_then(Pid::from_raw).expect("a process has a number")
}

/// The fields of the log line `text` that says `message`.
fn said(text: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(text).ok()?;
    (line.get("message")?.as_str()? == message).then_some(line)
}

impl Upgraded {
    async fn start(args: &[&str]) -> Self {
        Self::start_with(args, |_| {}).await
    }

    /// A node that is started by a link to the program, so that another can be put there.
    async fn start_with(args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        Self::start_in(Folder::new(), args, change).await
    }

    /// The same with what `folder` holds.
    async fn start_in(folder: Folder, args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let program = folder.path().join("wasm-fn");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wasm-fn"), &program).unwrap();
        let mut command = Command::new(&program);
        let usual = serve(&folder, args);
        command.args(usual.get_args()).current_dir(folder.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        change(&mut command);
        let node = Node::start_as(&mut command, folder).await;
        let pid = pid(node.process().id().into());
        Self { _group: Group(pid), node, program, pid }
    }

    /// Puts a shell script where the program was.
    fn replace_program(&self, script: &str) {
        std::fs::remove_file(&self.program).unwrap();
        std::fs::write(&self.program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&self.program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts the program where nothing is.
    fn put_program(&self) {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wasm-fn"), &self.program).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process that serves is alive");
    }

    /// The first line with `message` that `wanted` makes something of.
    async fn line<T>(&self, message: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let line = |text: &str| said(text, message).and_then(|line| wanted(&line));
        self.node.process().line(message, line).await
    }

    async fn says(&self, message: &str) -> Value {
        self.line(message, |line| Some(line.clone())).await
    }

    /// Hands the node over to a new process, which serves on return.
    async fn swap(&mut self) {
        let handed_to = |line: &str| said(line, "node was handed over")?["pid"].as_u64();
        let process = self.node.process();
        let before: Vec<_> = process.log().lines().filter_map(handed_to).collect();
        self.signal(Signal::USR2);
        let new = |line: &str| handed_to(line).filter(|pid| !before.contains(pid));
        self.pid = pid(process.line("the end of a swap", new).await);
    }

    /// Ends the node in order, and waits until none of its processes is left.
    async fn end(mut self) -> Node {
        self.signal(Signal::TERM);
        let status = self.node.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.node.process().log());
        self.node
    }
}

/// What became of the requests of many connections.
#[derive(Default)]
struct Calls {
    enough: AtomicBool,
    connections: AtomicU32,
    /// Answers, and requests without one.
    told: watch::Sender<(u32, u32)>,
}

/// Where callers connect to, and how.
struct Way {
    node: SocketAddr,
    http2: bool,
    /// For connections with TLS.
    client: Option<TlsConnector>,
}

impl Way {
    async fn open(&self) -> Option<Connection> {
        match &self.client {
            None => Connection::open(self.node, self.http2).await,
            Some(client) => {
                Connection::over(secured(client, self.node, "a.test").await.ok()?, self.http2).await
            }
        }
    }
}

/// Calls `path` over one connection after the other until told that it is enough, or until a request fails.
async fn keep_calling(calls: &Calls, node: SocketAddr, path: &str, http2: bool) -> Result<(), String> {
    keep_calling_by(calls, &Way { node, http2, client: None }, path).await
}

async fn keep_calling_by(calls: &Calls, way: &Way, path: &str) -> Result<(), String> {
    let called = call_until_enough(calls, way, path).await;
    if called.is_err() {
        calls.told.send_modify(|(_, broken)| *broken += 1);
    }
    called
}

async fn call_until_enough(calls: &Calls, way: &Way, path: &str) -> Result<(), String> {
    while !calls.enough.load(Ordering::Relaxed) {
        let mut connection = way.open().await.ok_or("a connection was refused")?;
        calls.connections.fetch_add(1, Ordering::Relaxed);
        while !calls.enough.load(Ordering::Relaxed) {
            match connection.call(way.node, path).await {
                Call::Answered => calls.told.send_modify(|(answered, _)| *answered += 1),
                Call::NotSent => break,
                Call::Broken(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn swaps_under_load_break_no_request() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    upgraded.node.deploy("slow").await;
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let (calls, address) = (Arc::clone(&calls), upgraded.node.listen);
            let path = if n % 4 == 0 { "/slow?ms=100" } else { "/hello" };
            tokio::spawn(async move { keep_calling(&calls, address, path, n % 3 == 0).await })
        })
        .collect();
    let mut previous = upgraded.pid;
    for _ in 0..SWAPS {
        let (before, _) = *calls.told.borrow();
        upgraded.swap().await;
        assert_ne!(upgraded.pid, previous, "the same process serves");
        previous = upgraded.pid;
        let mut told = calls.told.subscribe();
        let served = told.wait_for(|&(answered, broken)| answered >= before + 50 || broken > 0);
        drop(patiently("fifty answers", served).await.unwrap());
    }
    calls.enough.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(patiently("a caller", caller).await.unwrap().err());
    }
    let (answered, _) = *calls.told.borrow();
    let connections = calls.connections.load(Ordering::Relaxed);
    println!("{SWAPS} swaps: {answered} answers over {connections} connections, {} failed", failed.len());
    let node = upgraded.end().await;
    assert_eq!(failed, Vec::<String>::new(), "{}", node.process().log());
    assert!(!node.process().log().contains("connections were cut"), "{}", node.process().log());
}

#[tokio::test]
async fn functions_keep_their_state_through_swaps() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("state", "stateful", json!({ "buckets": { "default": {} } })).await;
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let (calls, address) = (Arc::clone(&calls), upgraded.node.listen);
            tokio::spawn(async move { keep_calling(&calls, address, "/state/increment/n", n % 2 == 0).await })
        })
        .collect();
    for _ in 0..3 {
        let (before, _) = *calls.told.borrow();
        upgraded.swap().await;
        let mut told = calls.told.subscribe();
        let served = told.wait_for(|&(answered, broken)| answered >= before + 50 || broken > 0);
        drop(patiently("fifty writes", served).await.unwrap());
    }
    calls.enough.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(patiently("a caller", caller).await.unwrap().err());
    }
    let (answered, _) = *calls.told.borrow();
    let kept = upgraded.node.cli_ok(&["kv", "get", "state", "default", "n"]).await;
    let node = upgraded.end().await;
    assert_eq!(failed, Vec::<String>::new(), "{}", node.process().log());
    assert_eq!(kept, answered.to_string(), "each write that was answered happened once");
}

#[tokio::test]
async fn swaps_with_tls_break_no_request() {
    let authority = Authority::new("authority");
    let args = ["--tls-cert", "a.pem", "--tls-key", "a.key", "--redirect-listen", "127.0.0.1:0"];
    let admin = ["--admin-tls-cert", "admin.pem", "--admin-tls-key", "admin.key"];
    let folder = Folder::new();
    folder.write_pair("a", &authority.issue(&parameters("a.test")));
    folder.write_pair("admin", &authority.issue(&parameters("localhost")));
    folder.write("ca.pem", authority.pem());
    folder.write("hello.wasm", guests::bytes("hello-v1"));
    let mut upgraded = Upgraded::start_in(folder, &[&args[..], &admin].concat(), |_| {}).await;
    let deploy = async |upgraded: &Upgraded| {
        let mut command = upgraded.node.command(&["deploy", "hello.wasm", "--ca", "ca.pem"]);
        command.env("WASM_FN_SERVER", format!("https://localhost:{}", upgraded.node.admin.port()));
        run(&mut command).await.ok();
    };
    deploy(&upgraded).await;
    let redirected = upgraded.says("plain HTTP is redirected to https").await;
    let redirected: SocketAddr = redirected["listen"].as_str().unwrap().parse().unwrap();
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..6)
        .map(|n| {
            let client = Some(authority.client(&["h2", "http/1.1"]));
            let way = Way { node: upgraded.node.listen, http2: n % 2 == 0, client };
            let calls = Arc::clone(&calls);
            tokio::spawn(async move { keep_calling_by(&calls, &way, "/hello").await })
        })
        .collect();
    for _ in 0..5 {
        let (before, _) = *calls.told.borrow();
        upgraded.swap().await;
        let mut told = calls.told.subscribe();
        let served = told.wait_for(|&(answered, broken)| answered >= before + 50 || broken > 0);
        drop(patiently("fifty answers", served).await.unwrap());
        // The other two listeners went along.
        let request = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
        let answer = raw(redirected, request, |_| false).await;
        assert!(answer.starts_with(b"HTTP/1.1 308 "), "{}", String::from_utf8_lossy(&answer));
        deploy(&upgraded).await;
    }
    calls.enough.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(patiently("a caller", caller).await.unwrap().err());
    }
    let node = upgraded.end().await;
    assert_eq!(failed, Vec::<String>::new(), "{}", node.process().log());
    assert!(!node.process().log().contains("connections were cut"), "{}", node.process().log());
}

#[tokio::test]
async fn new_process_compiles_what_has_traffic_before_it_takes_over() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    upgraded.node.deploy("echo").await;
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (calls, address) = (Arc::clone(&calls), upgraded.node.listen);
            let path = if n % 2 == 0 { "/hello" } else { "/echo" };
            tokio::spawn(async move { keep_calling(&calls, address, path, n == 3).await })
        })
        .collect();
    let mut told = calls.told.subscribe();
    drop(patiently("the first answers", told.wait_for(|&(answered, _)| answered >= 20)).await.unwrap());
    // As after an upgrade that brings another engine.
    std::fs::remove_dir_all(upgraded.node.folder().data().join("artifacts")).unwrap();
    upgraded.swap().await;
    let (before, _) = *calls.told.borrow();
    drop(
        patiently("answers of the new process", told.wait_for(|&(now, _)| now >= before + 50)).await.unwrap(),
    );
    calls.enough.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(patiently("a caller", caller).await.unwrap().err());
    }
    let node = upgraded.end().await;
    let log = node.process().log();
    assert_eq!(failed, Vec::<String>::new(), "{log}");
    let at = |message| log.lines().position(|line| said(line, message).is_some()).expect(message);
    assert!(at("component was compiled") < at("node was handed over"), "{log}");
    let compiled = log.lines().filter(|line| said(line, "component was compiled").is_some()).count();
    // Twice at the deployments, twice for the new process.
    assert_eq!(compiled, 4, "{log}");
    assert!(!node.folder().data().join("hand-over").exists(), "the list is gone");
}

#[tokio::test]
async fn new_process_has_the_token_the_state_and_the_rollouts() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.hello_canary("30%", json!({})).await;
    let before = upgraded.node.live("hello").await;
    let revision = upgraded.node.revision().await;
    upgraded.swap().await;
    let after = upgraded.node.live("hello").await;
    assert_eq!(upgraded.node.revision().await, revision);
    assert_eq!(after["rollout"]["weight"], "30%", "{after}");
    assert_eq!(after["rollout"]["canary"], before["rollout"]["canary"], "{after}");
    // And it goes on from there.
    upgraded.node.split_hello(&[("v2", "100%")]).await;
    let serving = |upgraded: &Upgraded| {
        let file = std::fs::read_to_string(upgraded.node.folder().data().join("pid")).unwrap();
        pid(file.trim().parse().unwrap())
    };
    assert_eq!(serving(&upgraded), upgraded.pid);
    upgraded.swap().await;
    assert_eq!(upgraded.node.revision().await, revision + 1);
    assert_eq!(upgraded.node.http.get("/hello").await.ok().version(), "v2");
    let node = upgraded.end().await;
    assert!(!node.folder().data().join("pid").exists(), "no process serves");
}

#[tokio::test]
async fn request_in_flight_is_finished_by_the_process_that_took_it_up() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy("echo").await;
    let mut exchange = upgraded.node.http.begin("/echo", "before ", &[]).await.unwrap();
    exchange.read("before ").await;
    upgraded.swap().await;
    Client::http1(upgraded.node.listen).post("/echo", "beside").await.ok();
    exchange.write("after").await;
    assert_eq!(exchange.finish().await.unwrap().text(), "after");
    upgraded.end().await;
}

/// Checks that the node serves, and that its state can be changed.
async fn goes_on(upgraded: &Upgraded) {
    upgraded.node.http.get("/hello").await.ok();
    let revision = upgraded.node.revision().await;
    upgraded.node.deploy_with(&format!("at-{revision}"), "hello-v1", json!({})).await;
    assert_eq!(upgraded.node.revision().await, revision + 1);
}

#[tokio::test]
async fn swap_that_fails_leaves_the_old_process_as_it_was() {
    const FAILED: &str = "node was not handed over, this process continues";
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    // Each with its script, which begins by reading nothing, and what the log says of it.
    let scripts = [
        ("exit 7", "new process ended with exit code 7 before it served"),
        ("kill -9 $$", "new process ended with signal 9 before it served"),
        (
            "printf x >&0; exec cat",
            "new process did not follow the handover protocol and was killed: received 'x', expected Prepared",
        ),
        // Gives up once it could have the state.
        (
            "read -r dir; printf p >&0; dd bs=1 count=1 2>&1; exit 8",
            "new process ended with exit code 8 before it served",
        ),
    ];
    for (script, told) in scripts {
        upgraded.replace_program(script);
        upgraded.signal(Signal::USR2);
        upgraded.line(FAILED, |line| (line["error"] == told).then_some(())).await;
        goes_on(&upgraded).await;
    }
    std::fs::remove_file(&upgraded.program).unwrap();
    upgraded.signal(Signal::USR2);
    let missing = format!("{} cannot be started", upgraded.program.display());
    upgraded.line(FAILED, |line| line["error"].as_str()?.starts_with(&missing).then_some(())).await;
    goes_on(&upgraded).await;

    upgraded.put_program();
    upgraded.swap().await;
    goes_on(&upgraded).await;
    upgraded.end().await;
}

#[tokio::test]
async fn configuration_that_is_refused_leaves_the_old_process_as_it_was() {
    let folder = Folder::new();
    let config = folder.write("wasm-fn.toml", "[serve]\n");
    let mut upgraded = Upgraded::start(&["--config", config.to_str().unwrap()]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    folder.write("wasm-fn.toml", "[serve]\ninstances_max = 0\n");
    upgraded.signal(Signal::USR2);
    let failed = upgraded.says("node was not handed over, this process continues").await;
    assert_eq!(failed["error"], "new process ended with exit code 1 before it served");
    goes_on(&upgraded).await;
    folder.write("wasm-fn.toml", "[serve]\ninstances_max = 10\n");
    upgraded.swap().await;
    goes_on(&upgraded).await;
    upgraded.end().await;
}

#[tokio::test]
async fn new_process_with_another_data_directory_is_refused() {
    let upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    let real = env!("CARGO_BIN_EXE_wasm-fn");
    upgraded.replace_program(&format!("mkdir other; exec '{real}' serve --data-dir other"));
    upgraded.signal(Signal::USR2);
    let failed = upgraded.says("node was not handed over, this process continues").await;
    assert_eq!(failed["error"], "new process ended with exit code 1 before it served");
    let log = upgraded.node.process().log();
    let ours = upgraded.node.folder().data().canonicalize().unwrap();
    let told = format!("expected {} of the process that hands over", ours.display());
    assert!(log.contains(&told), "{log}");
    goes_on(&upgraded).await;
    upgraded.end().await;
}

#[tokio::test]
async fn second_signal_during_a_swap_is_ignored() {
    let upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    // Never gets ready.
    upgraded.replace_program("exec cat");
    upgraded.signal(Signal::USR2);
    upgraded.says("new process started").await;
    upgraded.signal(Signal::USR2);
    upgraded.says("node is being handed over, another SIGUSR2 is ignored").await;
    goes_on(&upgraded).await;
    // Ends the new process as well: the log ends only when both are gone.
    let node = upgraded.end().await;
    let started =
        node.process().log().lines().filter(|line| said(line, "new process started").is_some()).count();
    assert_eq!(started, 1);
}

#[tokio::test]
async fn swap_to_a_process_that_is_killed_by_hand_can_be_tried_again() {
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    upgraded.replace_program("exec cat");
    upgraded.signal(Signal::USR2);
    let started = upgraded.says("new process started").await;
    kill_process(pid(started["pid"].as_u64().unwrap()), Signal::TERM).unwrap();
    upgraded.says("node was not handed over, this process continues").await;
    std::fs::remove_file(&upgraded.program).unwrap();
    upgraded.put_program();
    upgraded.swap().await;
    goes_on(&upgraded).await;
    upgraded.end().await;
}

/// A command that is passed `http` and `admin` as a service manager passes them.
fn activated(folder: &Folder, names: &str, http: OwnedFd, admin: OwnedFd) -> Command {
    // The shell puts the sockets where they belong, and has the number that the program will have.
    const SCRIPT: &str = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec "$0" "$@""#;
    let usual = serve(folder, &[]);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(SCRIPT).arg(usual.get_program()).args(usual.get_args());
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names).env("NO_COLOR", "1");
    command.stdin(Stdio::from(http)).stdout(Stdio::from(admin)).current_dir(folder.path()).process_group(0);
    command
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_served_and_handed_over() {
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, admin) = (bind(), bind());
    let addresses = (http.local_addr().unwrap(), admin.local_addr().unwrap());
    let folder = Folder::new();
    // A client that comes before the node does is served.
    let early = tokio::spawn(async move { Client::http1(addresses.0).get("/nobody").await });
    let shared = |socket: &TcpListener| OwnedFd::from(socket.try_clone().unwrap());
    let mut command = activated(&folder, "http:admin", shared(&http), shared(&admin));
    let node = Node::start_as(&mut command, folder).await;
    drop(command);
    let pid = pid(node.process().id().into());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_wasm-fn"));
    let mut upgraded = Upgraded { _group: Group(pid), node, program, pid };
    assert_eq!((upgraded.node.listen, upgraded.node.admin), addresses);
    assert_eq!(patiently("the early client", early).await.unwrap().status, StatusCode::NOT_FOUND);
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    upgraded.node.http.get("/hello").await.ok();
    upgraded.swap().await;
    goes_on(&upgraded).await;
    upgraded.end().await;
}

#[tokio::test]
async fn socket_with_a_name_that_is_not_known_is_refused() {
    let bind = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let folder = Folder::new();
    let mut command = activated(&folder, "http:wasm-fn.socket", bind(), bind());
    let mut process = Process::spawn(&mut command);
    assert_eq!(process.ended().await.code(), Some(1));
    let told = "descriptor 4 is named \"wasm-fn.socket\", expected http, admin or redirect";
    assert!(process.log().contains(told), "{}", process.log());
}

#[tokio::test]
async fn service_manager_hears_which_process_serves() {
    let manager_folder = Folder::new();
    let path = manager_folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let manager = tokio::net::UnixDatagram::from_std(manager).unwrap();
    let next = async || {
        let mut text = [0; 256];
        let bytes = patiently("a notification", manager.recv(&mut text)).await.unwrap();
        String::from_utf8_lossy(&text[..bytes]).into_owned()
    };
    let mut upgraded = Upgraded::start_with(&[], |command| _ = command.env("NOTIFY_SOCKET", &path)).await;
    let ready = |pid: Pid| format!("READY=1\nMAINPID={}", pid.as_raw_nonzero());
    assert_eq!(next().await, ready(upgraded.pid));
    upgraded.swap().await;
    let mut told = [next().await, next().await];
    told.sort();
    assert_eq!(told, [format!("MAINPID={}", upgraded.pid.as_raw_nonzero()), ready(upgraded.pid)]);
    upgraded.end().await;
    assert_eq!(next().await, "STOPPING=1");
}

#[tokio::test]
async fn program_that_is_told_of_a_hand_over_that_is_none_refuses() {
    let folder = Folder::new();
    for (protocol, told) in
        [("1", "standard input is not a handover socket"), ("2", "is \"2\", expected \"1\"")]
    {
        let mut process = Process::spawn(serve(&folder, &[]).env("WASM_FN_HAND_OVER", protocol));
        assert_eq!(process.ended().await.code(), Some(1));
        assert!(process.log().contains(told), "{}", process.log());
    }
}
