//! Telling a service manager how the node is, as `sd_notify(3)` describes.

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

/// Connections are accepted, by this process.
pub(super) fn ready() {
    send(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// This process compiles `what` before it is ready, and takes longer than the manager waits for.
pub(super) fn preparing(what: &str) {
    send(&format!("EXTEND_TIMEOUT_USEC=60000000\nSTATUS={what}"));
}

/// What was said of the preparation is no more so.
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
        tracing::warn!(socket = %path.display(), %error, "service manager was not told");
    }
}

/// A path, or with `@` in front a name that is in no file system.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}
