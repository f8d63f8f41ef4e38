//! Tests of normal paths.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[track_caller]
fn check(path: &str, normal: &str) {
    assert_eq!(normal_path(path), normal, "{path:?}");
    assert_eq!(normal_path(normal), normal, "the normal form of {path:?}");
}

#[test]
fn normal_paths_are_borrowed() {
    for path in ["/", "/hello", "/hello/x.y/z..", "/a@b:c;d=e,f", "//a//", "/~!$&'()+", "", "*", "a%41"] {
        assert!(matches!(normal_path(path), Cow::Borrowed(same) if same == path), "{path:?}");
    }
}

#[test]
fn characters_have_one_spelling() {
    check("/%68ello", "/hello");
    check("/%48%65", "/He");
    check("/caf%c3%a9", "/caf%C3%A9");
    check("/café", "/caf%C3%A9");
    check("/a%2Db%7e%5F%2e", "/a-b~_.");
    check("/hello%40v2", "/hello@v2");
    check("/%3b%2C%3d%3A%2b", "/;,=:+");
    check("/a*b%2a", "/a%2Ab%2A");
    check("/{a}\"|", "/%7Ba%7D%22%7C");
    check("/a%20b", "/a%20b");
}

#[test]
fn delimiters_stay_data() {
    check("/a%2fb", "/a%2Fb");
    check("/a%2F..", "/a%2F..");
    check("/a%3fb%23c", "/a%3Fb%23c");
    check("/a%00", "/a%00");
    check("/a%5c", "/a%5C");
}

#[test]
fn percent_signs_are_decoded_once() {
    check("/%2568ello", "/%2568ello");
    check("/%%368ello", "/%2568ello");
    check("/100%", "/100%25");
    check("/%4", "/%254");
    check("/%zz", "/%25zz");
    check("/%+1", "/%25+1");
    check("/%\u{e9}", "/%25%C3%A9");
}

#[test]
fn dot_segments_are_removed() {
    check("/a/./b", "/a/b");
    check("/a/../b", "/b");
    check("/a/b/../../c", "/c");
    check("/../a", "/a");
    check("/a/.", "/a/");
    check("/a/..", "/");
    check("/a/b/..", "/a/");
    check("/.", "/");
    check("/..", "/");
    check("/%2e%2E/a", "/a");
    check("/a/%2e", "/a/");
    check("/a//../b", "/a/b");
    check("/a/.../b", "/a/.../b");
    check("/.well-known/x", "/.well-known/x");
    check("/a/..b/.c", "/a/..b/.c");
}

/// The segments of `path`, decoded, without dot segments, as section 5.2.4 of RFC 3986 removes them.
fn segments(path: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let all: Vec<_> = path[1..].split('/').map(decoded).collect();
    for (at, segment) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        match segment.as_slice() {
            b"." | b".." => {
                if segment.len() == 2 {
                    found.pop();
                }
                if is_last {
                    found.push(Vec::new());
                }
            }
            _ => found.push(segment.clone()),
        }
    }
    found
}

fn decoded(segment: &str) -> Vec<u8> {
    let bytes = segment.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let pair = segment.get(at + 1..at + 3).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()));
        match pair {
            Some(pair) if bytes[at] == b'%' => {
                found.push(u8::from_str_radix(pair, 16).unwrap());
                at += 3;
            }
            _ => {
                found.push(bytes[at]);
                at += 1;
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn normal_form_keeps_the_segments_and_is_its_own(path in "/(\\.|%2[eEfF5]|%[0-9a-f]{0,2}|[/a*é]){0,12}") {
        let normal = normal_path(&path).into_owned();
        prop_assert!(normal.starts_with('/') && normal.is_ascii());
        prop_assert_eq!(segments(&normal), segments(&path));
        prop_assert_eq!(normal_path(&normal), normal.as_str());
    }

    #[test]
    fn paths_with_the_same_segments_have_one_normal_form(
        first in "/([ab.]|%6[12]|%2[eEfF]|/){0,6}",
        second in "/([ab.]|%6[12]|%2[eEfF]|/){0,6}",
    ) {
        prop_assert_eq!(normal_path(&first) == normal_path(&second), segments(&first) == segments(&second));
    }
}
