//! The limit: hyper alone, with the answer of the hello guest, on one thread.

use std::{convert::Infallible, net::SocketAddr};

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
use tokio::net::TcpListener;

use super::{Served, free_addresses};
use crate::{
    guests::Guest,
    processes::{Server, Site},
};

/// Starts this program again as the server.
pub(super) fn start(site: Site<'_>) -> Result<Served> {
    let [address] = free_addresses()?;
    let program = std::env::current_exe().context("this program has no file")?;
    let server = Server::start(&program, &["hyper".into(), address.to_string()], site, "hyper")?;
    Served::ready(vec![server], address, Guest::Native.requests("/"), site.home)
}

/// Answers hello at `address` until the process is ended.
///
/// # Errors
///
/// The address cannot be listened on.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.context("cannot listen")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(async move {
                // It ends with an error when the client leaves in the middle of a request.
                let _left = connection.await;
            });
        }
    })
}

async fn answer(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello from v1\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
