//! The JSON of releases: the fields that both requests share stand beside their own.

use serde_json::json;

use super::*;

#[test]
fn fields_of_a_release_stand_beside_those_of_the_request() {
    let release = json!({
        "strategy": { "name": "canary", "steps": ["10%"] },
        "rollout": {},
        "gate": {},
        "stage_config": { "routes": ["/a"], "env": { "A": "b" } },
        "message": "why",
        "replace": true,
        "allow_new": true,
        "expected_revision": u64::MAX,
    });
    let with = |own: serde_json::Value| {
        let mut request = release.clone();
        request.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        request
    };
    let promote = with(json!({ "from": "staging" }));
    let read: PromoteStageRequest = serde_json::from_value(promote.clone()).unwrap();
    assert_eq!(read.release.expected_revision, Some(u64::MAX));
    assert_eq!(serde_json::to_value(&read).unwrap(), promote);
    let deploy = with(json!({ "component": "00", "config": {}, "stage": "live" }));
    let read: DeployRequest = serde_json::from_value(deploy.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), deploy);

    let least: PromoteStageRequest = serde_json::from_value(json!({ "from": "staging" })).unwrap();
    assert_eq!(least.release, ReleaseRequest::default());
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let error = |request: serde_json::Value| {
        let deploy = serde_json::from_value::<DeployRequest>(request.clone()).map(drop);
        let promote = serde_json::from_value::<PromoteStageRequest>(request).map(drop);
        [deploy, promote].map(|read| read.unwrap_err().to_string())
    };
    let unknown = error(json!({ "component": "00", "from": "live", "relpace": true }));
    assert!(unknown.iter().all(|error| error.contains("unknown field")), "{unknown:?}");
    let request = json!({ "component": "00", "relpace": true });
    let error = serde_json::from_value::<DeployRequest>(request).unwrap_err();
    assert!(error.to_string().contains("unknown field `relpace`"), "{error}");
    let request = json!({ "from": "live", "stage_config": { "secrets": [] } });
    let error = serde_json::from_value::<PromoteStageRequest>(request).unwrap_err();
    assert!(error.to_string().contains("unknown field `secrets`"), "{error}");
}
