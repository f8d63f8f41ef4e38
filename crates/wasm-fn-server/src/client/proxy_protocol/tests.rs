//! Facts about PROXY headers.

use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use super::*;
use crate::tests::harness::within;

/// What is read of a connection on which `bytes` come and then its end; and what of them is left.
async fn read_of(bytes: &[u8]) -> (Result<ProxiedClient, HeaderError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    within(sender.write_all(bytes)).await.unwrap();
    sender.shutdown().await.unwrap();
    let read = within(read(&mut stream)).await;
    let mut left = Vec::new();
    within(stream.read_to_end(&mut left)).await.unwrap();
    (read, left)
}

/// A header of version 2.
fn binary_header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [BINARY, &[version_and_command, family], &length, rest].concat()
}

/// Addresses of version 2 over IPv4: 192.0.2.1:47011 to 10.0.0.9:80.
const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 9, 0xb7, 0xa3, 0, 80];

/// Over IPv6: [2001:db8::7]:47011 to [::1]:80.
const V6: [u8; 36] = {
    let mut bytes = [0; 36];
    (bytes[0], bytes[1], bytes[2], bytes[3], bytes[15]) = (0x20, 0x01, 0x0d, 0xb8, 7);
    (bytes[31], bytes[32], bytes[33], bytes[35]) = (1, 0xb7, 0xa3, 80);
    bytes
};

fn client(text: &str) -> ProxiedClient {
    ProxiedClient::Named(text.parse().unwrap())
}

fn valid() -> Vec<(Vec<u8>, ProxiedClient)> {
    let tlvs = [&V4[..], &[0x04, 0, 3, 1, 2, 3], &[0x20; 400]].concat();
    let largest = [&V6[..], &vec![0xff; BINARY_BYTES_MAX - FIXED_BYTES - V6.len()]].concat();
    let texts = [
        ("PROXY TCP4 192.0.2.1 10.0.0.9 47011 80\r\n", client("192.0.2.1:47011")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255:65535")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n", client("1.2.3.4:0")),
        ("PROXY TCP6 2001:db8::7 ::1 47011 80\r\n", client("[2001:db8::7]:47011")),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             65535 65535\r\n",
            client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", ProxiedClient::Unnamed),
        ("PROXY UNKNOWN 2001:db8::7 ::1 47011 80\r\n", ProxiedClient::Unnamed),
        ("PROXY UNKNOWN whatever \u{1} it says\r\n", ProxiedClient::Unnamed),
    ];
    let texts = texts.map(|(text, source)| (text.as_bytes().to_vec(), source));
    let binaries = [
        (binary_header(0x21, 0x11, &V4), client("192.0.2.1:47011")),
        (binary_header(0x21, 0x21, &V6), client("[2001:db8::7]:47011")),
        (binary_header(0x21, 0x11, &tlvs), client("192.0.2.1:47011")),
        (binary_header(0x21, 0x21, &largest), client("[2001:db8::7]:47011")),
        // LOCAL, whatever else it says.
        (binary_header(0x20, 0x00, &[]), ProxiedClient::Own),
        (binary_header(0x20, 0x11, &V4), ProxiedClient::Own),
        (binary_header(0x20, 0x11, &[]), ProxiedClient::Own),
        (binary_header(0x20, 0xff, &[1, 2, 3]), ProxiedClient::Own),
        // AF_UNSPEC, AF_UNIX, datagrams.
        (binary_header(0x21, 0x00, &[]), ProxiedClient::Unnamed),
        (binary_header(0x21, 0x00, &V4), ProxiedClient::Unnamed),
        (binary_header(0x21, 0x01, &[]), ProxiedClient::Unnamed),
        (binary_header(0x21, 0x31, &[0; 216]), ProxiedClient::Unnamed),
        (binary_header(0x21, 0x12, &V4), ProxiedClient::Unnamed),
    ];
    texts.into_iter().chain(binaries).collect()
}

#[tokio::test]
async fn headers_say_whose_the_connection_is_and_leave_what_follows() {
    for (header, expected) in valid() {
        for follows in ["", "\n", "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"] {
            let (read, left) = read_of(&[&header, follows.as_bytes()].concat()).await;
            assert_eq!(read.unwrap(), expected, "{}", header.escape_ascii());
            assert_eq!(left, follows.as_bytes(), "{}", header.escape_ascii());
        }
    }
}

#[tokio::test]
async fn headers_may_come_in_parts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (header, expected) in valid().into_iter().filter(|(header, _)| header.len() < 200) {
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let send = async {
            for byte in &header {
                sender.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (read, ()) = within(async { tokio::join!(read(&mut stream), send) }).await;
        assert_eq!(read.unwrap(), expected, "{}", header.escape_ascii());
    }
}

#[tokio::test]
async fn cut_headers_are_no_headers() {
    for (header, _) in valid().into_iter().filter(|(header, _)| header.len() < 200) {
        for end in 0..header.len() {
            let (read, _) = read_of(&header[..end]).await;
            assert!(matches!(read, Err(HeaderError::Cut(_))), "{}", header[..end].escape_ascii());
        }
    }
}

#[tokio::test]
async fn malformed_headers_are_refused() {
    let texts = [
        "GET / HTTP/1.1\r\n\r\n",
        "proxy TCP4 192.0.2.1 10.0.0.9 47011 80\r\n",
        " PROXY TCP4 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY\tTCP4 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY  TCP4 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY UNKNOWN?\r\n",
        "PROXY UNKNOWN\nxxxx",
        "PROXY UNKNOWN a\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY \r\n         ",
        "PROXY TCP4 \r\n      ",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 80",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 80\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 80\r\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 80 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 80 81\r\n",
        "PROXY TCP4 192.0.2.1  10.0.0.9 47011 80\r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.9 47011 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0 47011 80\r\n",
        "PROXY TCP4 2001:db8::7 ::1 47011 80\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.9 47011 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 65536 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 +1 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 47011 -1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.9 x 80\r\n",
        "PROXY TCP4 192.0.2.\u{661} 10.0.0.9 1 80\r\n",
    ];
    let binaries = [
        // The version, the command, the family and the transport.
        binary_header(0x11, 0x11, &V4),
        binary_header(0x22, 0x11, &V4),
        binary_header(0x21, 0x41, &V4),
        binary_header(0x21, 0x13, &V4),
        // Addresses that are cut.
        binary_header(0x21, 0x11, &V4[..11]),
        binary_header(0x21, 0x21, &V6[..35]),
        binary_header(0x21, 0x21, &V4),
        binary_header(0x21, 0x11, &[]),
    ];
    let texts = texts.iter().map(|text| text.as_bytes().to_vec());
    for header in texts.chain(binaries) {
        let (read, _) = read_of(&header).await;
        let cut = !header.contains(&b'\n');
        match read {
            Err(HeaderError::Cut(_)) if cut => {}
            Err(error @ HeaderError::Malformed(_)) => {
                assert!(error.to_string().ends_with("expected a PROXY header of version 1 or 2"), "{error}");
            }
            other => panic!("{other:?} of {}", header.escape_ascii()),
        }
    }
    let (refused, _) = read_of(b"GET /hello HTTP/1.1\r\n\r\n").await;
    let expected = r#"found "GET /hello HTTP", expected a PROXY header of version 1 or 2"#;
    assert_eq!(refused.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused_at_their_bound() {
    let line = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16)).into_bytes();
    assert_eq!(read_of(&line(107)).await.0.unwrap(), ProxiedClient::Unnamed);
    for bytes in [108, 1000] {
        let refused = read_of(&line(bytes)).await.0.unwrap_err();
        assert_eq!(refused.to_string(), "found a PROXY header of more than 107 bytes");
    }
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 500]].concat();
    assert!(matches!(read_of(&endless).await.0, Err(HeaderError::TooLong { bytes_max: 107 })));
    // What it announces is not waited for.
    for length in [4081u16, u16::MAX] {
        let header = [BINARY, &[0x21, 0x11], &length.to_be_bytes()].concat();
        assert!(
            matches!(read_of(&header).await.0, Err(HeaderError::TooLong { bytes_max: 4096 })),
            "{length}"
        );
    }
    let local = [BINARY, &[0x20, 0x00], &u16::MAX.to_be_bytes()].concat();
    assert!(matches!(read_of(&local).await.0, Err(HeaderError::TooLong { .. })));
}
