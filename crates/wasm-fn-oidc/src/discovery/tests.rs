//! Which places of issuers are secure.

use super::*;

#[test]
fn issuers_are_https_or_on_this_machine() {
    for text in [
        "https://token.actions.githubusercontent.com",
        "https://id.example.com:8443/realms/shop",
        "https://id.example.com/",
        "http://127.0.0.1:9400",
        "http://[::1]:9400/a",
        "http://localhost:9400",
    ] {
        assert_eq!(text.parse::<IssuerUrl>().map(|issuer| issuer.to_string()), Ok(text.to_owned()));
    }
    for text in [
        "",
        "id.example.com",
        "http://id.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "https://id.example.com?x=1",
        "https://id.example.com#x",
        "https://user@id.example.com",
        "https:///path",
        "https://",
    ] {
        let error = text.parse::<IssuerUrl>().unwrap_err();
        assert!(error.to_string().contains("expected https://HOST"), "{error}");
    }
}

#[test]
fn endpoints_are_as_secure_as_the_issuer() {
    let public: IssuerUrl = "https://id.example.com".parse().unwrap();
    assert!(public.endpoint("https://keys.example.com/jwks").is_ok());
    for uri in ["http://id.example.com/jwks", "http://127.0.0.1/jwks", "file:///etc/passwd", "/jwks", ""] {
        assert!(matches!(public.endpoint(uri), Err(FetchError::Insecure { .. })), "{uri}");
    }
    let local: IssuerUrl = "http://127.0.0.1:1".parse().unwrap();
    assert!(local.endpoint("http://127.0.0.1:1/jwks").is_ok());
    assert!(local.endpoint("http://id.example.com/jwks").is_err());
}
