//! The open loop charges a server for standing still, refuses wrong answers, and knows when it was itself
//! the bottleneck.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::{Job, Latency, Seen, drive};
use crate::{now, requests::Requests};

const HI: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// A server that answers each request on one connection with what `answer` says to its number, from 0, and
/// closes the connection when that is nothing.
fn server(answer: impl Fn(u64) -> &'static str + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for number in 0.. {
            let text = if head(&mut stream) { answer(number) } else { "" };
            if text.is_empty() || stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
    address
}

/// Reads one request without a body; false at the end.
fn head(stream: &mut TcpStream) -> bool {
    let mut last = [0; 4];
    while last != *b"\r\n\r\n" {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return false;
        }
        last.rotate_left(1);
        last[3] = byte[0];
    }
    true
}

fn job(address: SocketAddr, rate: f64) -> Job {
    Job { address, requests: Requests::same("/", None, "hi"), rate, seconds: 1, connections: 1 }
}

#[test]
fn every_request_of_the_schedule_is_sent_at_its_moment() {
    let begun = now();
    let seen = drive(&job(server(|_| HI), 200.0)).unwrap();
    // The last of 200 is due 5 ms before the end of the second.
    assert!(begun.elapsed() >= Duration::from_millis(995));
    assert_eq!(seen.latency.rate, 200.0);
    assert!(seen.latency.p50_us <= seen.latency.p99_us && seen.latency.p99_us <= seen.latency.p999_us);
}

#[test]
fn requests_that_a_stalled_server_held_up_count_from_when_they_were_due() {
    // Of 100 requests in a second, the 20th holds the only connection for 700 ms, in which 70 more fall due.
    // Counted from when they were sent, only one would be slow, and half of them would take microseconds.
    let stalled = server(|number| {
        if number == 20 {
            thread::sleep(Duration::from_millis(700));
        }
        HI
    });
    let seen = drive(&job(stalled, 100.0)).unwrap();
    assert!(seen.latency.p50_us > 50_000.0, "{seen:?}");
    assert!(seen.latency.p99_us > 600_000.0, "{seen:?}");
}

#[test]
fn wrong_answer_ends_the_run() {
    let wrong =
        server(|number| if number == 7 { "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nho" } else { HI });
    let refused = drive(&job(wrong, 100.0)).unwrap_err().to_string();
    assert_eq!(refused, "the answer has \"ho\", expected \"hi\" there");
}

#[test]
fn closed_connection_ends_the_run() {
    let closing = server(|number| if number < 7 { HI } else { "" });
    assert_eq!(drive(&job(closing, 100.0)).unwrap_err().to_string(), "the server closed a connection");
}

#[test]
fn late_or_busy_generator_is_not_trusted() {
    let latency = Latency { rate: 1.0, p50_us: 1.0, p99_us: 1.0, p999_us: 1.0 };
    let seen = |late_us, busy| Seen { latency, late_us, busy }.trusted().map_err(|error| error.to_string());
    assert_eq!(seen(100.0, 0.85), Ok(latency));
    let late = "the generator sent 101 µs late at the 99th percentile, expected at most 100: it could not \
                keep up, or something else ran on its core";
    assert_eq!(seen(101.0, 0.1), Err(late.to_owned()));
    let busy = "the generator was busy for 90 % of its time, expected at most 85 %";
    assert_eq!(seen(1.0, 0.9), Err(busy.to_owned()));
}
