//! When a login is renewed.

use super::*;

fn login(expires_ms: u64, refresh_token: Option<&str>) -> StoredLogin {
    StoredLogin {
        issuer: "https://id.example.com".to_owned(),
        client_id: "wasm-fn".to_owned(),
        audience: "wasm-fn".to_owned(),
        token: "a.b.c".to_owned(),
        expires_ms,
        refresh_token: refresh_token.map(str::to_owned),
    }
}

#[test]
fn token_is_renewed_in_its_last_minute_if_that_is_possible() {
    let now_ms = 1_000_000;
    let table = [
        (now_ms + 60_000, Some("r"), None, Need::Nothing),
        (now_ms + 59_999, Some("r"), None, Need::Renew),
        (now_ms + 1, Some("r"), None, Need::Renew),
        (now_ms, Some("r"), None, Need::Replace),
        (0, Some("r"), None, Need::Replace),
        (now_ms + 1, None, None, Need::Nothing),
        (now_ms, None, None, Need::Over),
        // The issuer is not asked before each request.
        (now_ms + 1, Some("r"), Some(now_ms - 9_999), Need::Nothing),
        (now_ms + 1, Some("r"), Some(now_ms - 10_000), Need::Renew),
        (now_ms, Some("r"), Some(now_ms - 1), Need::Replace),
    ];
    for (expires_ms, refresh_token, failed_ms, expected) in table {
        let found = need(&login(expires_ms, refresh_token), failed_ms, now_ms);
        assert_eq!(found, expected, "{expires_ms} {refresh_token:?} {failed_ms:?}");
    }
}
