//! Ending the data plane without losing a request.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{join_all, poll_immediate};
use http::Response;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use wasm_fn_core::Outcome;

use super::harness::{Fake, FakeBody, Node, eventually, get, get2, ok, options, text, within};
use crate::{DrainReport, ServerOptions};

const LONG: Duration = Duration::from_secs(30);
const REQUEST: &str = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

/// A node whose guest waits for a permit, and how many guests have started.
async fn gated(options: ServerOptions) -> (Node, Arc<Semaphore>, Arc<AtomicU64>) {
    gated_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), options)
}

fn gated_on(listener: TcpListener, options: ServerOptions) -> (Node, Arc<Semaphore>, Arc<AtomicU64>) {
    let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let (opens, counter) = (Arc::clone(&gate), Arc::clone(&started));
    let fake = Fake::new(move |_| {
        let opens = Arc::clone(&opens);
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            opens.acquire().await.unwrap().forget();
            ok("done")
        }
    });
    (Node::listening(listener, options, fake), gate, started)
}

#[tokio::test]
async fn requests_in_flight_are_finished_and_their_connections_closed() {
    let (node, gate, started) = gated(options()).await;
    let mut first = node.raw().await;
    first.send(REQUEST).await;
    let mut second = node.http2().await;
    let mut response = pin!(second.send_request(get2("/hello")));
    assert!(poll_immediate(&mut response).await.is_none());
    eventually(|| started.load(Ordering::SeqCst) == 2).await;

    let mut drain = pin!(node.handle.drain(LONG));
    assert!(poll_immediate(&mut drain).await.is_none());
    gate.add_permits(2);
    let (report, answer) = within(async { tokio::join!(drain, first.read_to_end()) }).await;
    assert_eq!(report, DrainReport { cut: 0 });
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("done"), "{answer}");
    assert_eq!(text(within(response).await.unwrap()).await, "done");
    assert!(TcpStream::connect(node.addr()).await.is_err(), "the listener is closed");
    node.counts(Outcome::Success, 2).await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_the_grace() {
    let (node, gate, _) = gated(options()).await;
    gate.add_permits(2);
    let mut used = node.raw().await;
    used.send(REQUEST).await;
    used.read_until("done").await;
    let mut http2 = node.http2().await;
    text(http2.send_request(get2("/hello")).await.unwrap()).await;
    let mut unused = node.raw().await;
    assert_eq!(within(node.handle.drain(LONG)).await, DrainReport { cut: 0 });
    assert_eq!(used.read_to_end().await, "");
    assert_eq!(unused.read_to_end().await, "");
}

#[tokio::test]
async fn connections_in_the_backlog_are_served() {
    let (node, gate, started) = gated(ServerOptions { connections_max: 1, ..options() }).await;
    let mut first = node.raw().await;
    first.send(REQUEST).await;
    eventually(|| started.load(Ordering::SeqCst) == 1).await;
    let (mut second, mut third) = (node.raw().await, node.raw().await);
    second.send(REQUEST).await;
    third.send(REQUEST).await;

    gate.add_permits(3);
    let drained = within(node.handle.drain(LONG)).await;
    assert_eq!(drained, DrainReport { cut: 0 });
    for client in [&mut first, &mut second, &mut third] {
        let answer = client.read_to_end().await;
        assert!(answer.ends_with("done"), "{answer:?}");
    }
    node.counts(Outcome::Success, 3).await;
}

#[tokio::test]
async fn backlog_is_left_to_whoever_shares_the_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let shared = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let one = ServerOptions { connections_max: 1, ..options() };
    let (old, gate, started) = gated_on(TcpListener::from_std(listener).unwrap(), one);
    let mut first = old.raw().await;
    first.send(REQUEST).await;
    eventually(|| started.load(Ordering::SeqCst) == 1).await;
    let mut waiting = old.raw().await;
    waiting.send(REQUEST).await;

    gate.add_permits(1);
    assert_eq!(within(old.handle.leave(LONG)).await, DrainReport { cut: 0 });
    let answer = first.read_to_end().await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("done"), "{answer}");
    old.counts(Outcome::Success, 1).await;

    let new = Node::listening(shared, options(), Fake::new(|_| async { ok("from the new one") }));
    waiting.read_until("from the new one").await;
    new.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_counted() {
    let (node, _gate, started) = gated(options()).await;
    let mut client = node.raw().await;
    client.send(REQUEST).await;
    let mut second = node.http2().await;
    let mut response = pin!(second.send_request(get2("/hello")));
    assert!(poll_immediate(&mut response).await.is_none());
    eventually(|| started.load(Ordering::SeqCst) == 2).await;
    let report = within(node.handle.drain(Duration::from_millis(100))).await;
    assert_eq!(report, DrainReport { cut: 2 });
    assert_eq!(client.read_to_end().await, "");
    within(response).await.unwrap_err();
    node.counts(Outcome::Shed, 2).await;
}

#[tokio::test]
async fn abort_cuts_at_once() {
    let (node, _gate, started) = gated(options()).await;
    let mut client = node.raw().await;
    client.send(REQUEST).await;
    eventually(|| started.load(Ordering::SeqCst) == 1).await;
    assert_eq!(node.handle.abort(), 1);
    assert_eq!(client.read_to_end().await, "");
    node.counts(Outcome::Shed, 1).await;
    assert_eq!(within(node.handle.drain(LONG)).await, DrainReport { cut: 0 });
}

#[tokio::test]
async fn streams_that_began_before_the_drain_end_whole() {
    let node = Node::answering(|_| async {
        let (mut sender, body) = FakeBody::fed();
        tokio::spawn(async move {
            for _ in 0..100 {
                sender.send_data(Bytes::from_static(b"0123456789")).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Ok(Response::new(body))
    })
    .await;
    let (mut http1, mut http2) = (node.http1().await, node.http2().await);
    let first = http1.send_request(get("/hello")).await.unwrap();
    let second = http2.send_request(get2("/hello")).await.unwrap();
    let (report, first, second) =
        within(async { tokio::join!(node.handle.drain(LONG), text(first), text(second)) }).await;
    assert_eq!(report, DrainReport { cut: 0 });
    assert_eq!((first.len(), second.len()), (1000, 1000));
}

/// Sends requests one after the other until the server closes the connection as announced. Returns whether
/// the client reported the last one as not processed.
async fn insist(node: &Node, http2: bool, answered: &AtomicU64) -> bool {
    let (mut first, mut second) = (node.http1().await, node.http2().await);
    loop {
        let response = if http2 {
            // After GOAWAY the client knows that a request was not sent; it is ready for none.
            if second.ready().await.is_err() {
                return false;
            }
            second.send_request(get2("/hello")).await
        } else {
            first.send_request(get("/hello")).await
        };
        let response = match response {
            Ok(response) => response,
            Err(error) if http2 && (error.is_canceled() || is_refused(&error)) => return true,
            Err(error) => panic!("a request was lost: {error:?}"),
        };
        let last = response.headers().contains_key("connection");
        assert_eq!(text(response).await, "hi");
        answered.fetch_add(1, Ordering::SeqCst);
        if last {
            return false;
        }
        if !http2 {
            within(std::future::poll_fn(|cx| first.poll_ready(cx))).await.unwrap();
        }
    }
}

/// Whether the server said that it did not process the request.
fn is_refused(error: &hyper::Error) -> bool {
    let text = format!("{error:?}");
    text.contains("GoAway") || text.contains("REFUSED_STREAM")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_under_load_loses_nothing() {
    let node = Arc::new(Node::answering(|_| async { ok("hi") }).await);
    let answered = Arc::new(AtomicU64::new(0));
    let clients = join_all((0..8).map(|number| {
        let (node, answered) = (Arc::clone(&node), Arc::clone(&answered));
        tokio::spawn(async move { insist(&node, number % 2 == 1, &answered).await })
    }));
    eventually(|| answered.load(Ordering::SeqCst) > 200).await;
    assert_eq!(within(node.handle.drain(LONG)).await, DrainReport { cut: 0 });
    let mut reported = 0;
    for client in within(clients).await {
        reported += u64::from(client.unwrap());
    }
    let counted = node.tally.snapshot();
    // hyper's client reports a request as not processed if GOAWAY arrives between queueing and sending it,
    // though it sends it then: the server may have answered it.
    let answered = answered.load(Ordering::SeqCst);
    assert!(
        (answered..=answered + reported).contains(&counted.total()),
        "{counted:?}, {answered}, {reported}"
    );
    assert_eq!(counted.count(Outcome::Success), counted.total());
}

#[tokio::test]
async fn drain_goes_on_when_nobody_waits_for_it() {
    let (node, gate, started) = gated(options()).await;
    let mut client = node.raw().await;
    client.send(REQUEST).await;
    eventually(|| started.load(Ordering::SeqCst) == 1).await;
    {
        let drain = pin!(node.handle.drain(LONG));
        assert!(poll_immediate(drain).await.is_none());
    }
    gate.add_permits(1);
    assert!(client.read_to_end().await.ends_with("done"));
    assert_eq!(within(node.handle.drain(LONG)).await, DrainReport { cut: 0 });
}
