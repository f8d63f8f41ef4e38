//! Where somebody logs in, and what they read.

use super::*;
use crate::fault::Told;

fn offer(issuer: &str) -> api::LoginIssuer {
    let (client_id, audience) = ("wasm-fn".to_owned(), "wasm-fn".to_owned());
    api::LoginIssuer { issuer: issuer.to_owned(), client_id, scopes: Vec::new(), audience }
}

fn node() -> NodeAddress {
    let authority = http::uri::Authority::from_static("node:8081");
    NodeAddress { scheme: wasm_fn_core::Scheme::Https, authority }
}

fn chosen(offered: &[&str], wanted: Option<&str>) -> Result<String, Box<Told>> {
    let offered = offered.iter().map(|issuer| offer(issuer)).collect();
    match choose(offered, wanted, &node()) {
        Ok(offer) => Ok(offer.issuer),
        Err(Fault::Told(told)) => Err(told),
        Err(Fault::ReaderGone) => panic!("nothing was written"),
    }
}

#[test]
fn issuer_is_the_only_one_or_named() {
    assert_eq!(chosen(&["https://a"], None).unwrap(), "https://a");
    assert_eq!(chosen(&["https://a", "https://b"], Some("https://b")).unwrap(), "https://b");
    let cause = |offered: &[&str], wanted| chosen(offered, wanted).unwrap_err().cause;
    assert_eq!(cause(&[], None), "no issuer that https://node:8081 trusts offers login");
    assert_eq!(cause(&[], Some("https://a")), "no issuer that https://node:8081 trusts offers login");
    let several = cause(&["https://a", "https://b"], None);
    assert_eq!(several, "https://node:8081 offers login at https://a and https://b, expected a choice");
    let other = cause(&["https://a"], Some("https://c"));
    assert_eq!(other, "https://node:8081 does not offer login at \"https://c\", expected https://a");
}

#[test]
fn user_reads_code_and_addresses_that_cannot_steer_the_terminal() {
    let mut request = Request {
        server: "https://node:8081".to_owned(),
        issuer: "https://id.example.com",
        user_code: "WDJB-MJHT\u{202e}",
        verification_uri: "https://id.example.com/device",
        verification_uri_complete: Some("https://id.example.com/device?user_code=WDJB-MJHT"),
        expires_in_s: 601,
    };
    let expected = "To log in to https://node:8081 at https://id.example.com, open\n    \
                    https://id.example.com/device\nand enter the code\n    WDJB-MJHT\\u{202e}\n\
                    or open this address, and compare the code:\n    \
                    https://id.example.com/device?user_code=WDJB-MJHT\n\
                    Waiting for up to 11 min until you have confirmed it.";
    assert_eq!(text(&request), expected);
    request.verification_uri_complete = None;
    assert!(!text(&request).contains("compare"));
}
