//! Reading what the admin API answers.

use super::*;

const SIDE: &str = r#"{"version":"v1","requests":7,"failures":0,"latency_p50_ms":1.5}"#;

fn stage(rest: &str) -> Result<Rollout> {
    let body = format!(r#"{{"function":"f","stages":[{{"stage":"live",{rest}}}]}}"#);
    rollout(body.replace("SIDE", SIDE).as_bytes())
}

#[test]
fn rollout_under_way_has_the_numbers_of_its_gate() {
    let numbers = r#""canary":SIDE,"stable":SIDE,"signals":[]"#;
    let found = stage(&format!(r#""rollout":{{"phase":"watching","gate":{{"evidence":{{{numbers}}}}}}}"#));
    let found = found.unwrap();
    assert!(found.taken_back().is_none());
    assert_eq!(found.evidence().unwrap().baseline().requests, 7);
}

#[test]
fn rollout_that_was_aborted_is_taken_back_and_a_promoted_one_is_not() {
    let ended = |outcome| {
        let times = r#""started_ms":1000,"ended_ms":3500,"reason":"errors""#;
        stage(&format!(r#""last_rollout":{{"outcome":"{outcome}",{times}}}"#)).unwrap()
    };
    for outcome in ["aborted", "rolled-back"] {
        assert_eq!(ended(outcome).taken_back().unwrap().after(), Duration::from_millis(2500), "{outcome}");
    }
    assert!(ended("promoted").taken_back().is_none());
}

#[test]
fn function_without_a_rollout_is_refused() {
    let error = format!("{:#}", stage(r#""split":[]"#).unwrap_err());
    assert_eq!(error, "there is no rollout");
}
