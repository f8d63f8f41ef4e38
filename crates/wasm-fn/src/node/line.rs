//! What the two processes of a swap say to each other, over a Unix socket.
//!
//! The socket is the new process's standard input, which is the one descriptor that a process may own without
//! being told its number. The first message holds the sockets and the data directory; from then on each word
//! is one byte. Programs of different versions speak this, so it only ever changes with [`PROTOCOL`].

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

/// The variable by which a new process knows what its standard input is; its value is [`PROTOCOL`].
pub(super) const VARIABLE: &str = "WASM_FN_HAND_OVER";

/// What is spoken on the line.
pub(super) const PROTOCOL: &str = "1";

/// Longest path of a data directory, bytes, as the system bounds it.
const PATH_BYTES_MAX: usize = 4096;

/// What one process tells the other, in this order but for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// New to old: the next word takes longer, as something is compiled. Only for those who made a list of
    /// [`needs`](super::needs), as older programs do not know it.
    Working,
    /// New to old: nothing is missing but the state.
    Prepared,
    /// Old to new: the state is yours.
    Yours,
    /// New to old: connections are accepted here.
    Serving,
}

/// One end.
pub(super) struct Line {
    stream: tokio::net::UnixStream,
}

impl Word {
    fn byte(self) -> u8 {
        match self {
            Self::Working => b'w',
            Self::Prepared => b'p',
            Self::Yours => b'y',
            Self::Serving => b's',
        }
    }
}

impl Line {
    /// A line of which this is one end.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: tokio::net::UnixStream::from_std(stream)? })
    }

    /// Says `word`.
    pub(super) async fn say(&mut self, word: Word) -> io::Result<()> {
        self.stream.write_all(&[word.byte()]).await
    }

    /// Waits for `word`; false when the other end says first that this takes longer.
    ///
    /// # Errors
    /// The other end is gone or says something else.
    pub(super) async fn hear(&mut self, word: Word) -> io::Result<bool> {
        match self.stream.read_u8().await? {
            byte if byte == word.byte() => Ok(true),
            byte if byte == Word::Working.byte() => Ok(false),
            byte => {
                let found = format!("heard {:?}, expected {word:?}", char::from(byte));
                Err(io::Error::new(io::ErrorKind::InvalidData, found))
            }
        }
    }
}

/// Puts the first message on a line that nobody has read yet; does not block.
pub(super) fn send(stream: &UnixStream, sockets: &Sockets, data_dir: &Path) -> io::Result<()> {
    let descriptors = [sockets.http.as_fd(), sockets.admin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("two descriptors did not fit a message with room for two"));
    }
    let text = [data_dir.as_os_str().as_bytes(), b"\n"].concat();
    let sent = sendmsg(stream, &[IoSlice::new(&text)], &mut control, SendFlags::DONTWAIT)?;
    if sent != text.len() {
        return Err(io::Error::other(format!("{sent} bytes were sent, expected {}", text.len())));
    }
    Ok(())
}

/// Reads the first message: the sockets for HTTP and the admin API, and the data directory.
///
/// # Errors
/// `stream` is no such line; it does not block.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(TcpListener, TcpListener, PathBuf)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
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
    let [http, admin] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|found| malformed(format!("{} descriptors were received, expected 2", found.len())))?;
    let path = text[..received.bytes].strip_suffix(b"\n");
    let path = path.ok_or_else(|| malformed("a path without an end was received".to_owned()))?;
    Ok((TcpListener::from(http), TcpListener::from(admin), PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests;
