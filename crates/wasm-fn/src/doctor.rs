//! Checks whether this machine can run a node well.
//!
//! This file and [`place`] inspect the machine; [`judge`] rates the findings and is pure.

mod cluster;
mod judge;
mod place;

use std::{
    fs, io,
    path::Path,
    thread::available_parallelism,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use wasm_fn_core::format_bytes as bytes;
use wasm_fn_pool::PlanOptions;
use wasm_fn_runtime::{ISOLATION_FAULT, MemoryReset, fastest_reset, slot_cost};

use crate::{
    acme, config, machine,
    output::{Look, visible},
    tls,
};

/// Files of a data directory that only their owner may access.
const PRIVATE: [&str; 3] = ["artifact.key", "preview.key", "token"];

/// All findings.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether no finding is a problem.
    ok: bool,
    findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// Stable name to branch on.
    name: &'static str,
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// Rating of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// A node runs, but not as well as it could, or not permanently.
    Warning,
    /// A node does not start, or is not safe.
    Problem,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), help: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, found: found.into(), help: Some(help.into()) }
    }

    fn problem(name: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, status: Status::Problem, found: found.into(), help: Some(help.into()) }
    }
}

impl Report {
    /// Whether no finding is a problem.
    pub(crate) fn is_ok(&self) -> bool {
        self.ok
    }

    /// One line per finding, in columns; longer ones wrap on a terminal.
    pub(crate) fn text(&self, look: Look) -> String {
        let line = |finding: &Finding| {
            let status = match finding.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Problem => "problem",
            };
            let help = finding.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
            let title = format!("{status:<8} {:<12} ", finding.name);
            let text = visible(&format!("{}{help}", finding.found).replace('\n', " "));
            let text = title.clone() + look.below(title.len(), &text).trim_start();
            if finding.status == Status::Problem { look.failed(&text) } else { text }
        };
        self.findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Checks this machine for a node with `config`, whose cluster's broker has the monitoring ports `monitor`.
pub(crate) async fn examine(config: &config::Serve, monitor: Vec<String>) -> Report {
    let machine = machine::facts();
    let asked =
        PlanOptions { instances_max: config.instances_max, memory_max_bytes: config.memory_max_bytes };
    let plan = wasm_fn_pool::plan(&machine, &slot_cost(), asked);
    let cores = available_parallelism().map_or(1, usize::from);
    let mut findings = vec![
        judge::kernel(
            &machine::kernel_release(),
            config.isolation.memory_reset,
            fastest_reset().unwrap_or(MemoryReset::Discard),
        ),
        judge::isolation(config.data_dir.join(ISOLATION_FAULT).exists()),
        judge::cores(cores),
        judge::memory(machine.memory_bytes),
        judge::pool(&plan),
    ];
    findings.extend(machine.maps_max.map(|max| judge::mappings(max, &plan)));
    findings.push(judge::descriptors(machine::descriptors_max(), config.connections_max));
    findings.push(data_dir(&config.data_dir));
    findings.extend(space(&config.data_dir));
    findings.extend(PRIVATE.iter().filter_map(|name| private(&config.data_dir.join(name))));
    findings.push(judge::admin_tls(config.admin, config.admin_tls.is_some(), config.insecure_admin));
    findings.extend(certificates(config));
    findings.extend(place::all(config).await);
    if let Some(place) = &config.cluster {
        findings.extend(cluster::all(place, monitor).await);
    }
    findings.push(clock(&config.data_dir.join("state.redb")));
    let ok = findings.iter().all(|finding| finding.status != Status::Problem);
    Report { ok, findings }
}

/// The certificates of both listeners.
fn certificates(config: &config::Serve) -> Vec<Finding> {
    let now = tls::system_time();
    // One that is not there yet is made when the node starts.
    let acme =
        config.acme.as_ref().map(|_| acme::files(&config.data_dir)).filter(|files| files.cert.exists());
    let pairs = config.tls.iter().chain(&acme).chain(&config.admin_tls);
    let pairs = pairs.map(|files| judge::certificate(files, &files.read(now), now));
    let authorities = config.admin_client_ca.as_deref().map(|path| match tls::authorities(path) {
        Ok(roots) => Finding::ok("client-ca", format!("{} has {} authorities", path.display(), roots.len())),
        Err(error) => {
            Finding::problem("client-ca", error.to_string(), "a node with this file does not start")
        }
    });
    pairs.chain(authorities).collect()
}

/// Whether the data directory is writable or can be created.
fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    let tried = match nearest(path) {
        Ok((folder, there)) => tempfile::tempfile_in(folder).map(|_| there),
        Err(error) => Err(error),
    };
    match tried {
        Ok(true) => Finding::ok("data-dir", format!("{shown} is writable")),
        Ok(false) => Finding::ok("data-dir", format!("{shown} does not exist and can be created")),
        Err(error) => Finding::problem(
            "data-dir",
            format!("{shown} is not writable: {error}"),
            "choose another directory with --data-dir, or make this user its owner",
        ),
    }
}

/// The folder at `path` or its nearest ancestor that exists, and whether that is `path` itself.
fn nearest(path: &Path) -> io::Result<(&Path, bool)> {
    for folder in path.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => return Ok((folder, folder == path)),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((Path::new("."), false))
}

/// Free space in the data directory's file system; `None` if it is unknown.
fn space(path: &Path) -> Option<Finding> {
    let (folder, _) = nearest(path).ok()?;
    let system = rustix::fs::statvfs(folder).ok()?;
    Some(judge::space(system.f_bavail.saturating_mul(system.f_frsize)))
}

/// Whether only the owner may access a file; `None` if it does not exist yet.
fn private(path: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path) {
        Ok(metadata) => Some(judge::private(path, metadata.permissions().mode())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Finding::problem(
            "private",
            format!("{} cannot be checked: {error}", path.display()),
            "run this as the user that runs the node",
        )),
    }
}

/// Whether the clock is plausible: the journal at `journal` was not written in its future.
#[expect(clippy::disallowed_methods, reason = "the clock is what is checked")]
fn clock(journal: &Path) -> Finding {
    let since_epoch = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let written = fs::metadata(journal).and_then(|metadata| metadata.modified()).ok();
    judge::clock(since_epoch(SystemTime::now()), written.map(since_epoch))
}
