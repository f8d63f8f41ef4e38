//! The systems that are compared, and how each is brought to answer.

mod limit;
mod ours;
mod peers;

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    certificate::Certificate,
    guests::Guest,
    http,
    machine::Cores,
    now,
    processes::{Server, Site, Usage},
    programs::Programs,
    requests::Requests,
    results::Row,
};

pub(crate) use limit::serve as serve_hyper;
pub(crate) use ours::Release;

/// How long a server may take from its start to its first right answer: the first time, it compiles guests
/// of 18 MB on one core.
const READY_MAX: Duration = Duration::from_secs(300);

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Where guests come from.
pub(crate) struct Places {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Where builds go.
    pub(crate) target: PathBuf,
}

/// What every system is started with.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) places: &'a Places,
    pub(crate) cores: Cores,
}

/// One program in one configuration on one guest.
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) guest: Guest,
    kind: Kind,
    asked: Asked,
    /// Kept from round to round, so that guests are compiled and deployed once.
    home: TempDir,
}

/// How a system is asked.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    /// Over TLS, if there is one.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// On a connection for each request.
    pub(crate) closing: bool,
}

impl Asked {
    /// The flags by which a server is told to serve so.
    fn flags(&self) -> Vec<String> {
        self.certificate.iter().flat_map(|certificate| certificate.flags()).collect()
    }
}

enum Kind {
    /// This bench as a server.
    Hyper,
    Ours(Release),
    /// `wasmtime serve` with these flags.
    Serve(&'static [&'static str]),
    Workerd,
    Node,
    Nginx,
}

impl fmt::Display for System {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(out, self.name, self.guest)
    }
}

/// A system's name as messages and budgets have it.
pub(crate) fn shown(out: &mut impl fmt::Write, name: &str, guest: Guest) -> fmt::Result {
    match guest {
        Guest::Native => write!(out, "{name}"),
        guest => write!(out, "{name}, {guest}"),
    }
}

impl System {
    fn new(name: &'static str, guest: Guest, kind: Kind) -> Result<Self> {
        let home = tempfile::tempdir().context("a temporary directory cannot be made")?;
        Ok(Self { name, guest, kind, asked: Asked::default(), home })
    }

    /// Every system, in the order of a round: those that a budget compares lie close together.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut all = Vec::new();
        let mut add = |name, guest, kind| Self::new(name, guest, kind).map(|system| all.push(system));
        let ours = |guest| match guest {
            // An instance of a command serves one request by definition.
            Guest::Cgi => &ours::NEW_OR_SPLIT[..],
            _ => &ours::ALL[..],
        };
        for guest in [
            Guest::Hello02,
            Guest::Hello03,
            Guest::Cgi,
            Guest::Echo,
            Guest::JavaScript,
            Guest::QuickJs,
            Guest::Python,
        ] {
            for (name, release) in ours(guest) {
                add(name, guest, Kind::Ours(*release))?;
            }
            if guest == Guest::Hello02 {
                add(ours::MANY, guest, Kind::Ours(Release::Many))?;
                add("hyper alone", Guest::Native, Kind::Hyper)?;
            }
            for (name, flags) in peers::serve(guest) {
                add(name, guest, Kind::Serve(flags))?;
            }
            if guest == Guest::Hello02 {
                add("nginx split_clients + 2 × wasmtime serve", guest, Kind::Nginx)?;
                add("workerd", Guest::Native, Kind::Workerd)?;
                add("node http", Guest::Native, Kind::Node)?;
            }
        }
        Ok(all)
    }

    /// Two of ours on the hello guest, to be driven at once.
    pub(crate) fn pair(releases: [Release; 2]) -> Result<[Self; 2]> {
        let [first, second] =
            releases.map(|release| Self::new("wasm-fn", Guest::Hello02, Kind::Ours(release)));
        Ok([first?, second?])
    }

    /// Ours and the limit that its latencies are compared with.
    pub(crate) fn ours_and_limit() -> Result<[Self; 2]> {
        let [ours, limit] = [
            Self::new("wasm-fn", Guest::Hello02, Kind::Ours(Release::Alone)),
            Self::new("hyper alone", Guest::Native, Kind::Hyper),
        ];
        Ok([ours?, limit?])
    }

    /// The same system, asked otherwise.
    pub(crate) fn asked(self, asked: &Asked) -> Self {
        Self { asked: asked.clone(), ..self }
    }

    /// Its place in the results, empty.
    pub(crate) fn row(&self) -> Row {
        Row {
            system: self.name.to_owned(),
            guest: self.guest,
            ours: self.ours(),
            samples: Ok(Vec::new()),
            latencies: Ok(Vec::new()),
        }
    }

    /// Whether it is ours.
    pub(crate) fn ours(&self) -> bool {
        matches!(self.kind, Kind::Ours(_))
    }

    /// Whether it is the limit that added latency is counted from.
    pub(crate) fn limit(&self) -> bool {
        matches!(self.kind, Kind::Hyper)
    }

    /// Whether it can only be measured beside ours.
    pub(crate) fn peer(&self) -> bool {
        !self.ours() && !self.limit()
    }

    /// Why it cannot be started, when a program that it needs is missing.
    pub(crate) fn missing(&self, programs: &Programs) -> Option<String> {
        let lack = |program: &Result<_, String>| program.as_ref().err().cloned();
        match self.kind {
            Kind::Hyper | Kind::Ours(_) => None,
            Kind::Serve(_) => lack(&programs.wasmtime),
            Kind::Workerd => lack(&programs.workerd),
            Kind::Node => lack(&programs.node),
            Kind::Nginx => lack(&programs.nginx).or_else(|| lack(&programs.wasmtime)),
        }
    }

    /// Why its guest cannot be had.
    pub(crate) fn unbuilt(&self, places: &Places) -> Option<String> {
        match self.guest {
            Guest::Native => None,
            guest => guest.file(&places.root, &places.target).err().map(|error| format!("{error:#}")),
        }
    }

    /// Starts the system and returns once it has answered right.
    pub(crate) fn start(&self, ground: Ground<'_>) -> Result<Served> {
        let Ground { programs, places, cores } = ground;
        let site = Site { home: self.home.path(), core: cores.server };
        let guest = || self.guest.file(&places.root, &places.target);
        let place = |program: &Result<crate::programs::Program, String>| match program {
            Ok(program) => Ok(program.path.clone()),
            Err(reason) => bail!("{reason}"),
        };
        match self.kind {
            Kind::Hyper => limit::start(&self.asked, site),
            Kind::Ours(release) => {
                let file = guest()?;
                ours::start(&programs.wasm_fn.path, release, &self.asked, self.guest, &file, site)
            }
            Kind::Serve(flags) => {
                peers::start_serve(&place(&programs.wasmtime)?, flags, self.guest, &guest()?, site)
            }
            Kind::Workerd => peers::start_workerd(&place(&programs.workerd)?, site),
            Kind::Node => peers::start_node(&place(&programs.node)?, site),
            Kind::Nginx => {
                let (nginx, wasmtime) = (place(&programs.nginx)?, place(&programs.wasmtime)?);
                peers::start_nginx(&nginx, &wasmtime, self.guest, &guest()?, site)
            }
        }
    }
}

/// A system that answers.
pub(crate) struct Served {
    servers: Vec<Server>,
    pub(crate) address: SocketAddr,
    /// It is asked over TLS if there is one.
    certificate: Option<Arc<Certificate>>,
    pub(crate) requests: Requests,
    /// What `wrk` runs.
    pub(crate) script: PathBuf,
    /// The size of an answer with its head, bytes.
    pub(crate) answer_bytes: u64,
}

impl Served {
    /// Waits until the servers answer at `address`; `home` takes the client's script.
    fn ready(servers: Vec<Server>, address: SocketAddr, requests: Requests, home: &Path) -> Result<Self> {
        Self::ready_as(&Asked::default(), servers, address, requests, home)
    }

    /// The same, with each of the `requests` sent as `asked`.
    fn ready_as(
        asked: &Asked,
        mut servers: Vec<Server>,
        address: SocketAddr,
        requests: Requests,
        home: &Path,
    ) -> Result<Self> {
        let certificate = asked.certificate.clone();
        let requests = if asked.closing { requests.closing() } else { requests };
        let check = || http::check(address, certificate.as_deref(), &requests);
        let answer_bytes = until_ready(&mut servers, check)?;
        let script = home.join("load.lua");
        fs::write(&script, requests.script())
            .with_context(|| format!("{} cannot be written", script.display()))?;
        Ok(Self { servers, address, certificate, requests, script, answer_bytes })
    }

    /// What is asked first. A script names its own paths.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.requests.all[0].path)
    }

    /// What its processes have used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.servers.iter().try_fold(Usage::default(), |sum, server| Ok(sum.and(server.usage()?)))
    }

    /// Stops its processes where they are.
    pub(crate) fn stop(&self) -> Result<()> {
        self.servers.iter().try_for_each(|server| server.signal(Signal::STOP))
    }

    /// Lets stopped processes go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.servers.iter().try_for_each(|server| server.signal(Signal::CONT))
    }

    /// Asks once more whether the answer is right.
    pub(crate) fn check(&self) -> Result<()> {
        http::check(self.address, self.certificate.as_deref(), &self.requests).map(|_size| ())
    }
}

/// Asks until it is answered; refuses after [`READY_MAX`] or when a server has ended, with the last reason.
fn until_ready<T>(servers: &mut [Server], ask: impl Fn() -> Result<T>) -> Result<T> {
    let begun = now();
    loop {
        let error = match ask() {
            Ok(answered) => return Ok(answered),
            Err(error) => error,
        };
        servers.iter_mut().try_for_each(Server::must_live)?;
        if begun.elapsed() > READY_MAX {
            return Err(error.context(format!("the server was not ready after {} s", READY_MAX.as_secs())));
        }
        thread::sleep(POLL_EVERY);
    }
}

/// Loopback addresses that nobody listened on a moment ago.
///
/// Peers cannot be asked which port they were given, so another process may take one in between; then the
/// server ends and its round says why.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?);
    }
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}
