//! The systems that are compared, and how each is brought to answer hello.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{http, now, server::Server};

/// What both guests answer.
const BODY: &str = "hello from v1\n";

/// How long a server may take from its start to its first right answer.
const READY_MAX: Duration = Duration::from_secs(60);

const POLL_EVERY: Duration = Duration::from_millis(20);

/// The same answer, over either version of wasi:http.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    Hello02,
    Hello03,
}

impl Guest {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Hello02 => "hello-v1.wasm",
            Self::Hello03 => "hello-p3.wasm",
        }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Hello02 => "hello 0.2",
            Self::Hello03 => "hello 0.3",
        })
    }
}

/// What a system's place in the comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    /// The others on the same guest are compared with it.
    Baseline,
    Peer,
}

/// One program in one configuration on one guest.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) guest: Guest,
    pub(crate) role: Role,
    program: PathBuf,
    /// Arguments of the peer's `serve`; none of ours, which runs as it comes.
    flags: &'static [&'static str],
}

impl fmt::Display for System {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}", self.name, self.guest)
    }
}

impl System {
    /// `wasm-fn` on both guests, a fresh instance for each request.
    pub(crate) fn ours(program: &Path) -> Vec<Self> {
        let of =
            |guest| Self { name: "wasm-fn", guest, role: Role::Ours, program: program.into(), flags: &[] };
        vec![of(Guest::Hello02), of(Guest::Hello03)]
    }

    /// `wasmtime serve` on both guests.
    ///
    /// As it comes it makes an instance per request for a 0.2 guest, but lets up to 128 requests share one
    /// of a 0.3 guest. So the 0.3 guest is also measured with an instance per request.
    pub(crate) fn peers(program: &Path) -> Vec<Self> {
        let of = |name, guest, role, flags| Self { name, guest, role, program: program.into(), flags };
        vec![
            of("wasmtime serve", Guest::Hello02, Role::Baseline, &["-Scli"]),
            of("wasmtime serve, pooling", Guest::Hello02, Role::Peer, &["-Scli", "-Opooling-allocator"]),
            of(
                "wasmtime serve (shares instances)",
                Guest::Hello03,
                Role::Baseline,
                &["-Sp3", "-Wcomponent-model-async", "-Scli"],
            ),
            of(
                "wasmtime serve, instance per request",
                Guest::Hello03,
                Role::Peer,
                &["-Sp3", "-Wcomponent-model-async", "-Scli", "--max-instance-reuse-count=1"],
            ),
        ]
    }

    /// Starts the system with the guest from `guests` and returns once it has answered right.
    pub(crate) fn start(&self, guests: &Path) -> Result<Served> {
        let guest = guests.join(self.guest.file());
        match self.role {
            Role::Ours => start_ours(&self.program, Release::Alone, &guest),
            Role::Baseline | Role::Peer => self.start_peer(&guest),
        }
    }

    fn start_peer(&self, guest: &Path) -> Result<Served> {
        let [address, _] = free_addresses()?;
        let mut arguments = vec!["serve".to_owned(), format!("--addr={address}")];
        arguments.extend(self.flags.iter().map(|&flag| flag.to_owned()));
        arguments.push(guest.display().to_string());
        Served::ready(Server::start(&self.program, &arguments)?, address, "/")
    }
}

/// How a function of ours is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// One version.
    Alone,
    /// A tenth of the requests on a second version, split by hand.
    Split,
    /// The same by a canary, under its gate and shield.
    Gated,
}

/// Starts a `wasm-fn` with the guest in the file `guest` as `hello`; returns once that has answered right.
pub(crate) fn start_ours(program: &Path, release: Release, guest: &Path) -> Result<Served> {
    let [address, admin] = free_addresses()?;
    let arguments = ["serve", "--listen", &address.to_string(), "--admin", &admin.to_string()];
    let mut server = Server::start(program, &arguments.map(str::to_owned))?;
    until_ready(&mut server, || http::get(admin, "/readyz").map(drop))?;

    let command = |args: &[&str]| {
        let done = Command::new(program)
            .args(args)
            .current_dir(server.dir())
            .env_clear()
            .env("WASM_FN_SERVER", format!("http://{admin}"))
            .output()
            .with_context(|| format!("`wasm-fn {}` cannot be started", args[0]))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("`wasm-fn {}` ended with {}: {}", args[0], done.status, said.trim());
        }
        Ok(())
    };
    // Written down, so that the comparison stays what it says when a default changes.
    let configure = |more: &str| {
        let config = format!("[function.hello]\nreuse = 1\n{more}");
        fs::write(server.dir().join("wasm-fn.toml"), config).context("the configuration cannot be written")
    };
    let guest = guest.to_str().context("the guest's path is no text")?;
    configure("")?;
    command(&["deploy", guest, "-f", "hello", "--watch-for", "0s"])?;
    // The second version answers the same and is another by its configuration.
    configure("env = { SECOND = \"1\" }\n")?;
    match release {
        Release::Alone => {}
        Release::Split => {
            command(&["deploy", guest, "-f", "hello", "--no-traffic"])?;
            command(&["traffic", "hello", "v1=90%", "v2=10%"])?;
        }
        Release::Gated => command(&["deploy", guest, "-f", "hello", "--canary=10%", "--step-min", "1h"])?,
    }
    Served::ready(server, address, "/hello")
}

/// A system that answers.
pub(crate) struct Served {
    pub(crate) server: Server,
    address: SocketAddr,
    path: &'static str,
}

impl Served {
    fn ready(mut server: Server, address: SocketAddr, path: &'static str) -> Result<Self> {
        until_ready(&mut server, || check(address, path))?;
        Ok(Self { server, address, path })
    }

    /// Where hello is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// Asks once more whether the answer is right.
    pub(crate) fn check(&self) -> Result<()> {
        check(self.address, self.path)
    }
}

fn check(address: SocketAddr, path: &str) -> Result<()> {
    let body = http::get(address, path)?;
    if body != BODY {
        bail!("{path} answered {body:?}, expected {BODY:?}");
    }
    Ok(())
}

/// Asks until it is answered; refuses after [`READY_MAX`] or when the server has ended, with the last reason.
fn until_ready(server: &mut Server, ask: impl Fn() -> Result<()>) -> Result<()> {
    let begun = now();
    while let Err(error) = ask() {
        server.must_live()?;
        if begun.elapsed() > READY_MAX {
            return Err(error.context(format!("the server was not ready after {} s", READY_MAX.as_secs())));
        }
        thread::sleep(POLL_EVERY);
    }
    Ok(())
}

/// Two loopback addresses that nobody listened on a moment ago.
///
/// Peers cannot be asked which port they were given, so another process may take one in between; then the
/// server ends and its round says why.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port");
    let listeners = [bind()?, bind()?];
    Ok([listeners[0].local_addr()?, listeners[1].local_addr()?])
}
