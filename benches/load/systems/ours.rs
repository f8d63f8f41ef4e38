//! `wasm-fn` itself, in the ways of releasing a function that cost differently.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{Asked, Served, free_addresses, until_ready};
use crate::{
    guests::Guest,
    http,
    processes::{Server, Site},
    requests::{Requests, USER_HEADER},
};

/// Functions of [`Release::Many`].
const FUNCTIONS: usize = 1000;

/// Ours for guests whose instances serve one request by definition.
pub(super) const NEW_OR_SPLIT: [(&str, Release); 2] =
    [("wasm-fn", Release::Alone), ("wasm-fn split", Release::Gated)];

/// Ours for every other guest.
pub(super) const ALL: [(&str, Release); 3] =
    [("wasm-fn", Release::Alone), ("wasm-fn reuse 128", Release::Reused), ("wasm-fn split", Release::Gated)];

/// The name of ours with [`FUNCTIONS`] functions.
pub(super) const MANY: &str = "wasm-fn, 1,000 functions";

/// How a function of ours is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// One version, a new instance for each request.
    Alone,
    /// One version, an instance for 128 requests.
    Reused,
    /// A tenth of the users on a second version, split by hand.
    Split,
    /// The same by a canary, under its gate and shield.
    Gated,
    /// One version of each of [`FUNCTIONS`] functions, which are asked by Zipf's law.
    Many,
}

impl Release {
    /// Written down, so that the comparison stays what it says when a default changes.
    fn config(self) -> String {
        let reuse = if self == Self::Reused { 128 } else { 1 };
        let sticky = match self {
            Self::Split | Self::Gated => format!("sticky = \"header:{USER_HEADER}\"\n"),
            Self::Alone | Self::Reused | Self::Many => String::new(),
        };
        format!("[function.hello]\nreuse = {reuse}\n{sticky}")
    }

    fn requests(self, guest: Guest) -> Requests {
        match self {
            Self::Alone | Self::Reused => guest.requests("/hello"),
            Self::Split | Self::Gated => guest.requests("/hello").of_users(),
            Self::Many => Requests::by_zipf(&functions(), &guest.requests("/").answer),
        }
    }
}

fn functions() -> Vec<String> {
    (0..FUNCTIONS).map(|place| format!("f{place:04}")).collect()
}

/// Starts a `wasm-fn` in `home` with the guest in `file`; returns once that has answered right.
///
/// Deploys the first time; later the node finds what it had.
pub(crate) fn start(
    program: &Path,
    release: Release,
    asked: &Asked,
    guest: Guest,
    file: &Path,
    site: Site<'_>,
) -> Result<Served> {
    let [address, admin] = free_addresses()?;
    let arguments = ["serve", "--listen", &address.to_string(), "--admin", &admin.to_string()];
    let arguments = [arguments.map(str::to_owned).to_vec(), asked.flags()].concat();
    let mut servers = vec![Server::start(program, &arguments, site, "wasm-fn")?];
    until_ready(&mut servers, || http::get(admin, "/readyz").map(drop))?;

    let deployed = site.home.join("deployed");
    if !deployed.exists() {
        let file = file.to_str().context("the guest's path is no text")?;
        let node = format!("http://{admin}");
        deploy(release, file, site.home, |args| command(program, args, &node, site.home))?;
        fs::write(&deployed, "").with_context(|| format!("{} cannot be written", deployed.display()))?;
    }
    Served::ready_as(asked, servers, address, release.requests(guest), site.home)
}

fn deploy(release: Release, file: &str, home: &Path, command: impl Fn(&[&str]) -> Result<()>) -> Result<()> {
    let configure = |more: &str| {
        fs::write(home.join("wasm-fn.toml"), format!("{}{more}", release.config()))
            .context("the configuration cannot be written")
    };
    configure("")?;
    if release == Release::Many {
        return functions()
            .iter()
            .try_for_each(|function| command(&["deploy", file, "-f", function, "--watch-for", "0s"]));
    }
    command(&["deploy", file, "-f", "hello", "--watch-for", "0s"])?;
    // The second version answers the same and is another by its configuration.
    configure("env = { SECOND = \"1\" }\n")?;
    match release {
        Release::Alone | Release::Reused | Release::Many => Ok(()),
        Release::Split => {
            command(&["deploy", file, "-f", "hello", "--no-traffic"])?;
            command(&["traffic", "hello", "v1=90%", "v2=10%"])
        }
        // A step that outlasts every run.
        Release::Gated => command(&["deploy", file, "-f", "hello", "--canary=10%", "--step-min", "24h"]),
    }
}

fn command(program: &Path, args: &[&str], server: &str, home: &Path) -> Result<()> {
    let done = Command::new(program)
        .args(args)
        .current_dir(home)
        .env_clear()
        .env("WASM_FN_SERVER", server)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`wasm-fn {}` cannot be started", args[0]))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`wasm-fn {}` ended with {}: {}", args[0], done.status, said.trim());
    }
    Ok(())
}
