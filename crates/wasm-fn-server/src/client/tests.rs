//! Facts about who is believed.

mod fuzzing;

use super::*;

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn peer_is_trusted_by_its_ipv4_address_also_where_ipv6_carries_it() {
    let trusted = networks(&["10.0.0.0/8", "2001:db8::/32"]);
    for (peer, is_trusted) in [
        ("10.1.2.3:80", true),
        ("[::ffff:10.1.2.3]:80", true),
        ("[2001:db8::1]:80", true),
        ("11.0.0.1:80", false),
        ("[::ffff:11.0.0.1]:80", false),
        ("[2001:db9::1]:80", false),
    ] {
        assert_eq!(Peer::new(address(peer), &trusted).is_trusted, is_trusted, "{peer}");
    }
    let mapped = Peer::new(address("[::ffff:192.0.2.1]:5000"), &[]);
    assert_eq!(mapped, Peer { address: address("192.0.2.1:5000"), is_trusted: false });
}

#[test]
fn whoever_a_proxy_header_names_takes_the_proxys_place() {
    let trusted = networks(&["10.0.0.0/8"]);
    let proxy = Peer::new(address("10.0.0.1:4000"), &trusted);
    let client = |text| ProxiedClient::Named(address(text));
    for (source, expected, is_trusted) in [
        (ProxiedClient::Own, "10.0.0.1:4000", true),
        (ProxiedClient::Unnamed, "10.0.0.1:4000", false),
        (client("192.0.2.1:5000"), "192.0.2.1:5000", false),
        (client("10.0.0.2:5000"), "10.0.0.2:5000", true),
        (client("[::ffff:10.0.0.2]:5000"), "10.0.0.2:5000", true),
    ] {
        let expected = Peer { address: address(expected), is_trusted };
        assert_eq!(proxy.behind(source, &trusted), expected, "{source:?}");
    }
}

#[test]
fn header_of_an_untrusted_peer_is_neither_believed_nor_left() {
    let trusted = networks(&["10.0.0.0/8"]);
    for (peer, client, left) in
        [("10.0.0.1:4000", "192.0.2.1:0", 1), ("203.0.113.9:4000", "203.0.113.9:4000", 0)]
    {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("192.0.2.1"));
        assert_eq!(Peer::new(address(peer), &trusted).client(&mut headers, &trusted), address(client));
        assert_eq!(headers.len(), left, "{peer}");
    }
}
