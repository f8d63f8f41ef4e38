//! Real nats-servers, alone or three as one broker, which do not outlive their test. What is asked of a
//! broker is not known here.

use std::{
    ffi::OsString,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;

/// What most queues need.
const PLAIN: &str = "jetstream { store_dir: STORE }";

/// What a broker of a cluster has to have.
pub(crate) const SAFE: &str = "http: \"127.0.0.1:-1\"\njetstream { store_dir: STORE, sync_interval: always }";

/// The same, of a server that thinks that it has more room than it has.
const SAFE_BUT_ROOMY: &str =
    "http: \"127.0.0.1:-1\"\njetstream { store_dir: STORE, sync_interval: always, max_file: 1GB }";

/// One server with a directory for what it keeps.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    config: String,
    place: Place,
    pub(crate) port: u16,
}

/// Where a server runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The address that it listens at.
    pub(crate) address: IpAddr,
    /// Where the other servers of its broker find it; 0 for a port that is free now.
    pub(crate) route: u16,
    /// The program, and its arguments, by which it is started; empty if it is by none.
    pub(crate) starter: Vec<OsString>,
}

impl Place {
    /// This machine.
    fn here() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), route: 0, starter: Vec::new() }
    }
}

/// Whether the server is installed; says that `test` is skipped if it is not.
#[track_caller]
fn installed(test: &str) -> bool {
    let is_there = succeeds(Command::new("nats-server").arg("-v"));
    is_there || skip(test, "nats-server is not installed")
}

/// Whether this user may mount a file system for a process alone; says that `test` is skipped if not.
fn may_mount(test: &str) -> bool {
    let is_possible = succeeds(Command::new("unshare").args(ALONE).args(["mount -t tmpfs tmpfs /mnt"]));
    is_possible || skip(test, "this user may not mount anything")
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Says that `test` is skipped; `false`.
#[track_caller]
fn skip(test: &str, why: &str) -> bool {
    let required = std::env::var_os("CI_REQUIRE_PROGRAMS").is_some();
    assert!(!required, "{test} cannot run: {why}");
    let line = format!("skipped {test}: {why}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("CI_SKIPPED_TESTS").map(PathBuf::from) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
    false
}

impl Server {
    /// A broker of one server that loses nothing; `None` if there is no program for it.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::configured(test, SAFE)
    }

    /// A broker with JetStream and its defaults.
    #[track_caller]
    pub(crate) fn plain(test: &str) -> Option<Self> {
        Self::configured(test, PLAIN)
    }

    /// A broker with this configuration. `STORE` stands for a directory, and `FOLDER` for the one above it.
    #[track_caller]
    pub(crate) fn configured(test: &str, config: &str) -> Option<Self> {
        installed(test).then(|| Self::run(config, Place::here(), -1))
    }

    /// A broker whose disk has this size; `None` also if this user may not make one.
    pub(crate) fn cramped(test: &str, mib: u32) -> Option<Self> {
        let config = format!("{SAFE_BUT_ROOMY}\nserver_name: cramped");
        if !installed(test) || !may_mount(test) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let place = Place::here();
        let (child, port) = run(folder.path(), &config, &place, -1, Some(mib));
        Some(Self { child, folder, config, place, port })
    }

    /// Three servers that are one broker.
    pub(crate) fn three(test: &str) -> Option<Vec<Self>> {
        Self::three_at(test, [Place::here(), Place::here(), Place::here()])
    }

    /// Three servers that are one broker, each at its place.
    pub(crate) fn three_at(test: &str, mut places: [Place; 3]) -> Option<Vec<Self>> {
        if !installed(test) {
            return None;
        }
        // Each has to know where the others will be.
        let hold = |place: &mut Place| {
            (place.route == 0).then(|| {
                let socket = TcpListener::bind((place.address, 0)).unwrap();
                place.route = socket.local_addr().unwrap().port();
                socket
            })
        };
        let held: Vec<_> = places.iter_mut().map(hold).collect();
        drop(held);
        let routes: Vec<_> =
            places.iter().map(|place| format!("nats://{}:{}", place.address, place.route)).collect();
        let server = |(number, place): (usize, Place)| {
            let (routes, Place { address, route, .. }) = (routes.join(", "), &place);
            let config = format!(
                "{SAFE}\nserver_name: n{number}\n\
                 cluster {{ name: test, listen: \"{address}:{route}\", routes: [{routes}] }}"
            );
            Self::run(&config, place, -1)
        };
        Some(places.into_iter().enumerate().map(server).collect())
    }

    fn run(config: &str, place: Place, port: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = run(folder.path(), config, &place, port, None);
        Self { child, folder, config: config.to_owned(), place, port }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}:{}", self.place.address, self.port)
    }

    /// Where it shows its settings, as `host:port`.
    pub(crate) fn monitor(&self) -> String {
        let ports = self.folder.path().join(format!("nats-server_{}.ports", self.child.id()));
        let ports: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(ports).unwrap()).unwrap();
        ports["monitoring"][0].as_str().unwrap().strip_prefix("http://").unwrap().to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_process(self.child.id(), signal);
    }

    /// Starts it again at the same address, after it was killed.
    pub(crate) fn start_again(&mut self) {
        let port = i32::from(self.port);
        (self.child, self.port) = run(self.folder.path(), &self.config, &self.place, port, None);
    }

    /// Kills it, and starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills it, and starts another at the same address that knows nothing.
    pub(crate) fn replace(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.store()).unwrap();
        self.start_again();
    }

    /// Asks it to end, as a service manager does, and waits for that.
    pub(crate) fn end(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    pub(crate) fn kill(&mut self) {
        // Fails when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Copies what it keeps, while it does not run.
    pub(crate) fn save(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&self.store(), copy.path());
        copy
    }

    /// Puts back what was saved, while it does not run.
    pub(crate) fn put_back(&self, saved: &TempDir) {
        std::fs::remove_dir_all(self.store()).unwrap();
        copy_folder(saved.path(), &self.store());
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }
}

pub(crate) fn signal_process(id: u32, signal: Signal) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What makes `unshare` run a script that sees mounts of its own.
const ALONE: [&str; 5] = ["--user", "--map-root-user", "--mount", "sh", "-c"];

/// Starts a server at `place` on what `path` holds, at `port`, or one that is free for -1, where `mib` are
/// set with a disk of that size. Returns its port, too.
fn run(path: &Path, config: &str, place: &Place, port: i32, mib: Option<u32>) -> (Child, u16) {
    let store = format!("{:?}", path.join("store"));
    let text = config.replace("STORE", &store).replace("FOLDER", &path.display().to_string());
    let text = text.replace("127.0.0.1", &place.address.to_string());
    std::fs::write(path.join("nats.conf"), text).unwrap();
    for file in std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "ports") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let log = std::fs::OpenOptions::new().append(true).create(true).open(path.join("log")).unwrap();
    let mut command = match mib {
        None if place.starter.is_empty() => Command::new("nats-server"),
        None => {
            let mut command = Command::new(&place.starter[0]);
            command.args(&place.starter[1..]).arg("nats-server");
            command
        }
        Some(mib) => {
            std::fs::create_dir_all(path.join("store")).unwrap();
            let script =
                format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\"/store && exec nats-server \"$@\"");
            let mut command = Command::new("unshare");
            command.args(ALONE).arg(script).arg(path);
            command
        }
    };
    command.arg("-c").arg(path.join("nats.conf")).args(["-a", &place.address.to_string()]);
    command.args(["-p", &port.to_string()]);
    command.arg("--ports_file_dir").arg(path).stdout(Stdio::null()).stderr(log);
    let log = || std::fs::read_to_string(path.join("log")).unwrap();
    let began = tokio::time::Instant::now();
    'starting: loop {
        let mut child = command.spawn().unwrap();
        let ports = path.join(format!("nats-server_{}.ports", child.id()));
        loop {
            let found = std::fs::read_to_string(&ports).ok();
            let found = found.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            if let Some(found) = found.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
                return (child, found.rsplit(':').next().unwrap().parse().unwrap());
            }
            assert!(began.elapsed() < PATIENCE, "{}", log());
            std::thread::sleep(Duration::from_millis(5));
            if child.try_wait().unwrap().is_some() {
                // While it was away, another process may have had its port for a connection.
                assert!(log().contains("address already in use"), "{}", log());
                continue 'starting;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("log of the broker:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}
