//! One connection's task: drives its protocol, enforces its timeouts, and carries out what the
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
    Invoke, Options, clock,
    dispatch::answer,
    observed::Observed,
    overseer::{Overseer, Step},
    session::Session,
    turn::Turn,
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

/// Serves `stream` until it ends, is overdue, or is cut.
pub(crate) async fn run<V: Invoke>(
    stream: TcpStream,
    session: Session<V>,
    protocols: Arc<auto::Builder<Spawner>>,
) {
    let session = Arc::new(session);
    let plane = Arc::clone(&session.plane);
    let watch = Arc::clone(&session.watch);
    let io = TokioIo::new(Observed::new(stream, Arc::clone(&watch)));
    let service = service_fn(move |request| answer(Arc::clone(&session), request).map(Ok::<_, Infallible>));
    let mut connection = pin!(protocols.serve_connection(io, service));
    let mut overseer = Overseer::new(&watch, &plane.options);
    let mut turns = None;
    std::future::poll_fn(|cx| {
        let now = clock::now();
        let (turn, waker) = turns.get_or_insert_with(|| {
            let turn = Turn::new(cx.waker().clone(), now);
            let waker = Waker::from(Arc::clone(&turn));
            watch.register(waker.clone());
            (turn, waker)
        });
        watch.polled(now, turn.begin(cx.waker(), now));
        let cx = &mut Context::from_waker(waker);
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
