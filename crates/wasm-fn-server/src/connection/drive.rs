//! The task of one connection: reads a PROXY header, does the handshake of TLS, drives the protocol, enforces
//! timeouts, and follows the server's orders.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::FutureExt;
use hyper::service::service_fn;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use wasm_fn_core::Scheme;

use super::{
    handshake,
    schedule_delay::ScheduleDelay,
    socket::TrackedSocket,
    state::ConnectionState,
    timeouts::{TimeoutAction, Timeouts},
    transport::Transport,
};
use crate::{
    client::{self, Peer},
    clock,
    invoke::Invoke,
    options::ServerOptions,
    request::dispatch::answer,
    session::Session,
};

/// Open HTTP/2 streams per connection.
const STREAMS_MAX: u32 = 128;
/// Flow-control window of an HTTP/2 stream, bytes.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Flow-control window of an HTTP/2 connection, bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// h2 takes heads this many times as large as the limit, so that the node itself can say what is wrong. h2
/// refuses larger ones without an explanation.
const HEAD_ROOM: u32 = 2;
/// Header fields that hyper parses without allocating.
const HEADERS_INLINE: usize = 100;

/// Runs streams of HTTP/2 connections in tasks of their own. A drain waits for them.
#[derive(Clone)]
pub(crate) struct StreamExecutor(pub(crate) TaskTracker);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// The protocols, with the limits of `options`.
///
/// hyper's own header timeout is off: it sets a timer for each request, and cannot tell an idle connection
/// from a slow head.
pub(crate) fn protocols(options: &ServerOptions, executor: StreamExecutor) -> auto::Builder<StreamExecutor> {
    let mut protocols = auto::Builder::new(executor);
    let buffer = usize::try_from(options.head_bytes_max).unwrap_or(usize::MAX).max(8192);
    let mut http1 = protocols.http1();
    http1.header_read_timeout(None).max_buf_size(buffer);
    if options.headers_max != HEADERS_INLINE {
        http1.max_headers(options.headers_max);
    }
    protocols
        .http2()
        .max_header_list_size(options.head_bytes_max.saturating_mul(HEAD_ROOM))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(buffer);
    protocols
}

/// Tracks the polls of a connection's task.
struct PollTracker<'a> {
    connection: &'a ConnectionState,
    // The first poll makes it.
    delay: Option<(Arc<ScheduleDelay>, Waker)>,
}

impl PollTracker<'_> {
    /// Notes that the task is polled. Returns the waker for the poll.
    fn begin(&mut self, cx: &Context<'_>) -> &Waker {
        let now = clock::now();
        let connection = self.connection;
        let (delay, waker) = self.delay.get_or_insert_with(|| {
            let delay = ScheduleDelay::new(cx.waker().clone(), now);
            let waker = Waker::from(Arc::clone(&delay));
            connection.orders.register(waker.clone());
            (delay, waker)
        });
        connection.timing.polled(now, delay.begin(cx.waker(), now));
        waker
    }
}

/// Serves `stream` until it ends, is overdue, or is cut.
pub(crate) async fn run<V: Invoke>(
    mut stream: TcpStream,
    mut session: Session<V>,
    protocols: Arc<auto::Builder<StreamExecutor>>,
) {
    let plane = Arc::clone(&session.plane);
    let connection = Arc::clone(&session.connection);
    let mut timeouts = Timeouts::new(&connection, &plane.options);
    let mut polls = PollTracker { connection: &connection, delay: None };
    if plane.options.proxy_protocol && session.peer.is_trusted {
        // Boxed: most connections do not need it, and for the others it is over soon.
        let introduced =
            Box::pin(introduce(&mut stream, session.peer, &mut polls, &mut timeouts, &plane.options));
        let Some(peer) = introduced.await else { return };
        session.peer = peer;
    }
    let transport = match &plane.options.tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.load_full());
            // Boxed: it is over soon, too.
            connection.timing.begin_handshake();
            let secured = Box::pin(secure(stream, &acceptor, session.peer, &mut polls, &mut timeouts));
            let Some(transport) = secured.await else { return };
            connection.timing.end_handshake(clock::now());
            session.scheme = Scheme::Https;
            transport
        }
    };
    let session = Arc::new(session);
    let io = TokioIo::new(TrackedSocket::new(transport, Arc::clone(&connection)));
    let service = service_fn(move |request| answer(Arc::clone(&session), request).map(Ok::<_, Infallible>));
    let mut serving = pin!(protocols.serve_connection(io, service));
    std::future::poll_fn(|cx| {
        let cx = &mut Context::from_waker(polls.begin(cx));
        loop {
            if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                }
                return Poll::Ready(());
            }
            connection.discard_bodies(cx);
            match timeouts.poll_action(cx) {
                Poll::Ready(TimeoutAction::Close) => serving.as_mut().graceful_shutdown(),
                Poll::Ready(TimeoutAction::Cut) => {
                    if connection.flags.is_http2() {
                        // GOAWAY comes before the end of a connection (RFC 9113, section 6.8).
                        serving.as_mut().graceful_shutdown();
                        let _ = serving.as_mut().poll(cx);
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    connection.pause();
                    return Poll::Pending;
                }
            }
        }
    })
    .await;
}

/// Reads the PROXY header with which the trusted `peer` begins `stream`, and returns the peer behind it.
/// Returns `None` when the connection must be closed: it has no header, is overdue, or is cut.
async fn introduce(
    stream: &mut TcpStream,
    peer: Peer,
    polls: &mut PollTracker<'_>,
    timeouts: &mut Timeouts<'_>,
    options: &ServerOptions,
) -> Option<Peer> {
    match before_requests(client::read(stream), polls, timeouts).await? {
        Ok(client) => Some(peer.behind(client, &options.trusted_proxies)),
        Err(error) => {
            tracing::debug!(proxy = %peer.address, %error, "connection closed");
            None
        }
    }
}

/// Does the server's part of the handshake of TLS on `stream`. Returns `None` when the connection must be
/// closed: the handshake failed, is overdue, or is cut.
async fn secure(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    peer: Peer,
    polls: &mut PollTracker<'_>,
    timeouts: &mut Timeouts<'_>,
) -> Option<Transport> {
    match before_requests(handshake::accept(stream, acceptor), polls, timeouts).await? {
        Ok(stream) => Some(Transport::Tls(Box::new(stream))),
        Err(error) => {
            // Anybody can cause this, so it is no warning.
            tracing::debug!(peer = %peer.address, %error, "TLS handshake failed");
            None
        }
    }
}

/// Drives `work` on a connection that has had no request yet. Returns `None` when the connection is overdue
/// or is cut.
async fn before_requests<F: Future>(
    work: F,
    polls: &mut PollTracker<'_>,
    timeouts: &mut Timeouts<'_>,
) -> Option<F::Output> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let cx = &mut Context::from_waker(polls.begin(cx));
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        // There is no request yet, so closing means cutting.
        timeouts.poll_action(cx).map(|_| None)
    })
    .await
}
