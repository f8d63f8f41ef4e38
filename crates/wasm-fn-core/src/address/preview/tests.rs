//! Host names of versions, both ways.

use super::*;

fn domain() -> PreviewDomain {
    "Preview.Example.com".parse().unwrap()
}

fn named(host: &str) -> Option<String> {
    domain().named(host).map(|(version, function)| format!("{version} of {function}"))
}

#[test]
fn a_host_name_and_what_it_names_are_each_other_s_inverse() {
    for (version, function) in [("v2", "hello"), ("canary", "a--b"), ("previous", "x"), ("stable", "0-1")] {
        let (version, function) = (version.parse().unwrap(), function.parse().unwrap());
        let host = domain().host(version, &function).unwrap();
        assert_eq!(domain().named(&host), Some((version, function)), "{host}");
    }
    assert_eq!(
        domain().host(VersionRef::Canary, &"hello".parse().unwrap()).unwrap(),
        "canary--hello.preview.example.com"
    );
}

#[test]
fn host_names_are_read_in_any_case() {
    assert_eq!(named("V2--Hello.PREVIEW.example.COM").as_deref(), Some("v2 of hello"));
}

#[test]
fn other_host_names_name_no_version() {
    let long = format!("v2--{}.preview.example.com", "a".repeat(60));
    let others = [
        "",
        ".",
        "preview.example.com",
        ".preview.example.com",
        "hello.preview.example.com",
        "v2-hello.preview.example.com",
        "--hello.preview.example.com",
        "v2--.preview.example.com",
        "v0--hello.preview.example.com",
        "v99999999999--hello.preview.example.com",
        "x.v2--hello.preview.example.com",
        "v2--hello.example.com",
        "v2--helloxpreview.example.com",
        "v2--hello.preview.example.com.",
        "v2--hé.preview.example.com",
        &long,
    ];
    for other in others {
        assert_eq!(named(other), None, "{other:?}");
    }
}

#[test]
fn names_that_are_no_dns_label_are_told() {
    let refused = |version: VersionRef, function: &str| {
        domain().host(version, &function.parse().unwrap()).unwrap_err().to_string()
    };
    let long = "a".repeat(60);
    assert_eq!(
        refused(VersionRef::Canary, &long),
        format!("`canary--{long}` is 68 bytes long, expected at most 63, the limit of a DNS label")
    );
    assert!(refused(VersionRef::Latest, "a_b").contains("has an underscore"));
    assert!(refused(VersionRef::Latest, "a-").contains("ends with a hyphen"));
    assert!(domain().host("v1".parse().unwrap(), &"a".repeat(59).parse().unwrap()).is_ok());
}

#[test]
fn domains_are_host_names() {
    let long = format!("{0}.{0}.{0}", "a".repeat(63));
    for wrong in ["", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a_b", "a:80", "*.a", "a/b", &long] {
        let error = wrong.parse::<PreviewDomain>().unwrap_err();
        assert!(error.to_string().starts_with(&format!("found {wrong:?}, expected a domain")), "{error}");
    }
    for right in ["localhost", "a.b", "1.2-3.x"] {
        assert_eq!(right.parse::<PreviewDomain>().unwrap().as_str(), right);
    }
}

#[test]
fn access_is_written_as_it_is_read() {
    for access in [PreviewAccess::Open, PreviewAccess::Token, PreviewAccess::Off] {
        assert_eq!(access.to_string().parse(), Ok(access));
    }
    let error = "on".parse::<PreviewAccess>().unwrap_err();
    assert_eq!(error.to_string(), "found \"on\", expected open, token or off");
    assert_eq!(PreviewAccess::default(), PreviewAccess::Token);
}
