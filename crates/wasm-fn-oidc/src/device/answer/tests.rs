//! Answers of issuers, right and wrong.

use serde_json::{Value, json};

use super::*;

fn issuer() -> IssuerUrl {
    "https://id.example.com".parse().unwrap()
}

fn code(name: &str, value: Value) -> Result<DeviceCode, String> {
    let mut answer = json!({
        "device_code": "d-secret", "user_code": "WDJB-MJHT", "expires_in": 600,
        "verification_uri": "https://id.example.com/device",
        "verification_uri_complete": "https://id.example.com/device?user_code=WDJB-MJHT",
    });
    answer[name] = value;
    DeviceCode::new(serde_json::from_value(answer).unwrap(), &issuer()).map_err(|error| error.to_string())
}

#[test]
fn code_is_read_and_its_secret_hidden() {
    let code = code("interval", json!(7)).unwrap();
    assert_eq!((code.interval, code.expires_in), (Duration::from_secs(7), Duration::from_secs(600)));
    assert!(!format!("{code:?}").contains("secret"), "{code:?}");
}

#[test]
fn what_a_user_cannot_type_or_should_not_open_is_refused() {
    let long = format!("https://id.example.com/{}", "a".repeat(3000));
    let table = [
        ("user_code", "", "its user_code is \"\", expected 1 to 64"),
        ("user_code", "A\u{1b}[2J", "its user_code is \"A\\u{1b}[2J\""),
        ("user_code", &"A".repeat(65), "AAAA\", expected 1 to 64 visible characters"),
        ("verification_uri", "http://id.example.com/", "its verification_uri is \"http://id.example.com/\""),
        ("verification_uri", "javascript:alert(1)", "expected an https URL"),
        ("verification_uri", &long, "of at most 2048 bytes"),
        ("verification_uri_complete", "file:///etc/passwd", "its verification_uri_complete is \"file:"),
    ];
    for (name, value, expected) in table {
        let error = code(name, json!(value)).unwrap_err();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
        assert!(error.len() < 300, "{error}");
    }
}

fn refusal(status: u16, body: &str) -> Refusal {
    Refusal::of(StatusCode::from_u16(status).unwrap(), body.as_bytes())
}

#[test]
fn refusals_mean_what_the_standard_says() {
    let answer = |status, body: &str| refusal(status, body).into_poll_answer(&issuer());
    assert_eq!(answer(400, r#"{"error":"authorization_pending"}"#), PollAnswer::Pending);
    assert_eq!(answer(400, r#"{"error":"slow_down","error_description":"x"}"#), PollAnswer::SlowDown);
    assert_eq!(answer(429, "<html>"), PollAnswer::SlowDown);
    let ended = |status, body: &str| match answer(status, body) {
        PollAnswer::Ended(Err(error)) => error.to_string(),
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!(ended(400, r#"{"error":"access_denied"}"#), "the login was denied at https://id.example.com");
    assert!(ended(400, r#"{"error":"expired_token"}"#).contains("before it expired"));
    assert_eq!(
        ended(401, r#"{"error":"invalid_client","error_description":"a \u001b secret is needed"}"#),
        "https://id.example.com refuses with \"invalid_client\": \"a \\u{1b} secret is needed\""
    );
    assert_eq!(
        ended(403, "<html>"),
        "https://id.example.com refuses with \"status 403\": \"it gives no reason as JSON\""
    );
    let long = format!(r#"{{"error":"{}"}}"#, "a".repeat(10_000));
    assert!(ended(400, &long).len() < 300);
}
