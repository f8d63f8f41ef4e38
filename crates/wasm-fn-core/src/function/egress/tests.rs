//! Tests for `egress`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

use Scheme::{Http, Https};

#[track_caller]
fn check(text: &str, written: &str, allowed: &[(Scheme, &str, u16)], denied: &[(Scheme, &str, u16)]) {
    let rule: EgressRule = text.parse().unwrap();
    assert_eq!(rule.to_string(), written, "{text:?}");
    for &(scheme, host, port) in allowed {
        assert!(rule.allows(scheme, host, port), "{text:?} denies {scheme:?} {host} {port}");
    }
    for &(scheme, host, port) in denied {
        assert!(!rule.allows(scheme, host, port), "{text:?} allows {scheme:?} {host} {port}");
    }
}

#[test]
fn an_origin_allows_its_scheme_host_and_port_only() {
    check(
        "https://API.example.com",
        "https://api.example.com",
        &[(Https, "api.example.com", 443), (Https, "Api.Example.Com", 443)],
        &[
            (Http, "api.example.com", 443),
            (Http, "api.example.com", 80),
            (Https, "api.example.com", 8443),
            (Https, "example.com", 443),
            (Https, "x.api.example.com", 443),
            (Https, "api.example.com.evil.org", 443),
            (Https, "xapi.example.com", 443),
            (Https, "", 443),
        ],
    );
}

#[test]
fn a_port_is_the_scheme_s_own_unless_written() {
    let local = &[(Http, "127.0.0.1", 9000)];
    check("http://127.0.0.1:9000", "http://127.0.0.1:9000", local, &[(Http, "127.0.0.1", 80)]);
    check("http://a:80", "http://a", &[(Http, "a", 80)], &[(Http, "a", 443)]);
    check("https://a:443", "https://a", &[(Https, "a", 443)], &[]);
    check("https://a:80", "https://a:80", &[(Https, "a", 80)], &[]);
}

#[test]
fn addresses_of_version_6_keep_their_brackets() {
    check("http://[::1]", "http://[::1]", &[(Http, "[::1]", 80)], &[(Http, "::1", 80)]);
    check("http://[FE80::1]:81", "http://[fe80::1]:81", &[(Http, "[fe80::1]", 81)], &[]);
}

#[test]
fn below_a_host_is_not_the_host_itself() {
    check(
        "https://*.example.com",
        "https://*.example.com",
        &[(Https, "a.example.com", 443), (Https, "a.b.EXAMPLE.com", 443)],
        &[
            (Https, "example.com", 443),
            (Https, ".example.com", 443),
            (Https, "aexample.com", 443),
            (Https, "a.example.com.org", 443),
            (Https, "ä", 443),
        ],
    );
}

#[test]
fn a_star_allows_everything() {
    check("*", "*", &[(Http, "a", 1), (Https, "", 65_535)], &[]);
}

#[test]
fn other_texts_are_no_origins() {
    let texts = [
        "",
        "example.com",
        "ftp://a",
        "HTTPS://a",
        "https:/a",
        "https://",
        "https://:443",
        "https://a:0",
        "https://a:65536",
        "https://a:",
        "https://a:x",
        "https://a:80:80",
        "https://a/",
        "https://a/path",
        "https://a?b",
        "https://user@a",
        "https://*",
        "https://*.",
        "https://a.*.b",
        "https://*.*.a",
        "https://ä",
        "https://a b",
        "https://a\n",
        "https://a\0",
        "http://::1",
        "http://[::1",
        "http://[::g]",
        "http://*.[::1]",
        "http://[]",
        "**",
        "* ",
        &format!("https://{}", "x".repeat(254)),
    ];
    for text in texts {
        assert!(text.parse::<EgressRule>().is_err(), "{text:?}");
    }
}

#[test]
fn messages_stay_short() {
    let error = "ä".repeat(100_000).parse::<EgressRule>().unwrap_err();
    assert!(error.to_string().len() < 1000);
    assert_eq!(
        "ftp://a".parse::<EgressRule>().unwrap_err().to_string(),
        r#"egress "ftp://a" is not an origin, expected http[s]://host[:port], http[s]://*.host or *"#
    );
}

#[test]
fn only_an_address_or_localhost_names_addresses() {
    for (text, named, unnamed) in [
        ("http://127.0.0.1:9000", &["127.0.0.1", "::ffff:127.0.0.1"][..], &["127.0.0.2", "::1"][..]),
        ("http://[::1]:9000", &["::1"], &["127.0.0.1"]),
        ("http://[::ffff:127.0.0.1]:9000", &["127.0.0.1"], &["::1"]),
        ("http://10.0.0.5:9000", &["10.0.0.5"], &["10.0.0.4"]),
        ("http://localhost:9000", &["127.0.0.1", "127.255.0.9", "::1"], &["10.0.0.5", "0.0.0.0"]),
        ("http://LocalHost:9000", &["127.0.0.1"], &[]),
        ("http://localhost.:9000", &[], &["127.0.0.1"]),
        ("http://*.localhost:9000", &[], &["127.0.0.1"]),
        ("http://2130706433:9000", &[], &["127.0.0.1"]),
        ("http://0x7f.1:9000", &[], &["127.0.0.1"]),
        ("http://*.0.0.1:9000", &[], &["127.0.0.1"]),
        ("*", &[], &["127.0.0.1", "10.0.0.5"]),
    ] {
        let rule: EgressRule = text.parse().unwrap();
        let names = |address: &&str| rule.names(Http, address.parse().unwrap(), 9000);
        assert!(named.iter().all(names), "{text} names {named:?}");
        assert!(!unnamed.iter().any(names), "{text} names none of {unnamed:?}");
        assert!(!rule.names(Https, "127.0.0.1".parse().unwrap(), 9000), "{text}");
        assert!(!rule.names(Http, "127.0.0.1".parse().unwrap(), 9001), "{text}");
    }
}

#[test]
fn a_rule_covers_what_it_allows_and_names() {
    for (rule, covered, more) in [
        (
            "*",
            &["*", "https://a.test", "http://*.test:81"][..],
            &["http://127.0.0.1", "http://[::1]", "http://10.0.0.5:80", "http://localhost:1"][..],
        ),
        (
            "https://*.test",
            &["https://a.test", "https://*.a.test", "https://*.test"],
            &["*", "https://test", "http://a.test", "https://a.test:444", "https://atest"],
        ),
        ("https://a.test", &["https://A.test:443"], &["https://*.a.test", "https://b.test", "*"]),
        ("http://*.0.0.1", &[], &["http://127.0.0.1"]),
        ("http://localhost:1", &["http://localhost:1"], &["http://127.0.0.1:1"]),
    ] {
        let rule: EgressRule = rule.parse().unwrap();
        let covers = |other: &&str| rule.covers(&other.parse().unwrap());
        assert!(covered.iter().all(covers), "{rule} covers {covered:?}");
        assert!(!more.iter().any(covers), "{rule} covers none of {more:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_round_trips(text in "https?://(\\*\\.)?[a-zA-Z0-9._-]{1,30}(:[1-9][0-9]{0,3})?") {
        let rule: EgressRule = text.parse().unwrap();
        prop_assert_eq!(rule.to_string().parse(), Ok(rule));
    }

    #[test]
    fn no_text_panics(text in "(https?://)?[\\[\\]*.:a-f0-9ä]{0,40}|.*", host in ".*", port: u16) {
        if let Ok(rule) = text.parse::<EgressRule>() {
            let _ = rule.allows(Https, &host, port);
        }
    }
}
