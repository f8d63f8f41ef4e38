//! Facts about what one version can do beyond another.

use wasm_fn_core::{EgressLimits, Limits};

use super::*;

fn interfaces(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn egress(rules: &[&str]) -> FunctionConfig {
    let egress = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    FunctionConfig { egress, ..FunctionConfig::default() }
}

fn limits(change: impl FnOnce(&mut Limits)) -> FunctionConfig {
    let mut config = egress(&["https://a.test"]);
    change(&mut config.limits);
    config
}

fn env(names: &[&str]) -> FunctionConfig {
    let env = names.iter().map(|&name| (name.to_owned(), "1".to_owned())).collect();
    FunctionConfig { env, ..FunctionConfig::default() }
}

#[track_caller]
fn check(before: &FunctionConfig, after: &FunctionConfig, expected: &[&str]) {
    let none = BTreeSet::new();
    assert_eq!(Growth::between(Some((before, &none)), (after, &none)).texts(), expected);
}

#[track_caller]
fn check_imports(before: &[&str], after: &[&str], expected: &[&str]) {
    let config = FunctionConfig::default();
    let growth = Growth::between(Some((&config, &interfaces(before))), (&config, &interfaces(after)));
    assert_eq!(growth.texts(), expected);
}

#[test]
fn nothing_grows_by_staying_or_shrinking() {
    let rich = FunctionConfig { env: env(&["A", "B"]).env, ..egress(&["*", "http://10.0.0.5"]) };
    check(&rich, &rich, &[]);
    check(&rich, &FunctionConfig::default(), &[]);
    check_imports(&["wasi:http/outgoing-handler"], &[], &[]);
}

#[test]
fn egress_grows_by_what_no_entry_covers() {
    let none = FunctionConfig::default();
    check(&none, &egress(&["https://a.test", "*"]), &["egress https://a.test", "egress *"]);
    check(
        &egress(&["https://a.test"]),
        &egress(&["https://a.test", "http://a.test"]),
        &["egress http://a.test"],
    );
    check(&egress(&["https://*.test"]), &egress(&["https://a.test"]), &[]);
    check(&egress(&["https://a.test"]), &egress(&["https://*.test"]), &["egress https://*.test"]);
    // An address that is named is reached, one that `*` covers may not be.
    check(&egress(&["*"]), &egress(&["*", "http://10.0.0.5"]), &["egress http://10.0.0.5"]);
    check(&egress(&["*"]), &egress(&["http://localhost:1"]), &["egress http://localhost:1"]);
}

#[test]
fn names_of_variables_count_and_values_do_not() {
    let mut changed = env(&["A", "B", "C"]);
    changed.env.insert("A".to_owned(), "2".to_owned());
    check(&env(&["A"]), &changed, &["env B", "env C"]);
}

#[test]
fn secrets_that_stable_does_not_name_count() {
    let named = |names: &[&str]| {
        let secrets = names.iter().map(|name| name.parse().unwrap()).collect();
        FunctionConfig { secrets, ..FunctionConfig::default() }
    };
    check(&named(&["A"]), &named(&["A", "B", "C"]), &["secret B", "secret C"]);
    check(&named(&["A", "B"]), &named(&["B"]), &[]);
    let none = BTreeSet::new();
    assert_eq!(Growth::between(None, (&named(&["A"]), &none)).texts()[0], "secret A");
}

#[test]
fn buckets_that_stable_does_not_name_count_and_so_do_larger_ones() {
    let named = |buckets: &[(&str, u64, u64)]| {
        let bucket = |&(name, bytes_max, keys_max): &(&str, u64, u64)| {
            (name.parse().unwrap(), BucketConfig { bytes_max, keys_max, ..BucketConfig::default() })
        };
        FunctionConfig { buckets: buckets.iter().map(bucket).collect(), ..FunctionConfig::default() }
    };
    let before = named(&[("a", 1 << 20, 5)]);
    check(&before, &named(&[("a", 1 << 20, 5), ("b", 1 << 10, 1)]), &["bucket b"]);
    check(
        &before,
        &named(&[("a", 2 << 20, 6)]),
        &["bucket a bytes_max 1.0 MiB -> 2.0 MiB", "bucket a keys_max 5 -> 6"],
    );
    check(&before, &named(&[("a", 1 << 10, 1)]), &[]);
    check(&before, &named(&[]), &[]);
}

#[test]
fn limits_grow() {
    let usual = limits(|_| {});
    check(&usual, &limits(|limits| limits.memory_bytes = 256 << 20), &["memory 128.0 MiB -> 256.0 MiB"]);
    check(&usual, &limits(|limits| limits.memory_bytes = 64 << 20), &[]);
    let cpu = |ms| limits(move |limits| limits.cpu = Some(Duration::from_millis(ms)));
    check(&cpu(50), &cpu(100), &["cpu 50ms -> 100ms"]);
    // Without a limit of its own, a guest may compute until its timeout.
    check(&cpu(50), &usual, &["cpu 50ms -> 10s"]);
    check(&usual, &limits(|limits| limits.timeout = Duration::from_secs(30)), &["cpu 10s -> 30s"]);
    check(
        &cpu(50),
        &limits(|limits| {
            limits.timeout = Duration::from_secs(30);
            limits.cpu = Some(Duration::from_millis(50));
        }),
        &[],
    );
    let sending = |requests, bytes| {
        limits(move |limits| limits.egress = EgressLimits { requests, bytes, timeout: None })
    };
    check(
        &sending(1, 1 << 20),
        &sending(2, 2 << 20),
        &["egress_requests 1 -> 2", "egress_bytes 1.0 MiB -> 2.0 MiB"],
    );
    // What does not reach beyond an instance is no capability.
    check(&usual, &limits(|limits| (limits.concurrency, limits.queue, limits.reuse) = (9999, 9999, 9)), &[]);
}

#[test]
fn interfaces_that_reach_beyond_an_instance_count() {
    check_imports(
        &["wasi:io/streams", "wasi:http/types"],
        &[
            "wasi:cli/environment",
            "wasi:clocks/monotonic-clock",
            "wasi:config/store",
            "wasi:filesystem/preopens",
            "wasi:http/outgoing-handler",
            "wasi:http/types",
            "wasi:io/streams",
            "wasi:keyvalue/store",
            "wasi:keyvalue/types",
            "wasi:random/random",
            "wasi:sockets/tcp",
        ],
        &["import wasi:config/store", "import wasi:http/outgoing-handler", "import wasi:keyvalue/store"],
    );
    check_imports(&["wasi:http/outgoing-handler"], &["wasi:http/client"], &[]);
    check_imports(&[], &["wasi:http/client"], &["import wasi:http/outgoing-handler"]);
}

#[test]
fn a_first_version_can_do_all_that_it_says() {
    let config = FunctionConfig { env: env(&["A"]).env, ..egress(&["https://a.test"]) };
    let growth = Growth::between(None, (&config, &interfaces(&["wasi:http/outgoing-handler"])));
    assert_eq!(
        growth.to_string(),
        "import wasi:http/outgoing-handler; egress https://a.test; env A; memory 128.0 MiB; cpu 10s"
    );
}
