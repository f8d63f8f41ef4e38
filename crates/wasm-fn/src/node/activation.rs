//! Sockets that a service manager opened, as `sd_listen_fds(3)` describes.
//!
//! The manager passes descriptors from number 3 on, and describes them in `LISTEN_FDS` and
//! `LISTEN_FDNAMES`. `LISTEN_PID` keeps a child process from taking them for its own. It is not safe to own
//! a descriptor that is known only by its number, so this module uses copies made by the kernel. The
//! originals stay open and unused until the process ends.

use std::{env, net::TcpListener, os::fd::OwnedFd};

use anyhow::Context as _;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The variables that describe the passed sockets. A successor must not see them: it gets its sockets in
/// another way.
pub(super) const VARIABLES: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// The first passed descriptor.
const FIRST: i32 = 3;

/// The passed sockets.
#[derive(Default)]
pub(super) struct Activated {
    pub(super) http: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    pub(super) redirect: Option<TcpListener>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Http,
    Admin,
    Redirect,
}

/// Takes the sockets that were passed to this process; `None` if there are none.
///
/// # Errors
/// The variables are malformed, or a descriptor cannot be used.
pub(super) fn sockets() -> anyhow::Result<Option<Activated>> {
    let passed = passed(std::process::id(), |name| env::var(name).ok());
    let passed = passed.map_err(|found| anyhow::anyhow!("passed sockets: {found}"))?;
    if passed.is_empty() {
        return Ok(None);
    }
    let mut activated = Activated::default();
    for (descriptor, purpose) in passed {
        let socket = copy(descriptor)
            .with_context(|| format!("passed sockets: descriptor {descriptor} cannot be used"))?;
        let place = match purpose {
            Purpose::Http => &mut activated.http,
            Purpose::Admin => &mut activated.admin,
            Purpose::Redirect => &mut activated.redirect,
        };
        *place = Some(TcpListener::from(socket));
    }
    Ok(Some(activated))
}

fn copy(descriptor: i32) -> rustix::io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(this, descriptor, PidfdGetfdFlags::empty())
}

/// The descriptors that were passed to process `pid`, and their purpose; none if the variables are for
/// another process.
fn passed(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<(i32, Purpose)>, String> {
    let [Some(count), names, Some(addressee)] = VARIABLES.map(variable) else { return Ok(Vec::new()) };
    if addressee != pid.to_string() {
        return Ok(Vec::new());
    }
    let count: usize = count.parse().map_err(|_| format!("LISTEN_FDS is {count:?}, expected a number"))?;
    if count > 3 {
        return Err(format!("LISTEN_FDS is {count}, expected at most 3: http, admin and redirect"));
    }
    // If the manager gives no names, the order counts.
    let names = names.unwrap_or_else(|| "http:admin:redirect".to_owned());
    let mut passed: Vec<(i32, Purpose)> = Vec::new();
    let mut names = names.split(':');
    for descriptor in (FIRST..).take(count) {
        let purpose = match names.next().unwrap_or_default() {
            "http" => Purpose::Http,
            "admin" => Purpose::Admin,
            "redirect" => Purpose::Redirect,
            found => {
                return Err(format!(
                    "descriptor {descriptor} is named {found:?}, expected http, admin or redirect"
                ));
            }
        };
        if passed.iter().any(|&(_, other)| other == purpose) {
            return Err(format!("two descriptors are for {purpose:?}, expected one"));
        }
        passed.push((descriptor, purpose));
    }
    Ok(passed)
}

#[cfg(test)]
mod tests;
