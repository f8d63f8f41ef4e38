//! Facts about networks.

use super::*;

#[test]
fn addresses_are_in_their_networks() {
    for (network, shown, within, without) in [
        (
            "10.0.0.0/8",
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
            &["11.0.0.0"][..],
        ),
        ("10.1.2.3/8", "10.0.0.0/8", &["10.9.9.9"], &["11.0.0.0"]),
        ("192.0.2.1", "192.0.2.1/32", &["192.0.2.1"], &["192.0.2.2", "192.0.2.0"]),
        ("0.0.0.0/0", "0.0.0.0/0", &["203.0.113.7", "::ffff:1.2.3.4"], &["::1", "2001:db8::"]),
        ("2001:db8::/32", "2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]),
        ("::1", "::1/128", &["::1"], &["::2", "127.0.0.1"]),
        ("::/0", "::/0", &["2001:db8::1"], &["127.0.0.1", "::ffff:127.0.0.1"]),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]),
        ("::ffff:192.0.2.1", "192.0.2.1/32", &["192.0.2.1"], &["192.0.2.2"]),
        ("::ffff:0:0/95", "::fffe:0:0/95", &["::fffe:1:2"], &["1.2.3.4"]),
    ] {
        let parsed: Network = network.parse().unwrap();
        assert_eq!(parsed.to_string(), shown);
        let has = |address: &&str| parsed.contains(address.parse().unwrap());
        assert!(within.iter().all(has), "{network} has {within:?}");
        assert!(!without.iter().any(has), "{network} has none of {without:?}");
    }
}

#[test]
fn what_is_no_network_is_named() {
    for found in [
        "",
        " ",
        "10",
        "10.0.0/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/+8",
        "10.0.0.0/256",
        "10.0.0.0/8/8",
        "/8",
        "010.0.0.0/8",
        "10.0.0.0 /8",
        "10.0.0.0:80",
        "[::1]",
        "::1/129",
        "fe80::1%eth0",
        "localhost",
        "10.0.0.0/8,fd00::/8",
    ] {
        let error = found.parse::<Network>().unwrap_err();
        let expected = "expected a network such as 10.0.0.0/8 or fd00::/8, or an address";
        assert_eq!(error.to_string(), format!("found {found:?}, {expected}"));
    }
}
