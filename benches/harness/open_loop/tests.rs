//! Asking a server that answers as it is told.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
};

use super::*;

/// A server whose answer to the request number `n` of each connection is given by `answer`. It ends with the
/// process.
fn server(answer: impl Fn(usize) -> &'static str + Copy + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let (mut asked, mut count) = (Vec::new(), 0);
                let mut bytes = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    asked.extend_from_slice(&bytes[..read]);
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        stream.write_all(answer(count).as_bytes()).unwrap();
                        count += 1;
                    }
                }
            });
        }
    });
    address
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

fn run(address: SocketAddr, connections: u32) -> Result<Asked> {
    let asked = OpenLoop { address, path: "/", rate: 1000, connections };
    asked.run(|since| since < Duration::from_millis(30))
}

#[test]
fn every_request_that_is_due_is_asked_once() {
    let address = server(|_| GOOD);
    assert_eq!(run(address, 1).unwrap().latencies.len(), 30);
    assert_eq!(run(address, 4).unwrap().latencies.len(), 30);
}

#[test]
fn slow_answer_is_charged_for_what_it_holds_up() {
    // The first answer only opens the connection.
    let address = server(|count| {
        if count == 1 {
            thread::sleep(Duration::from_millis(50));
        }
        GOOD
    });
    let asked = run(address, 1).unwrap();
    for (latency, due) in asked.latencies.iter().zip(0..) {
        assert!(*latency >= Duration::from_millis(50 - due), "{due}: {latency:?}");
    }
}

#[test]
fn what_the_client_holds_up_is_told() {
    let asked = OpenLoop { address: server(|_| GOOD), path: "/", rate: 1000, connections: 1 };
    let pause = Duration::from_millis(20);
    let asked = asked.run(|since| {
        thread::sleep(pause);
        since < Duration::from_millis(5)
    });
    assert!(asked.unwrap().late_max >= pause);
}

#[test]
fn answers_other_than_200_end_it() {
    let error = run(server(|count| if count == 9 { FULL } else { GOOD }), 2).unwrap_err();
    assert_eq!(error.to_string(), "/ answered 503, expected 200");
}

#[test]
fn nobody_and_never_are_refused() {
    let error = run(server(|_| GOOD), 0).unwrap_err().to_string();
    assert_eq!(error, "found 1000 requests a second over 0 connections, expected one of each or more");
}
