//! The settings of a cluster's streams, and what is said of a stream with others. Pure.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use crate::{ClusterError, names::Names};

/// For how long the broker tells a message from the same one sent again. A node sends one again for much
/// less.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What a stream has to be.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) stream: Arc<str>,
    /// Its settings.
    pub(super) config: Map<String, Value>,
    /// Settings of a new stream that may be others later.
    pub(super) initial: Map<String, Value>,
}

/// The log. Message numbers are revisions without gaps. Only its beginning is taken out, once a snapshot of
/// the state has it; an earlier release made logs from which nothing can be.
pub(super) fn log(names: &Names, replicas: u8, first: Option<u64>) -> Spec {
    let config = json!({
        "subjects": [&*names.commits],
        "discard": "new",
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "deny_delete": true,
        "allow_rollup_hdrs": false,
        "allow_direct": false,
        "duplicate_window": nanoseconds(DUPLICATE_WINDOW),
        // Tells nodes that there is a commit, once it is kept.
        "republish": { "src": &*names.commits, "dest": &*names.committed, "headers_only": true },
    });
    let initial = match first {
        Some(first) => json!({ "deny_purge": false, "first_seq": first }),
        None => json!({ "deny_purge": false }),
    };
    Spec { stream: Arc::clone(&names.log), config: with_common(replicas, config), initial: object(initial) }
}

/// The changes of the inbox. Those are deleted that a snapshot has.
pub(super) fn events(names: &Names, replicas: u8) -> Spec {
    let config = json!({
        "subjects": [&*names.changes],
        "discard": "new",
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "deny_delete": true,
        "deny_purge": false,
        "allow_rollup_hdrs": false,
        "allow_direct": false,
        "duplicate_window": nanoseconds(DUPLICATE_WINDOW),
        "republish": { "src": &*names.changes, "dest": &*names.changed, "headers_only": true },
    });
    Spec { stream: Arc::clone(&names.events), config: with_common(replicas, config), initial: Map::new() }
}

/// The record of the cluster, the table of leases and which snapshot of the inbox there is: the last message
/// with each subject.
pub(super) fn coordination(names: &Names, replicas: u8) -> Spec {
    let config = json!({
        "subjects": [&*names.record, &*names.leases, &*names.snapshot],
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_msg_size": -1,
        "deny_delete": true,
        "deny_purge": true,
        "allow_rollup_hdrs": false,
        "allow_direct": false,
    });
    Spec {
        stream: Arc::clone(&names.coordination),
        config: with_common(replicas, config),
        initial: Map::new(),
    }
}

/// The bucket of components: an object store (NATS ADR-20).
pub(super) fn components(names: &Names, replicas: u8, bytes_max: Option<u64>) -> Spec {
    let bucket = &names.bucket;
    let config = json!({
        "subjects": [format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        "discard": "new",
        "max_msgs_per_subject": -1,
        "allow_rollup_hdrs": true,
        // Every server may tell what a component consists of: whoever gets it verifies it.
        "allow_direct": true,
    });
    let initial = bytes_max.map_or_else(|| json!({}), |bytes| json!({ "max_bytes": bytes }));
    Spec {
        stream: Arc::clone(&names.components),
        config: with_common(replicas, config),
        initial: object(initial),
    }
}

/// What functions keep in buckets: the last message with each subject. When it is full nothing more is taken,
/// and nothing is dropped for that.
pub(super) fn values(names: &Names, replicas: u8) -> Spec {
    let config = json!({
        "subjects": [format!("{}.>", names.kept)],
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_msg_size": -1,
        "deny_delete": false,
        "deny_purge": false,
        "allow_rollup_hdrs": false,
        // A bucket's configuration can ask for it.
        "allow_direct": true,
        "allow_atomic": true,
        "allow_msg_ttl": true,
    });
    Spec { stream: Arc::clone(&names.values), config: with_common(replicas, config), initial: Map::new() }
}

/// The first setting in which a stream with the settings `found` differs from `spec`.
pub(super) fn differing(spec: &Spec, found: &Map<String, Value>) -> Option<ClusterError> {
    let differs = |(setting, expected): (&String, &Value)| {
        let found = found.get(setting).unwrap_or(&Value::Null);
        if is_same(expected, found) {
            return None;
        }
        Some(ClusterError::Setting {
            stream: spec.stream.to_string(),
            setting: setting.clone(),
            found: if found.is_null() { "not set".to_owned() } else { found.to_string() },
            expected: expected.to_string(),
        })
    };
    spec.config.iter().find_map(differs)
}

/// Whether a setting is as expected. The broker leaves out what is off or none.
fn is_same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Bool(false), Value::Null) => true,
        (Value::Number(expected), Value::Null) => expected.as_i64() == Some(0),
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(key, value)| is_same(value, found.get(key).unwrap_or(&Value::Null)))
        }
        (expected, found) => expected == found,
    }
}

/// The settings `own` of one stream, and those that all have.
fn with_common(replicas: u8, own: Value) -> Map<String, Value> {
    let mut config = object(json!({
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_age": 0,
        "max_msgs": -1,
        "no_ack": false,
        "sealed": false,
    }));
    config.extend(object(own));
    config
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
