//! One connection's task: hears whose it is, drives its protocol, enforces its timeouts, and carries out what the
//! server wants of it.

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
use tokio_util::task::TaskTracker;

use crate::{
    Invoke, Options,
    client::{self, Peer},
    clock,
    dispatch::answer,
    observed::Observed,
    overseer::{Overseer, Step},
    session::Session,
    turn::Turn,
    watch::Watch,
};

/// HTTP/2 streams that a client may have open on one connection.
const STREAMS_MAX: u32 = 128;
/// What a client may send ahead on one HTTP/2 stream, bytes.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// What a client may send ahead on one HTTP/2 connection, bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// The number of header fields up to which hyper parses without allocating.
const HEADERS_INLINE: usize = 100;

/// Runs the streams of HTTP/2 connections as tasks of their own, which a drain waits for.
#[derive(Clone)]
pub(crate) struct Spawner(pub(crate) TaskTracker);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// The protocols as `options` bound them.
///
/// hyper's own header timeout is off: it arms a timer per request, and cannot tell an idle
/// connection from a slow head.
pub(crate) fn protocols(options: &Options, spawner: Spawner) -> auto::Builder<Spawner> {
    let mut protocols = auto::Builder::new(spawner);
    let buffer = usize::try_from(options.head_bytes_max).unwrap_or(usize::MAX).max(8192);
    let mut http1 = protocols.http1();
    http1.header_read_timeout(None).max_buf_size(buffer);
    if options.headers_max != HEADERS_INLINE {
        http1.max_headers(options.headers_max);
    }
    protocols
        .http2()
        .max_header_list_size(options.head_bytes_max)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(buffer);
    protocols
}

/// The connection's task as it is polled.
struct Polls<'a> {
    watch: &'a Watch,
    // Made in the first poll.
    turn: Option<(Arc<Turn>, Waker)>,
}

impl Polls<'_> {
    /// Notes that the task is polled; gives what is to wake it.
    fn begin(&mut self, cx: &Context<'_>) -> &Waker {
        let now = clock::now();
        let watch = self.watch;
        let (turn, waker) = self.turn.get_or_insert_with(|| {
            let turn = Turn::new(cx.waker().clone(), now);
            let waker = Waker::from(Arc::clone(&turn));
            watch.register(waker.clone());
            (turn, waker)
        });
        watch.polled(now, turn.begin(cx.waker(), now));
        waker
    }
}

/// Serves `stream` until it ends, is overdue, or is cut.
pub(crate) async fn run<V: Invoke>(
    mut stream: TcpStream,
    mut session: Session<V>,
    protocols: Arc<auto::Builder<Spawner>>,
) {
    let plane = Arc::clone(&session.plane);
    let watch = Arc::clone(&session.watch);
    let mut overseer = Overseer::new(&watch, &plane.options);
    let mut polls = Polls { watch: &watch, turn: None };
    if plane.options.proxy_protocol && session.peer.is_trusted {
        // Boxed, for most connections have no use for it, and for the others it is over soon.
        let introduced =
            Box::pin(introduce(&mut stream, session.peer, &mut polls, &mut overseer, &plane.options));
        let Some(peer) = introduced.await else { return };
        session.peer = peer;
    }
    let session = Arc::new(session);
    let io = TokioIo::new(Observed::new(stream, Arc::clone(&watch)));
    let service = service_fn(move |request| answer(Arc::clone(&session), request).map(Ok::<_, Infallible>));
    let mut connection = pin!(protocols.serve_connection(io, service));
    std::future::poll_fn(|cx| {
        let cx = &mut Context::from_waker(polls.begin(cx));
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                }
                return Poll::Ready(());
            }
            match overseer.poll_step(cx) {
                Poll::Ready(Step::Close) => connection.as_mut().graceful_shutdown(),
                Poll::Ready(Step::Cut) => return Poll::Ready(()),
                Poll::Pending => {
                    watch.pause();
                    return Poll::Pending;
                }
            }
        }
    })
    .await;
}

/// Reads the PROXY header that the trusted `peer` begins `stream` with: who is behind it. `None` when the connection is
/// to be closed, because it has none, is overdue, or is cut.
async fn introduce(
    stream: &mut TcpStream,
    peer: Peer,
    polls: &mut Polls<'_>,
    overseer: &mut Overseer<'_>,
    options: &Options,
) -> Option<Peer> {
    let mut reading = pin!(client::read(stream));
    let read = std::future::poll_fn(|cx| {
        let cx = &mut Context::from_waker(polls.begin(cx));
        if let Poll::Ready(read) = reading.as_mut().poll(cx) {
            return Poll::Ready(Some(read));
        }
        // Without a request, to close is to cut.
        overseer.poll_step(cx).map(|_| None)
    });
    match read.await? {
        Ok(source) => Some(peer.behind(source, &options.trusted_proxies)),
        Err(error) => {
            tracing::debug!(proxy = %peer.address, %error, "connection closed");
            None
        }
    }
}
