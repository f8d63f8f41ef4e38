//! Facts about places of addresses.

use super::*;
use crate::clock;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_address_has_its_own_places() {
    let (peers, now) = (Arc::new(PeerConnections::new(2)), clock::now());
    let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
    let first = peers.admit(a, now).unwrap();
    let _second = peers.admit(a, now).unwrap();
    assert!(peers.admit(a, now).is_none());
    let _other = peers.admit(b, now).unwrap();
    drop(first);
    assert!(peers.admit(a, now).is_some());
}

#[test]
fn addresses_of_one_host_are_one() {
    let (peers, now) = (Arc::new(PeerConnections::new(1)), clock::now());
    let _host = peers.admit(address("2001:db8:0:1::1"), now).unwrap();
    assert!(peers.admit(address("2001:db8:0:1:ffff::2"), now).is_none());
    let _other = peers.admit(address("2001:db8:0:2::1"), now).unwrap();
    // IPv4 that IPv6 carries is IPv4, and not one network.
    let _mapped = peers.admit(address("::ffff:192.0.2.1"), now).unwrap();
    assert!(peers.admit(address("192.0.2.1"), now).is_none());
    assert!(peers.admit(address("::ffff:192.0.2.2"), now).is_some());
}

#[test]
fn addresses_without_connections_are_forgotten() {
    let (peers, now) = (Arc::new(PeerConnections::new(1)), clock::now());
    for host in 0..10_000_u32 {
        drop(peers.admit(IpAddr::from(host.to_be_bytes()), now).unwrap());
    }
    assert!(peers.lock().open.is_empty());
}

#[test]
fn refusals_are_said_once_a_minute() {
    let (peers, now) = (Arc::new(PeerConnections::new(0)), clock::now());
    let refuse = |at| assert!(peers.admit(address("192.0.2.1"), at).is_none());
    refuse(now);
    assert_eq!(peers.lock().refused, 0, "the first is said at once");
    refuse(now + Duration::from_secs(59));
    assert_eq!(peers.lock().refused, 1);
    refuse(now + Duration::from_secs(60));
    assert_eq!(peers.lock().refused, 0);
}
