//! The protocol between the two processes of a swap, over a Unix socket.
//!
//! The socket is the new process's standard input, the only descriptor that a process may own without being
//! told its number. The first message holds the sockets and the data directory; every later message is one
//! byte. Programs of different versions use this protocol, so any change to it also changes [`PROTOCOL`],
//! unless both sides understand the other's earlier form: a third socket may follow the first two, and
//! programs that know only two do not receive it.

use std::{
    ffi::OsStr,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::sockets::Sockets;

/// The variable that tells a new process that its standard input is this socket; its value is [`PROTOCOL`].
pub(super) const VARIABLE: &str = "WASM_FN_HAND_OVER";

/// The version of the protocol.
pub(super) const PROTOCOL: &str = "1";

/// Maximum length of the data directory's path, bytes: the system's limit.
const PATH_BYTES_MAX: usize = 4096;

/// Messages of one process to the other, in this order except for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// New to old: the next message takes longer, because components are compiled. Sent only to a process
    /// that left a list of [`needs`](super::needs), because older programs do not know this message.
    Working,
    /// New to old: only the state is missing.
    Prepared,
    /// Old to new: the state is yours.
    Yours,
    /// New to old: this process accepts connections.
    Serving,
}

/// One end of the connection.
pub(super) struct HandoverChannel {
    stream: tokio::net::UnixStream,
}

impl Message {
    fn byte(self) -> u8 {
        match self {
            Self::Working => b'w',
            Self::Prepared => b'p',
            Self::Yours => b'y',
            Self::Serving => b's',
        }
    }
}

impl HandoverChannel {
    /// Wraps `stream`, one end of the connection.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: tokio::net::UnixStream::from_std(stream)? })
    }

    /// Sends `message`.
    pub(super) async fn send(&mut self, message: Message) -> io::Result<()> {
        self.stream.write_all(&[message.byte()]).await
    }

    /// Waits for `message`; returns `false` if the other end says first that it takes longer.
    ///
    /// # Errors
    /// The other end is gone or sends something else.
    pub(super) async fn expect_message(&mut self, message: Message) -> io::Result<bool> {
        match self.stream.read_u8().await? {
            byte if byte == message.byte() => Ok(true),
            byte if byte == Message::Working.byte() => Ok(false),
            byte => {
                let found = format!("received {:?}, expected {message:?}", char::from(byte));
                Err(io::Error::new(io::ErrorKind::InvalidData, found))
            }
        }
    }
}

/// Sends the first message on a new stream. Does not block.
pub(super) fn send(stream: &UnixStream, sockets: &Sockets, data_dir: &Path) -> io::Result<()> {
    let mut descriptors = vec![sockets.http.as_fd(), sockets.admin.as_fd()];
    descriptors.extend(sockets.redirect.as_ref().map(TcpListener::as_fd));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("three descriptors did not fit into a message with room for three"));
    }
    let text = [data_dir.as_os_str().as_bytes(), b"\n"].concat();
    let sent = sendmsg(stream, &[IoSlice::new(&text)], &mut control, SendFlags::DONTWAIT)?;
    if sent != text.len() {
        return Err(io::Error::other(format!("{sent} bytes were sent, expected {}", text.len())));
    }
    Ok(())
}

/// Reads the first message: the sockets, and the data directory. Does not block.
///
/// # Errors
/// `stream` does not carry this protocol.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(Sockets, PathBuf)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; PATH_BYTES_MAX + 1];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let malformed = |found: String| io::Error::new(io::ErrorKind::InvalidData, found);
    let found = descriptors.len();
    let mut sockets = descriptors.into_iter().map(TcpListener::from);
    let (Some(http), Some(admin), redirect, None) =
        (sockets.next(), sockets.next(), sockets.next(), sockets.next())
    else {
        return Err(malformed(format!("received {found} descriptors, expected 2 or 3")));
    };
    let path = text[..received.bytes].strip_suffix(b"\n");
    let path = path.ok_or_else(|| malformed("received a path without a newline at its end".to_owned()))?;
    Ok((Sockets { http, admin, redirect }, PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests;
