//! Machines of a test: network namespaces with a router between them, on which ways can be cut.
//!
//! The test runs itself once more, as the first process in namespaces of its own. What it makes there, and
//! whatever it starts, ends with it. The router is that process's namespace: it reaches every machine,
//! whatever is cut. A packet that is lost on the way is lost without a word, as on a real network.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use tempfile::TempDir;

use super::{command::through, programs::skip};

/// Set for a process that is in namespaces of its own.
const INSIDE: &str = "WASM_FN_TEST_INSIDE";

/// What a router needs to be one, and to lose packets.
const ROUTER: &str = "ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward && \
                      ip rule add from 10.77.0.1 to 10.77.0.2 pref 9 blackhole && ip rule del pref 9";

/// The router's address, as each machine sees it.
const ROUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// The first number of a rule that loses packets: before the rule that finds ways.
const FIRST_RULE: u32 = 100;

/// A network without machines at first.
pub(crate) struct Network {
    folder: TempDir,
    hosts: u8,
    cuts: AtomicU32,
}

/// A machine of the network.
pub(crate) struct Host {
    pub(crate) address: Ipv4Addr,
    /// Holds its namespace.
    file: PathBuf,
}

/// Ways that lead nowhere until this is dropped.
pub(crate) struct Cut {
    rule: u32,
    ways: usize,
}

/// `program` as the first process in namespaces of its own, which end with whoever started it.
fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program);
    command
}

impl Network {
    /// A network for `test`, which the caller is, by its whole name. `None` in the process that has run it
    /// once more, and where that is not possible: `test` is skipped then.
    ///
    /// # Panics
    /// When the test failed there.
    #[track_caller]
    pub(crate) fn enter(test: &str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            return Some(Self::inside());
        }
        let mut probe = alone("sh");
        probe.args(["-c", ROUTER]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !probe.status().is_ok_and(|status| status.success()) {
            skip(test, "this user may not make networks, or unshare and ip are not installed");
            return None;
        }
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        let mut command = alone(std::env::current_exe().expect("the test is a program"));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
        command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().expect("a pipe can be shared"))
            .stderr(writer);
        let mut child = command.spawn().expect("it was just possible");
        // Nothing but the child writes to the pipe then.
        drop(command);
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            println!("{line}");
        }
        let status = child.wait().expect("it is our child");
        assert!(status.success(), "{test} failed in its network: {status}");
        None
    }

    fn inside() -> Self {
        std::thread::spawn(|| {
            // Whoever waits for this process holds the other end. The first process takes all others along.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
        run(Command::new("sh").args(["-c", ROUTER]), "");
        let folder = tempfile::tempdir().expect("the system has a temporary directory");
        Self { folder, hosts: 0, cuts: AtomicU32::new(FIRST_RULE) }
    }

    /// One more machine.
    pub(crate) fn host(&mut self) -> Host {
        self.hosts += 1;
        let number = self.hosts;
        let host = Host {
            address: Ipv4Addr::new(10, 77, 0, number),
            file: self.folder.path().join(format!("host-{number}")),
        };
        File::create(&host.file).expect("the temporary directory is writable");
        run(Command::new("unshare").arg(format!("--net={}", host.file.display())).arg("true"), "");
        let (address, file) = (host.address, host.file.display());
        ip(&format!(
            "link add host{number} type veth peer name eth0 netns {file}\n\
             addr add {ROUTER_ADDRESS}/32 dev host{number}\n\
             link set host{number} up\n\
             route add {address} dev host{number}\n"
        ));
        let mut inside = host.through(Command::new("ip").args(["-batch", "-"]));
        let links = format!(
            "link set lo up\n\
             addr add {address}/32 dev eth0\n\
             link set eth0 up\n\
             route add {ROUTER_ADDRESS} dev eth0\n\
             route add default via {ROUTER_ADDRESS}\n"
        );
        run(&mut inside, &links);
        host
    }

    /// Loses what is sent on these ways, each from one machine to another.
    #[must_use]
    pub(crate) fn cut(&self, ways: &[(Ipv4Addr, Ipv4Addr)]) -> Cut {
        let rule = self.cuts.fetch_add(1, SeqCst);
        let rules =
            ways.iter().map(|(from, to)| format!("rule add from {from} to {to} pref {rule} blackhole\n"));
        ip(&rules.collect::<String>());
        Cut { rule, ways: ways.len() }
    }
}

impl Host {
    /// What starts a program on this machine: a program with arguments. Its process becomes the other one.
    pub(crate) fn starter(&self) -> [OsString; 2] {
        ["nsenter".into(), format!("--net={}", self.file.display()).into()]
    }

    /// `command` on this machine.
    pub(crate) fn through(&self, command: &Command) -> Command {
        let [program, argument] = self.starter();
        let mut starter = Command::new(program);
        starter.arg(argument);
        through(starter, command)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        ip(&format!("rule del pref {}\n", self.rule).repeat(self.ways));
    }
}

/// Does what `lines` say, as arguments of ip(8), in the router.
fn ip(lines: &str) {
    run(Command::new("ip").args(["-batch", "-"]), lines);
}

/// Runs `command`, which has to succeed, with `input`.
fn run(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it is installed");
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("it reads its input");
    let status = child.wait().expect("it is our child");
    assert!(status.success() || std::thread::panicking(), "{command:?} ended with {status} for:\n{input}");
}
