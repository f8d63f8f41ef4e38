//! Tests for `own`.

use super::*;

#[test]
fn nothing_is_fetched_from_the_node_or_a_cloud_s_metadata() {
    let listeners = Listeners {
        data: vec!["0.0.0.0:8080".parse().unwrap()],
        admin: vec!["127.0.0.1:8081".parse().unwrap()],
    };
    let check = |address: &str| check_fetchable(address.parse().unwrap(), &listeners);
    for address in
        ["10.0.0.1:443", "192.0.2.1:443", "127.0.0.1:5000", "[2001:db8::1]:443", "93.184.215.14:443"]
    {
        assert_eq!(check(address), Ok(()), "{address}");
    }
    for (address, what) in [
        ("169.254.169.254:80", "a cloud's metadata address"),
        ("[::ffff:169.254.169.254]:80", "a cloud's metadata address"),
        ("169.254.1.1:80", "a link-local address"),
        ("[fe80::1]:80", "a link-local address"),
        ("0.0.0.0:80", "the unspecified address"),
        ("127.0.0.1:8080", "where this node serves functions"),
        ("127.0.0.1:8081", "the admin API of this node"),
        ("[::ffff:127.0.0.1]:8081", "the admin API of this node"),
    ] {
        let error = check(address).unwrap_err().to_string();
        assert!(error.ends_with(&format!("is {what}, which nothing is fetched from")), "{error}");
    }
}
