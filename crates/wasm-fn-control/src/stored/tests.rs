//! Tests that stored JSON is read with its original meaning, or refused with the name of the bad value. Round
//! trips of whole states are in the tests of `state`.

use std::time::Duration;

use wasm_fn_core::{self as core, FunctionConfig};

use super::{function::*, *};
use crate::state;

fn rich() -> FunctionConfig {
    let rule = |name: Option<&str>, source: core::Source, values: &[&str], role| {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        let name = name.map(|name| name.parse().unwrap());
        core::CohortRule { name, condition: core::Condition::new(source, values).unwrap(), role }
    };
    FunctionConfig {
        limits: core::Limits {
            memory_bytes: 1 << 20,
            timeout: Duration::from_millis(1500),
            cpu: Some(Duration::from_millis(50)),
            concurrency: 5,
            queue: 0,
            queue_wait: Duration::from_millis(10),
            reuse: 128,
            egress: core::EgressLimits {
                requests: 7,
                bytes: 1 << 20,
                timeout: Some(Duration::from_millis(1500)),
            },
        },
        routes: ["example.com/a/*", "/b"].map(|route| route.parse().unwrap()).to_vec(),
        preview: "off".parse().unwrap(),
        sticky: "cookie:sid".parse().unwrap(),
        cohorts: vec![
            rule(Some("beta"), core::Source::header("X-Beta").unwrap(), &["1"], core::Role::Canary),
            rule(None, core::Source::cookie("sid").unwrap(), &["a", "b"], core::Role::Stable),
            rule(None, core::Source::query("v").unwrap(), &[""], core::Role::Canary),
        ],
        egress: ["https://*.example.com", "*"].map(|rule| rule.parse().unwrap()).to_vec(),
        env: [("A".to_owned(), "b".to_owned())].into(),
        secrets: ["API_KEY", "DB"].map(|name| name.parse().unwrap()).into(),
        secrets_env: true,
        asynchronous: true,
        async_ordered_by: "x-user".parse().ok(),
        buckets: [
            ("carts".parse().unwrap(), core::BucketConfig::default()),
            (
                "hits".parse().unwrap(),
                core::BucketConfig {
                    bytes_max: 1 << 20,
                    keys_max: 7,
                    value_bytes_max: 9,
                    durability: core::Durability::Relaxed,
                    consistency: core::Consistency::Eventual,
                },
            ),
        ]
        .into(),
    }
}

#[test]
fn configuration_survives_its_json() {
    for config in [FunctionConfig::default(), rich()] {
        let json = serde_json::to_string(&StoredConfig::from(&config)).unwrap();
        let read: StoredConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(FunctionConfig::try_from(read).unwrap(), config);
    }
}

#[test]
fn configuration_of_a_time_without_cpu_limits_has_none() {
    let json = serde_json::to_string(&StoredConfig::from(&FunctionConfig::default())).unwrap();
    assert!(!["cpu", "secrets", "buckets"].iter().any(|key| json.contains(key)), "{json}");
    let read: StoredConfig = serde_json::from_str(&json).unwrap();
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
        (stage(r#"[["v1",10000]]"#, "v1", &salt), "stage `live` names v1, which does not exist"),
        (stage(r#"[["v1",9000]]"#, "v1", &salt), "weights add up to 90%, expected 100%"),
        (stage(r#"[["v1",10001]]"#, "v1", &salt), "weight of 10001 basis points, expected at most 10000"),
        (stage(r#"[["v1",10000]]"#, "one", &salt), "\"one\" is not a version number, expected v1, v2, …"),
        (stage(r#"[["v1",10000]]"#, "v1", "é"), "salt \"é\", expected 32 hexadecimal digits"),
    ] {
        let stored: StoredFunction = serde_json::from_str(&json).unwrap();
        assert_eq!(state::Function::try_from(stored).unwrap_err().to_string(), expected);
    }
}
