//! Notifies a service manager of the node's state, as `sd_notify(3)` describes.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// This process accepts connections.
pub(super) fn ready() {
    send(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// This process is not ready yet for the reason `what`, and asks the manager to wait longer.
pub(super) fn preparing(what: &str) {
    send(&format!("EXTEND_TIMEOUT_USEC=60000000\nSTATUS={what}"));
}

/// Clears the status text of the preparation.
pub(super) fn prepared() {
    send("STATUS=");
}

/// Another process is the service now.
pub(super) fn main_process(pid: u32) {
    send(&format!("MAINPID={pid}"));
}

/// The service ends.
pub(super) fn stopping() {
    send("STOPPING=1");
}

/// Sends `state` to the manager, if there is one.
fn send(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let sent =
        address(&path).and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(socket = %path.display(), %error, "service manager was not notified");
    }
}

/// A path, or an abstract name if it begins with `@`.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}
