//! The keys of a stage: what a function has there, what it keeps there, and what a node asks of releases to
//! it.

use wasm_fn_core::BucketConfig;

use super::{code, key, size, time};
use crate::config::{file::APPROVAL_TIME, reference::Key};

pub(super) fn stage() -> Vec<Key> {
    vec![
        key(
            "routes",
            "`/hello@staging/*`; of `live`, the function's",
            "[\"staging.example.com/*\"]",
            &["[\"hello\"]"],
            "Where the stage answers, once the version is stable in it",
        ),
        key(
            "env",
            "none",
            "{ API = \"https://staging.example.com\" }",
            &["{ \"A=B\" = \"1\" }"],
            "Environment variables that the version has in this stage, besides the function's `env` or instead of a \
             variable there",
        ),
        key(
            "rollout",
            "the function's",
            "{ strategy = \"linear\" }",
            &[],
            "How versions are released to the stage, with the keys of `[function.hello.rollout]`",
        ),
        key(
            "gate",
            "the function's",
            "{ alpha = 0.01 }",
            &[],
            "The rule that these rollouts must satisfy, with the keys of `[function.hello.gate]`",
        ),
    ]
}

pub(super) fn bucket() -> Vec<Key> {
    let usual = BucketConfig::default();
    vec![
        key(
            "bytes_max",
            size(usual.bytes_max),
            "\"1GiB\"",
            &["\"?\"", "\"1B\""],
            "Bytes of all its keys and values",
        ),
        key("keys_max", code(usual.keys_max), "1000", &["0"], "Number of its keys"),
        key(
            "value_bytes_max",
            size(usual.value_bytes_max),
            "\"16KiB\"",
            &["\"?\"", "\"9MiB\""],
            "Bytes of one value",
        ),
        key(
            "durability",
            code(usual.durability.as_str()),
            "\"relaxed\"",
            &["\"?\""],
            "When a write returns: once it is on disk, or before; then it is on disk within a second",
        ),
        key(
            "consistency",
            code(usual.consistency.as_str()),
            "\"eventual\"",
            &["\"?\""],
            "In a cluster, what a read sees: every write that returned before it, or what one of the broker's servers has",
        ),
    ]
}

pub(super) fn rule() -> Vec<Key> {
    vec![
        key(
            "protected",
            code(false),
            "true",
            &[],
            "Let only those who may move traffic release to it; others may deploy without traffic",
        ),
        key("approvers", code(0), "2", &["101"], "People besides the author who have to approve a release")
            .beside("protected = true"),
        key("expires", time(APPROVAL_TIME), "\"4h\"", &["\"?\""], "How long they have time for it"),
    ]
}
