//! Facts about addresses, at the borders of the registries' ranges.

use super::*;

use Class::*;

fn class(address: &str) -> Class {
    Class::of(address.parse().unwrap())
}

#[test]
fn ranges_of_the_registries_end_where_they_say() {
    // The first and the last address of each range, the one before and the one after, and their classes.
    // `-` stands where there is none.
    let ranges = [
        // IANA, IPv4 special-purpose address registry.
        ("0.0.0.1", "0.255.255.255", Reserved, ("0.0.0.0", Unspecified), ("1.0.0.0", Public)),
        ("10.0.0.0", "10.255.255.255", Private, ("9.255.255.255", Public), ("11.0.0.0", Public)),
        ("100.64.0.0", "100.127.255.255", Private, ("100.63.255.255", Public), ("100.128.0.0", Public)),
        ("127.0.0.0", "127.255.255.255", Loopback, ("126.255.255.255", Public), ("128.0.0.0", Public)),
        ("169.254.0.0", "169.254.255.255", LinkLocal, ("169.253.255.255", Public), ("169.255.0.0", Public)),
        ("172.16.0.0", "172.31.255.255", Private, ("172.15.255.255", Public), ("172.32.0.0", Public)),
        ("192.0.0.0", "192.0.0.8", Reserved, ("191.255.255.255", Public), ("192.0.0.9", Public)),
        ("192.0.0.9", "192.0.0.10", Public, ("192.0.0.8", Reserved), ("192.0.0.11", Reserved)),
        ("192.0.0.170", "192.0.0.171", Reserved, ("192.0.0.169", Reserved), ("192.0.0.172", Reserved)),
        ("192.0.0.11", "192.0.0.255", Reserved, ("192.0.0.10", Public), ("192.0.1.0", Public)),
        ("192.0.2.0", "192.0.2.255", Reserved, ("192.0.1.255", Public), ("192.0.3.0", Public)),
        ("192.31.196.0", "192.31.196.255", Public, ("192.31.195.255", Public), ("192.31.197.0", Public)),
        ("192.52.193.0", "192.52.193.255", Public, ("192.52.192.255", Public), ("192.52.194.0", Public)),
        ("192.88.99.0", "192.88.99.255", Reserved, ("192.88.98.255", Public), ("192.88.100.0", Public)),
        ("192.168.0.0", "192.168.255.255", Private, ("192.167.255.255", Public), ("192.169.0.0", Public)),
        ("192.175.48.0", "192.175.48.255", Public, ("192.175.47.255", Public), ("192.175.49.0", Public)),
        ("198.18.0.0", "198.19.255.255", Reserved, ("198.17.255.255", Public), ("198.20.0.0", Public)),
        ("198.51.100.0", "198.51.100.255", Reserved, ("198.51.99.255", Public), ("198.51.101.0", Public)),
        ("203.0.113.0", "203.0.113.255", Reserved, ("203.0.112.255", Public), ("203.0.114.0", Public)),
        ("224.0.0.0", "239.255.255.255", Multicast, ("223.255.255.255", Public), ("240.0.0.0", Reserved)),
        (
            "240.0.0.0",
            "255.255.255.254",
            Reserved,
            ("239.255.255.255", Multicast),
            ("255.255.255.255", Broadcast),
        ),
        // IANA, IPv6 special-purpose address registry. Everything before 2000:: is reserved.
        ("::1", "::1", Loopback, ("::", Unspecified), ("::2", Reserved)),
        // IPv4-compatible addresses (RFC 4291, section 2.5.5.1) lead nowhere.
        ("::2", "::fffe:ffff:ffff", Reserved, ("::1", Loopback), ("::ffff:0:0", Unspecified)),
        (
            "::ffff:10.0.0.0",
            "::ffff:10.255.255.255",
            Private,
            ("::ffff:9.9.9.9", Public),
            ("::ffff:11.0.0.0", Public),
        ),
        (
            "::1:0:0:0",
            "64:ff9a:ffff::",
            Reserved,
            ("::ffff:255.255.255.255", Broadcast),
            ("64:ff9b::808:808", Public),
        ),
        (
            "64:ff9b::a00:0",
            "64:ff9b::aff:ffff",
            Private,
            ("64:ff9b::9ff:ffff", Public),
            ("64:ff9b::b00:0", Public),
        ),
        (
            "64:ff9b::7f00:1",
            "64:ff9b::7fff:ffff",
            Loopback,
            ("64:ff9b::7eff:ffff", Public),
            ("64:ff9b::1:0:0", Reserved),
        ),
        (
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            Private,
            ("64:ff9b:0:1::", Reserved),
            ("64:ff9b:2::", Reserved),
        ),
        ("100::", "100::ffff:ffff:ffff:ffff", Reserved, ("ff::", Reserved), ("100:0:0:1::", Reserved)),
        (
            "100:0:0:1::",
            "100:0:0:1:ffff:ffff:ffff:ffff",
            Reserved,
            ("100::ffff", Reserved),
            ("100:0:0:2::", Reserved),
        ),
        ("1fff:ffff::", "1fff:ffff::ffff", Reserved, ("1fff::", Reserved), ("2000::", Public)),
        (
            "2001::",
            "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("2000:ffff::", Public),
            ("2001:1::", Reserved),
        ),
        ("2001:1::1", "2001:1::3", Public, ("2001:1::", Reserved), ("2001:1::4", Reserved)),
        (
            "2001:2::",
            "2001:2:0:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("2001:1:ffff::", Reserved),
            ("2001:3::", Public),
        ),
        (
            "2001:3::",
            "2001:3:ffff:ffff:ffff:ffff:ffff:ffff",
            Public,
            ("2001:2:ffff::", Reserved),
            ("2001:4::", Reserved),
        ),
        (
            "2001:4:112::",
            "2001:4:112:ffff:ffff:ffff:ffff:ffff",
            Public,
            ("2001:4:111::", Reserved),
            ("2001:4:113::", Reserved),
        ),
        ("2001:10::", "2001:1f:ffff::", Reserved, ("2001:f::", Reserved), ("2001:20::", Public)),
        ("2001:20::", "2001:2f:ffff::", Public, ("2001:1f::", Reserved), ("2001:30::", Public)),
        ("2001:30::", "2001:3f:ffff::", Public, ("2001:2f::", Public), ("2001:40::", Reserved)),
        (
            "2001:40::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("2001:3f::", Public),
            ("2001:200::", Public),
        ),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("2001:db7::", Public),
            ("2001:db9::", Public),
        ),
        ("2002:a00::", "2002:aff:ffff:ffff::", Private, ("2002:9ff:ffff::", Public), ("2002:b00::", Public)),
        ("2002:7f00:1::", "2002:7f00:1:ffff::", Loopback, ("2001:ffff::", Public), ("2002:8000::", Public)),
        (
            "2620:4f:8000::",
            "2620:4f:8000:ffff::",
            Public,
            ("2620:4f:7fff::", Public),
            ("2620:4f:8001::", Public),
        ),
        (
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("3ffe:ffff::", Public),
            ("3fff:1000::", Public),
        ),
        ("4000::", "fbff:ffff::", Reserved, ("3fff:ffff::", Public), ("fc00::", Private)),
        (
            "5f00::",
            "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
            ("5eff::", Reserved),
            ("5f01::", Reserved),
        ),
        (
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Private,
            ("fbff::", Reserved),
            ("fe00::", Reserved),
        ),
        (
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            LinkLocal,
            ("fe7f::", Reserved),
            ("fec0::", Private),
        ),
        (
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Private,
            ("febf::", LinkLocal),
            ("ff00::", Multicast),
        ),
        (
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Multicast,
            ("feff::", Private),
            ("ff02::1", Multicast),
        ),
    ];
    for (first, last, within, (before, class_before), (after, class_after)) in ranges {
        assert_eq!(class(first), within, "{first}");
        assert_eq!(class(last), within, "{last}");
        assert_eq!(class(before), class_before, "{before}, before {first}");
        assert_eq!(class(after), class_after, "{after}, after {last}");
    }
}

#[test]
fn metadata_is_not_only_link_local() {
    for address in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
    ] {
        assert_eq!(class(address), Metadata, "{address}");
    }
    assert_eq!(class("169.254.169.255"), LinkLocal);
    assert_eq!(class("fd00:ec2::255"), Private);
}

/// Who vouches for an address, and whether it may be connected to then.
#[track_caller]
fn check(address: &str, grounds: Grounds, expected: Result<(), Prohibited>) {
    assert_eq!(judge(address.parse().unwrap(), grounds), expected, "{address} by {grounds:?}");
}

#[test]
fn only_public_addresses_need_nobody() {
    let named = Grounds { is_named: true, ..Grounds::default() };
    let part = Grounds { opened: Opened::AsPart, ..Grounds::default() };
    let itself = Grounds { opened: Opened::Itself, ..Grounds::default() };
    let none = Grounds::default();
    check("93.184.215.14", none, Ok(()));
    check("2606:2800:21f::1", none, Ok(()));
    for (address, class, allowed) in [
        ("127.0.0.1", Loopback, &[named, part, itself][..]),
        ("::ffff:127.0.0.1", Loopback, &[named, part, itself]),
        ("10.0.0.5", Private, &[named, part, itself]),
        ("fd12::5", Private, &[named, part, itself]),
        ("169.254.1.1", LinkLocal, &[named, part, itself]),
        ("198.18.0.1", Reserved, &[named, part, itself]),
        // A network that contains it does not open it.
        ("169.254.169.254", Metadata, &[named, itself]),
        ("fd00:ec2::254", Metadata, &[named, itself]),
        ("0.0.0.0", Unspecified, &[]),
        ("::", Unspecified, &[]),
        ("::ffff:0.0.0.0", Unspecified, &[]),
        ("224.0.0.1", Multicast, &[]),
        ("ff02::1", Multicast, &[]),
        ("255.255.255.255", Broadcast, &[]),
    ] {
        check(address, none, Err(Prohibited::Class(class)));
        for grounds in [named, part, itself] {
            let is_allowed = allowed
                .iter()
                .any(|allowed| (allowed.is_named, allowed.opened) == (grounds.is_named, grounds.opened));
            check(address, grounds, if is_allowed { Ok(()) } else { Err(Prohibited::Class(class)) });
        }
    }
}

#[test]
fn the_node_s_own_sockets_are_not_private_addresses() {
    for address in ["127.0.0.1", "10.0.0.5", "93.184.215.14", "::1"] {
        for opened in [Opened::No, Opened::AsPart, Opened::Itself] {
            for is_named in [false, true] {
                let admin = Grounds { is_named, opened, own: Some(Listener::Admin) };
                check(address, admin, Err(Prohibited::Own(Listener::Admin)));
                let data = Grounds { is_named, opened, own: Some(Listener::Data) };
                let expected = if is_named { Ok(()) } else { Err(Prohibited::Own(Listener::Data)) };
                check(address, data, expected);
            }
        }
    }
}
