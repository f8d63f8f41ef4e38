//! Facts about what proxies say in headers.

use http::HeaderValue;

use super::*;

const PEER: &str = "10.0.0.1:4000";

/// The client that the fields `values` of the header `name` name, with 10.0.0.0/8 and fd00::/8 trusted.
fn client_of(name: &HeaderName, values: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    named(&headers)
}

fn named(headers: &HeaderMap) -> String {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
    let client = client(headers, PEER.parse().unwrap(), &trusted);
    if client.port() == 0 { client.ip().to_string() } else { client.to_string() }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_until_the_first_who_is_no_proxy() {
    for (values, expected) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.7, 192.0.2.1, 10.0.0.3,10.0.0.2"], "192.0.2.1"),
        (&["198.51.100.7", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (&["198.51.100.7, 10.0.0.3", "10.0.0.2"], "198.51.100.7"),
        (&[" \t192.0.2.1\t , 10.0.0.2 "], "192.0.2.1"),
        (&["192.0.2.1:47011"], "192.0.2.1:47011"),
        (&["192.0.2.1:47011, 10.0.0.2:80"], "192.0.2.1:47011"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:47011, fd00::1"], "[2001:db8::7]:47011"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
        // All are proxies: the farthest.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Empty entries are none (RFC 9110, section 5.6.1.2).
        (&["192.0.2.1,, ,10.0.0.2,"], "192.0.2.1"),
        (&["", "192.0.2.1", ""], "192.0.2.1"),
        (&[""], PEER),
        (&[","], PEER),
        (&[], PEER),
        // A quote is no more than an entry that cannot be read.
        (&["\", 192.0.2.1"], "192.0.2.1"),
    ] {
        assert_eq!(client_of(&X_FORWARDED_FOR, values), expected, "{values:?}");
    }
}

#[test]
fn entry_that_cannot_be_read_ends_the_search() {
    for hidden in [
        "unknown",
        "_hidden",
        "_",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "0300.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:+80",
        "192.0.2.1:8a",
        "192.0.2.1:_",
        "192.0.2.1:_a!",
        "[192.0.2.1]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]80",
        "[]:80",
        "[::1%eth0]",
        "2001:db8:::7",
        "192.0.2.1 192.0.2.2",
        "\u{e9}",
        "-",
    ] {
        let entry = format!("198.51.100.7, {hidden}");
        assert_eq!(client_of(&X_FORWARDED_FOR, &[&entry]), PEER, "{hidden}");
        let entry = format!("198.51.100.7, {hidden}, 10.0.0.2");
        assert_eq!(client_of(&X_FORWARDED_FOR, &[&entry]), "10.0.0.2", "{hidden}");
        let entry = format!("for=198.51.100.7, for={hidden}, for=10.0.0.2");
        assert_eq!(client_of(&FORWARDED, &[&entry]), "10.0.0.2", "{hidden}");
        let entry = format!("for=198.51.100.7, for=\"{hidden}\", for=10.0.0.2");
        assert_eq!(client_of(&FORWARDED, &[&entry]), "10.0.0.2", "{hidden}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    for (values, expected) in [
        (&["for=192.0.2.43"][..], "192.0.2.43"),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711"),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (&["by=203.0.113.43;FOR=192.0.2.60;host=\"a;b,c\""], "192.0.2.60"),
        (&["for=198.51.100.7, for=192.0.2.43, for=\"[fd00::2]\""], "192.0.2.43"),
        (&["for=198.51.100.7", "for=192.0.2.43", "for=10.0.0.2;proto=https"], "192.0.2.43"),
        (&["for=\"192.0.2.43:47011\""], "192.0.2.43:47011"),
        (&["for=\"192.0.2.43:_port\""], "192.0.2.43"),
        (&["for=\"[2001:db8::7]:_a.b-c_d\""], "2001:db8::7"),
        // Common, though it ought to be quoted.
        (&["for=192.0.2.43:47011"], "192.0.2.43:47011"),
        (&["for=[2001:db8::7]:47011"], "[2001:db8::7]:47011"),
        (&["for=2001:db8::7"], "2001:db8::7"),
        (&[";for=192.0.2.43; ;proto=https;"], "192.0.2.43"),
        (&["for=192.0.2.43 ; proto=https , for=10.0.0.2"], "192.0.2.43"),
        (&["for=192.0.2.43;host=\"a\\\",\\\\\";proto=https"], "192.0.2.43"),
        (&["for=10.0.0.3, for=10.0.0.2"], "10.0.0.3"),
        (&["for=unknown"], PEER),
        (&["for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&[""], PEER),
    ] {
        assert_eq!(client_of(&FORWARDED, values), expected, "{values:?}");
    }
}

#[test]
fn forwarded_that_is_malformed_ends_the_search() {
    for element in [
        "192.0.2.43",
        "for",
        "for=",
        "=192.0.2.43",
        "for =192.0.2.43",
        "for= 192.0.2.43x",
        "proto=https",
        "for=192.0.2.43;for=192.0.2.44",
        "for=192.0.2.43;for=192.0.2.43",
        "for=192.0.2.43;proto",
        "for=\"192.0.2.43",
        "for=192.0.2.43\"",
        "for=\"192.0.2.43\"x",
        "for=\"192.0.2.\\43\"",
        "for=\"192.0.2.43\\\"",
        "for=\"\"\"192.0.2.43\"",
        "for='192.0.2.43'",
    ] {
        let value = format!("for=198.51.100.7, {element}, for=10.0.0.2");
        assert_eq!(client_of(&FORWARDED, &[&value]), "10.0.0.2", "{element}");
    }
}

#[test]
fn nothing_that_a_client_writes_hides_what_a_proxy_added() {
    for written in [
        "for=\"",
        "\\\"",
        "for=\"a, b",
        "a;b=\"c",
        "for=198.51.100.7;host=\"",
        "\"\"\"",
        "\\",
        ",,,;;;",
        "\t\"",
    ] {
        for (added, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("for=\"[2001:db8::7]:80\"", "[2001:db8::7]:80"),
            ("for=192.0.2.43, for=\"10.0.0.2\"", "192.0.2.43"),
        ] {
            let value = format!("{written}, {added}");
            assert_eq!(client_of(&FORWARDED, &[&value]), expected, "{value}");
            assert_eq!(client_of(&FORWARDED, &[written, added]), expected, "{value}");
        }
    }
}

#[test]
fn forwarded_comes_before_x_forwarded_for() {
    let mut headers = HeaderMap::new();
    headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
    assert_eq!(named(&headers), "192.0.2.1");
    headers.insert(FORWARDED, HeaderValue::from_static("for=192.0.2.2"));
    assert_eq!(named(&headers), "192.0.2.2");
    headers.insert(FORWARDED, HeaderValue::from_static("for=unknown"));
    assert_eq!(named(&headers), PEER, "also where it says nothing");
}

#[test]
fn a_kilobyte_is_read_and_what_is_beyond_four_is_not() {
    for (proxies, expected) in [(73, "192.0.2.1"), (290, "192.0.2.1"), (292, "10.0.0.2"), (4000, "10.0.0.2")]
    {
        let value = format!("for=192.0.2.1{}", ", for=10.0.0.2".repeat(proxies));
        assert_eq!(client_of(&FORWARDED, &[&value]), expected, "{} bytes", value.len());
    }
    // Over several fields it is the same.
    for (proxies, expected) in [(85, "192.0.2.1"), (340, "192.0.2.1"), (341, "10.0.0.2"), (4000, "10.0.0.2")]
    {
        let values = [vec!["for=192.0.2.1"], vec!["for=10.0.0.2"; proxies]].concat();
        assert_eq!(client_of(&FORWARDED, &values), expected, "{} bytes", 13 + 12 * proxies);
    }
    // An entry that is cut is not taken for a shorter one.
    let value = format!("for=110.0.0.1{}", ", for=10.0.0.2".repeat(292));
    assert_eq!(value.len() - (4 << 10), 5, "the first digit is cut off");
    assert_eq!(client_of(&FORWARDED, &[&value]), "10.0.0.2");
    let long = "x".repeat(1 << 10);
    assert_eq!(client_of(&FORWARDED, &[&long]), PEER);
    assert_eq!(client_of(&FORWARDED, &[&format!("for=\"{long}\"")]), PEER);
    assert_eq!(client_of(&FORWARDED, &[&"\"".repeat(1 << 10)]), PEER);
    assert_eq!(client_of(&FORWARDED, &[&"\\\"".repeat(1 << 15)]), PEER);
    assert_eq!(client_of(&X_FORWARDED_FOR, &[&",".repeat(60_000)]), PEER);
}

/// The names that are left of `names`.
fn left(names: &[&'static str], trusted: bool) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for name in names {
        headers.append(*name, HeaderValue::from_static("a"));
        headers.append(*name, HeaderValue::from_static("b"));
    }
    strip(&mut headers, trusted);
    headers.keys().map(|name| name.as_str().to_owned()).collect()
}

const TOLD: [&str; 16] = [
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "fastly-client-ip",
];

#[test]
fn what_only_a_proxy_may_say_is_removed_from_others() {
    assert_eq!(left(&TOLD, false), [""; 0]);
    assert_eq!(left(&TOLD, true), TOLD);
}

#[test]
fn names_that_are_the_same_to_a_cgi_program_are_removed_from_everybody() {
    for trusted in [false, true] {
        let spelled = ["x_forwarded_for", "x-forwarded_for", "x_real_ip", "client_ip", "x_forwarded_proto"];
        assert_eq!(left(&spelled, trusted), [""; 0]);
    }
}

#[test]
fn all_other_headers_are_left() {
    let others = [
        "host",
        "via",
        "from",
        "content-type",
        "cookie",
        "x-request-id",
        "x-real",
        "x-real-ip-2",
        "true-client",
        "te",
        "x-user_id",
        "xforwarded-for",
        "forwarded-for",
        "c",
        "x",
        "wasm-fn-key",
    ];
    assert_eq!(left(&others, false), others);
    assert_eq!(left(&others, true), others);
}

#[test]
fn scheme_is_the_one_by_which_the_client_came() {
    let trusted = ["10.0.0.0/8"].map(|text| text.parse().unwrap());
    for (fields, expected) in [
        (&[][..], None),
        (&[("x-forwarded-for", "192.0.2.1")], None),
        (&[("x-forwarded-proto", "https")], Some(Scheme::Https)),
        (&[("x-forwarded-proto", " HTTPS ")], Some(Scheme::Https)),
        (&[("x-forwarded-proto", "http")], Some(Scheme::Http)),
        (&[("x-forwarded-proto", "wss")], None),
        (&[("x-forwarded-proto", "")], None),
        // One entry, whatever the number of proxies.
        (&[("x-forwarded-for", "192.0.2.1, 10.0.0.2"), ("x-forwarded-proto", "https")], Some(Scheme::Https)),
        // An entry for each of them: that of the client, and not one that the client made up.
        (
            &[("x-forwarded-for", "192.0.2.1, 10.0.0.2"), ("x-forwarded-proto", "https, http")],
            Some(Scheme::Https),
        ),
        (
            &[("x-forwarded-for", "198.51.100.7, 192.0.2.1"), ("x-forwarded-proto", "https, http")],
            Some(Scheme::Http),
        ),
        (&[("x-forwarded-proto", "https, http")], Some(Scheme::Http)),
        (&[("forwarded", "for=192.0.2.1;proto=https")], Some(Scheme::Https)),
        (&[("forwarded", "for=192.0.2.1;PROTO=\"https\", for=10.0.0.2;proto=http")], Some(Scheme::Https)),
        (&[("forwarded", "for=198.51.100.7;proto=https, for=192.0.2.1;proto=http")], Some(Scheme::Http)),
        (&[("forwarded", "for=unknown;proto=https")], Some(Scheme::Https)),
        (&[("forwarded", "for=192.0.2.1;proto=https;proto=http")], None),
        (&[("forwarded", "for=192.0.2.1;proto=ftp")], None),
        // It stands for the other headers.
        (&[("forwarded", "for=192.0.2.1"), ("x-forwarded-proto", "https")], None),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(scheme(&headers, PEER.parse().unwrap(), &trusted), expected, "{fields:?}");
    }
}
