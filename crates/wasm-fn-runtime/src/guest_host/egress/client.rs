//! Sends an outgoing request over HTTP/1.1, on a connection of its own.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Interval, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use wasm_fn_core::Scheme;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    budget::{Budget, CountedBody},
    error,
    target::Target,
    trust::TrustedRoots,
};
use crate::clock;

/// How long each part of a request may take if the guest does not say. Its own time is usually shorter.
const PART_MAX: Duration = Duration::from_secs(600);

/// The shortest time between two parts of a body: a timer needs some.
const BETWEEN_MIN: Duration = Duration::from_nanos(1);

/// A response, and what drives its connection.
pub(super) type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// A connection of bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What an outgoing request may use.
pub(super) struct Allowance {
    /// Times that the guest set.
    pub(super) options: RequestOptions,
    /// When the request ends, whatever the guest set.
    pub(super) until: Instant,
    /// The requests of the invocation together.
    pub(super) budget: Arc<Budget>,
}

/// Sends `request` to `target`, on a connection to one of the `addresses` that are found for it.
///
/// # Errors
/// What `wasi:http` tells the guest.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(super) async fn send(
    request: Request<WasiBody>,
    target: &Target,
    addresses: impl Future<Output = Result<Vec<SocketAddr>, Error>>,
    allowance: Allowance,
    roots: &TrustedRoots,
) -> Result<Sent, Error> {
    let Allowance { options, until, budget } = allowance;
    let connected = async { connect(target, &addresses.await?, roots).await };
    let connected = timeout(options.connect_timeout.unwrap_or(PART_MAX), connected);
    let connected = timeout_at(until, connected).await.unwrap_or(Ok(Err(Error::ConnectionTimeout)));
    let stream = connected.unwrap_or(Err(Error::ConnectionTimeout))?;
    let mut request = request.map(|body| CountedBody { body, budget: budget.clone() });
    let (mut sender, connection) =
        http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(error::of_hyper)?;
    // Only a proxy is told the scheme and the authority.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().path_and_query(path).build().or(Err(Error::HttpRequestUriInvalid))?;
    frame(&mut request);
    let between = options.between_bytes_timeout.unwrap_or(PART_MAX).max(BETWEEN_MIN);
    let answered = timeout(options.first_byte_timeout.unwrap_or(PART_MAX), sender.send_request(request));
    let mut answered = pin!(answered);
    let mut connection = Some(connection);
    let response = poll_fn(|cx| {
        if let Poll::Ready(answered) = answered.as_mut().poll(cx) {
            return Poll::Ready(answered);
        }
        let Some(driven) = connection.as_mut() else { return Poll::Pending };
        let driven = ready!(Pin::new(driven).poll(cx));
        connection = None;
        match driven {
            // The response may be there all the same.
            Ok(()) => answered.as_mut().poll(cx),
            Err(error) => Poll::Ready(Ok(Err(error))),
        }
    });
    let response = timeout_at(until, response).await.or(Err(Error::HttpResponseTimeout))?;
    let response = response.or(Err(Error::ConnectionReadTimeout))?.map_err(error::of_hyper)?;
    let body = |body| ResponseBody { body, between: interval(between), until, budget }.boxed_unsync();
    let response = response.map(body);
    let io = async move {
        let Some(connection) = connection else { return Ok(()) };
        // It ends the connection of a guest that does not read on.
        let driven = timeout_at(until, connection).await;
        driven.or(Err(Error::HttpResponseTimeout))?.map_err(error::of_hyper)
    };
    Ok((response, Box::new(io)))
}

/// Says how the body of `request` ends, where the client would leave it out instead: of methods that rarely
/// have one, such as GET, it sends only a body that is announced (RFC 9112, section 6.3).
fn frame(request: &mut Request<CountedBody>) {
    let announced = request.headers().contains_key(CONTENT_LENGTH);
    if !announced && !request.body().is_end_stream() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    roots: &TrustedRoots,
) -> Result<Box<dyn Stream>, Error> {
    let stream = connect_tcp(addresses).await?;
    if target.scheme == Scheme::Http {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(target.host().to_owned())
        .map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })?;
    let secured = TlsConnector::from(roots.config()).connect(name, stream).await;
    Ok(Box::new(secured.map_err(|error| error::of_tls(&error))?))
}

/// Connects to the first of `addresses` that accepts.
async fn connect_tcp(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut failed = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or_else(error::no_address, |error| error::of_connect(&error)))
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    // The first tick would be at once.
    interval.reset();
    interval
}

/// The body of a response, with a time between its parts.
struct ResponseBody {
    body: Incoming,
    between: Interval,
    /// When the connection ends.
    until: Instant,
    budget: Arc<Budget>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                self.between.reset();
                let counted = self.budget.receive(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(counted.map(|()| frame)))
            }
            Poll::Ready(Some(Err(_))) if self.until <= Instant::from_std(clock::now()) => {
                Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error::of_hyper(error)))),
            Poll::Pending => {
                ready!(self.between.poll_tick(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
