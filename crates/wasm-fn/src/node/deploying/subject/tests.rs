//! Tests for `subject`.

use serde_json::json;
use wasm_fn_core::SecretName;
use wasm_fn_events::{
    CloudEvent, EventPath, PushDeployOptions, RetryPolicy, TriggerId, Verified, WatchSource, WebhookSource,
};

use super::*;

const SHA: &str = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7";

fn id() -> TriggerId {
    TriggerId {
        function: "hello".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: "github".parse().unwrap(),
    }
}

fn trigger(kind: TriggerKind) -> Trigger {
    Trigger {
        kind,
        path: EventPath::of(&id().name),
        retry: RetryPolicy::default(),
        concurrency_max: std::num::NonZeroU32::MIN,
        rate: None,
        ordered_by: None,
        redeliver: wasm_fn_events::Redeliver::default(),
        paused: None,
    }
}

fn deploying(artifact: &str, on: PushKind) -> Trigger {
    let secret: SecretName = "KEY".parse().unwrap();
    let (branches, tags, credentials) = (Vec::new(), Vec::new(), None);
    let artifact = artifact.parse().unwrap();
    let deploy = PushDeploy::new(PushDeployOptions { artifact, on: vec![on], branches, tags, credentials });
    let source = WebhookSource::new(Provider::GitHub, vec![secret]).unwrap();
    trigger(TriggerKind::Webhook(source.deploying(deploy.unwrap()).unwrap()))
}

fn event(event_type: &str, body: &serde_json::Value) -> EventRequest {
    let verified = Verified {
        delivery_id: Some("7".to_owned()),
        event_type: Some(event_type.to_owned()),
        time: Timestamp::from_unix_ms(5000),
    };
    let own = "own".parse().unwrap();
    let body = body.to_string().into();
    let event = CloudEvent::webhook(&id(), Provider::GitHub, &verified, &own, None, body);
    EventRequest::of_event(&id().name, &EventPath::of(&id().name), event)
}

fn push() -> serde_json::Value {
    json!({
        "ref": "refs/heads/main", "before": "ab".repeat(20), "after": SHA, "pusher": {"name": "mona"},
        "head_commit": {"url": "https://git.example/page"},
        "repository": {"full_name": "Octo/app", "default_branch": "main", "pushed_at": 3},
    })
}

#[test]
fn push_says_where_the_artifact_is_and_whose() {
    let trigger = deploying("oci://r.example/app:{sha}", PushKind::Branch);
    let subject = read(&trigger, &event("push", &push())).unwrap();
    assert_eq!(subject.place, Place::Registry(format!("oci://r.example/app:{SHA}")));
    assert_eq!(subject.message, "push to main of Octo/app by mona");
    let Provenance { event: found, commit, author, url, reference, .. } = subject.provenance;
    assert_eq!(
        (found.as_deref(), commit.as_deref(), author.as_deref()),
        (Some("7"), Some(SHA), Some("mona"))
    );
    assert_eq!((url.as_deref(), reference.as_deref()), (Some("https://git.example/page"), Some("main")));
    let order = subject.order;
    assert_eq!((order.received.unix_ms(), order.happened.map(Timestamp::unix_ms)), (5000, Some(3000)));
    assert_eq!(super::order(&memory(&order)), Some(order));
}

#[test]
fn what_deploys_nothing_is_skipped_and_what_is_malformed_refused() {
    let trigger = deploying("oci://r.example/app:{sha}", PushKind::Branch);
    let end = |event: &EventRequest| read(&trigger, event).unwrap_err();
    let mut other = push();
    other["ref"] = json!("refs/heads/dev");
    let branch = r#"branch "dev" does not deploy here, expected the default branch, "main""#;
    assert_eq!(end(&event("push", &other)), DeployEnd::Skipped { text: branch.to_owned() });
    let ping = "com.github.ping is about nothing new".to_owned();
    assert_eq!(end(&event("ping", &json!({}))), DeployEnd::Skipped { text: ping });
    assert!(matches!(end(&event("push", &json!({}))), DeployEnd::Refused { .. }));
}

#[test]
fn package_is_taken_by_its_digest() {
    let trigger = deploying("oci://r.example/app:{tag}", PushKind::Package);
    let digest = format!("sha256:{}", "ab".repeat(32));
    let package = json!({
        "action": "published", "repository": {"full_name": "o/app"},
        "package": {"name": "app", "package_version": {
            "version": digest, "container_metadata": {"tag": {"name": "v1", "digest": digest}},
        }},
    });
    let subject = read(&trigger, &event("package", &package)).unwrap();
    assert_eq!(subject.place, Place::Registry(format!("oci://r.example/app:v1@{digest}")));
}

#[test]
fn watched_tag_is_taken_by_the_digest_that_was_seen() {
    let artifact = "oci://r.example/app:prod";
    let source = WatchSource::new(artifact.parse().unwrap(), std::time::Duration::from_secs(60), None);
    let trigger = trigger(TriggerKind::Watch(source.unwrap()));
    let digest = format!("sha256:{}", "ab".repeat(32));
    let event = CloudEvent::artifact_changed(&id(), artifact, &digest, Timestamp::from_unix_ms(9));
    let event = EventRequest::of_event(&id().name, &trigger.path, event);
    let subject = read(&trigger, &event).unwrap();
    assert_eq!(subject.place, Place::Registry(format!("{artifact}@{digest}")));
    assert_eq!(subject.order.received.unix_ms(), 9);
}
