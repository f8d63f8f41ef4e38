//! The limit: hyper alone, with the answer of the hello guest, on one thread.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{Asked, Served, free_addresses};
use crate::{
    certificate,
    guests::Guest,
    processes::{Server, Site},
};

/// Starts this program again as the server.
pub(super) fn start(asked: &Asked, site: Site<'_>) -> Result<Served> {
    let [address] = free_addresses()?;
    let program = std::env::current_exe().context("this program has no file")?;
    let arguments = [vec!["hyper".to_owned(), address.to_string()], asked.flags()].concat();
    let server = Server::start(&program, &arguments, site, "hyper")?;
    Served::ready_as(asked, vec![server], address, Guest::Native.requests("/"), site.home)
}

/// Answers hello at `address` until the process is ended; over TLS with the certificate and key in the files
/// `tls`, if they are named.
///
/// # Errors
///
/// The address cannot be listened on, or a file cannot be used.
pub(crate) fn serve(address: SocketAddr, tls: Option<(&Path, &Path)>) -> Result<()> {
    let config = tls.map(|(cert, key)| certificate::server(cert, key)).transpose()?;
    let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.context("cannot listen")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match acceptor.clone() {
                None => tokio::spawn(connection(stream)),
                Some(acceptor) => tokio::spawn(async move {
                    // A client that leaves in the middle of the handshake has no connection.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream).await;
                    }
                }),
            };
        }
    })
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    // It ends with an error when the client leaves in the middle of a request.
    let _left = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello from v1\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
