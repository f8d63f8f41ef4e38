//! A connection that is kept for many requests, and what becomes of each.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::patiently;

/// A connection that is kept for many requests.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// How a request ended.
pub(crate) enum Call {
    Answered,
    /// The connection was closed before the request was taken up.
    NotSent,
    Broken(String),
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, http2: bool) -> Option<Self> {
        Self::over(patiently("a connection", TcpStream::connect(address)).await.ok()?, http2).await
    }

    /// The same over a stream that is open, which may be secured.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        http2: bool,
    ) -> Option<Self> {
        let stream = TokioIo::new(stream);
        // How a connection ends is seen by its requests.
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.ok()?;
            tokio::spawn(async { drop(connection.await) });
            Some(Self::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(stream).await.ok()?;
            tokio::spawn(async { drop(connection.await) });
            Some(Self::Http1(sender))
        }
    }

    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Empty<Bytes>>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(crate) async fn call(&mut self, address: SocketAddr, path: &str) -> Call {
        let request = match self {
            Self::Http1(_) => Request::get(path).header("host", "x"),
            Self::Http2(_) => Request::get(format!("http://{address}{path}")),
        };
        let request = request.body(Empty::new()).unwrap();
        if !patiently("room for a request", self.ready()).await {
            return Call::NotSent;
        }
        let response = match patiently("an answer", self.send(request)).await {
            Ok(response) => response,
            Err(error) if error.message().is_some() => {
                return Call::NotSent;
            }
            Err(error) => {
                let error = format!("{:?}", error.into_error());
                // Streams above the last one that GOAWAY names were not acted on (RFC 9113, section 6.8).
                let refused = error.contains("GoAway") && error.contains("NO_ERROR, Remote");
                return if refused { Call::NotSent } else { Call::Broken(format!("{path}: {error}")) };
            }
        };
        let status = response.status();
        match patiently("the rest of an answer", response.into_body().collect()).await {
            Ok(_) if status == 200 => Call::Answered,
            Ok(_) => Call::Broken(format!("{path}: {status}")),
            Err(error) => Call::Broken(format!("{path}: {error:?}")),
        }
    }
}
