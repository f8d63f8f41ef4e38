//! A real nats-server, which does not outlive its test.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::{self, stream};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;

/// What is asked of servers by most tests.
const PLAIN: &str = "jetstream { store_dir: STORE }";

/// A broker with a directory for what it keeps.
pub(crate) struct Server {
    child: Child,
    folder: Arc<TempDir>,
    config: String,
    pub(crate) port: u16,
}

/// Whether the server is installed; says that `test` is skipped if it is not.
#[track_caller]
fn installed(test: &str) -> bool {
    let found = Command::new("nats-server").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var_os("CI_REQUIRE_PROGRAMS").is_some();
    assert!(!required, "{test} cannot run: nats-server is not installed");
    let line = format!("skipped {test}: nats-server is not installed\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("CI_SKIPPED_TESTS").map(PathBuf::from) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
    false
}

impl Server {
    /// A broker with JetStream; `None` if there is no program for it.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::configured(test, PLAIN)
    }

    /// A broker with this configuration. `STORE` stands for a directory, and `FOLDER` for the one above it.
    #[track_caller]
    pub(crate) fn configured(test: &str, config: &str) -> Option<Self> {
        if !installed(test) {
            return None;
        }
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (child, port) = run(folder.path(), config, -1);
        Some(Self { child, folder, config: config.to_owned(), port })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it, and starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        self.kill();
        (self.child, self.port) = run(self.folder.path(), &self.config, i32::from(self.port));
    }

    /// Kills it, and starts another at the same address that knows nothing.
    pub(crate) fn replace(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.folder().join("store")).unwrap();
        (self.child, self.port) = run(self.folder.path(), &self.config, i32::from(self.port));
    }

    pub(crate) fn kill(&mut self) {
        // Fails when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// JetStream of this broker, for the test.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.unwrap())
    }

    /// A stream `ORDERS`.
    pub(crate) async fn orders(&self) -> jetstream::Context {
        let jetstream = self.jetstream().await;
        create(&jetstream, "orders.>").await;
        jetstream
    }
}

/// Starts a broker on what `path` holds, at `port`, or one that is free for -1. Returns its port, too.
fn run(path: &Path, config: &str, port: i32) -> (Child, u16) {
    let store = format!("{:?}", path.join("store"));
    let text = config.replace("STORE", &store).replace("FOLDER", &path.display().to_string());
    std::fs::write(path.join("nats.conf"), text).unwrap();
    for file in std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "ports") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let log = std::fs::File::create(path.join("log")).unwrap();
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(path.join("nats.conf")).args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    command.arg("--ports_file_dir").arg(path).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().unwrap();
    let ports = path.join(format!("nats-server_{}.ports", child.id()));
    let began = tokio::time::Instant::now();
    let port = loop {
        let found = std::fs::read_to_string(&ports).ok();
        let found = found.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        if let Some(found) = found.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
            break found.rsplit(':').next().unwrap().parse().unwrap();
        }
        let log = || std::fs::read_to_string(path.join("log")).unwrap();
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(Duration::from_millis(5));
    };
    (child, port)
}

/// Creates the stream `ORDERS` with `subjects`, which have commas between them.
pub(crate) async fn create(jetstream: &jetstream::Context, subjects: &str) {
    let config = stream::Config {
        name: "ORDERS".to_owned(),
        subjects: subjects.split(',').map(str::to_owned).collect(),
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
}

/// Publishes the numbers from `from` on, `count` of them, and waits until the stream has them.
pub(crate) async fn publish(jetstream: &jetstream::Context, from: usize, count: usize) {
    let mut acks = Vec::new();
    for number in from..from + count {
        acks.push(jetstream.publish("orders.new", number.to_string().into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("log of the broker:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}
