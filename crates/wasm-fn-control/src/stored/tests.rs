//! What is on disk is read as it was meant, or refused by name. Round trips of whole states are in the
//! tests of `state`.

use super::*;

fn rich() -> FunctionConfig {
    let wire = serde_json::json!({
        "memory_bytes": 1 << 20, "timeout_ms": 1500, "cpu_ms": 50, "concurrency": 5, "queue": 0, "queue_wait_ms": 10,
        "reuse": 128, "routes": ["example.com/a/*", "/b"], "preview": "off", "sticky": "cookie:sid",
        "cohorts": [
            {"name": "beta", "header": "X-Beta", "values": ["1"], "to": "canary"},
            {"cookie": "sid", "values": ["a", "b"], "to": "stable"},
            {"query": "v", "values": [""], "to": "canary"},
        ],
        "egress": ["https://*.example.com", "*"], "env": {"A": "b"},
    });
    let wire: crate::wire::Config = serde_json::from_value(wire).unwrap();
    FunctionConfig::try_from(&wire).unwrap()
}

#[test]
fn configuration_survives_its_json() {
    for config in [FunctionConfig::default(), rich()] {
        let json = serde_json::to_string(&Config::from(&config)).unwrap();
        let read: Config = serde_json::from_str(&json).unwrap();
        assert_eq!(FunctionConfig::try_from(read).unwrap(), config);
    }
}

#[test]
fn configuration_of_a_time_without_cpu_limits_has_none() {
    let json = serde_json::to_string(&Config::from(&FunctionConfig::default())).unwrap();
    assert!(!json.contains("cpu"), "{json}");
    let read: Config = serde_json::from_str(&json).unwrap();
    assert_eq!(FunctionConfig::try_from(read).unwrap().limits.cpu, None);
}

#[test]
fn impossible_json_is_refused_by_name() {
    let stage = |split: &str, stable: &str, salt: &str| {
        format!(
            r#"{{"next_version":"v2","versions":{{}},"stages":{{"live":{{"split":{split},"stable":"{stable}","previous":[],"rollout":null,"salt":"{salt}"}}}}}}"#
        )
    };
    let salt = "0".repeat(32);
    for (json, expected) in [
        (stage(r#"[["v1",10000]]"#, "v1", &salt), "stage `live` names v1, which is not there"),
        (stage(r#"[["v1",9000]]"#, "v1", &salt), "weights add up to 9000 basis points, expected 10000"),
        (stage(r#"[["v1",10001]]"#, "v1", &salt), "weight of 10001 basis points, expected at most 10000"),
        (stage(r#"[["v1",10000]]"#, "one", &salt), "\"one\" is no version number, expected v1, v2, …"),
        (stage(r#"[["v1",10000]]"#, "v1", "é"), "salt \"é\", expected 32 hexadecimal digits"),
    ] {
        let stored: Function = serde_json::from_str(&json).unwrap();
        assert_eq!(state::Function::try_from(stored).unwrap_err().to_string(), expected);
    }
}
