//! What a connection corks arrives, whatever becomes of the connection.

use std::{io::Read as _, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    clock,
    connection::{
        poll_average::tests::polls_took, socket::TrackedSocket, state::Order, transport::Transport,
    },
    tests::{
        encrypted,
        harness::{eventually, within},
    },
};

/// A client, and a connection to it that sends whole answers.
async fn connected() -> (TcpStream, TrackedSocket) {
    polls_took(Duration::ZERO);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let state = Arc::new(ConnectionState::new(clock::now(), Order::Serve));
    state.flags.set_whole(true);
    (client, TrackedSocket::new(Transport::Plain(stream), state))
}

#[tokio::test]
async fn what_is_corked_leaves_once_others_were_polled() {
    let (client, mut connection) = connected().await;
    let client = client.into_std().unwrap();
    connection.write_all(b"hello").await.unwrap();
    connection.flush().await.unwrap();
    assert!(client.peek(&mut [0]).is_err(), "nothing was polled meanwhile");
    eventually(|| client.peek(&mut [0; 6]).is_ok_and(|received| received == 5)).await;
}

#[tokio::test]
async fn a_connection_that_ends_sends_what_it_corked() {
    for shuts_down in [false, true] {
        let (mut client, mut connection) = connected().await;
        connection.write_all(b"hello").await.unwrap();
        if shuts_down {
            connection.shutdown().await.unwrap();
        }
        drop(connection);
        let mut received = Vec::new();
        within(client.read_to_end(&mut received)).await.unwrap();
        assert_eq!(received, b"hello");
    }
}

/// The same over TLS.
async fn secured() -> (tokio_rustls::client::TlsStream<TcpStream>, TrackedSocket) {
    polls_took(Duration::ZERO);
    let (certificate, config) = encrypted::certificate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let connector = encrypted::connector(&certificate, &["http/1.1"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let shaken =
        async { tokio::join!(connector.connect(encrypted::name(), client), acceptor.accept(stream)) };
    let (client, stream) = within(shaken).await;
    let state = Arc::new(ConnectionState::new(clock::now(), Order::Serve));
    state.flags.set_whole(true);
    (client.unwrap(), TrackedSocket::new(Transport::Tls(Box::new(stream.unwrap())), state))
}

#[tokio::test]
async fn a_client_that_reads_late_gets_all_in_order() {
    let (client, connection) = connected().await;
    is_read_late(client, connection).await;
}

#[tokio::test]
async fn a_client_that_reads_late_gets_all_in_order_over_tls() {
    let (client, connection) = secured().await;
    is_read_late(client, connection).await;
}

async fn is_read_late(mut client: impl AsyncRead + Unpin, mut connection: TrackedSocket) {
    let expected: Vec<u8> = (0..32_u32 << 20).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let (written, sent) = (Arc::new(Mutex::new(0)), expected.clone());
    let progress = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        for answer in sent.chunks(1000) {
            connection.write_all(answer).await.unwrap();
            connection.flush().await.unwrap();
            *progress.lock().unwrap() += answer.len();
            // As a connection does between two answers.
            tokio::task::yield_now().await;
        }
        connection.shutdown().await.unwrap();
    });
    let (mut before, mut still) = (0, 0);
    within(async {
        while still < 100 {
            tokio::task::yield_now().await;
            let now = *written.lock().unwrap();
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
    })
    .await;
    assert!(before < expected.len(), "the sockets take everything");
    let mut received = Vec::new();
    within(client.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
    writing.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_gone_is_an_error() {
    let (client, mut connection) = connected().await;
    drop(client);
    let failed = async {
        while connection.write_all(b"hello").await.is_ok() && connection.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(failed).await;
}

#[tokio::test]
async fn corked_answers_over_tls_leave_in_order_and_with_their_end() {
    let (mut client, mut connection) = secured().await;
    connection.write_all(b"hello").await.unwrap();
    connection.flush().await.unwrap();
    let mut received = [0; 5];
    within(client.read_exact(&mut received)).await.unwrap();
    connection.write_all(b"small").await.unwrap();
    connection.write_all(&[b'x'; CORKED_BYTES_MAX]).await.unwrap();
    connection.shutdown().await.unwrap();
    drop(connection);
    let mut received = Vec::new();
    // Without `close_notify` this would be an error.
    within(client.read_to_end(&mut received)).await.unwrap();
    assert!(received.starts_with(b"smallx") && received.len() == 5 + CORKED_BYTES_MAX, "{}", received.len());
}

#[tokio::test]
async fn what_is_large_is_not_corked() {
    let (client, mut connection) = connected().await;
    let mut client = client.into_std().unwrap();
    connection.write_all(b"small").await.unwrap();
    connection.write_all(&[b'x'; CORKED_BYTES_MAX]).await.unwrap();
    let mut received = [0; 5 + CORKED_BYTES_MAX];
    client.read_exact(&mut received).expect("all was sent");
    assert!(received.starts_with(b"smallx"));
}
