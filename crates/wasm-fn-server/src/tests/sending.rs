//! When answers leave.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::harness::{Fake, Node, ok, options, within};
use crate::connection::poll_average::tests::polls_took;

/// Polls that answers may wait for.
const SHORT: Duration = Duration::from_micros(10);
const GET: &[u8] = b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

/// For each of the requests that two connections sent at once, in the order in which they were asked: whether
/// an answer to one of them had left by then. The thread's polls have taken `time`.
async fn left(time: Duration) -> Vec<bool> {
    let clients = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (watched, noted) = (Arc::clone(&clients), Arc::clone(&seen));
    let node = Node::bounded(
        options(),
        Fake::new(move |_| {
            polls_took(time);
            let left = watched.lock().unwrap().iter().any(|client| client.peek(&mut [0]).is_ok());
            noted.lock().unwrap().push(left);
            async { ok("hi") }
        }),
    )
    .await;
    for _ in 0..2 {
        let client = TcpStream::connect(node.addr()).unwrap();
        client.set_nonblocking(true).unwrap();
        clients.lock().unwrap().push(client);
    }
    // Once each alone, so that both connections wait for a request.
    for place in 0..2 {
        ask(&clients, place);
        answered(&clients, place).await;
    }
    seen.lock().unwrap().clear();
    // The node's thread is this one: it finds both.
    (0..2).for_each(|place| ask(&clients, place));
    answered(&clients, 0).await;
    answered(&clients, 1).await;
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn ask(clients: &Mutex<Vec<TcpStream>>, place: usize) {
    clients.lock().unwrap()[place].write_all(GET).unwrap();
}

async fn answered(clients: &Mutex<Vec<TcpStream>>, place: usize) {
    let mut answer = Vec::new();
    within(async {
        while !answer.ends_with(b"hi") {
            match clients.lock().unwrap()[place].read_to_end(&mut answer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                ended => panic!("the connection ended: {ended:?}"),
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn answers_leave_once_all_who_were_ready_were_asked() {
    assert_eq!(left(SHORT).await, [false, false]);
}

#[tokio::test]
async fn answers_leave_at_once_where_polls_are_long() {
    assert_eq!(left(Duration::from_secs(1)).await, [false, true]);
}
