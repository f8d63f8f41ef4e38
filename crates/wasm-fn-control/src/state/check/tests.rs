//! Tests of parsing checks, and of the differences that they report.

use super::*;

fn check(json: serde_json::Value) -> Result<Check, CheckError> {
    let map = |value: &Value| serde_json::from_value(value.clone()).unwrap_or_default();
    let expect = &json["expect"];
    Check::parse(CheckText {
        method: json["method"].as_str(),
        path: json["path"].as_str().unwrap(),
        headers: &map(&json["headers"]),
        body: json["body"].as_str(),
        status: expect["status"].as_u64().map(|status| status.try_into().unwrap()),
        expected_headers: &map(&expect["headers"]),
        pattern: expect["body"].as_str(),
        json: &serde_json::from_value(expect["json"].clone()).unwrap_or_default(),
    })
}

fn answer(status: u16, body: &'static str) -> http::Response<&'static [u8]> {
    http::Response::builder().status(status).header("x-kind", "good").body(body.as_bytes()).unwrap()
}

#[test]
fn first_difference_is_named_with_what_was_found_and_expected() {
    let full = check(serde_json::json!({
        "path": "/health?deep=1", "method": "POST", "headers": {"accept": "application/json"}, "body": "{}",
        "expect": {"status": 201, "headers": {"x-kind": "good"}, "body": "\"status\": *\"ok\"", "json": {"/status": "ok", "/n/0": 7}},
    }))
    .unwrap();
    let good = r#"{"status": "ok", "n": [7]}"#;
    assert_eq!(full.compare(&answer(201, good)), Ok(()));
    for (found, expected) in [
        (answer(200, good), "status is 200 OK, expected 201 Created"),
        (answer(201, "no"), "body begins with \"no\", expected a match of \"status\": *\"ok\""),
        (answer(201, r#""status": "ok""#), "body begins with \"\\\"status\\\": \\\"ok\\\"\", expected JSON"),
        (answer(201, r#"{"status": "ok", "n": [8]}"#), "/n/0 is 8, expected 7"),
        (answer(201, r#"{"status": "ok"}"#), "/n/0 is missing, expected 7"),
    ] {
        assert_eq!(full.compare(&found).unwrap_err().to_string(), expected);
    }
    let mut without = answer(201, good);
    without.headers_mut().clear();
    let error = full.compare(&without).unwrap_err().to_string();
    assert_eq!(error, "header x-kind is missing, expected \"good\"");
}

#[test]
fn malformed_checks_are_refused_by_key() {
    for (json, expected) in [
        (serde_json::json!({"path": "hello"}), "path: found \"hello\", expected a path such as /hello"),
        (
            serde_json::json!({"path": "/a", "method": "G T"}),
            "method: found \"G T\", expected a method such as GET",
        ),
        (
            serde_json::json!({"path": "/a", "headers": {"a b": "c"}}),
            "headers: found \"a b\", expected a header name",
        ),
        (
            serde_json::json!({"path": "/a", "expect": {"status": 99}}),
            "status: found 99, expected a status such as 200",
        ),
        (
            serde_json::json!({"path": "/a", "expect": {"json": {"x": 1}}}),
            "expect.json: found \"x\", expected a JSON pointer such as /status",
        ),
        (
            serde_json::json!({"path": "/a", "expect": {"body": "("}}),
            "expect.body: found \"(\", expected a regular expression: unclosed group",
        ),
    ] {
        let error = check(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
