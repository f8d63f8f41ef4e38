//! Clients that send frames of HTTP/2 without end, heads and bodies byte by byte, or nothing at all: what the
//! node keeps of them is bounded, and others are served.

use std::{cell::Cell, net::Ipv4Addr, time::Duration};

use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::harness::{
    Node,
    client::{Client, connect, raw, read_until},
    patiently,
};

/// Memory that a flood may cost, beside what the node needs to serve: the buffers of a few connections.
const GROWTH_MAX: u64 = 48 << 20;

/// Frames that a flood sends, unless the node ends it earlier.
const FRAMES: usize = 50_000;

/// How long a client waits until its bytes are taken. A node that takes none for so long holds them back.
const HELD_BACK: Duration = Duration::from_secs(2);

/// The beginning of a connection: the preface, and settings without any (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request for `path`, of at most 127 bytes, by the static table (RFC 7541, appendix A).
fn fields(method: u8, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [&[method, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'x']].concat()
}

/// `:method` is GET, or POST.
const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// How a flood ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The node closed the connection.
    Closed,
    /// The node reads no more until somebody reads what it says.
    HeldBack,
    /// Everything was taken.
    Taken,
}

/// Sends `first` and then what `next` makes, frame after frame; reads nothing unless `reads`.
async fn flood(node: &Node, first: &[u8], reads: bool, next: impl Fn(u32) -> Vec<u8>) -> End {
    let stream = connect(node.listen).await;
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut trash = tokio::io::sink();
        if reads {
            let _ = tokio::io::copy(&mut reader, &mut trash).await;
        }
        reader
    });
    let flooding = async {
        if writer.write_all(&[PREFACE, first].concat()).await.is_err() {
            return End::Closed;
        }
        let mut batch = Vec::with_capacity(64 << 10);
        for number in 0..u32::try_from(FRAMES).unwrap() {
            batch.extend(next(number));
            if batch.len() >= 32 << 10 {
                match timeout(HELD_BACK, writer.write_all(&batch)).await {
                    Ok(Ok(())) => {
                        batch.clear();
                        // Others have their turn.
                        tokio::task::yield_now().await;
                    }
                    Ok(Err(_)) => return End::Closed,
                    Err(_) => return End::HeldBack,
                }
            }
        }
        match timeout(HELD_BACK, writer.write_all(&batch)).await {
            Ok(Ok(())) => End::Taken,
            Ok(Err(_)) => End::Closed,
            Err(_) => End::HeldBack,
        }
    };
    let end = flooding.await;
    reading.abort();
    end
}

/// A node with `hello` and `slow` that has served.
async fn node(args: &[&str]) -> Node {
    let node = Node::start_with(args).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("slow", "slow", json!({})).await;
    for _ in 0..20 {
        node.http.get("/hello").await.ok();
        node.http.get("/slow?ms=0").await.ok();
    }
    node
}

/// Runs `attack` while somebody else calls hello, and checks what the node grew by at most meanwhile.
async fn bounded<T>(node: &Node, attack: impl Future<Output = T>) -> T {
    let before = node.resident_bytes();
    let (most, answered) = (Cell::new(before), Cell::new(0_u32));
    let client = Client::http1(node.listen);
    let others = async {
        loop {
            assert_eq!(client.get("/hello").await.ok().text(), "hello from v1\n");
            answered.set(answered.get() + 1);
            most.set(most.get().max(node.resident_bytes()));
        }
    };
    let ended = patiently("the end of an attack", async {
        tokio::select! {
            ended = attack => ended,
            () = others => unreachable!("it has no end"),
        }
    });
    let ended = ended.await;
    client.get("/hello").await.ok();
    let grown = most.get().max(node.resident_bytes()).saturating_sub(before);
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} KiB more, hello answered {} times beside it", grown >> 10, answered.get());
    assert!(grown < GROWTH_MAX, "{test}: the node grew by {grown} bytes");
    ended
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let node = node(&[]).await;
    let head = fields(GET, "/slow?ms=60000");
    let reset = |number: u32| {
        let stream = 2 * number + 1;
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        [request, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let end = bounded(&node, flood(&node, &[], true, reset)).await;
    assert_eq!(end, End::Closed, "a client may begin and reset requests for ever");
    // Guests that were begun have been cancelled: their places are free.
    for _ in 0..20 {
        node.http.get("/slow?ms=0").await.ok();
    }
}

#[tokio::test]
async fn head_in_endless_continuations_ends_the_connection() {
    let node = node(&[]).await;
    // Of a head that never ends, with fields or without any.
    for payload in [[&[0x40, 1, b'a', 0x7f, 0x81, 0x7c][..], &[b'b'; 16_000]].concat(), vec![]] {
        let begun = frame(HEADERS, END_STREAM, 1, &fields(GET, "/hello"));
        let next = |_| frame(CONTINUATION, 0, 1, &payload);
        let end = bounded(&node, flood(&node, &begun, true, next)).await;
        assert_eq!(end, End::Closed, "a head may go on for ever");
    }
}

#[tokio::test]
async fn heads_that_unfold_are_not_kept() {
    let node = node(&[]).await;
    // A field of 4,000 bytes goes into the dynamic table, and each byte behind it is that field again.
    let mut unfolding = fields(GET, "/hello");
    unfolding.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    unfolding.extend([b'b'; 4000]);
    unfolding.extend([0xbe; 12_000]);
    let next = |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &unfolding);
    bounded(&node, flood(&node, &[], true, next)).await;
}

#[tokio::test]
async fn floods_of_small_frames_cost_little() {
    let node = node(&[]).await;
    let open = frame(HEADERS, END_HEADERS, 1, &fields(POST, "/slow?ms=5000"));
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    let ping = frame(PING, 0, 0, &[7; 8]);
    let empty = frame(DATA, 0, 1, &[]);
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]);
    for (what, first, next) in [
        ("settings", &[][..], &settings),
        ("pings", &[], &ping),
        ("empty frames", &open, &empty),
        ("windows", &[], &update),
        ("priorities", &open, &priority),
    ] {
        for reads in [true, false] {
            let end = bounded(&node, flood(&node, first, reads, |_| next.clone())).await;
            println!("{what}, {}: {end:?}", if reads { "read" } else { "unread" });
        }
    }
}

#[tokio::test]
async fn windows_that_are_never_opened_hold_little() {
    let node = node(&["--instances-max", "200"]).await;
    node.deploy_with("flood", "flood", json!({ "timeout_ms": 2000 })).await;
    // A window of nothing for each stream, and as many streams as there may be.
    let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let head = fields(GET, "/flood");
    let requests = (0..100).map(|number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head));
    let first = [&[PREFACE, &closed].concat()[..], &requests.collect::<Vec<_>>().concat()].concat();
    let before = node.resident_bytes();
    let mut stream = connect(node.listen).await;
    stream.write_all(&first).await.unwrap();
    let mut most = before;
    let ended = async {
        while node.outcomes("flood", "timeout").await + node.outcomes("flood", "cancelled").await < 100 {
            most = most.max(node.resident_bytes());
            node.http.get("/hello").await.ok();
        }
    };
    patiently("the end of what nobody reads", ended).await;
    let grown_mib = (most - before) >> 20;
    println!("a hundred streams that are never read cost {grown_mib} MiB");
    // A hundred instances with their buffers, not a hundred endless bodies.
    assert!(grown_mib < 200, "the node grew by {grown_mib} MiB");
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_while_others_are_served() {
    let node = node(&[]).await;
    node.deploy("echo").await;
    // One byte a second keeps neither a head nor the place of a connection.
    let slow = async |begin: &str| {
        let mut stream = connect(node.listen).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut sent = 0;
        loop {
            let read = timeout(Duration::from_secs(1), read_until(&mut stream, |_| false)).await;
            if let Ok(read) = read {
                return (sent, String::from_utf8_lossy(&read).into_owned());
            }
            sent += 1;
            let _ = stream.write_all(b"x").await;
        }
    };
    let heads =
        futures_util::future::join_all((0..50).map(|_| slow("GET /hello HTTP/1.1\r\nhost: a\r\nx-slow: ")));
    for (sent, answer) in bounded(&node, heads).await {
        assert!((5..40).contains(&sent), "after {sent} bytes: {answer}");
        assert!(!answer.contains(" 200 "), "{answer}");
    }
}

/// A connection from an address of its own.
async fn connect_from(host: u32, node: &Node) -> TcpStream {
    let [_, _, high, low] = host.to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 3, high, low), 0).into()).unwrap();
    patiently("a connection", socket.connect(node.listen)).await.expect("the node accepts connections")
}

#[tokio::test]
async fn thousands_of_idle_connections_cost_kilobytes_each() {
    const COUNT: u32 = 2000;
    let node = node(&[]).await;
    let before = node.resident_bytes();
    let mut open = Vec::new();
    for number in 0..COUNT {
        // A hundred from each address.
        let mut stream = connect_from(1 + number / 100, &node).await;
        if number % 2 == 0 {
            stream.write_all(b"GET /hello HTTP/1.1\r\nhos").await.unwrap();
        }
        open.push(stream);
    }
    for _ in 0..50 {
        Client::http1(node.listen).get("/hello").await.ok();
    }
    let each = node.resident_bytes().saturating_sub(before) / u64::from(COUNT);
    println!("an idle connection costs {each} bytes");
    assert!(each < 24 << 10, "an idle connection costs {each} bytes");
}

#[tokio::test]
async fn heads_at_every_limit_are_answered_and_those_over_it_are_refused() {
    let node = node(&[]).await;
    let answer = async |head: String| {
        let answer = raw(node.listen, head.as_bytes(), |read| read.len() > 12).await;
        String::from_utf8_lossy(&answer).chars().skip(9).take(3).collect::<String>()
    };
    let fields = |count: usize| {
        let fields: String = (2..count).map(|field| format!("x-{field}: y\r\n")).collect();
        format!("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n")
    };
    assert_eq!(answer(fields(100)).await, "200");
    assert_eq!(answer(fields(101)).await, "431");
    // The limit is 65,536 bytes, of which fields and target count.
    let long = |bytes: usize| format!("GET /hello HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(bytes));
    assert_eq!(answer(long(60_000)).await, "200");
    assert_eq!(answer(long(66_000)).await, "431");
    let path = |bytes: usize| format!("GET /hello?{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(bytes));
    assert_eq!(answer(path(60_000)).await, "200");
    assert_eq!(answer(path(66_000)).await, "414");
}
