//! Configurations as clients send them.

use serde_json::json;
use wasm_fn_core::FunctionConfig;

use super::*;

fn parse(json: serde_json::Value) -> Result<FunctionConfig, String> {
    let wire: ConfigSpec = serde_json::from_value(json).map_err(|error| error.to_string())?;
    FunctionConfig::try_from(&wire).map_err(|error| error.to_string())
}

#[test]
fn absent_keys_have_defaults() {
    assert_eq!(parse(json!({})), Ok(FunctionConfig::default()));
}

#[test]
fn written_out_configuration_means_the_same() {
    let config = parse(json!({
        "memory_bytes": 65536, "timeout_ms": 1, "cpu_ms": 1, "concurrency": 1, "queue": 0, "queue_wait_ms": 0, "reuse": 2,
        "routes": ["/a/*"], "sticky": "header:X-User", "egress": ["http://127.0.0.1:9000"], "egress_requests": 1, "egress_bytes": 1024, "egress_timeout_ms": 1, "env": {"A": ""},
        "secrets": ["DB", "API_KEY"], "secrets_env": true,
        "buckets": {"a": {}, "b": {"bytes_max": 1024, "keys_max": 1, "value_bytes_max": 1, "durability": "relaxed"}},
        "cohorts": [
            {"query": "beta", "values": ["1"], "to": "canary"},
            {"name": "beta", "header": "x-group", "values": ["beta"], "to": "canary"},
        ],
    }))
    .unwrap();
    assert_eq!(FunctionConfig::try_from(&ConfigSpec::from(&config)), Ok(config));
}

#[test]
fn bad_values_are_named_with_what_was_expected() {
    let cohort = |rule: serde_json::Value| json!({ "cohorts": [rule] });
    for (json, expected) in [
        (json!({"memory_bytes": 1}), "memory: found 1 bytes, expected 64KiB to 4GiB"),
        (json!({"timeout_ms": 0}), "timeout: found 0ns, expected 1ms to 1h"),
        (json!({"timeout_ms": u64::MAX}), "timeout: found 18446744073709551.615s, expected 1ms to 1h"),
        (json!({"cpu_ms": 0}), "cpu: found 0ns, expected 1ms to 1h"),
        (json!({"cpu_ms": 3_600_001}), "cpu: found 3600.001s, expected 1ms to 1h"),
        (json!({"concurrency": 0}), "concurrency: found 0, expected 1 to 100000"),
        (json!({"queue": 100_001}), "queue: found 100001, expected 0 to 100000"),
        (json!({"reuse": 0}), "reuse: found 0, expected 1 to 1000000"),
        (json!({"routes": ["hello"]}), "routes: route \"hello\" has no path"),
        (json!({"sticky": "body"}), "sticky: found \"body\", expected header:NAME, cookie:NAME, ip or none"),
        (json!({"egress": ["ftp://x"]}), "egress: egress \"ftp://x\" is not an origin"),
        (json!({"egress_requests": 0}), "egress_requests: found 0, expected 1 to 100000"),
        (json!({"egress_bytes": 1023}), "egress_bytes: found 1023 bytes, expected 1KiB to 1TiB"),
        (json!({"egress_timeout_ms": 0}), "egress_timeout: found 0ns, expected 1ms to 1h"),
        (json!({"env": {"A=B": ""}}), "env: found \"A=B\", expected a name without `=`"),
        (json!({"secrets": ["2FA"]}), "secrets: secret name \"2FA\" starts with '2', expected a letter or _"),
        (json!({"secrets": ["A", "A"]}), "secrets: found A twice, expected each secret once"),
        (
            json!({"buckets": {"A": {}}}),
            "bucket: bucket name \"A\" has 'A' at byte 0, expected a-z, 0-9, - or _",
        ),
        (json!({"buckets": {"a": {"keys_max": 0}}}), "bucket.keys_max: found 0, expected 1 to 100000000"),
        (json!({"buckets": {"a": {"durability": "never"}}}), "unknown variant `never`"),
        (json!({"secrets_env": 1}), "invalid type: integer `1`, expected a boolean"),
        (
            json!({"secrets": ["A"], "secrets_env": true, "env": {"A": ""}}),
            "secrets_env: found \"A\" in both `env` and `secrets`, expected different names",
        ),
        (
            cohort(json!({"values": ["a"], "to": "canary"})),
            "cohorts: a rule names 0 sources, expected one of",
        ),
        (
            cohort(json!({"header": "a", "cookie": "b", "values": ["a"], "to": "canary"})),
            "cohorts: a rule names 2 sources",
        ),
        (
            cohort(json!({"header": "a", "values": [], "to": "canary"})),
            "cohorts: cohort on \"a\" has 0 values",
        ),
        (cohort(json!({"header": "a b", "values": ["a"], "to": "stable"})), "cohorts: \"a b\" is not a name"),
        (cohort(json!({"header": "a", "values": ["a"], "to": "all"})), "unknown variant `all`"),
        (
            cohort(json!({"name": "10%", "header": "a", "values": ["a"], "to": "canary"})),
            "cohorts: cohort name \"10%\" has '%' at byte 2, expected a-z, 0-9, - or _",
        ),
        (
            cohort(json!({"name": "", "header": "a", "values": ["a"], "to": "canary"})),
            "cohorts: cohort name is empty, expected 1 to 63 characters",
        ),
        (
            json!({"cohorts": [
                {"name": "beta", "header": "a", "values": ["a"], "to": "canary"},
                {"name": "beta", "header": "b", "values": ["a"], "to": "stable"},
            ]}),
            "cohorts: found two rules named beta, expected a different name for each named rule",
        ),
        (json!({"memory": "64MiB"}), "unknown field `memory`"),
        (json!({"memory_bytes": "64MiB"}), "invalid type: string \"64MiB\", expected u64"),
        (json!({"queue": -1}), "invalid value: integer `-1`, expected u32"),
    ] {
        let error = parse(json.clone()).unwrap_err();
        assert!(error.starts_with(expected), "{json}: {error}");
    }
}
