//! Facts about `room`.

use super::*;

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// Whether the client at `address` has room for a body of `mib` MiB. What it has stays in `parts`.
fn takes(room: &Arc<ReceptionRoom>, parts: &mut Vec<Part>, address: &str, mib: u64) -> bool {
    let part = room.enter(at(address)).and_then(|mut part| {
        part.grow(mib << 20)?;
        Ok(part)
    });
    let fits = part.is_ok();
    parts.extend(part);
    fits
}

#[test]
fn one_client_leaves_room_for_others() {
    let (room, mut parts) = (Arc::new(ReceptionRoom::default()), Vec::new());
    while takes(&room, &mut parts, "192.0.2.1", 1) {}
    assert_eq!(parts.len(), 15, "15 MiB and what the requests count themselves");
    assert!(takes(&room, &mut parts, "192.0.2.2", 1));
    // All that is left is free again.
    parts.clear();
    assert!(takes(&room, &mut parts, "192.0.2.1", 15));
    parts.clear();
    let held = room.lock();
    assert_eq!((held.bytes, held.clients.len()), (0, 0));
}

#[test]
fn all_clients_together_are_bounded() {
    let (room, mut parts) = (Arc::new(ReceptionRoom::default()), Vec::new());
    for client in 1..=4 {
        assert!(takes(&room, &mut parts, &format!("192.0.2.{client}"), 15));
    }
    assert!(!takes(&room, &mut parts, "192.0.2.5", 4), "3.9 MiB are left");
    assert!(takes(&room, &mut parts, "192.0.2.5", 3));
}

#[test]
fn requests_without_bodies_are_bounded_too() {
    let (room, mut parts) = (Arc::new(ReceptionRoom::default()), Vec::new());
    while takes(&room, &mut parts, "192.0.2.1", 0) {}
    assert_eq!(parts.len(), 1024);
}

#[test]
fn a_client_of_ipv6_is_its_network() {
    assert_eq!(network(at("2001:db8:1:2:3:4:5:6")), at("2001:db8:1:2::"));
    assert_eq!(network(at("::ffff:192.0.2.1")), at("192.0.2.1"));
    assert_ne!(network(at("2001:db8:1:3::1")), network(at("2001:db8:1:2::1")));
}
