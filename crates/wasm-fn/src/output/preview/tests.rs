//! Turning addresses into URLs.

use wasm_fn_api as api;
use wasm_fn_core::Scheme;

use super::Shown;

fn preview(token: Option<&str>, host: Option<&str>) -> api::PreviewView {
    api::PreviewView {
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        access: "token".to_owned(),
        token: token.map(str::to_owned),
        guest_path: "/hello".to_owned(),
        addresses: vec![api::PreviewAddress {
            version: "v2".to_owned(),
            role: Some(api::VersionRole::Canary),
            path: "/hello@v2".to_owned(),
            host: host.map(str::to_owned),
            no_host: None,
        }],
    }
}

#[test]
fn urls_have_the_token_where_one_is_needed() {
    let urls = |preview| {
        let mut shown = Shown::new(preview, Scheme::Http, "127.0.0.1:8080");
        let version = shown.versions.remove(0);
        (version.url, version.host_url)
    };
    let path = "http://127.0.0.1:8080/hello@v2".to_owned();
    assert_eq!(urls(preview(None, None)), (path.clone(), None));
    assert_eq!(
        urls(preview(Some("wfp_0"), Some("v2--hello.example.com"))),
        (
            format!("{path}?wasm-fn-preview=wfp_0"),
            Some("http://v2--hello.example.com:8080/hello?wasm-fn-preview=wfp_0".to_owned())
        )
    );
}

#[test]
fn every_url_has_a_line() {
    let table = Shown::new(preview(None, Some("v2--hello.example.com")), Scheme::Http, "h:1").table();
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let expected = [
        vec!["VERSION", "ROLE", "ADDRESS"],
        vec!["v2", "canary", "http://h:1/hello@v2"],
        vec!["v2", "canary", "http://v2--hello.example.com:1/hello"],
    ];
    assert_eq!(lines, expected);
}
