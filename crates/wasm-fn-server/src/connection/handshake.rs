//! The handshake of TLS, and a word to clients that do not know of it.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    request::RequestId,
    response::problem::{Code, Problem},
};

/// Bytes of a request in plain text that are read before the answer, which a client may lose otherwise.
const PLAIN_BYTES_MAX: usize = 4096;

/// Does the server's part of the handshake on `stream`.
///
/// A client that sends a request of HTTP instead gets an answer that says what this address expects.
///
/// # Errors
/// The handshake failed, or the client did not begin one.
pub(super) async fn accept(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    let received = stream.peek(&mut first).await?;
    // Methods are upper case; a record of TLS begins with a number far below that.
    if received == 1 && first[0].is_ascii_uppercase() {
        refuse(&mut stream).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "found a request of plain HTTP"));
    }
    acceptor.accept(stream).await
}

async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let mut plain = vec![0; PLAIN_BYTES_MAX];
    let _ = stream.read(&mut plain).await?;
    let detail = "the request came over plain HTTP, expected TLS: use a URL with https";
    let problem = Problem { detail: detail.into(), ..Code::BadRequest.into() };
    stream.write_all(&problem.into_http1(RequestId::random(), &["connection: close"])).await?;
    stream.shutdown().await
}
