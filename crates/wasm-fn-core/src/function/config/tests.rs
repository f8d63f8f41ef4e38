//! Tests for `config`.

use super::*;

fn limits(change: impl FnOnce(&mut Limits)) -> FunctionConfig {
    let mut config = FunctionConfig::default();
    change(&mut config.limits);
    config
}

fn env(name: &str, value: &str) -> FunctionConfig {
    let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    FunctionConfig { env, ..FunctionConfig::default() }
}

#[track_caller]
fn refused(config: &FunctionConfig, text: &str) {
    assert_eq!(config.check().unwrap_err().to_string(), text);
}

#[test]
fn defaults_are_within_their_bounds() {
    assert_eq!(FunctionConfig::default().check(), Ok(()));
}

#[test]
fn both_ends_of_every_bound_are_allowed() {
    let low = limits(|limits| {
        *limits = Limits {
            memory_bytes: 64 << 10,
            timeout: Duration::from_millis(1),
            cpu: Some(Duration::from_millis(1)),
            concurrency: 1,
            queue: 0,
            queue_wait: Duration::ZERO,
            reuse: 1,
            egress: EgressLimits { requests: 1, bytes: 1 << 10, timeout: Some(Duration::from_millis(1)) },
        };
    });
    let high = limits(|limits| {
        *limits = Limits {
            memory_bytes: 4 << 30,
            timeout: Duration::from_secs(3600),
            cpu: Some(Duration::from_secs(3600)),
            concurrency: 100_000,
            queue: 100_000,
            queue_wait: Duration::from_secs(60),
            reuse: 1_000_000,
            egress: EgressLimits {
                requests: 100_000,
                bytes: 1 << 40,
                timeout: Some(Duration::from_secs(3600)),
            },
        };
    });
    assert_eq!(low.check(), Ok(()));
    assert_eq!(high.check(), Ok(()));
}

#[test]
fn limits_outside_their_bounds_are_refused() {
    let over = Duration::from_secs(3601);
    refused(&limits(|l| l.memory_bytes = 65_535), "memory: found 65535 bytes, expected 64KiB to 4GiB");
    refused(
        &limits(|l| l.memory_bytes = u64::MAX),
        "memory: found 18446744073709551615 bytes, expected 64KiB to 4GiB",
    );
    refused(&limits(|l| l.timeout = Duration::ZERO), "timeout: found 0ns, expected 1ms to 1h");
    refused(&limits(|l| l.timeout = over), "timeout: found 3601s, expected 1ms to 1h");
    refused(&limits(|l| l.cpu = Some(Duration::ZERO)), "cpu: found 0ns, expected 1ms to 1h");
    refused(&limits(|l| l.cpu = Some(over)), "cpu: found 3601s, expected 1ms to 1h");
    refused(&limits(|l| l.concurrency = 0), "concurrency: found 0, expected 1 to 100000");
    refused(&limits(|l| l.concurrency = 100_001), "concurrency: found 100001, expected 1 to 100000");
    refused(&limits(|l| l.queue = 100_001), "queue: found 100001, expected 0 to 100000");
    refused(&limits(|l| l.queue_wait = over), "queue_wait: found 3601s, expected 0s to 60s");
    refused(&limits(|l| l.reuse = 0), "reuse: found 0, expected 1 to 1000000");
    refused(&limits(|l| l.reuse = 1_000_001), "reuse: found 1000001, expected 1 to 1000000");
    let egress = |change: fn(&mut EgressLimits)| limits(|limits| change(&mut limits.egress));
    refused(&egress(|e| e.requests = 0), "egress_requests: found 0, expected 1 to 100000");
    refused(&egress(|e| e.requests = 100_001), "egress_requests: found 100001, expected 1 to 100000");
    refused(&egress(|e| e.bytes = 1023), "egress_bytes: found 1023 bytes, expected 1KiB to 1TiB");
    refused(
        &egress(|e| e.bytes = (1 << 40) + 1),
        "egress_bytes: found 1099511627777 bytes, expected 1KiB to 1TiB",
    );
    refused(&egress(|e| e.timeout = Some(Duration::ZERO)), "egress_timeout: found 0ns, expected 1ms to 1h");
}

#[test]
fn lists_are_bounded() {
    let routes =
        |count| FunctionConfig { routes: vec!["/a".parse().unwrap(); count], ..FunctionConfig::default() };
    let egress = |count| FunctionConfig { egress: vec![EgressRule::Any; count], ..FunctionConfig::default() };
    assert_eq!(routes(256).check(), Ok(()));
    assert_eq!(egress(256).check(), Ok(()));
    refused(&routes(257), "routes: found 257 entries, expected at most 256");
    refused(&egress(257), "egress: found 257 entries, expected at most 256");
    let env = (0..257).map(|i| (format!("K{i}"), String::new())).collect();
    refused(
        &FunctionConfig { env, ..FunctionConfig::default() },
        "env: found 257 entries, expected at most 256",
    );
}

#[test]
fn environment_variables_have_names_and_no_nul() {
    assert_eq!(env("GREETING", "hi = there").check(), Ok(()));
    let text = |name: &str| format!("env: found {name:?}, expected a name without `=` and no NUL characters");
    for (name, value) in [("", ""), ("A=B", ""), ("A\0", ""), ("A", "\0")] {
        refused(&env(name, value), &text(name));
    }
}

#[test]
fn environment_variables_are_at_most_32_kib() {
    assert_eq!(env("A", &"x".repeat((32 << 10) - 1)).check(), Ok(()));
    refused(
        &env("A", &"x".repeat(32 << 10)),
        r#"env: found 32769 bytes in "A", expected at most 32 KiB per variable"#,
    );
}

#[test]
fn secrets_are_bounded_and_have_names_of_their_own() {
    let named = |names: &[&str], secrets_env| FunctionConfig {
        secrets: names.iter().map(|name| name.parse().unwrap()).collect(),
        secrets_env,
        ..env("API_KEY", "public")
    };
    assert_eq!(named(&["API_KEY"], false).check(), Ok(()));
    assert_eq!(named(&["API_key", "DB"], true).check(), Ok(()));
    refused(
        &named(&["API_KEY"], true),
        r#"secrets_env: found "API_KEY" in both `env` and `secrets`, expected different names, because both are variables"#,
    );
    let many = |count| FunctionConfig {
        secrets: (0..count).map(|i| format!("K{i}").parse().unwrap()).collect(),
        ..FunctionConfig::default()
    };
    assert_eq!(many(64).check(), Ok(()));
    refused(&many(65), "secrets: found 65 entries, expected at most 64");
}

#[test]
fn buckets_outside_their_bounds_are_refused() {
    let bucket = |change: fn(&mut BucketConfig)| {
        let mut bucket = BucketConfig::default();
        change(&mut bucket);
        let buckets = [("carts".parse().unwrap(), bucket)].into();
        FunctionConfig { buckets, ..FunctionConfig::default() }
    };
    for fine in [
        bucket(|b| (b.bytes_max, b.keys_max, b.value_bytes_max) = (1 << 10, 1, 1)),
        bucket(|b| (b.bytes_max, b.keys_max, b.value_bytes_max) = (64 << 30, 100_000_000, 8 << 20)),
    ] {
        assert_eq!(fine.check(), Ok(()));
    }
    let (small, large) = (bucket(|b| b.bytes_max = 1023), bucket(|b| b.bytes_max = u64::MAX));
    refused(&small, "bucket.bytes_max: found 1023 bytes, expected 1KiB to 64GiB");
    refused(&large, "bucket.bytes_max: found 18446744073709551615 bytes, expected 1KiB to 64GiB");
    refused(&bucket(|b| b.keys_max = 0), "bucket.keys_max: found 0, expected 1 to 100000000");
    refused(&bucket(|b| b.value_bytes_max = 0), "bucket.value_bytes_max: found 0 bytes, expected 1B to 8MiB");
    let value = bucket(|b| b.value_bytes_max = (8 << 20) + 1);
    refused(&value, "bucket.value_bytes_max: found 8388609 bytes, expected 1B to 8MiB");
    let buckets = (0..33).map(|n| (format!("b{n}").parse().unwrap(), BucketConfig::default())).collect();
    let many = FunctionConfig { buckets, ..FunctionConfig::default() };
    refused(&many, "bucket: found 33 buckets, expected at most 32");
}
