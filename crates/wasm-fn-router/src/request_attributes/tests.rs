//! Facts about `attributes`.

mod fuzzing;

use std::net::Ipv4Addr;

use http::HeaderValue;
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn value(source: &Source, headers: &[(&'static str, &str)], query: Option<&str>) -> Option<Vec<u8>> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let request = RequestAttributes { headers: &map, query, client: Ipv4Addr::LOCALHOST.into() };
    Lookup::new(source).unwrap().value(&request).map(Cow::into_owned)
}

#[track_caller]
fn check_cookie(headers: &[&str], expected: Option<&str>) {
    let headers: Vec<_> = headers.iter().map(|&value| ("cookie", value)).collect();
    let found = value(&Source::cookie("sid").unwrap(), &headers, None);
    assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{headers:?}");
}

#[track_caller]
fn check_query(query: &str, expected: Option<&str>) {
    let found = value(&Source::query("a b").unwrap_or(Source::Query("a b".to_owned())), &[], Some(query));
    assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{query:?}");
}

#[test]
fn the_first_cookie_of_the_name_counts() {
    check_cookie(&["sid=1"], Some("1"));
    check_cookie(&["a=0; sid=1; sid=2"], Some("1"));
    check_cookie(&["a=0;sid=1"], Some("1"));
    check_cookie(&["a=0", "b=0; sid=1"], Some("1"));
    check_cookie(&[" \tsid = 1 \t; a=0"], Some("1"));
    check_cookie(&["sid=a=b"], Some("a=b"));
    check_cookie(&["sid=\"quoted\""], Some("\"quoted\""));
    check_cookie(&["sid=1%31"], Some("1%31"));
    check_cookie(&["sid=ä"], Some("ä"));
    check_cookie(&["sid="], Some(""));
    check_cookie(&["sid"], Some(""));
    check_cookie(&[";;; ;sid=1;;"], Some("1"));
}

#[test]
fn other_cookies_do_not() {
    for header in ["", "SID=1", "xsid=1", "sidx=1", "a=sid=1", "si d=1", "a=0, sid=1", "=sid", ";", "="] {
        check_cookie(&[header], None);
    }
    check_cookie(&[], None);
}

#[test]
fn the_first_parameter_of_the_name_counts_decoded() {
    check_query("a+b=1", Some("1"));
    check_query("a%20b=1", Some("1"));
    check_query("%61 b=1", Some("1"));
    check_query("x=0&a+b=1&a+b=2", Some("1"));
    check_query("a+b=c+d%2Be%2fg", Some("c d+e/g"));
    check_query("a+b=c=d", Some("c=d"));
    check_query("a+b=100%", Some("100%"));
    check_query("a+b=%4", Some("%4"));
    check_query("a+b=%zz%+4", Some("%zz% 4"));
    check_query("a+b", Some(""));
    check_query("&&a+b=&", Some(""));
}

#[test]
fn other_parameters_do_not() {
    for query in ["", "A+B=1", "a b c=1", "a=b", "a%2Bb=1", "x=a+b", "a+b;=1"] {
        check_query(query, None);
    }
}

#[test]
fn headers_count_in_any_case_and_by_their_first_value() {
    let source = Source::header("X-Beta").unwrap();
    assert_eq!(value(&source, &[("x-beta", "1"), ("x-beta", "2")], None), Some(b"1".to_vec()));
    assert_eq!(value(&source, &[("x-bet", "1")], None), None);
}

#[test]
fn a_header_that_cannot_exist_has_no_lookup() {
    assert!(Lookup::new(&Source::Header("a b".to_owned())).is_none());
    assert!(Lookup::new(&Source::Header(String::new())).is_none());
}

#[test]
fn only_the_first_8_kib_are_searched_and_no_pair_is_cut() {
    let padding = "x".repeat(SEARCHED_BYTES_MAX - "&a+b=12".len());
    check_query(&format!("{padding}&a+b=12"), Some("12"));
    check_query(&format!("{padding}&a+b=12&c"), None);
    check_query(&format!("{padding}&a+b=123"), None);
    check_query(&format!("a+b=1&{padding}{padding}"), Some("1"));
    check_query(&"a".repeat(100_000), None);
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_query_or_cookie_panics(text in "[%+&=; a-f0-9]{0,60}") {
        let _ = value(&Source::Query("a".to_owned()), &[], Some(&text));
        let _ = value(&Source::Cookie("a".to_owned()), &[("cookie", &text)], None);
    }

    #[test]
    fn every_encoded_value_is_found(bytes: Vec<u8>) {
        let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let found = value(&Source::Query("q".to_owned()), &[], Some(&format!("x&q={encoded}&y")));
        prop_assert_eq!(found, Some(bytes));
    }
}
