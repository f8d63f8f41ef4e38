//! Webhooks of hostile senders, who know no secret: none is genuine.

use super::*;
use crate::fuzzing;

#[test]
fn no_request_is_genuine_without_the_secret() {
    let providers =
        ["github", "gitlab", "gitea", "stripe", "slack", "standard"].map(|name| name.parse().unwrap());
    fuzzing::fuzz("webhooks", &fuzzing::corpus("tests/corpus/webhooks"), |case| {
        let at = case.windows(2).position(|two| two == b"\n\n").unwrap_or(case.len());
        let (head, body) = case.split_at(at);
        let mut headers = HeaderMap::new();
        for line in head.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
                headers.append(name, value);
            }
        }
        for provider in providers {
            let provider: Provider = provider;
            let secret: &[u8] = b"whsec_dGhpcyBpcyBub3QgaW4gdGhlIGNvcnB1cw==";
            let now = Timestamp::from_unix_seconds(1_700_000_000);
            assert!(provider.verify(&headers, body, &[secret], now).is_err(), "{provider:?}");
        }
    });
}
