//! A cluster on this machine, to try: three nats-servers and three nodes as processes, with a function, in a
//! folder that is made anew each time.
#![expect(clippy::print_stdout, reason = "the addresses are this command's output")]

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{bench::target, cargo, output, run as run_command};

/// How many servers the broker has, and how many nodes the cluster.
const COUNT: u16 = 3;

/// Ports of the first of each; the others have the next ones.
const CLIENTS: u16 = 4221;
const ROUTES: u16 = 6221;
const MONITORS: u16 = 8221;
const FUNCTIONS: u16 = 8091;
const ADMIN: u16 = 8191;

/// How often is looked at what is waited for, and how many times at most.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 300;

/// Longest time for a node's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processes that end with this value.
struct Processes(Vec<(String, Child)>);

impl Processes {
    fn start(&mut self, name: &str, command: &mut Command, folder: &Path) -> Result<()> {
        let log = File::create(folder.join(format!("{name}.log"))).context("the folder is not writable")?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{program} did not start: is it installed?"))?;
        self.0.push((name.to_owned(), child));
        Ok(())
    }

    /// Says which process has ended, if one has.
    fn ended(&mut self) -> Result<Option<&str>> {
        for (name, child) in &mut self.0 {
            if child.try_wait()?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Waits until `holds`; an error if a process ends or it takes too long.
    fn wait(&mut self, what: &str, folder: &Path, mut holds: impl FnMut() -> bool) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            if holds() {
                return Ok(());
            }
            if let Some(name) = self.ended()? {
                let log = folder.join(format!("{name}.log"));
                bail!("{name} has ended, expected it to run: see {}", log.display());
            }
            thread::sleep(LOOK);
        }
        bail!("{what} took too long: see the logs in {}", folder.display());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            // Fails when it has ended, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Builds the binary of the workspace at `root` and runs a cluster of it until the terminal's Ctrl-C, which
/// reaches all processes.
///
/// # Errors
/// The build fails, nats-server is missing, a port is taken, or a process ends.
pub fn up(root: &Path) -> Result<()> {
    run_command(cargo().args(["build", "--package", "wasm-fn", "--profile", "quick"]).current_dir(root))?;
    let program = target(root)?.join("quick/wasm-fn");
    let folder = root.join("target/cluster");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
    }
    // It has the key and a token.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut processes = Processes(Vec::new());
    start_broker(&mut processes, &folder)?;
    let urls = addresses("nats://", CLIENTS).join(",");
    let monitors = addresses("", MONITORS).join(",");
    let init = || {
        let mut command = Command::new(&program);
        command.args(["cluster", "init", "--cluster", &urls, "--monitor", &monitors]);
        command.args(["--cluster-key", "cluster.key"]).current_dir(&folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    processes.wait("making the cluster", &folder, init)?;
    for (number, (listen, admin)) in addresses("", FUNCTIONS).iter().zip(addresses("", ADMIN)).enumerate() {
        let name = format!("node-{}", number + 1);
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", listen, "--admin", &admin, "--data-dir", &name]);
        command.args(["--node-name", &name, "--cluster", &urls, "--cluster-key", "cluster.key"]);
        processes.start(&name, &mut command, &folder)?;
    }
    let admin = addresses("", ADMIN);
    let ready = || admin.iter().all(|admin| is_ready(admin).unwrap_or(false));
    processes.wait("starting the nodes", &folder, ready)?;
    let server = format!("http://{}", admin[0]);
    let token = fs::read_to_string(folder.join("node-1/token")).context("node-1 has no token")?;
    let create = ["tokens", "create", "you", "--role", "admin", "-o", "json", "--server", &server, "--token"];
    let made = output(Command::new(&program).args(create).arg(token.trim()))?;
    let made: serde_json::Value = serde_json::from_str(&made).context("the token is no JSON")?;
    let token = made["secret"].as_str().context("the token has no secret")?;
    let bin = program.parent().context("the program is in a folder")?.display();
    let env = format!("export PATH={bin}:$PATH WASM_FN_SERVER={server} WASM_FN_TOKEN={token}\n");
    fs::write(folder.join("env"), env).context("the folder is not writable")?;
    let component = root.join("guest-examples/prebuilt/hello-v1.wasm");
    let mut deploy = Command::new(&program);
    deploy.arg("deploy").arg(component).args(["-f", "hello", "--server", &server, "--token", token]);
    output(&mut deploy)?;
    for (functions, admin) in addresses("http://", FUNCTIONS).iter().zip(addresses("http://", ADMIN)) {
        println!("functions {functions}  admin {admin}");
    }
    println!("in another terminal: . {}", folder.join("env").display());
    loop {
        if let Some(name) = processes.ended()? {
            // What a cluster is for is to go on without one.
            println!("{name} has ended");
            processes.0.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        }
        thread::sleep(LOOK);
    }
}

fn start_broker(processes: &mut Processes, folder: &Path) -> Result<()> {
    let config = folder.join("broker.conf");
    fs::write(&config, "jetstream { sync_interval: always }\n").context("the folder is not writable")?;
    let routes = addresses("nats://", ROUTES);
    for (number, route) in (0..COUNT).zip(&routes) {
        let name = format!("broker-{}", number + 1);
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&config).args(["-n", &name, "-sd", &name, "-a", "127.0.0.1"]);
        command.args(["-p", &(CLIENTS + number).to_string(), "-m", &(MONITORS + number).to_string()]);
        command.args(["--cluster_name", "broker", "--cluster", route, "--routes", &routes.join(",")]);
        processes.start(&name, &mut command, folder)?;
    }
    Ok(())
}

/// Whether the node with this admin address serves all that it has to.
fn is_ready(admin: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_ascii_whitespace().nth(1) == Some("200"))
}

/// The addresses of one kind of all servers or nodes.
fn addresses(scheme: &str, first: u16) -> Vec<String> {
    (0..COUNT).map(|number| format!("{scheme}127.0.0.1:{}", first + number)).collect()
}
