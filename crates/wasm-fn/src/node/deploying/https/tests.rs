//! Tests for `https`.

use super::*;

fn headers(name: &'static str, value: &str) -> HeaderMap {
    [(http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
}

#[test]
fn digest_is_read_as_servers_write_it() {
    let digest = STANDARD.encode([7; 32]);
    for (name, value) in [
        ("repr-digest", format!("sha-256=:{digest}:")),
        ("content-digest", format!("sha-512=:AAAA:, sha-256=:{digest}:")),
    ] {
        assert_eq!(claimed_digest(&headers(name, &value)), Some([7; 32]), "{value}");
    }
    for value in ["sha-256=:AAAA:", "sha-256=x", "md5=:AAAA:", ""] {
        assert_eq!(claimed_digest(&headers("repr-digest", value)), None, "{value}");
    }
}

#[test]
fn redirections_stay_on_https() {
    let place: Uri = "https://h.example/a/b".parse().unwrap();
    let target = |location: &str| target(&place, &headers("location", location)).map(|uri| uri.to_string());
    assert_eq!(target("/c?x=1").as_deref(), Some("https://h.example/c?x=1"));
    assert_eq!(target("https://other.example/c#part").as_deref(), Some("https://other.example/c"));
    for location in
        ["http://h.example/c", "//other.example/c", "c", "ftp://h.example/c", "https://u:p@h.example/c"]
    {
        assert_eq!(target(location), None, "{location}");
    }
}

#[test]
fn credentials_are_a_pair_or_a_token() {
    let value = |text: &str| {
        let secret = SecretValue::new(text.as_bytes().to_vec().into()).unwrap();
        authorization(&secret).unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(value("ana:pw\n"), format!("Basic {}", STANDARD.encode("ana:pw")));
    assert_eq!(value("token"), "Bearer token");
}
