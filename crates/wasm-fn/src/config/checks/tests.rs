//! Files of checks: what is accepted, and what is refused with which message.

use std::{fs, path::Path};

use expect_test::{Expect, expect};
use serde_json::json;
use wasm_fn_api::{CheckSpec, Expectation};

use super::{BYTES_MAX, from_text, read};

fn refused(path: &str, text: &str, expected: &Expect) {
    expected.assert_eq(&from_text(Path::new(path), text).unwrap_err().to_string());
}

const TOML: &str = r#"
[[check]]
path = "/hello?x=1"

[[check]]
method = "POST"
path = "/hello"
headers = { content-type = "application/json" }
body = '{"a": 1}'
expect = { status = 201, headers = { x-ok = "1" }, body = "^\\{", json = { "/status" = "ok", "/n" = 3 } }
"#;

fn expected() -> Vec<CheckSpec> {
    let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let plain = CheckSpec {
        method: None,
        path: "/hello?x=1".to_owned(),
        headers: [].into(),
        body: None,
        expect: Expectation::default(),
    };
    let full = CheckSpec {
        method: Some("POST".to_owned()),
        path: "/hello".to_owned(),
        headers: one("content-type", "application/json"),
        body: Some("{\"a\": 1}".to_owned()),
        expect: Expectation {
            status: Some(201),
            headers: one("x-ok", "1"),
            body: Some("^\\{".to_owned()),
            json: [("/status".to_owned(), json!("ok")), ("/n".to_owned(), json!(3))].into(),
        },
    };
    vec![plain, full]
}

#[test]
fn both_formats_say_the_same() {
    assert_eq!(from_text(Path::new("checks.toml"), TOML).unwrap(), expected());
    let json = serde_json::to_string_pretty(&expected()).unwrap();
    assert_eq!(from_text(Path::new("checks.json"), &json).unwrap(), expected());
    // The content decides too: a pipe has no name.
    assert_eq!(from_text(Path::new("/dev/fd/3"), &json).unwrap(), expected());
    assert_eq!(from_text(Path::new("/dev/fd/3"), TOML).unwrap(), expected());
}

#[test]
fn malformed_files_are_refused_with_the_line() {
    refused(
        "c.toml",
        "[[check]]\npath = \n",
        &expect!["c.toml:2: check.path: string values must be quoted, expected literal string"],
    );
    refused(
        "c.toml",
        "[[checks]]\npath = \"/\"\n",
        &expect!["c.toml:1: checks: unknown field `checks`, expected `check`"],
    );
    refused(
        "c.toml",
        "[[check]]\npath = \"/\"\n\n[[check]]\npaht = \"/\"\n",
        &expect![
            "c.toml:5: check.paht: unknown field `paht`, expected one of `method`, `path`, `headers`, `body`, `expect`"
        ],
    );
    refused(
        "c.toml",
        "[[check]]\npath = 1\n",
        &expect!["c.toml:2: check.path: found integer `1`, expected a string"],
    );
    refused(
        "c.json",
        "[\n  {\"path\": \"/\"},\n  {\"path\": 1}\n]",
        &expect!["c.json:3: found integer `1`, expected a string"],
    );
    refused("c.json", "[\n  {\"path\": \"/\"\n", &expect!["c.json:3: EOF while parsing an object"]);
    refused("c.json", "{\"path\": \"/\"}", &expect!["c.json:1: found map, expected an array"]);
    refused(
        "c.json",
        "[{\"path\": \"/\", \"expects\": {}}]",
        &expect![
            "c.json:1: unknown field `expects`, expected one of `method`, `path`, `headers`, `body`, `expect`"
        ],
    );
    refused(
        "c.toml",
        "",
        &expect!["c.toml:1: found no check, expected [[check]] tables or a JSON array of them"],
    );
    refused(
        "c.json",
        "[]",
        &expect!["c.json:1: found no check, expected [[check]] tables or a JSON array of them"],
    );
}

#[test]
fn checks_that_mean_nothing_are_refused() {
    let check = |rest: &str| format!("[[check]]\npath = \"/\"\n\n[[check]]\npath = \"/\"\n{rest}\n");
    refused(
        "c.toml",
        "[[check]]\npath = \"hello\"\n",
        &expect![[r#"c.toml:2: check[0].path: found "hello", expected a path and query such as /hello?x=1"#]],
    );
    refused(
        "c.toml",
        &check("method = \"G T\""),
        &expect![[r#"c.toml:6: check[1].method: found "G T", expected a method such as GET"#]],
    );
    refused(
        "c.toml",
        &check("headers = { \"a b\" = \"1\" }"),
        &expect![[r#"c.toml:6: check[1].headers: found "a b", expected a header name"#]],
    );
    refused(
        "c.toml",
        &check("headers = { a = \"\\n\" }"),
        &expect![[
            r#"c.toml:6: check[1].headers: a is "\n", expected characters that are allowed in a header"#
        ]],
    );
    refused(
        "c.toml",
        &check("[check.expect]\nstatus = 600"),
        &expect!["c.toml:7: check[1].expect.status: found 600, expected 100 to 599"],
    );
    refused(
        "c.toml",
        &check("[check.expect.json]\nstatus = 1"),
        &expect![[
            r#"c.toml:6: check[1].expect.json: found "status", expected a JSON pointer such as /status"#
        ]],
    );
    refused(
        "c.json",
        "[{\"path\": \"/\", \"expect\": {\"status\": 7}}]",
        &expect!["c.json:1: check[0].expect.status: found 7, expected 100 to 599"],
    );
}

#[test]
fn a_file_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.toml");
    let text = format!("#{}\n[[check]]\npath = \"/\"\n", " ".repeat(usize::try_from(BYTES_MAX).unwrap()));
    fs::write(&path, &text).unwrap();
    let error = read(&path).unwrap_err().to_string();
    let expected = format!("{}: found {} bytes, expected at most {BYTES_MAX}", path.display(), text.len());
    assert_eq!(error, expected);
    fs::write(&path, "[[check]]\npath = \"/\"\n").unwrap();
    assert_eq!(read(&path).unwrap().len(), 1);
    fs::write(&path, b"\xff").unwrap();
    assert!(read(&path).unwrap_err().to_string().starts_with(&path.display().to_string()));
}
