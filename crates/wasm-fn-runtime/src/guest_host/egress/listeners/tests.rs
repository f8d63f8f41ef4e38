//! Facts about the node's own sockets.

use super::*;

fn listeners(data: &str, admin: &str) -> Listeners {
    Listeners { data: vec![data.parse().unwrap()], admin: vec![admin.parse().unwrap()] }
}

/// What listens at `address` of a machine with the address 10.0.0.5.
fn at(listeners: &Listeners, address: &str) -> Option<Listener> {
    let own = |address: SocketAddr| ["127.0.0.1", "::1", "10.0.0.5"].contains(&&*address.ip().to_string());
    listeners.at(address.parse().unwrap(), own)
}

#[test]
fn a_socket_listens_at_its_own_address_and_port() {
    let bound = listeners("10.0.0.5:8080", "127.0.0.1:8081");
    assert_eq!(at(&bound, "10.0.0.5:8080"), Some(Listener::Data));
    assert_eq!(at(&bound, "[::ffff:10.0.0.5]:8080"), Some(Listener::Data));
    assert_eq!(at(&bound, "127.0.0.1:8081"), Some(Listener::Admin));
    for address in ["10.0.0.5:8081", "127.0.0.1:8080", "127.0.0.1:8082", "10.0.0.6:8080"] {
        assert_eq!(at(&bound, address), None, "{address}");
    }
    // The unspecified address leads to the machine itself.
    assert_eq!(at(&bound, "0.0.0.0:8081"), Some(Listener::Admin));
    assert_eq!(at(&bound, "[::]:8080"), Some(Listener::Data));
}

#[test]
fn a_socket_at_every_address_listens_at_each_of_the_machine() {
    for every in ["0.0.0.0", "[::]"] {
        let bound = listeners(&format!("{every}:8080"), &format!("{every}:8081"));
        for own in ["127.0.0.1", "[::1]", "10.0.0.5", "[::ffff:10.0.0.5]", "0.0.0.0"] {
            let listener = at(&bound, &format!("{own}:8081"));
            assert_eq!(listener, Some(Listener::Admin), "{own} of {every}");
        }
        assert_eq!(at(&bound, "10.0.0.5:8080"), Some(Listener::Data));
        assert_eq!(at(&bound, "10.0.0.6:8081"), None);
        assert_eq!(at(&bound, "10.0.0.5:80"), None);
    }
}

#[test]
fn the_system_tells_which_addresses_are_the_machine_s() {
    for own in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
        assert!(is_local(own.parse().unwrap()), "{own}");
    }
    // Documentation: no machine has these.
    for other in ["192.0.2.1:80", "[2001:db8::1]:80"] {
        assert!(!is_local(other.parse().unwrap()), "{other}");
    }
}
